#include "operators/connectors/kafka/kafka_committer.h"

#include <algorithm>

#include "millrace/v1/checkpoint.pb.h"
#include "operators/connectors/kafka/kafka_marker_log.h"
#include "operators/connectors/kafka/text.h"
#include "runtime/base/failpoint.h"
#include "runtime/base/log.h"
#include "runtime/base/status.h"
#include "runtime/base/status_macros.h"
#include "runtime/checkpoint/outbox.h"

namespace millrace {
namespace {

// Places of the topics that a committer writes to.
constexpr size_t kDataTopic = 0;
constexpr size_t kTopicOfMarkers = 1;

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
  // The end of the topic of markers, not the last stable offset.
  MILLRACE_ASSIGN_OR_RETURN(const std::unique_ptr<KafkaClient> admin,
                            KafkaClient::Make(KafkaClient::Role::kProducer, context_.options.client,
                                              {{"isolation.level", "read_uncommitted"}}));
  MILLRACE_RETURN_IF_ERROR(EnsureMarkerTopic(*admin, deadline));
  MILLRACE_ASSIGN_OR_RETURN(
      producer_, MakeKafkaProducer(context_.options, context_.env, payload.transactional_id,
                                   {payload.topic, kMarkerTopic}, context_.stop));
  MILLRACE_RETURN_IF_ERROR(
      Judge(producer_->Fence(deadline), Text("transactional.id=", payload.transactional_id)));
  MILLRACE_FAILPOINT("kafka.init.after_fence");
  MILLRACE_ASSIGN_OR_RETURN(
      marker_,
      ReadKafkaMarker(*admin, context_.options.client,
                      KafkaMarkerKey(context_.job_id, token.uid(), token.slot()), deadline));
  return absl::OkStatus();
}

absl::Status KafkaCommitter::Judge(const absl::Status& status, std::string_view where) {
  if (status.ok()) return status;
  remedy_ = producer_->remedy();
  return Annotate(status, where);
}

absl::Status KafkaCommitter::Transact(const v1::CommitToken& token,
                                      const KafkaCommitPayload& payload, Outbox& outbox,
                                      const KafkaDeadline& deadline) {
  const std::string where =
      Text("topic=", payload.topic, " slot=", token.slot(), " epoch=", token.epoch());
  MILLRACE_FAILPOINT("kafka.commit.before_begin");
  MILLRACE_RETURN_IF_ERROR(Judge(producer_->Begin(deadline), where));
  const absl::StatusOr<KafkaMarker> marker = ProduceAll(token, payload, outbox, deadline);
  if (!marker.ok()) {
    Abort(deadline);
    return marker.status();
  }
  if (absl::Status status = Judge(producer_->Commit(deadline), where); !status.ok()) {
    // Only when the client knows that it is not committed; else the outcome is unknown.
    const bool certain =
        remedy_ == TransactionRemedy::kAbort || remedy_ == TransactionRemedy::kGiveUp;
    if (certain) Abort(deadline);
    return status;
  }
  MILLRACE_FAILPOINT("kafka.commit.after_commit");
  marker_ = *marker;
  return absl::OkStatus();
}

void KafkaCommitter::Abort(const KafkaDeadline& deadline) {
  // Also where the instance is given up afterwards: an instance of librdkafka 2.0 that is destroyed
  // while it adds partitions to a transaction may end the process by an assertion of its own.
  if (remedy_ == TransactionRemedy::kFenced) return;
  if (producer_->Abort(deadline).ok()) return;
  remedy_ = producer_->remedy() == TransactionRemedy::kFenced ? TransactionRemedy::kFenced
                                                              : TransactionRemedy::kNewProducer;
}

absl::StatusOr<KafkaMarker> KafkaCommitter::ProduceAll(const v1::CommitToken& token,
                                                       const KafkaCommitPayload& payload,
                                                       Outbox& outbox,
                                                       const KafkaDeadline& deadline) {
  const auto add = [&](size_t topic, const KafkaFrame& frame) {
    absl::Status status = producer_->Add(topic, frame, deadline);
    return status.ok() ? status : Judge(status, Text("epoch=", token.epoch()));
  };
  MILLRACE_FAILPOINT("kafka.commit.after_begin");
  KafkaOutboxReader reader;
  MILLRACE_RETURN_IF_ERROR(outbox.Read(token, [&](std::string_view record) {
    return reader.Add(record, [&](const KafkaFrame& frame) { return add(kDataTopic, frame); });
  }));
  MILLRACE_RETURN_IF_ERROR(reader.Finish({payload.count, payload.hash}));
  MILLRACE_FAILPOINT("kafka.commit.after_produce");
  const KafkaMarker marker{.epoch = token.epoch(),
                           .generation = context_.generation.number,
                           .count = reader.all().count,
                           .hash = reader.all().hash};
  const std::string key = KafkaMarkerKey(context_.job_id, token.uid(), token.slot());
  const std::string value = EncodeKafkaMarker(marker);
  MILLRACE_RETURN_IF_ERROR(add(kTopicOfMarkers, {.partition = 0, .key = key, .value = value}));
  MILLRACE_FAILPOINT("kafka.commit.after_marker");
  MILLRACE_RETURN_IF_ERROR(Judge(producer_->Flush(deadline), Text("epoch=", token.epoch())));
  MILLRACE_FAILPOINT("kafka.commit.before_commit");
  return marker;
}

bool KafkaCommitter::WaitBeforeRetry(const KafkaDeadline& deadline, int attempt) {
  const int wait_ms = 50 << std::min(attempt, 5);
  if (deadline.remaining_ms() <= wait_ms) return false;
  return !context_.stop.WaitForNotificationWithTimeout(absl::Milliseconds(wait_ms));
}

}  // namespace millrace
