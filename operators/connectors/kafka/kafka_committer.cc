#include "operators/connectors/kafka/kafka_committer.h"

#include <algorithm>

#include "millrace/v1/checkpoint.pb.h"
#include "operators/connectors/kafka/kafka_marker_log.h"
#include "operators/connectors/kafka/kafka_produce.h"
#include "operators/connectors/kafka/text.h"
#include "runtime/base/failpoint.h"
#include "runtime/base/log.h"
#include "runtime/base/status_macros.h"
#include "runtime/checkpoint/outbox.h"

namespace millrace {
namespace {

constexpr int kCallTimeoutMs = 5000;

KafkaProperties ProducerSettings(const KafkaSinkOptions& options, const std::string& id) {
  KafkaProperties settings = {
      {"transactional.id", id},
      {"enable.idempotence", "true"},
      // The end of the topic of markers, not the last stable offset.
      {"isolation.level", "read_uncommitted"},
      {"delivery.report.only.error", "true"},
  };
  const auto unless_given = [&](std::string_view name, std::string_view value) {
    if (!options.client.properties.contains(name)) settings.emplace(name, value);
  };
  // An open transaction keeps readers of its partitions waiting; ours last milliseconds.
  const auto given = options.client.properties.find("transaction.timeout.ms");
  const std::string timeout_ms =
      given == options.client.properties.end() ? "30000" : given->second.Reveal();
  unless_given("transaction.timeout.ms", timeout_ms);
  // The client refuses messages that outlive their transaction.
  if (!options.client.properties.contains("delivery.timeout.ms")) {
    unless_given("message.timeout.ms", timeout_ms);
  }
  unless_given("linger.ms", "5");
  unless_given("queue.buffering.max.kbytes", "65536");
  unless_given("queue.buffering.max.messages", "500000");
  return settings;
}

}  // namespace

absl::Status KafkaCommitter::Commit(const v1::CommitToken& token, Outbox& outbox) {
  MILLRACE_ASSIGN_OR_RETURN(const KafkaCommitPayload payload,
                            DecodeKafkaCommitPayload(token.payload()));
  if (payload.transactional_id != transactional_id_) {
    producer_.reset();
    transactional_id_ = payload.transactional_id;
  }
  const KafkaDeadline deadline(context_.env.clock, context_.options.delivery_timeout);
  for (int attempt = 0;; ++attempt) {
    remedy_ = TransactionRemedy::kNewProducer;
    const absl::Status status = CommitDecided(token, payload, outbox, deadline);
    if (status.ok()) return status;
    // The instance is kept only where the transaction is known to be aborted.
    if (remedy_ != TransactionRemedy::kAbort) producer_.reset();
    const bool final = status.code() != absl::StatusCode::kUnavailable ||
                       remedy_ == TransactionRemedy::kFenced ||
                       remedy_ == TransactionRemedy::kGiveUp;
    if (final) return status;
    if (!WaitBeforeRetry(deadline, attempt)) {
      producer_.reset();
      return absl::UnavailableError(
          Text("cannot commit epoch=", token.epoch(), " slot=", token.slot(), " within ",
               absl::FormatDuration(context_.options.delivery_timeout), ": ", status.message()));
    }
    LogWarning("kafka sink: commit is tried again", {{"uid", token.uid()},
                                                     {"slot", token.slot()},
                                                     {"epoch", token.epoch()},
                                                     {"error", ToStd(status.message())}});
  }
}

absl::Status KafkaCommitter::CommitDecided(const v1::CommitToken& token,
                                           const KafkaCommitPayload& payload, Outbox& outbox,
                                           const KafkaDeadline& deadline) {
  if (producer_ == nullptr) MILLRACE_RETURN_IF_ERROR(Start(token, payload, deadline));
  if (marker_ && marker_->generation > context_.generation.number) {
    remedy_ = TransactionRemedy::kFenced;
    return absl::AbortedError(Text("a newer generation has the slot: slot=", token.slot(),
                                   " generation=", context_.generation.number,
                                   " newer=", marker_->generation));
  }
  const uint64_t committed = marker_ ? marker_->epoch : 0;
  const uint64_t checkpoint = std::max(token.epoch(), context_.restored_epoch.number);
  if (committed > checkpoint) {
    return absl::FailedPreconditionError(
        Text("the topic already holds later output than the checkpoint: topic=", payload.topic,
             " slot=", token.slot(), " checkpoint_epoch=", checkpoint,
             " committed_epoch=", committed, "; going on would write it twice"));
  }
  if (committed >= token.epoch()) return absl::OkStatus();
  // Nothing to make visible; the next epoch with output writes the marker. An older marker is right
  // for as long as nothing was committed after it.
  if (token.outbox_size() == 0) return absl::OkStatus();
  return Transact(token, payload, outbox, deadline);
}

absl::Status KafkaCommitter::Start(const v1::CommitToken& token, const KafkaCommitPayload& payload,
                                   const KafkaDeadline& deadline) {
  marker_.reset();
  first_delivery_error_.clear();
  MILLRACE_ASSIGN_OR_RETURN(
      std::unique_ptr<KafkaClient> producer,
      KafkaClient::Make(KafkaClient::Role::kProducer, context_.options.client,
                        ProducerSettings(context_.options, payload.transactional_id),
                        [this](const rd_kafka_message_t& message) {
                          if (first_delivery_error_.empty()) {
                            first_delivery_error_ = rd_kafka_err2str(message.err);
                          }
                        }));
  producer_ = std::move(producer);
  MILLRACE_RETURN_IF_ERROR(Retry(
      Text("cannot fence transactional.id=", payload.transactional_id), deadline,
      [&](int timeout_ms) { return rd_kafka_init_transactions(producer_->handle(), timeout_ms); }));
  MILLRACE_FAILPOINT("kafka.init.after_fence");
  MILLRACE_RETURN_IF_ERROR(EnsureMarkerTopic(*producer_, deadline));
  // A first record to a topic that the client does not know waits a second.
  MILLRACE_RETURN_IF_ERROR(producer_->PartitionCount(payload.topic, deadline).status());
  MILLRACE_RETURN_IF_ERROR(producer_->PartitionCount(kMarkerTopic, deadline).status());
  MILLRACE_ASSIGN_OR_RETURN(
      marker_,
      ReadKafkaMarker(*producer_, context_.options.client,
                      KafkaMarkerKey(context_.job_id, token.uid(), token.slot()), deadline));
  return absl::OkStatus();
}

absl::Status KafkaCommitter::Transact(const v1::CommitToken& token,
                                      const KafkaCommitPayload& payload, Outbox& outbox,
                                      const KafkaDeadline& deadline) {
  rd_kafka_t* rk = producer_->handle();
  const std::string where =
      Text("topic=", payload.topic, " slot=", token.slot(), " epoch=", token.epoch());
  MILLRACE_FAILPOINT("kafka.commit.before_begin");
  MILLRACE_RETURN_IF_ERROR(Retry(Text("cannot begin a transaction: ", where), deadline,
                                 [&](int) { return rd_kafka_begin_transaction(rk); }));
  const absl::StatusOr<KafkaMarker> marker = ProduceAll(token, payload, outbox, deadline);
  if (!marker.ok()) {
    Abort(where, deadline);
    return marker.status();
  }
  absl::Status status =
      Retry(Text("cannot commit a transaction: ", where), deadline,
            [&](int timeout_ms) { return rd_kafka_commit_transaction(rk, timeout_ms); });
  if (!status.ok()) {
    // Only when the client knows that it is not committed; else the outcome is unknown.
    const bool certain =
        remedy_ == TransactionRemedy::kAbort || remedy_ == TransactionRemedy::kGiveUp;
    if (certain) Abort(where, deadline);
    return status;
  }
  MILLRACE_FAILPOINT("kafka.commit.after_commit");
  marker_ = *marker;
  return absl::OkStatus();
}

void KafkaCommitter::Abort(std::string_view where, const KafkaDeadline& deadline) {
  // Also where the instance is given up afterwards: an instance of librdkafka 2.0 that is destroyed
  // while it adds partitions to a transaction may end the process by an assertion of its own.
  const TransactionRemedy cause = remedy_;
  if (cause == TransactionRemedy::kFenced) return;
  const absl::Status aborted = Retry(
      Text("cannot abort a transaction: ", where), deadline,
      [&](int timeout_ms) { return rd_kafka_abort_transaction(producer_->handle(), timeout_ms); });
  remedy_ = aborted.ok() ? cause : TransactionRemedy::kNewProducer;
}

absl::StatusOr<KafkaMarker> KafkaCommitter::ProduceAll(const v1::CommitToken& token,
                                                       const KafkaCommitPayload& payload,
                                                       Outbox& outbox,
                                                       const KafkaDeadline& deadline) {
  rd_kafka_t* rk = producer_->handle();
  const KafkaTopicHandle topic(rd_kafka_topic_new(rk, payload.topic.c_str(), nullptr));
  const KafkaTopicHandle marker_topic(rd_kafka_topic_new(rk, kMarkerTopic, nullptr));
  if (topic == nullptr || marker_topic == nullptr) {
    return producer_->Failed(rd_kafka_last_error(), "cannot open the topics of the sink");
  }
  MILLRACE_FAILPOINT("kafka.commit.after_begin");
  KafkaOutboxReader reader;
  MILLRACE_RETURN_IF_ERROR(outbox.Read(token, [&](std::string_view record) {
    return reader.Add(
        record, [&](const KafkaFrame& frame) { return Produce(topic.get(), frame, deadline); });
  }));
  MILLRACE_RETURN_IF_ERROR(reader.Finish({payload.count, payload.hash}));
  MILLRACE_FAILPOINT("kafka.commit.after_produce");
  const KafkaMarker marker{.epoch = token.epoch(),
                           .generation = context_.generation.number,
                           .count = reader.all().count,
                           .hash = reader.all().hash};
  const std::string key = KafkaMarkerKey(context_.job_id, token.uid(), token.slot());
  const std::string value = EncodeKafkaMarker(marker);
  MILLRACE_RETURN_IF_ERROR(
      Produce(marker_topic.get(), {.partition = 0, .key = key, .value = value}, deadline));
  MILLRACE_FAILPOINT("kafka.commit.after_marker");
  MILLRACE_FAILPOINT("kafka.commit.before_commit");
  return marker;
}

absl::Status KafkaCommitter::Produce(rd_kafka_topic_t* topic, const KafkaFrame& frame,
                                     const KafkaDeadline& deadline) {
  while (true) {
    const rd_kafka_resp_err_t code = ProduceFrame(producer_->handle(), topic, frame);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return absl::OkStatus();
    if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL && !deadline.passed()) {
      producer_->Poll(100);
      continue;
    }
    const bool fatal = rd_kafka_fatal_error(producer_->handle(), nullptr, 0) != 0;
    remedy_ = RemedyForTransaction(
        {.code = fatal ? rd_kafka_fatal_error(producer_->handle(), nullptr, 0) : code,
         .fatal = fatal});
    return producer_->Failed(code, Text("cannot write a record: topic=", rd_kafka_topic_name(topic),
                                        " partition=", frame.partition,
                                        " bytes=", frame.value ? frame.value->size() : 0));
  }
}

template <typename Call>
absl::Status KafkaCommitter::Retry(std::string_view attempted, const KafkaDeadline& deadline,
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
        !context_.stop.HasBeenNotified()) {
      producer_->Poll(10);
      continue;
    }
    std::string detail = rd_kafka_error_string(error.get());
    if (!first_delivery_error_.empty()) detail += Text("; ", first_delivery_error_);
    first_delivery_error_.clear();
    // Out of time: whether it goes on in the background is unknown.
    if (remedy_ == TransactionRemedy::kCallAgain) remedy_ = TransactionRemedy::kNewProducer;
    return KafkaStatus(seen.code, Text(attempted, " brokers=", context_.options.client.brokers),
                       detail);
  }
}

bool KafkaCommitter::WaitBeforeRetry(const KafkaDeadline& deadline, int attempt) {
  const int wait_ms = 50 << std::min(attempt, 5);
  if (deadline.remaining_ms() <= wait_ms) return false;
  return !context_.stop.WaitForNotificationWithTimeout(absl::Milliseconds(wait_ms));
}

}  // namespace millrace
