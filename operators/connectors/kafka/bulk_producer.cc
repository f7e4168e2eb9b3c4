#include "operators/connectors/kafka/bulk_producer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "operators/connectors/kafka/kafka_client.h"
#include "runtime/base/status_macros.h"

namespace millrace {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(60);

struct NewTopicDeleter {
  void operator()(rd_kafka_NewTopic_t* topic) const { rd_kafka_NewTopic_destroy(topic); }
};

absl::Status CreateTopic(KafkaClient& client, const std::string& topic, int32_t partitions,
                         const KafkaDeadline& deadline) {
  char reason[512];
  const std::unique_ptr<rd_kafka_NewTopic_t, NewTopicDeleter> wanted(
      rd_kafka_NewTopic_new(topic.c_str(), partitions, -1, reason, sizeof(reason)));
  if (wanted == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("cannot create topic ", topic, ": ", reason));
  }
  // Records carry event times of any year: retention by time would delete old ones at once.
  rd_kafka_NewTopic_set_config(wanted.get(), "retention.ms", "-1");
  const KafkaQueueHandle queue(rd_kafka_queue_new(client.handle()));
  rd_kafka_NewTopic_t* topics[] = {wanted.get()};
  rd_kafka_CreateTopics(client.handle(), topics, 1, nullptr, queue.get());
  const KafkaEventHandle event(rd_kafka_queue_poll(queue.get(), deadline.remaining_ms()));
  const rd_kafka_CreateTopics_result_t* result =
      event == nullptr ? nullptr : rd_kafka_event_CreateTopics_result(event.get());
  if (result == nullptr) {
    return absl::UnavailableError(
        absl::StrCat("no answer to the creation of topic ", topic, " from ", client.brokers()));
  }
  size_t count = 0;
  const rd_kafka_topic_result_t** answers = rd_kafka_CreateTopics_result_topics(result, &count);
  const rd_kafka_resp_err_t code =
      count == 1 ? rd_kafka_topic_result_error(answers[0]) : RD_KAFKA_RESP_ERR__FAIL;
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) {
    return absl::OkStatus();
  }
  return client.Failed(code, absl::StrCat("cannot create topic ", topic));
}

class RdKafkaBulkProducer : public BulkProducer {
 public:
  absl::Status Start(const std::string& brokers, const std::string& topic, int32_t partitions,
                     Clock& clock) {
    KafkaClientOptions options;
    options.brokers = brokers;
    MILLRACE_ASSIGN_OR_RETURN(client_,
                              KafkaClient::Make(KafkaClient::Role::kProducer, options,
                                                {{"enable.idempotence", "true"},
                                                 {"linger.ms", "20"},
                                                 {"batch.size", "1000000"},
                                                 {"queue.buffering.max.messages", "2000000"},
                                                 {"queue.buffering.max.kbytes", "262144"}},
                                                [this](const rd_kafka_message_t& message) {
                                                  if (failed_ == RD_KAFKA_RESP_ERR_NO_ERROR) {
                                                    failed_ = message.err;
                                                  }
                                                }));
    const KafkaDeadline deadline(clock, kPatience);
    MILLRACE_RETURN_IF_ERROR(CreateTopic(*client_, topic, partitions, deadline));
    MILLRACE_ASSIGN_OR_RETURN(const int32_t count, client_->PartitionCount(topic, deadline));
    if (count != partitions) {
      return absl::FailedPreconditionError(
          absl::StrCat("topic ", topic, " has ", count, " partitions, not ", partitions));
    }
    topic_.reset(rd_kafka_topic_new(client_->handle(), topic.c_str(), nullptr));
    return absl::OkStatus();
  }

  absl::Status Send(int32_t partition, std::string_view value, int64_t timestamp_ms) override {
    while (true) {
      const rd_kafka_resp_err_t code = rd_kafka_producev(
          client_->handle(), RD_KAFKA_V_RKT(topic_.get()), RD_KAFKA_V_PARTITION(partition),
          RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_TIMESTAMP(timestamp_ms),
          RD_KAFKA_V_VALUE(const_cast<char*>(value.data()), value.size()), RD_KAFKA_V_END);
      if (code == RD_KAFKA_RESP_ERR_NO_ERROR) break;
      if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL) return client_->Failed(code, "cannot produce");
      client_->Poll(100);
    }
    if (++sent_ % 1024 == 0) client_->Poll(0);
    return failed_ == RD_KAFKA_RESP_ERR_NO_ERROR ? absl::OkStatus()
                                                 : client_->Failed(failed_, "cannot produce");
  }

  absl::Status Finish() override {
    const rd_kafka_resp_err_t code =
        rd_kafka_flush(client_->handle(), static_cast<int>(absl::ToInt64Milliseconds(kPatience)));
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return client_->Failed(code, "cannot deliver all");
    return failed_ == RD_KAFKA_RESP_ERR_NO_ERROR ? absl::OkStatus()
                                                 : client_->Failed(failed_, "cannot produce");
  }

 private:
  rd_kafka_resp_err_t failed_ = RD_KAFKA_RESP_ERR_NO_ERROR;  // The first failed delivery.
  std::unique_ptr<KafkaClient> client_;
  KafkaTopicHandle topic_;  // Before its client is gone.
  uint64_t sent_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<BulkProducer>> BulkProducer::Open(const std::string& brokers,
                                                                 const std::string& topic,
                                                                 int32_t partitions, Clock& clock) {
  auto producer = std::make_unique<RdKafkaBulkProducer>();
  MILLRACE_RETURN_IF_ERROR(producer->Start(brokers, topic, partitions, clock));
  return producer;
}

}  // namespace millrace
