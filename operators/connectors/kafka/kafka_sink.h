// Writes rows to a Kafka topic. Exactly once: rows wait in the outbox, encoded and with their
// partition chosen, until their epoch is durable; Commit then produces them in one transaction with
// a marker. At least once: rows are produced at once, and an epoch ends when all are acknowledged.
//
// Threading: as for every Sink; what Commit uses is only used by Commit.
// Ownership: as for every Sink.
// Errors:    kNotFound for a missing topic, kInvalidArgument for a record that is too large,
//            kPermissionDenied, kAborted when a newer owner has the slot, else kUnavailable.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/synchronization/notification.h"
#include "operators/connectors/kafka/kafka_client.h"
#include "operators/connectors/kafka/kafka_committer.h"
#include "operators/connectors/kafka/kafka_letters.h"
#include "operators/connectors/kafka/kafka_marker.h"
#include "operators/connectors/kafka/kafka_options.h"
#include "operators/formats/format.h"
#include "runtime/task/sink.h"

namespace millrace {

// Kafka's own hash of keys (Java's default partitioner), so that rows of one key lie in the
// partition where every other producer puts them.
uint32_t KafkaKeyHash(std::string_view key);

class KafkaSink : public Sink {
 public:
  explicit KafkaSink(KafkaSinkOptions options)
      : options_(std::move(options)), writer_(options_.format == kDeadLetterFormat) {}
  ~KafkaSink() override;

  absl::Status Open(SinkContext& context) override;
  absl::Status Write(const Batch& batch) override;
  absl::StatusOr<v1::CommitToken> Prepare(Epoch epoch) override;
  absl::Status Commit(const v1::CommitToken& token) override;
  bool VisibleOnWrite() const override { return !options_.exactly_once; }

 private:
  absl::Status MakeEncoders();
  absl::Status EncodeKeys(const Batch& batch);
  std::optional<std::string_view> KeyOf(const Batch& batch, int64_t row) const;
  int32_t PartitionOf(const std::optional<std::string_view>& key);
  absl::Status WriteLetters(const Batch& batch);
  absl::Status AfterWrite();
  absl::Status WriteToOutbox(const KafkaFrame& frame);
  absl::Status ProduceNow(const KafkaFrame& frame);
  absl::Status CheckDeliveries();

  const KafkaSinkOptions options_;
  SinkContext* context_ = nullptr;
  int32_t partition_count_ = 0;
  uint64_t next_round_robin_ = 0;
  std::unique_ptr<Encoder> encoder_;
  std::unique_ptr<Encoder> key_encoder_;  // Null: no key, or the bytes of the only key column.
  SchemaPtr value_schema_;
  SchemaPtr key_schema_;
  std::vector<int> value_columns_;
  std::vector<int> key_columns_;
  EncodedRows encoded_;
  EncodedRows encoded_keys_;
  std::optional<KafkaLetterWriter> letters_;  // Instead of all encoders.

  KafkaOutboxWriter writer_;

  // At least once.
  std::unique_ptr<KafkaClient> producer_;
  KafkaTopicHandle topic_;
  uint64_t failed_deliveries_ = 0;
  absl::Status first_failure_;

  // Io thread: one committer per slot; others than our own only while their tokens are completed.
  absl::Notification stop_;
  std::map<uint32_t, std::unique_ptr<KafkaCommitter>> committers_;
};

}  // namespace millrace
