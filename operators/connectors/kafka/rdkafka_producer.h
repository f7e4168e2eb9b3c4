// Transactions by librdkafka.
//
// Threading, ownership, errors: as for KafkaProducer; librdkafka's own threads stay inside.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "operators/connectors/kafka/kafka_producer.h"

namespace millrace {

class RdkafkaProducer final : public KafkaProducer {
 public:
  static absl::StatusOr<std::unique_ptr<RdkafkaProducer>> Make(const KafkaClientOptions& options,
                                                               const std::string& transactional_id,
                                                               std::vector<std::string> topics,
                                                               const absl::Notification& stop);

  absl::Status Fence(const KafkaDeadline& deadline) override;
  absl::Status Begin(const KafkaDeadline& deadline) override;
  absl::Status Add(size_t topic, const KafkaFrame& frame, const KafkaDeadline& deadline) override;
  // The client's own threads send.
  absl::Status Flush(const KafkaDeadline& deadline) override { return absl::OkStatus(); }
  absl::Status Commit(const KafkaDeadline& deadline) override;
  absl::Status Abort(const KafkaDeadline& deadline) override;

 private:
  RdkafkaProducer(const KafkaClientOptions& options, std::vector<std::string> topics,
                  const absl::Notification& stop)
      : options_(options), topics_(std::move(topics)), stop_(stop) {}
  // Repeats `call` while it is retriable and there is time.
  template <typename Call>
  absl::Status Retry(std::string_view attempted, const KafkaDeadline& deadline, const Call& call);

  const KafkaClientOptions& options_;
  const std::vector<std::string> topics_;
  const absl::Notification& stop_;
  std::unique_ptr<KafkaClient> client_;
  std::vector<KafkaTopicHandle> handles_;  // By topic, from Fence on. Before their client is gone.
  std::string first_delivery_error_;
};

}  // namespace millrace
