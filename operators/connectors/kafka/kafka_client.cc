#include "operators/connectors/kafka/kafka_client.h"

#include <algorithm>
#include <cstring>

#include "operators/connectors/kafka/kafka_errors.h"
#include "operators/connectors/kafka/text.h"
#include "runtime/base/log.h"
#include "runtime/base/status_macros.h"

namespace millrace {
namespace {

constexpr absl::Duration kUnknownTopicPatience = absl::Seconds(2);
constexpr int kSyslogError = 3;

void OnLog(const rd_kafka_t*, int level, const char* facility, const char* line) {
  // Settings of one role on a client of the other: harmless, users have one list for both.
  if (std::strcmp(facility, "CONFWARN") == 0) return;
  if (level <= kSyslogError) {
    LogWarning("kafka client", {{"facility", facility}, {"detail", line}});
  } else {
    LogDebug("kafka client", {{"facility", facility}, {"detail", line}});
  }
}

Secret PropertyOf(const KafkaClientOptions& options, std::string_view name) {
  const auto found = options.properties.find(name);
  return found == options.properties.end() ? Secret() : found->second;
}

KafkaListHandle ListOf(const std::vector<KafkaPartition>& partitions, int64_t offset) {
  KafkaListHandle list(rd_kafka_topic_partition_list_new(static_cast<int>(partitions.size())));
  for (const KafkaPartition& p : partitions) {
    rd_kafka_topic_partition_list_add(list.get(), p.topic.c_str(), p.partition)->offset = offset;
  }
  return list;
}

}  // namespace

int KafkaDeadline::remaining_ms(int cap_ms) const {
  const int64_t left = (end_ns_ - clock_.MonotonicNanos()) / 1'000'000;
  return static_cast<int>(std::clamp<int64_t>(left, 0, cap_ms));
}

KafkaClient::KafkaClient(const KafkaClientOptions& options, OnFailedDelivery on_failed)
    : brokers_(options.brokers),
      sasl_user_(PropertyOf(options, "sasl.username").Reveal()),
      sasl_password_(PropertyOf(options, "sasl.password")),
      on_failed_(std::move(on_failed)) {}

void KafkaClient::WakeFetchers() {
  if (rd_kafka_version() >= kKafkaWithQueueBackoff) return;  // fetch.queue.backoff.ms is enough.
  // The one public call that wakes all broker threads and changes nothing else: the credentials are
  // those that they have.
  const KafkaErrorHandle ignored(
      rd_kafka_sasl_set_credentials(handle_, sasl_user_.c_str(), sasl_password_.Reveal().c_str()));
}

void KafkaClient::OnError(rd_kafka_t*, int code, const char* reason, void* opaque) {
  static_cast<KafkaClient*>(opaque)->last_error_ =
      Text(reason, " (", rd_kafka_err2name(static_cast<rd_kafka_resp_err_t>(code)), ")");
}

void KafkaClient::OnDelivery(rd_kafka_t*, const rd_kafka_message_t* message, void* opaque) {
  KafkaClient* client = static_cast<KafkaClient*>(opaque);
  if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) client->on_failed_(*message);
}

absl::StatusOr<std::unique_ptr<KafkaClient>> KafkaClient::Make(Role role,
                                                               const KafkaClientOptions& options,
                                                               const KafkaProperties& settings,
                                                               OnFailedDelivery on_failed) {
  KafkaProperties all = settings;
  // Two requests of a producer that the partition's leader does not know yet: the first is refused
  // (the leader has moved, or is just being made), the second accepted; librdkafka concludes that
  // the first was written, too, and its records are lost without a word.
  if (role == Role::kProducer) all.emplace("max.in.flight.requests.per.connection", "1");
  all.emplace("bootstrap.servers", options.brokers);
  all.emplace("client.id", "millrace");
  // Ours are in already; emplace and insert keep them.
  for (const auto& [name, value] : options.properties) all.emplace(name, value.Reveal());

  std::unique_ptr<KafkaClient> client(new KafkaClient(options, std::move(on_failed)));
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  char error[512];
  for (const auto& [name, value] : all) {
    if (rd_kafka_conf_set(conf, name.c_str(), value.c_str(), error, sizeof(error)) !=
        RD_KAFKA_CONF_OK) {
      rd_kafka_conf_destroy(conf);
      // What librdkafka says may hold the value, which may be secret.
      const auto given = options.properties.find(name);
      const std::string_view value_text =
          given == options.properties.end() ? "" : std::string_view(given->second.Reveal());
      const std::string_view reason = error;
      const bool tells = !value_text.empty() && reason.find(value_text) != reason.npos;
      return absl::InvalidArgumentError(
          Text("option 'properties.", name, "': ", tells ? "the value is refused" : reason));
    }
  }
  rd_kafka_conf_set_opaque(conf, client.get());
  rd_kafka_conf_set_log_cb(conf, &OnLog);
  rd_kafka_conf_set_error_cb(conf, &KafkaClient::OnError);
  if (client->on_failed_ != nullptr) rd_kafka_conf_set_dr_msg_cb(conf, &KafkaClient::OnDelivery);
  client->handle_ = rd_kafka_new(role == Role::kConsumer ? RD_KAFKA_CONSUMER : RD_KAFKA_PRODUCER,
                                 conf, error, sizeof(error));
  if (client->handle_ == nullptr) {
    rd_kafka_conf_destroy(conf);
    return absl::InvalidArgumentError(
        Text("cannot create a Kafka client: brokers=", options.brokers, ": ", error));
  }
  return client;
}

