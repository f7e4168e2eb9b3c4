// A job's epochs: from the barrier to the last commit acknowledgement.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/job_controller.h"
#include "coordinator/job_state.h"
#include "runtime/base/check.h"
#include "runtime/base/failpoint.h"
#include "runtime/base/status.h"
#include "runtime/checkpoint/manifest.h"

namespace millrace {
namespace {

uint64_t InFlightBytes(const v1::Manifest& manifest) {
  uint64_t bytes = 0;
  for (const v1::TaskSnapshot& task : manifest.tasks()) {
    for (const v1::NodeSnapshot& node : task.nodes()) {
      for (const v1::InFlightRows& rows : node.in_flight()) bytes += rows.segment().bytes();
    }
  }
  return bytes;
}

absl::Status ReachBeforeCompleted() {
  MILLRACE_FAILPOINT("checkpoint.before_completed");
  return absl::OkStatus();
}

}  // namespace

CheckpointView JobController::ViewOfEpoch() const {
  const int64_t now = loop_.env().clock.MonotonicNanos();
  CheckpointView view;
  view.phase = attempt_.epoch.phase;
  view.tasks_total = attempt_.tasks.size();
  view.tasks_acked = attempt_.epoch.snapshots.size();
  view.task_refused = attempt_.epoch.refused;
  view.age = absl::Nanoseconds(now - attempt_.epoch.begin_ns);
  view.had_epoch = attempt_.had_epoch;
  view.since_last = absl::Nanoseconds(now - attempt_.last_begin_ns);
  if (attempt_.last_end_ns != 0) view.since_end = absl::Nanoseconds(now - attempt_.last_end_ns);
  const bool savepoint_waits =
      std::any_of(savepoints_.begin(), savepoints_.end(),
                  [](const Savepoint& savepoint) { return savepoint.epoch == 0; });
  const bool model_waits =
      update_ && update_->waits_for.empty() && update_->epoch == attempt_.next_epoch;
  view.ending =
      NextEndStep(ViewOfEnd()) == EndStep::kTakeLastEpoch || savepoint_waits || model_waits;
  view.last_epoch_taken = attempt_.final_epoch != 0;
  return view;
}

EndView JobController::ViewOfEnd() const {
  bool has_source = false;
  bool exhausted = true;
  for (const auto& [id, run] : attempt_.tasks) {
    if (!run.is_source) continue;
    has_source = true;
    exhausted &= run.state == v1::TaskStateChanged::STATE_EXHAUSTED;
  }
  return {.exhausted = has_source && exhausted,
          .stop_requested = status_.stop_requested(),
          .moves = MayMove(),
          .final_recorded = attempt_.final_epoch != 0,
          .all_committed = attempt_.final_epoch != 0 && CommittedEpoch() >= attempt_.final_epoch};
}

uint64_t JobController::CommittedEpoch() const {
  uint64_t committed = ~uint64_t{0};
  for (const auto& [id, run] : attempt_.tasks) committed = std::min(committed, run.committed_epoch);
  return attempt_.tasks.empty() ? 0 : committed;
}

// Does what is due now, and arms the timer for what comes by itself.
void JobController::Advance() {
  if (fenced_ || attempt_.phase != AttemptPhase::kRunning) return;
  if (WantsToMove() && !preparation_ && !status_.stop_requested()) PrepareToMove();
  if (NextEndStep(ViewOfEnd()) == EndStep::kEnd) return FinishStop();
  const CheckpointTimes times = CheckpointTimesOf(graph().settings());
  switch (NextCheckpointStep(ViewOfEpoch(), times)) {
    case CheckpointStep::kWait:
      return ArmTimer(TimeToNextStep(ViewOfEpoch(), times));
    case CheckpointStep::kTrigger:
      return TriggerEpoch();
    case CheckpointStep::kRecord:
      return RecordEpoch();
    case CheckpointStep::kAbandon:
      return GiveEpochUp(attempt_.epoch.refused ? attempt_.epoch.refusal : "timeout");
  }
}

void JobController::ArmTimer(absl::Duration delay) {
  if (delay == absl::InfiniteDuration()) return;
  loop_.After(delay, [this, token = token_, timer = ++timer_] {
    if (token == token_ && timer == timer_) Advance();
  });
}

void JobController::TriggerEpoch() {
  if (!ReserveEpochs()) return;  // Advances when the numbers are stored.
  // Advances when the last task has answered, or has not in time.
  if (update_ && !update_->waits_for.empty()) return;
  const EndView end = ViewOfEnd();
  InFlight& epoch = attempt_.epoch;
  MILLRACE_CHECK(epoch.phase == EpochPhase::kNone && attempt_.final_epoch == 0);
  MILLRACE_CHECK(epochs_.empty() || attempt_.next_epoch > epochs_.rbegin()->first);
  epoch = {};
  epoch.phase = EpochPhase::kCollecting;
  epoch.epoch = attempt_.next_epoch++;
  epoch.last = NextEndStep(end) == EndStep::kTakeLastEpoch;
  epoch.begin_ns = loop_.env().clock.MonotonicNanos();
  attempt_.had_epoch = true;
  attempt_.last_begin_ns = epoch.begin_ns;
  for (Savepoint& savepoint : savepoints_) {
    if (savepoint.epoch == 0) savepoint.epoch = epoch.epoch;
  }
  v1::ConnectResponse message;
  v1::TriggerEpoch& trigger = *message.mutable_trigger_epoch();
  *trigger.mutable_attempt() = attempt_.id;
  trigger.set_epoch(epoch.epoch);
  epoch.drain = epoch.last && (end.exhausted || status_.stop_drain());
  trigger.set_drain(epoch.drain);
  trigger.set_hold(epoch.last && !epoch.drain);
  trigger.set_keep_segments(preparation_.has_value());
  if (MayOvertake()) {
    trigger.set_alignment_timeout_ms(graph().settings().aligned_checkpoint_timeout_ms());
  }
  if (trigger.hold() && paused_since_ns_ == 0) paused_since_ns_ = epoch.begin_ns;
  SendToAttempt(message);
  ArmTimer(CheckpointTimesOf(graph().settings()).timeout);
}

// Whoever goes on from the epoch under way may have other edges, or another version of Millrace:
// savepoints and last epochs have no rows in flight. Nor has the first epoch of a model, so that
// the rows before its barriers are made by the one before.
bool JobController::MayOvertake() const {
  const bool is_savepoint = std::any_of(
      savepoints_.begin(), savepoints_.end(),
      [&](const Savepoint& savepoint) { return savepoint.epoch == attempt_.epoch.epoch; });
  const bool begins_model = update_ && update_->epoch == attempt_.epoch.epoch;
  return !attempt_.epoch.last && !is_savepoint && !begins_model;
}

void JobController::OnEpochAck(const std::string& worker_id, const v1::EpochAck& message) {
  if (!IsCurrent(message.attempt())) return;
  InFlight& epoch = attempt_.epoch;
  const TaskId id{message.snapshot().chain(), message.snapshot().index()};
  if (epoch.phase != EpochPhase::kCollecting || message.epoch() != epoch.epoch) {
    ++counters_.messages_fenced;  // Of an abandoned epoch.
    return;
  }
  if (message.status_code() != 0) {
    epoch.refused = true;
    epoch.refusal = absl::StrCat("a task on ", worker_id, " refused: ", message.status_message());
    return Advance();
  }
  const auto it = attempt_.tasks.find(id);
  if (it == attempt_.tasks.end() || it->second.task.worker_id() != worker_id) {
    ++counters_.messages_fenced;
    return;
  }
  epoch.snapshots[id] = message.snapshot();
  ObservePhases(message, loop_.env().clock.MonotonicNanos() - epoch.begin_ns);
  Advance();
}

void JobController::ObservePhases(const v1::EpochAck& message, int64_t since_trigger_ns) {
  const auto seconds = [](uint64_t us) { return static_cast<double>(us) / 1e6; };
  EpochHistograms& epochs = *counters_.epochs;
  epochs.align.Observe(seconds(message.align_us()));
  epochs.sync.Observe(seconds(message.sync_us()));
  epochs.async.Observe(seconds(message.async_us()));
  const double rest = static_cast<double>(since_trigger_ns) / 1e9 -
                      seconds(message.align_us() + message.sync_us() + message.async_us());
  epochs.start_delay.Observe(std::max(rest, 0.0));
}

void JobController::AbandonEpoch(const std::string& reason) {
  MILLRACE_CHECK(attempt_.epoch.phase != EpochPhase::kNone);
  ++counters_.epochs_abandoned;
  AddLog(LogLevel::kWarning, absl::StrCat("abandons epoch ", attempt_.epoch.epoch, ": ", reason));
  LogWarning("epoch abandoned",
             {{"job", job_id()}, {"epoch", attempt_.epoch.epoch}, {"reason", reason}});
  for (Savepoint& savepoint : savepoints_) {
    if (savepoint.epoch == attempt_.epoch.epoch) savepoint.epoch = 0;  // Takes the next one.
  }
  attempt_.epoch = {};
}

// The attempt goes on with the next one, unless there were too many of them.
void JobController::GiveEpochUp(const std::string& reason) {
  AbandonEpoch(reason);
  attempt_.last_end_ns = loop_.env().clock.MonotonicNanos();
  ++attempt_.abandoned_in_row;
  const v1::Settings& settings = graph().settings();
  if (settings.has_checkpoint_failures_max() &&
      attempt_.abandoned_in_row > settings.checkpoint_failures_max()) {
    return Fail(absl::UnavailableError(absl::StrCat(
                    attempt_.abandoned_in_row, " checkpoints in a row were abandoned, and ",
                    settings.checkpoint_failures_max(), " may be; the last: ", reason)),
                "checkpoints_abandoned");
  }
  // Not at once again: a task that refuses would be asked in a tight loop.
  ArmTimer(CheckpointTimesOf(settings).interval);
}

// All tasks have acknowledged: from here on there is no way back.
void JobController::RecordEpoch() {
  InFlight& epoch = attempt_.epoch;
  MILLRACE_CHECK(epoch.phase == EpochPhase::kCollecting &&
                 epoch.snapshots.size() == attempt_.tasks.size());
  absl::StatusOr<std::vector<v1::Model>> models = ModelsOfEpoch();
  if (!models.ok()) return Fail(models.status(), "model");
  FindSlowSplits();
  v1::Manifest manifest;
  manifest.set_job_id(job_id());
  manifest.set_generation(attempt_.id.generation());
  manifest.set_epoch(epoch.epoch);
  manifest.set_max_parallelism(graph().max_parallelism());
  manifest.set_key_hash(graph().settings().key_hash());
  manifest.set_created_unix_us(loop_.UnixMicros());
  manifest.set_final(epoch.drain);
  for (auto& [id, snapshot] : epoch.snapshots) *manifest.add_tasks() = std::move(snapshot);
  epoch.in_flight_bytes = InFlightBytes(manifest);
  // A version that knows nothing of rows in flight must not restore without them.
  manifest.set_format(epoch.in_flight_bytes > 0 ? kManifestFormat : 1);
  *manifest.mutable_layouts() = {attempt_.layouts.begin(), attempt_.layouts.end()};
  // Nothing of the epoch is visible yet: rather none than wrong ones.
  if (absl::Status status = CheckRows(manifest); !status.ok()) return Fail(status, "conservation");
  epoch.phase = EpochPhase::kRecording;
  const uint64_t duration_us =
      static_cast<uint64_t>(loop_.env().clock.MonotonicNanos() - epoch.begin_ns) / 1000;
  loop_.RunBlocking(
      [uri = options_.checkpoint_uri, places = places(), manifest = std::move(manifest),
       attempt = attempt_.id.attempt()] { return StoreManifest(uri, places, manifest, attempt); },
      [this, token = token_, last = epoch.last, duration_us,
       models = *std::move(models)](absl::StatusOr<v1::EpochRecord> record) {
        if (record.ok()) {
          *record->mutable_models() = {models.begin(), models.end()};
          record->set_duration_us(duration_us);
          record->set_completed_unix_us(loop_.UnixMicros());
        }
        OnManifestStored(token, std::move(record), last);
      });
}

absl::Status JobController::CheckRows(const v1::Manifest& manifest) {
  const RowBalance now = BalanceRows(status_.planned(), manifest);
  if (!attempt_.rows_at_begin) attempt_.rows_at_begin = now;
  const absl::Status status = CheckConservation(*attempt_.rows_at_begin, now);
  ++(status.ok() ? counters_.conservation_held : counters_.conservation_violated);
  return status;
}

void JobController::OnManifestStored(uint64_t token, absl::StatusOr<v1::EpochRecord> record,
                                     bool last) {
  // The attempt is over: its generation may not record any more.
  if (token != token_ || fenced_) return;
  if (!record.ok()) {
    return GiveEpochUp(absl::StrCat("cannot write the manifest: ", record.status().ToString()));
  }
  metadata_.CreateEpoch(
      *record, [this, token, record = *record, last] { OnEpochRecorded(token, record, last); });
}

// The commit point is passed, even if the attempt has ended meanwhile: whatever comes next restores
// from this epoch.
void JobController::OnEpochRecorded(uint64_t token, v1::EpochRecord record, bool last) {
  const uint64_t number = record.epoch();
  MILLRACE_CHECK(epochs_.empty() || epochs_.rbegin()->first < number);
  ++counters_.epochs_completed;
  counters_.epochs->whole.Observe(static_cast<double>(record.duration_us()) / 1e6);
  epochs_[number] = std::move(record);
  LogDebug("epoch completed", {{"job", job_id()}, {"epoch", number}});
  NotifyWatchers();
  if (token != token_ || fenced_) return;
  MILLRACE_CHECK(attempt_.epoch.phase == EpochPhase::kRecording && attempt_.epoch.epoch == number);
  counters_.in_flight_bytes += attempt_.epoch.in_flight_bytes;
  counters_.epochs_unaligned += attempt_.epoch.in_flight_bytes > 0 ? 1 : 0;
  attempt_.epoch = {};
  attempt_.last_end_ns = loop_.env().clock.MonotonicNanos();
  attempt_.abandoned_in_row = 0;
  // The first epoch follows the start at once: it tells nothing of how the attempt does.
  if (std::exchange(attempt_.recorded_epoch, true)) failures_in_row_ = 0;
  if (last) attempt_.final_epoch = number;
  FinishUpdate(epochs_.at(number));
  if (status_.has_former()) ConfirmUpgrade();
  if (absl::Status status = ReachBeforeCompleted(); !status.ok()) return Fail(status, "failpoint");
  SendEpochCompleted(number);
  ForgetEpochs();
  SweepFilesSometimes();
  Advance();
}

void JobController::SendEpochCompleted(uint64_t epoch) {
  v1::ConnectResponse message;
  *message.mutable_epoch_completed()->mutable_attempt() = attempt_.id;
  message.mutable_epoch_completed()->set_epoch(epoch);
  SendToAttempt(message);
}

void JobController::OnCommitAck(const v1::CommitAck& message) {
  if (!IsCurrent(message.attempt())) return;
  const auto it = attempt_.tasks.find({message.task().chain(), message.task().index()});
  if (it == attempt_.tasks.end()) return;
  it->second.committed_epoch = std::max(it->second.committed_epoch, message.epoch());
  ExportSavepoints();
  Advance();
}

// A savepoint is written when everything up to its epoch is visible outside: it carries no commits.
void JobController::ExportSavepoints() {
  const uint64_t committed = CommittedEpoch();
  std::vector<Savepoint> waiting;
  for (Savepoint& savepoint : savepoints_) {
    const auto record = epochs_.find(savepoint.epoch);
    if (savepoint.epoch == 0 || savepoint.epoch > committed || record == epochs_.end()) {
      waiting.push_back(std::move(savepoint));
      continue;
    }
    const auto pin = pinned_epochs_.insert(savepoint.epoch);
    loop_.RunBlocking(
        [uri = options_.checkpoint_uri, places = places(), record = record->second,
         directory = savepoint.directory] {
          return ExportSavepoint(uri, places, record, directory);
        },
        [this, pin, epoch = savepoint.epoch,
         reply = std::move(savepoint.reply)](absl::StatusOr<std::string> uri) mutable {
          pinned_epochs_.erase(pin);
          if (!uri.ok())
            return std::move(reply)(Annotate(uri.status(), "cannot write a savepoint"));
          AddLog(LogLevel::kInfo, absl::StrCat("savepoint of epoch ", epoch, ": ", *uri));
          v1::CreateSavepointResponse response;
          response.set_savepoint(*uri);
          response.set_epoch(epoch);
          std::move(reply)(response);
        });
  }
  savepoints_ = std::move(waiting);
}

void JobController::ForgetEpochs() {
  std::vector<uint64_t> numbers;
  for (const auto& [number, record] : epochs_) numbers.push_back(number);
  for (uint64_t number : EpochsToForget(numbers, kEpochsKept)) {
    const bool awaited =
        std::any_of(savepoints_.begin(), savepoints_.end(),
                    [&](const Savepoint& savepoint) { return savepoint.epoch == number; });
    const bool being_prepared =
        preparation_ && !preparation_->done && preparation_->epoch == number;
    if (pinned_epochs_.contains(number) || awaited || being_prepared) continue;
    epochs_.erase(number);
    metadata_.DeleteEpoch(number, [] {});
  }
}

void JobController::SweepFilesSometimes() {
  const absl::Time now = loop_.env().clock.Now();
  if (sweeping_ || epochs_.empty() || now - last_sweep_ < options_.sweep_interval) return;
  sweeping_ = true;
  last_sweep_ = now;
  loop_.RunBlocking(
      [uri = options_.checkpoint_uri, places = places(), live = Checkpoints(), now,
       grace = options_.sweep_grace, unreferenced = std::move(unreferenced_)]() mutable {
        return SweepFiles(uri, places, live, now, grace, std::move(unreferenced));
      },
      [this](SweepResult result) {
        sweeping_ = false;
        unreferenced_ = std::move(result.unreferenced);
        if (!result.status.ok()) {
          LogWarning("cannot sweep checkpoint storage; will try again",
                     {{"job", job_id()}, {"error", result.status.ToString()}});
        }
      });
}

}  // namespace millrace
