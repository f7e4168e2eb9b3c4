// One librdkafka instance with the settings that every client of ours has, and the blocking
// questions about a cluster: topics, partitions, offsets.
//
// Threading: one thread at a time; librdkafka's own threads stay inside. Log lines come from them.
// Ownership: owns the handle; destruction drops what is queued and does not wait for brokers.
// Errors:    kUnavailable names the brokers and what the client last heard from them.
#pragma once

#include <librdkafka/rdkafka.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "operators/connectors/kafka/kafka_options.h"
#include "operators/connectors/kafka/kafka_position.h"
#include "runtime/base/env.h"

namespace millrace {

struct KafkaTopicDeleter {
  void operator()(rd_kafka_topic_t* topic) const { rd_kafka_topic_destroy(topic); }
};
using KafkaTopicHandle = std::unique_ptr<rd_kafka_topic_t, KafkaTopicDeleter>;
struct KafkaListDeleter {
  void operator()(rd_kafka_topic_partition_list_t* list) const {
    rd_kafka_topic_partition_list_destroy(list);
  }
};
using KafkaListHandle = std::unique_ptr<rd_kafka_topic_partition_list_t, KafkaListDeleter>;
struct KafkaQueueDeleter {
  void operator()(rd_kafka_queue_t* queue) const { rd_kafka_queue_destroy(queue); }
};
using KafkaQueueHandle = std::unique_ptr<rd_kafka_queue_t, KafkaQueueDeleter>;
struct KafkaErrorDeleter {
  void operator()(rd_kafka_error_t* error) const { rd_kafka_error_destroy(error); }
};
using KafkaErrorHandle = std::unique_ptr<rd_kafka_error_t, KafkaErrorDeleter>;
struct KafkaEventDeleter {
  void operator()(rd_kafka_event_t* event) const { rd_kafka_event_destroy(event); }
};
using KafkaEventHandle = std::unique_ptr<rd_kafka_event_t, KafkaEventDeleter>;

// A point in time after which a blocking call gives up. The clock must outlive it.
class KafkaDeadline {
 public:
  KafkaDeadline(Clock& clock, absl::Duration timeout)
      : clock_(clock), end_ns_(clock.MonotonicNanos() + absl::ToInt64Nanoseconds(timeout)) {}
  bool passed() const { return clock_.MonotonicNanos() >= end_ns_; }
  // For librdkafka's calls: never negative, at most `cap_ms`.
  int remaining_ms(int cap_ms = 600'000) const;

 private:
  Clock& clock_;
  const int64_t end_ns_;
};

// The first librdkafka whose fetchers look at a full queue again after fetch.queue.backoff.ms.
inline constexpr int kKafkaWithQueueBackoff = 0x020100ff;

struct KafkaOffsetRange {
  int64_t low = 0;   // First offset that the log still has.
  int64_t high = 0;  // The next offset to be written.
};

class KafkaClient {
 public:
  enum class Role { kConsumer, kProducer };
  // Called per failed delivery, from Poll and flush; producers only.
  using OnFailedDelivery = std::function<void(const rd_kafka_message_t&)>;

  // `settings` are ours and win over the user's properties.
  static absl::StatusOr<std::unique_ptr<KafkaClient>> Make(Role role,
                                                           const KafkaClientOptions& options,
                                                           const KafkaProperties& settings,
                                                           OnFailedDelivery on_failed = nullptr);
  ~KafkaClient();
  KafkaClient(const KafkaClient&) = delete;
  KafkaClient& operator=(const KafkaClient&) = delete;

  rd_kafka_t* handle() const { return handle_; }
  const std::string& brokers() const { return brokers_; }

  // Serves callbacks, waiting at most `timeout_ms` for one.
  void Poll(int timeout_ms) { rd_kafka_poll(handle_, timeout_ms); }
  // Consumers: call after messages were taken. librdkafka before 2.1 sleeps up to a second once its
  // queue is full, however soon there is room again; this makes it look at once.
  void WakeFetchers();
  // KafkaStatus with the brokers and the last transport error.
  absl::Status Failed(rd_kafka_resp_err_t code, std::string_view attempted);

  // How many partitions `topic` has. A topic that stays unknown for two seconds is kNotFound: one
  // that was just created may take a moment to be known everywhere.
  absl::StatusOr<int32_t> PartitionCount(const std::string& topic, const KafkaDeadline& deadline);
  absl::StatusOr<KafkaOffsetRange> OffsetRange(const KafkaPartition& partition,
                                               const KafkaDeadline& deadline);
  // Per partition the first offset whose record is at least as new; -1 where all are older.
  absl::StatusOr<std::map<KafkaPartition, int64_t>> OffsetsForTime(
      const std::vector<KafkaPartition>& partitions, int64_t timestamp_ms,
      const KafkaDeadline& deadline);
  // Per partition the group's committed offset; absent where there is none.
  absl::StatusOr<std::map<KafkaPartition, int64_t>> CommittedOffsets(
      const std::vector<KafkaPartition>& partitions, const KafkaDeadline& deadline);

 private:
  KafkaClient(const KafkaClientOptions& options, OnFailedDelivery on_failed);
  static void OnError(rd_kafka_t*, int code, const char* reason, void* opaque);
  static void OnDelivery(rd_kafka_t*, const rd_kafka_message_t* message, void* opaque);

  const std::string brokers_;
  const std::string sasl_user_;
  const Secret sasl_password_;
  const OnFailedDelivery on_failed_;
  std::string last_error_;
  rd_kafka_t* handle_ = nullptr;
};

}  // namespace millrace
