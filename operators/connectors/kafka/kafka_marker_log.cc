#include "operators/connectors/kafka/kafka_marker_log.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "operators/connectors/kafka/kafka_errors.h"
#include "operators/connectors/kafka/text.h"
#include "runtime/base/log.h"
#include "runtime/base/status_macros.h"

namespace millrace {
namespace {

constexpr int64_t kFirstWindow = 64;
constexpr int64_t kWindowGrowth = 8;
constexpr int kTopicPollMs = 50;

struct AdminOptionsDeleter {
  void operator()(rd_kafka_AdminOptions_t* o) const { rd_kafka_AdminOptions_destroy(o); }
};
using AdminOptions = std::unique_ptr<rd_kafka_AdminOptions_t, AdminOptionsDeleter>;

AdminOptions MakeAdminOptions(rd_kafka_t* rk, rd_kafka_admin_op_t op,
                              const KafkaDeadline& deadline) {
  AdminOptions options(rd_kafka_AdminOptions_new(rk, op));
  char error[256];
  rd_kafka_AdminOptions_set_request_timeout(options.get(), std::max(1, deadline.remaining_ms()),
                                            error, sizeof(error));
  return options;
}

absl::Status CreateMarkerTopic(KafkaClient& producer, const KafkaDeadline& deadline) {
  rd_kafka_t* rk = producer.handle();
  const std::string attempted = Text("cannot create topic=", kMarkerTopic);
  char error[256];
  // Replication: the broker's default.
  rd_kafka_NewTopic_t* topic =
      rd_kafka_NewTopic_new(kMarkerTopic, 1, /*replication_factor=*/-1, error, sizeof(error));
  rd_kafka_NewTopic_set_config(topic, "cleanup.policy", "compact");
  rd_kafka_NewTopic_set_config(topic, "retention.ms", "-1");
  const KafkaQueueHandle queue(rd_kafka_queue_new(rk));
  const AdminOptions options = MakeAdminOptions(rk, RD_KAFKA_ADMIN_OP_CREATETOPICS, deadline);
  rd_kafka_CreateTopics(rk, &topic, 1, options.get(), queue.get());
  const KafkaEventHandle event(rd_kafka_queue_poll(queue.get(), deadline.remaining_ms() + 1000));
  rd_kafka_NewTopic_destroy(topic);
  if (event == nullptr) return producer.Failed(RD_KAFKA_RESP_ERR__TIMED_OUT, attempted);
  if (const auto code = rd_kafka_event_error(event.get()); code != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return producer.Failed(code, attempted);
  }
  size_t count = 0;
  const rd_kafka_topic_result_t** results =
      rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event.get()), &count);
  if (count != 1) return producer.Failed(RD_KAFKA_RESP_ERR__BAD_MSG, attempted);
  const auto code = rd_kafka_topic_result_error(results[0]);
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) {
    return absl::OkStatus();
  }
  return producer.Failed(code, attempted);
}

// Markers that expire would make a restarted job repeat what it has committed.
// kNotFound: the broker that answered does not know the topic, perhaps not yet.
absl::Status CheckMarkerTopicOnce(KafkaClient& producer, const KafkaDeadline& deadline) {
  rd_kafka_t* rk = producer.handle();
  rd_kafka_ConfigResource_t* resource =
      rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, kMarkerTopic);
  const KafkaQueueHandle queue(rd_kafka_queue_new(rk));
  const AdminOptions options = MakeAdminOptions(rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, deadline);
  rd_kafka_DescribeConfigs(rk, &resource, 1, options.get(), queue.get());
  const KafkaEventHandle event(rd_kafka_queue_poll(queue.get(), deadline.remaining_ms() + 1000));
  rd_kafka_ConfigResource_destroy(resource);
  const std::string attempted = Text("cannot read the settings of topic=", kMarkerTopic);
  if (event == nullptr) return producer.Failed(RD_KAFKA_RESP_ERR__TIMED_OUT, attempted);
  if (const auto code = rd_kafka_event_error(event.get()); code != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return producer.Failed(code, attempted);
  }
  size_t count = 0;
  const rd_kafka_ConfigResource_t** resources = rd_kafka_DescribeConfigs_result_resources(
      rd_kafka_event_DescribeConfigs_result(event.get()), &count);
  if (count != 1) return producer.Failed(RD_KAFKA_RESP_ERR__BAD_MSG, attempted);
  const auto code = rd_kafka_ConfigResource_error(resources[0]);
  if (code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED) {
    LogWarning("the settings of the topic of markers may not be read; it must be compacted",
               {{"topic", kMarkerTopic}});
    return absl::OkStatus();
  }
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return producer.Failed(code, attempted);
  const rd_kafka_ConfigEntry_t** entries = rd_kafka_ConfigResource_configs(resources[0], &count);
  for (size_t i = 0; i < count; ++i) {
    if (rd_kafka_ConfigEntry_name(entries[i]) != std::string_view("cleanup.policy")) continue;
    const char* value = rd_kafka_ConfigEntry_value(entries[i]);
    const std::string_view policy = value == nullptr ? "" : value;
    if (policy == "compact") return absl::OkStatus();
    return absl::FailedPreconditionError(
        Text("the topic of markers would forget what is committed: topic=", kMarkerTopic,
             " cleanup.policy=", policy, "; set its cleanup.policy to 'compact'"));
  }
  return absl::OkStatus();
}