KafkaClient::~KafkaClient() {
  if (handle_ == nullptr) return;
  // Nobody waits for what is queued: the outbox or the next attempt has it.
  if (rd_kafka_type(handle_) == RD_KAFKA_PRODUCER) {
    rd_kafka_purge(handle_, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT |
                                RD_KAFKA_PURGE_F_NON_BLOCKING);
  }
  rd_kafka_destroy_flags(handle_, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
}

absl::Status KafkaClient::Failed(rd_kafka_resp_err_t code, std::string_view attempted) {
  // Producers and clients without an assignment get their errors here; consumers with one get them
  // with their messages, and rd_kafka_poll is then a no-op.
  Poll(0);
  return KafkaStatus(code, Text(attempted, " brokers=", brokers_), last_error_);
}

absl::StatusOr<int32_t> KafkaClient::PartitionCount(const std::string& topic,
                                                    const KafkaDeadline& deadline) {
  KafkaTopicHandle handle(rd_kafka_topic_new(handle_, topic.c_str(), nullptr));
  if (handle == nullptr) {
    return Failed(rd_kafka_last_error(), Text("cannot look up topic=", topic));
  }
  const std::string attempted = Text("cannot look up topic=", topic);
  const int patience_ms = static_cast<int>(absl::ToInt64Milliseconds(kUnknownTopicPatience));
  const int begin_ms = deadline.remaining_ms();
  while (true) {
    const rd_kafka_metadata_t* metadata = nullptr;
    const rd_kafka_resp_err_t failure = rd_kafka_metadata(handle_, 0, handle.get(), &metadata,
                                                          std::max(1, deadline.remaining_ms()));
    if (failure != RD_KAFKA_RESP_ERR_NO_ERROR) return Failed(failure, attempted);
    const rd_kafka_resp_err_t code = metadata->topic_cnt == 1
                                         ? metadata->topics[0].err
                                         : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    const int32_t count = metadata->topic_cnt == 1 ? metadata->topics[0].partition_cnt : 0;
    rd_kafka_metadata_destroy(metadata);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR && count > 0) return count;
    const bool may_appear = code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
                            code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE ||
                            code == RD_KAFKA_RESP_ERR_NO_ERROR;
    if (!may_appear) return Failed(code, attempted);
    if (deadline.passed() || begin_ms - deadline.remaining_ms() >= patience_ms) {
      if (code != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) return Failed(code, attempted);
      return absl::NotFoundError(Text("the topic does not exist: topic=", topic, " brokers=",
                                      brokers_, "; create it, or correct the option 'topic'"));
    }
    Poll(100);
  }
}

absl::StatusOr<KafkaOffsetRange> KafkaClient::OffsetRange(const KafkaPartition& partition,
                                                          const KafkaDeadline& deadline) {
  while (true) {
    KafkaOffsetRange range;
    const rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets(
        handle_, partition.topic.c_str(), partition.partition, &range.low, &range.high,
        std::max(1, deadline.remaining_ms()));
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return range;
    const bool unknown = code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION ||
                         code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
                         code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    if (unknown && !deadline.passed()) {
      // Newer than what this client knows of the topic: make it ask.
      MILLRACE_ASSIGN_OR_RETURN(const int32_t count, PartitionCount(partition.topic, deadline));
      if (partition.partition >= count) {
        return absl::NotFoundError(Text("the partition does not exist: topic=", partition.topic,
                                        " partition=", partition.partition, " partitions=", count));
      }
      Poll(10);
      continue;
    }
    // A leader election takes a moment; ask again.
    const bool moving = code == RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION ||
                        code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE ||
                        code == RD_KAFKA_RESP_ERR__WAIT_COORD;
    if (!moving || deadline.passed()) {
      return Failed(code, Text("cannot read the offsets of topic=", partition.topic,
                               " partition=", partition.partition));
    }
    Poll(100);
  }
}

absl::StatusOr<std::map<KafkaPartition, int64_t>> KafkaClient::OffsetsForTime(
    const std::vector<KafkaPartition>& partitions, int64_t timestamp_ms,
    const KafkaDeadline& deadline) {
  const KafkaListHandle list = ListOf(partitions, timestamp_ms);
  const rd_kafka_resp_err_t code =
      rd_kafka_offsets_for_times(handle_, list.get(), std::max(1, deadline.remaining_ms()));
  const std::string attempted = Text("cannot look up offsets of timestamp=", timestamp_ms);
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return Failed(code, attempted);
  std::map<KafkaPartition, int64_t> offsets;
  for (int i = 0; i < list->cnt; ++i) {
    const rd_kafka_topic_partition_t& p = list->elems[i];
    if (p.err != RD_KAFKA_RESP_ERR_NO_ERROR) return Failed(p.err, attempted);
    offsets[{p.topic, p.partition}] = p.offset < 0 ? -1 : p.offset;
  }
  return offsets;
}

absl::StatusOr<std::map<KafkaPartition, int64_t>> KafkaClient::CommittedOffsets(
    const std::vector<KafkaPartition>& partitions, const KafkaDeadline& deadline) {
  const KafkaListHandle list = ListOf(partitions, RD_KAFKA_OFFSET_INVALID);
  const rd_kafka_resp_err_t code =
      rd_kafka_committed(handle_, list.get(), std::max(1, deadline.remaining_ms()));
  const std::string attempted = "cannot read the consumer group's offsets";
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return Failed(code, attempted);
  std::map<KafkaPartition, int64_t> offsets;
  for (int i = 0; i < list->cnt; ++i) {
    const rd_kafka_topic_partition_t& p = list->elems[i];
    if (p.err != RD_KAFKA_RESP_ERR_NO_ERROR) return Failed(p.err, attempted);
    if (p.offset >= 0) offsets[{p.topic, p.partition}] = p.offset;
  }
  return offsets;
}

}  // namespace millrace
