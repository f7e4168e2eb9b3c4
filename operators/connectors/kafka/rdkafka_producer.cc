#include "operators/connectors/kafka/rdkafka_producer.h"

#include <algorithm>
#include <utility>

#include "operators/connectors/kafka/kafka_produce.h"
#include "operators/connectors/kafka/text.h"
#include "runtime/base/status_macros.h"

namespace millrace {
namespace {

constexpr int kCallTimeoutMs = 5000;

KafkaProperties SettingsOf(const KafkaClientOptions& options, const std::string& id) {
  KafkaProperties settings = {
      {"transactional.id", id},
      {"enable.idempotence", "true"},
      {"delivery.report.only.error", "true"},
  };
  const auto unless_given = [&](std::string_view name, std::string_view value) {
    if (!options.properties.contains(name)) settings.emplace(name, value);
  };
  // An open transaction keeps readers of its partitions waiting; ours last milliseconds.
  const auto given = options.properties.find("transaction.timeout.ms");
  const std::string timeout_ms =
      given == options.properties.end() ? "30000" : given->second.Reveal();
  unless_given("transaction.timeout.ms", timeout_ms);
  // The client refuses messages that outlive their transaction.
  if (!options.properties.contains("delivery.timeout.ms")) {
    unless_given("message.timeout.ms", timeout_ms);
  }
  unless_given("linger.ms", "5");
  unless_given("queue.buffering.max.kbytes", "65536");
  unless_given("queue.buffering.max.messages", "500000");
  return settings;
}

}  // namespace

absl::StatusOr<std::unique_ptr<RdkafkaProducer>> RdkafkaProducer::Make(
    const KafkaClientOptions& options, const std::string& transactional_id,
    std::vector<std::string> topics, const absl::Notification& stop) {
  std::unique_ptr<RdkafkaProducer> producer(new RdkafkaProducer(options, std::move(topics), stop));
  MILLRACE_ASSIGN_OR_RETURN(
      producer->client_,
      KafkaClient::Make(KafkaClient::Role::kProducer, options,
                        SettingsOf(options, transactional_id),
                        [raw = producer.get()](const rd_kafka_message_t& message) {
                          if (raw->first_delivery_error_.empty()) {
                            raw->first_delivery_error_ = rd_kafka_err2str(message.err);
                          }
                        }));
  return producer;
}

absl::Status RdkafkaProducer::Fence(const KafkaDeadline& deadline) {
  MILLRACE_RETURN_IF_ERROR(Retry("cannot fence the slot", deadline, [&](int timeout_ms) {
    return rd_kafka_init_transactions(client_->handle(), timeout_ms);
  }));
  for (const std::string& topic : topics_) {
    // A first record to a topic that the client does not know waits a second.
    MILLRACE_RETURN_IF_ERROR(client_->PartitionCount(topic, deadline).status());
    handles_.emplace_back(rd_kafka_topic_new(client_->handle(), topic.c_str(), nullptr));
    if (handles_.back() == nullptr) {
      return client_->Failed(rd_kafka_last_error(), Text("cannot open topic=", topic));
    }
  }
  return absl::OkStatus();
}

absl::Status RdkafkaProducer::Begin(const KafkaDeadline& deadline) {
  return Retry("cannot begin a transaction", deadline,
               [&](int) { return rd_kafka_begin_transaction(client_->handle()); });
}

absl::Status RdkafkaProducer::Add(size_t topic, const KafkaFrame& frame,
                                  const KafkaDeadline& deadline) {
  rd_kafka_t* rk = client_->handle();
  while (true) {
    const rd_kafka_resp_err_t code = ProduceFrame(rk, handles_[topic].get(), frame);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return absl::OkStatus();
    if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL && !deadline.passed()) {
      client_->Poll(100);
      continue;
    }
    const bool fatal = rd_kafka_fatal_error(rk, nullptr, 0) != 0;
    remedy_ = RemedyForTransaction(
        {.code = fatal ? rd_kafka_fatal_error(rk, nullptr, 0) : code, .fatal = fatal});
    return client_->Failed(
        code, Text("cannot write a record: topic=", topics_[topic], " partition=", frame.partition,
                   " bytes=", frame.value ? frame.value->size() : 0));
  }
}

absl::Status RdkafkaProducer::Commit(const KafkaDeadline& deadline) {
  return Retry("cannot commit a transaction", deadline, [&](int timeout_ms) {
    return rd_kafka_commit_transaction(client_->handle(), timeout_ms);
  });
}

absl::Status RdkafkaProducer::Abort(const KafkaDeadline& deadline) {
  return Retry("cannot abort a transaction", deadline, [&](int timeout_ms) {
    return rd_kafka_abort_transaction(client_->handle(), timeout_ms);
  });
}

template <typename Call>
absl::Status RdkafkaProducer::Retry(std::string_view attempted, const KafkaDeadline& deadline,
                                    const Call& call) {
  while (true) {
    const KafkaErrorHandle error(call(std::max(1, deadline.remaining_ms(kCallTimeoutMs))));
    if (error == nullptr) return absl::OkStatus();
    const TransactionError seen = {
        .code = rd_kafka_error_code(error.get()),
        .requires_abort = rd_kafka_error_txn_requires_abort(error.get()) != 0,
        .retriable = rd_kafka_error_is_retriable(error.get()) != 0,
        .fatal = rd_kafka_error_is_fatal(error.get()) != 0,
    };
    remedy_ = RemedyForTransaction(seen);
    if (remedy_ == TransactionRemedy::kCallAgain && !deadline.passed() &&
        !stop_.HasBeenNotified()) {
      client_->Poll(10);
      continue;
    }
    std::string detail = rd_kafka_error_string(error.get());
    if (!first_delivery_error_.empty()) detail += Text("; ", first_delivery_error_);
    first_delivery_error_.clear();
    // Out of time: whether it goes on in the background is unknown.
    if (remedy_ == TransactionRemedy::kCallAgain) remedy_ = TransactionRemedy::kNewProducer;
    return KafkaStatus(seen.code, Text(attempted, ": brokers=", options_.brokers), detail);
  }
}

}  // namespace millrace