// The controller creates a topic some time before every broker knows it.
absl::Status CheckMarkerTopic(KafkaClient& producer, const KafkaDeadline& deadline) {
  for (;;) {
    const absl::Status status = CheckMarkerTopicOnce(producer, deadline);
    if (!absl::IsNotFound(status) || deadline.passed()) return status;
    rd_kafka_poll(producer.handle(), deadline.remaining_ms(kTopicPollMs));
  }
}

// Reads [begin, end) and keeps the last marker of `key`.
absl::Status ReadWindow(KafkaClient& consumer, const std::string& key, int64_t begin, int64_t end,
                        const KafkaDeadline& deadline, std::optional<std::string>& found) {
  const KafkaListHandle list(rd_kafka_topic_partition_list_new(1));
  rd_kafka_topic_partition_list_add(list.get(), kMarkerTopic, 0)->offset = begin;
  const std::string attempted =
      Text("cannot read markers: topic=", kMarkerTopic, " from=", begin, " to=", end);
  if (const auto code = rd_kafka_assign(consumer.handle(), list.get());
      code != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return consumer.Failed(code, attempted);
  }
  while (!deadline.passed()) {
    const std::unique_ptr<rd_kafka_message_t, decltype(&rd_kafka_message_destroy)> message(
        rd_kafka_consumer_poll(consumer.handle(), deadline.remaining_ms(100)),
        &rd_kafka_message_destroy);
    if (message == nullptr) continue;
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
      // The last stable offset; open transactions of other slots may keep it below the end for a
      // moment.
      if (message->offset >= end) return absl::OkStatus();
      continue;
    }
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
      if (message->rkt == nullptr) continue;  // A broker comes or goes; the deadline decides.
      return consumer.Failed(message->err, attempted);
    }
    if (message->offset >= end) return absl::OkStatus();
    const std::string_view message_key(static_cast<const char*>(message->key), message->key_len);
    if (message->key != nullptr && message_key == key) {
      found.emplace(static_cast<const char*>(message->payload), message->len);
    }
    if (message->offset + 1 >= end) return absl::OkStatus();
  }
  return absl::UnavailableError(
      Text(attempted,
           ": not complete in time; is a transaction open there? brokers=", consumer.brokers()));
}

}  // namespace

absl::Status EnsureMarkerTopic(KafkaClient& producer, const KafkaDeadline& deadline) {
  MILLRACE_RETURN_IF_ERROR(CreateMarkerTopic(producer, deadline));
  return CheckMarkerTopic(producer, deadline);
}

absl::StatusOr<std::optional<KafkaMarker>> ReadKafkaMarker(KafkaClient& producer,
                                                           const KafkaClientOptions& options,
                                                           const std::string& key,
                                                           const KafkaDeadline& deadline) {
  MILLRACE_ASSIGN_OR_RETURN(const std::optional<std::string> value,
                            ReadMarkerValue(producer, options, key, deadline));
  if (!value) return std::nullopt;
  MILLRACE_ASSIGN_OR_RETURN(const KafkaMarker marker, DecodeKafkaMarker(*value));
  return marker;
}

absl::StatusOr<std::optional<std::string>> ReadMarkerValue(KafkaClient& producer,
                                                           const KafkaClientOptions& options,
                                                           const std::string& key,
                                                           const KafkaDeadline& deadline) {
  // The end for read_uncommitted: a committed marker never lies behind it.
  MILLRACE_ASSIGN_OR_RETURN(const KafkaOffsetRange range,
                            producer.OffsetRange({kMarkerTopic, 0}, deadline));
  std::optional<std::string> found;
  if (range.low >= range.high) return found;
  MILLRACE_ASSIGN_OR_RETURN(const auto consumer,
                            KafkaClient::Make(KafkaClient::Role::kConsumer, options,
                                              {{"group.id", "millrace-markers"},
                                               {"enable.auto.commit", "false"},
                                               {"enable.partition.eof", "true"},
                                               {"auto.offset.reset", "error"},
                                               {"check.crcs", "true"},
                                               {"isolation.level", "read_committed"},
                                               {"fetch.wait.max.ms", "10"}}));
  rd_kafka_poll_set_consumer(consumer->handle());
  // Warms the client up; see KafkaSource::AddSplits.
  MILLRACE_RETURN_IF_ERROR(consumer->OffsetRange({kMarkerTopic, 0}, deadline).status());
  // Backwards in growing windows down to the beginning: aborted and control records and other keys
  // take offsets too.
  int64_t end = range.high;
  for (int64_t window = kFirstWindow;; window *= kWindowGrowth) {
    const int64_t begin = std::max(range.low, end - window);
    MILLRACE_RETURN_IF_ERROR(ReadWindow(*consumer, key, begin, end, deadline, found));
    if (found || begin == range.low) return found;
    end = begin;
  }
}

}  // namespace millrace
