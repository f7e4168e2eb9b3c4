// Brings the records of partitions to a KafkaSource. Two ways: of our own (native/native_fetch.h)
// and through librdkafka (rdkafka_fetch.h).
//
// Threading: the task thread. Nothing waits for brokers that are away: they are tried again, with
//            back-off, and the rest goes on meanwhile.
#pragma once

#include <librdkafka/rdkafka.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "operators/connectors/kafka/kafka_position.h"
#include "operators/connectors/kafka/kafka_record.h"

namespace millrace {

// Records of a split, ascending; perhaps none.
struct KafkaRun {
  uint32_t split = 0;
  std::span<const KafkaRecord> records;
  // Where to go on: what lies between the last record and here is not for readers.
  int64_t next_offset = 0;
};

// What the broker says of a partition.
struct KafkaFault {
  uint32_t split = 0;
  rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
  std::string detail;
};

struct KafkaArrivals {
  std::vector<KafkaRun> runs;  // At most one per split.
  std::vector<KafkaFault> faults;
  void Clear() {
    runs.clear();
    faults.clear();
  }
  bool empty() const { return runs.empty() && faults.empty(); }
};

class KafkaFetch {
 public:
  struct Split {
    uint32_t index;  // How runs and faults name it.
    KafkaPartition partition;
    int64_t offset;              // Where to begin.
    KafkaTopicId topic_id = {};  // Of the topic that the offset is of, when it is known.
  };

  virtual ~KafkaFetch() = default;
  virtual absl::Status Add(const std::vector<Split>& splits) = 0;
  // Nobody wants more of it; what still arrives may be given all the same.
  virtual void Remove(uint32_t split) = 0;
  // What has arrived, about `records_max` records at most. `out` is empty, and lives until the next
  // call.
  virtual absl::Status Poll(size_t records_max, KafkaArrivals& out) = 0;
  // The end of the partition's log, when it was last fetched from.
  virtual std::optional<int64_t> HighWatermark(uint32_t split) = 0;
  // The id of the split's topic; zero: not known, or not yet.
  virtual KafkaTopicId TopicId(uint32_t split) const = 0;
  // Keys and values have kMessagePadding readable bytes behind them.
  virtual bool padded() const = 0;
};

}  // namespace millrace
