#include "operators/connectors/kafka/rdkafka_fetch.h"

#include <algorithm>
#include <utility>

#include "operators/connectors/kafka/text.h"
#include "runtime/base/log.h"
#include "runtime/base/status_macros.h"

namespace millrace {
namespace {

constexpr uint32_t kNoSplit = ~uint32_t{0};

KafkaRecord RecordOf(const rd_kafka_message_t& message) {
  rd_kafka_timestamp_type_t type;
  const int64_t timestamp_ms = rd_kafka_message_timestamp(&message, &type);
  return {.offset = message.offset,
          .timestamp_ms = type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE ? -1 : timestamp_ms,
          .key = {static_cast<const char*>(message.key), message.key_len},
          .value = {static_cast<const char*>(message.payload), message.len},
          .has_key = message.key != nullptr,
          .has_value = message.payload != nullptr};
}

}  // namespace

KafkaProperties RdkafkaFetchSettings(const KafkaClientOptions& options) {
  KafkaProperties settings = {
      {"enable.partition.eof", "true"},
      {"auto.offset.reset", "error"},
      {"check.crcs", "true"},
  };
  // Bounds over all partitions of the task. A short queue of small fetches is still in the cache
  // when it is decoded: a fifth more events per CPU-second than 64 MB, and less memory.
  const auto unless_given = [&](std::string_view name, std::string_view value) {
    if (!options.properties.contains(name)) settings.emplace(name, value);
  };
  unless_given("queued.max.messages.kbytes", "8192");
  unless_given("queued.min.messages", "1000000");
  if (rd_kafka_version() >= kKafkaWithQueueBackoff) unless_given("fetch.queue.backoff.ms", "5");
  unless_given("fetch.wait.max.ms", "20");
  unless_given("fetch.message.max.bytes", "524288");
  unless_given("fetch.error.backoff.ms", "100");
  return settings;
}

RdkafkaFetch::RdkafkaFetch(KafkaClient& client, std::string name, std::function<void()> wake)
    : client_(client), name_(std::move(name)), wake_(std::move(wake)) {
  rd_kafka_poll_set_consumer(client_.handle());
  queue_.reset(rd_kafka_queue_get_consumer(client_.handle()));
  if (wake_ == nullptr) return;
  rd_kafka_queue_cb_event_enable(
      queue_.get(), [](rd_kafka_t*, void* opaque) { static_cast<RdkafkaFetch*>(opaque)->wake_(); },
      this);
}

RdkafkaFetch::~RdkafkaFetch() {
  DropMessages();
  // No wake after this: the task may be gone before the client is.
  rd_kafka_queue_cb_event_enable(queue_.get(), nullptr, nullptr);
}

absl::Status RdkafkaFetch::Add(const std::vector<Split>& splits) {
  const KafkaListHandle assigned(
      rd_kafka_topic_partition_list_new(static_cast<int>(splits.size())));
  for (const Split& split : splits) {
    if (readings_.size() <= split.index) readings_.resize(split.index + 1);
    readings_[split.index].partition = split.partition;
    readings_[split.index].topic_id = split.topic_id;
    split_index_[split.partition] = split.index;
    rd_kafka_topic_partition_list_add(assigned.get(), split.partition.topic.c_str(),
                                      split.partition.partition)
        ->offset = split.offset;
  }
  last_topic_ = nullptr;
  const KafkaErrorHandle error(rd_kafka_incremental_assign(client_.handle(), assigned.get()));
  if (error == nullptr) return absl::OkStatus();
  return client_.Failed(rd_kafka_error_code(error.get()), "cannot assign partitions");
}

void RdkafkaFetch::Remove(uint32_t split) {
  const KafkaPartition& partition = readings_[split].partition;
  const KafkaListHandle list(rd_kafka_topic_partition_list_new(1));
  rd_kafka_topic_partition_list_add(list.get(), partition.topic.c_str(), partition.partition);
  // Only saves the fetching of what nobody wants.
  const KafkaErrorHandle ignored(rd_kafka_incremental_unassign(client_.handle(), list.get()));
}

void RdkafkaFetch::DropMessages() {
  for (size_t i = 0; i < message_count_; ++i) rd_kafka_message_destroy(messages_[i]);
  message_count_ = 0;
}

absl::Status RdkafkaFetch::Poll(size_t records_max, KafkaArrivals& out) {
  DropMessages();
  messages_.resize(records_max);
  const ssize_t count =
      rd_kafka_consume_batch_queue(queue_.get(), 0, messages_.data(), messages_.size());
  if (count < 0) return client_.Failed(rd_kafka_last_error(), "cannot read messages");
  message_count_ = static_cast<size_t>(count);
  for (size_t i = 0; i < message_count_; ++i) {
    MILLRACE_RETURN_IF_ERROR(OnMessage(*messages_[i], out));
  }
  for (uint32_t split = 0; split < readings_.size(); ++split) {
    Reading& reading = readings_[split];
    if (reading.next_offset < 0) continue;
    out.runs.push_back({split, reading.records, std::exchange(reading.next_offset, -1)});
  }
  if (message_count_ > 0) client_.WakeFetchers();
  return absl::OkStatus();
}

absl::Status RdkafkaFetch::OnMessage(const rd_kafka_message_t& message, KafkaArrivals& out) {
  const uint32_t split = message.rkt != nullptr ? Find(message) : kNoSplit;
  const bool is_record = message.err == RD_KAFKA_RESP_ERR_NO_ERROR;
  if (is_record || message.err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
    if (split == kNoSplit) return absl::OkStatus();
    Reading& reading = readings_[split];
    if (reading.next_offset < 0) reading.records.clear();
    if (is_record) reading.records.push_back(RecordOf(message));
    // What lies between the last record and the end are aborted and control records.
    reading.next_offset = std::max(reading.next_offset, message.offset + (is_record ? 1 : 0));
    return absl::OkStatus();
  }
  if (rd_kafka_fatal_error(client_.handle(), nullptr, 0) != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return client_.Failed(message.err, "cannot read messages");
  }
  if (split != kNoSplit) {
    out.faults.push_back({split, message.err, rd_kafka_message_errstr(&message)});
  } else {
    // Brokers that come and go; the client reconnects by itself, and the job stands still
    // meanwhile.
    LogWarning("kafka source", {{"uid", name_},
                                {"brokers", client_.brokers()},
                                {"error", rd_kafka_message_errstr(&message)}});
  }
  return absl::OkStatus();
}

uint32_t RdkafkaFetch::Find(const rd_kafka_message_t& message) {
  if (message.rkt != last_topic_) {
    last_topic_ = message.rkt;
    last_topic_name_ = rd_kafka_topic_name(message.rkt);
    last_topic_splits_.clear();
    for (auto it = split_index_.lower_bound({last_topic_name_, 0});
         it != split_index_.end() && it->first.topic == last_topic_name_; ++it) {
      const auto partition = static_cast<size_t>(it->first.partition);
      if (last_topic_splits_.size() <= partition) {
        last_topic_splits_.resize(partition + 1, kNoSplit);
      }
      last_topic_splits_[partition] = it->second;
    }
  }
  const auto partition = static_cast<size_t>(message.partition);
  if (message.partition < 0 || partition >= last_topic_splits_.size()) return kNoSplit;
  return last_topic_splits_[partition];
}

std::optional<int64_t> RdkafkaFetch::HighWatermark(uint32_t split) {
  const KafkaPartition& partition = readings_[split].partition;
  int64_t low = 0;
  int64_t high = 0;
  // Cached from the last fetch: no request.
  if (rd_kafka_get_watermark_offsets(client_.handle(), partition.topic.c_str(), partition.partition,
                                     &low, &high) != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return std::nullopt;
  }
  return high;
}

}  // namespace millrace
