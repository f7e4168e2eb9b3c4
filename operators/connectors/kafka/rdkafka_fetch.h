// Fetches through librdkafka: one prefetching consumer with one bounded queue.
//
// Threading: as for every KafkaFetch; `wake` is called on a thread of librdkafka when the queue
//            stops being empty. Ownership: `client` outlives it. Records lie where librdkafka put
//            them.
// Errors:    of the client itself; those of partitions are faults.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "operators/connectors/kafka/kafka_client.h"
#include "operators/connectors/kafka/kafka_fetch.h"

namespace millrace {

// Settings of a consumer that fetches; properties of the user's win.
KafkaProperties RdkafkaFetchSettings(const KafkaClientOptions& options);

class RdkafkaFetch final : public KafkaFetch {
 public:
  // `name` is for log lines. `wake` may be null.
  RdkafkaFetch(KafkaClient& client, std::string name, std::function<void()> wake);
  ~RdkafkaFetch() override;

  absl::Status Add(const std::vector<Split>& splits) override;
  void Remove(uint32_t split) override;
  absl::Status Poll(size_t records_max, KafkaArrivals& out) override;
  std::optional<int64_t> HighWatermark(uint32_t split) override;
  // What it was told: librdkafka does not know ids.
  KafkaTopicId TopicId(uint32_t split) const override { return readings_[split].topic_id; }
  bool padded() const override { return false; }

 private:
  struct Reading {
    KafkaPartition partition;
    KafkaTopicId topic_id{};
    // Of the last Poll.
    std::vector<KafkaRecord> records;
    int64_t next_offset = -1;  // -1: nothing arrived.
  };

  void DropMessages();
  absl::Status OnMessage(const rd_kafka_message_t& message, KafkaArrivals& out);
  uint32_t Find(const rd_kafka_message_t& message);

  KafkaClient& client_;
  const std::string name_;
  const std::function<void()> wake_;
  KafkaQueueHandle queue_;
  std::vector<Reading> readings_;  // By split.
  std::map<KafkaPartition, uint32_t> split_index_;
  // Last topic seen: messages come in runs, and topic handles are one per topic.
  const rd_kafka_topic_t* last_topic_ = nullptr;
  std::string last_topic_name_;
  std::vector<uint32_t> last_topic_splits_;  // By partition, of last_topic_name_.
  std::vector<rd_kafka_message_t*> messages_;
  size_t message_count_ = 0;
};

}  // namespace millrace
