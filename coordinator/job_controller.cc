#include "coordinator/job_controller.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/job_state.h"
#include "runtime/base/check.h"
#include "runtime/base/status.h"
#include "sql/node_kinds.h"

namespace millrace {
namespace {

constexpr size_t kLogLinesMax = 1000;
constexpr size_t kLogTextBytesMax = 4096;
constexpr uint32_t kRestartAttemptsDefault = 10;
// Of a new version that has not completed an epoch yet.
constexpr uint32_t kUpgradeAttemptsMax = 3;

std::string LevelName(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarning:
      return "warning";
    case LogLevel::kError:
      return "error";
  }
  return "info";
}

template <typename Response>
void ReplyToAll(std::vector<Reply<Response>>& replies, const absl::StatusOr<Response>& response) {
  std::vector<Reply<Response>> now = std::exchange(replies, {});
  for (Reply<Response>& reply : now) std::move(reply)(response);
}

}  // namespace

JobController::JobController(JobOptions options, Loop& loop, MetadataStore& store, JobHost& host,
                             StoredJob stored)
    : options_(std::move(options)),
      loop_(loop),
      host_(host),
      stored_(std::move(stored)),
      metadata_(loop, store, stored_.spec.job_id(), options_.coordinator_id, stored_.versions,
                [this](absl::Status status) { OnLost(status); }),
      status_(stored_.status),
      state_since_ns_(loop.env().clock.MonotonicNanos()),
      generation_(stored_.generation),
      end_stored_(IsTerminal(status_.state())) {
  for (const v1::EpochRecord& record : stored_.epochs) epochs_[record.epoch()] = record;
  epochs_reserved_durably_ = status_.epochs_reserved();
}

bool JobController::live() const { return !IsTerminal(state()); }

const v1::JobGraph& JobController::graph() const {
  return status_.planned().nodes_size() > 0 ? status_.planned() : submitted_graph();
}

const v1::JobGraph& JobController::submitted_graph() const {
  const v1::JobGraph& changed = status_.version().graph();
  return changed.nodes_size() > 0 ? changed : stored_.spec.graph();
}

const v1::EpochRecord* JobController::newest_epoch() const {
  return epochs_.empty() ? nullptr : &epochs_.rbegin()->second;
}

uint32_t JobController::TasksOn(const std::string& worker_id) const {
  return static_cast<uint32_t>(
      std::count_if(attempt_.tasks.begin(), attempt_.tasks.end(),
                    [&](const auto& entry) { return entry.second.task.worker_id() == worker_id; }));
}

void JobController::Start(bool loaded) {
  if (!live()) return;
  if (!loaded) return TryDeploy();
  if (status_.has_former() && !IsForeign(newest_epoch()->epoch())) ConfirmUpgrade();
  AddLog(LogLevel::kInfo, absl::StrCat("a coordinator has taken over; the job was ",
                                       std::string(JobStateName(state()))));
  if (state() == v1::JOB_STATE_CANCELLING) {
    LeaveAttempt();
    return EndAs(v1::JOB_STATE_CANCELLED);
  }
  const bool may_run = state() == v1::JOB_STATE_DEPLOYING || state() == v1::JOB_STATE_RUNNING ||
                       state() == v1::JOB_STATE_STOPPING;
  if (may_run && status_.generation() == generation_ && status_.tasks_size() > 0) {
    return BeginAdoption();
  }
  if (may_run) SetState(v1::JOB_STATE_RESTARTING);
  // Whatever ran under the stored generation must not go on.
  if (status_.attempt() > 0) LeaveAttempt();
  RestartAfter(options_.registration_grace);
}

void JobController::SetState(v1::JobState state) {
  MILLRACE_CHECK(IsLegalTransition(status_.state(), state));
  LogInfo(
      "job changes state",
      {{"job", job_id()}, {"from", JobStateName(status_.state())}, {"to", JobStateName(state)}});
  AddLog(LogLevel::kInfo, absl::StrCat(std::string(JobStateName(status_.state())), " -> ",
                                       std::string(JobStateName(state))));
  time_in_former_states_ = TimeInStates();
  state_since_ns_ = loop_.env().clock.MonotonicNanos();
  status_.set_state(state);
  status_.set_since_unix_us(loop_.UnixMicros());
  PutStatus([] {});
  // An end is told when it is durable: OnStoredEnd.
  if (live()) NotifyWatchers();
}

std::map<v1::JobState, absl::Duration> JobController::TimeInStates() const {
  std::map<v1::JobState, absl::Duration> times = time_in_former_states_;
  times[state()] += absl::Nanoseconds(loop_.env().clock.MonotonicNanos() - state_since_ns_);
  return times;
}

void JobController::PutStatus(JobMetadata::Done done) {
  metadata_.PutStatus(status_, std::move(done));
}

void JobController::OnLost(const absl::Status& status) {
  fenced_ = true;
  attempt_ = {};
  preparation_.reset();
  ++token_;
  LogError("another coordinator controls the job",
           {{"job", job_id()}, {"error", status.ToString()}});
  const absl::Status reason =
      absl::AbortedError(absl::StrCat("another coordinator controls job ", job_id()));
  ReplyToAll<v1::StopJobResponse>(stop_replies_, reason);
  ReplyToAll<v1::CancelJobResponse>(cancel_replies_, reason);
  ReplyToAll<v1::RescaleJobResponse>(rescale_replies_, reason);
  ReplyToAll<v1::UpgradeJobResponse>(upgrade_replies_, reason);
  ReplyToAll<v1::RestartJobResponse>(restart_replies_, reason);
  EndTails(absl::UnavailableError(reason.message()));
  for (Savepoint& savepoint : std::exchange(savepoints_, {})) std::move(savepoint.reply)(reason);
  host_.OnFenced(job_id(), status);
}

// ---- Fencing.

bool JobController::IsCurrent(const v1::AttemptId& id) {
  const bool current =
      attempt_.phase != AttemptPhase::kNone && attempt_.phase != AttemptPhase::kPlanning &&
      id.generation() == attempt_.id.generation() && id.attempt() == attempt_.id.attempt();
  if (!current) ++counters_.messages_fenced;
  return current;
}

// ---- Failures.

void JobController::Fail(const absl::Status& status, const std::string& reason) {
  if (fenced_ || !live() || state() == v1::JOB_STATE_CANCELLING) return;
  if (attempt_.phase == AttemptPhase::kNone || attempt_.phase == AttemptPhase::kEnding) return;
  ++failures_in_row_;
  const uint32_t configured = graph().settings().restart_attempts_max();
  const uint32_t attempts_max = configured == 0 ? kRestartAttemptsDefault : configured;
  const FailureStep step = NextFailureStep(status, failures_in_row_, attempts_max);
  std::string error(status.message());
  if (step == FailureStep::kFail && RemedyFor(status) == Remedy::kRestartJob) {
    absl::StrAppend(&error, " (gave up after ", attempts_max, " restarts without progress)");
  }
  status_.set_last_error(absl::StrCat(absl::StatusCodeToString(status.code()), ": ", error));
  AddLog(LogLevel::kError, status_.last_error());
  if (status_.has_former() &&
      (step == FailureStep::kFail || failures_in_row_ >= kUpgradeAttemptsMax)) {
    roll_back_ = RollBackCause{.status = status, .ends = step == FailureStep::kFail};
    LeaveAttempt();
    SetState(v1::JOB_STATE_RESTARTING);
    return TryDeploy();
  }
  LeaveAttempt();
  if (step == FailureStep::kFail) return EndAs(v1::JOB_STATE_FAILED);
  ++counters_.restarts_by_reason[reason];
  status_.set_restarts(status_.restarts() + 1);
  SetState(v1::JOB_STATE_RESTARTING);
  const absl::Duration delay = RestartDelay(failures_in_row_, loop_.env().random.Next());
  AddLog(LogLevel::kInfo, absl::StrCat("restarts in ", absl::FormatDuration(delay)));
  RestartAfter(delay);
}

// Raises the generation, which fences whatever the attempt still does, and then stops it.
void JobController::LeaveAttempt() {
  DropUpdate(absl::AbortedError(
      "the job restarts; ask again: when the switch was complete, the answer comes at once"));
  if (attempt_.epoch.phase == EpochPhase::kCollecting) AbandonEpoch("the attempt is over");
  preparation_.reset();
  v1::ConnectResponse stop;
  *stop.mutable_stop()->mutable_attempt() = attempt_.id;
  std::set<std::string> workers = std::move(attempt_.workers);
  attempt_ = {};
  untaken_.clear();
  ++token_;
  ++raises_pending_;
  metadata_.RaiseGeneration(++generation_, [this, stop, workers = std::move(workers)] {
    --raises_pending_;
    for (const std::string& worker : workers) host_.SendTo(worker, stop);
    host_.OnAttemptLeft();
    TryDeploy();
  });
}

bool JobController::MustMove() const {
  if (status_.rescale_pending() || status_.restart_pending()) return true;
  return std::any_of(attempt_.workers.begin(), attempt_.workers.end(),
                     [this](const std::string& worker) { return host_.IsLeaving(worker); });
}

// A new attempt, on the workers that stay, with another parallelism, or of a new version. Nothing
// failed: it is neither counted against the job nor delayed.
void JobController::Move() {
  const bool upgrades = status_.has_former() && status_.planned().nodes_size() == 0;
  const bool rescales = status_.rescale_pending();
  const bool restarts = status_.restart_pending();
  AddLog(LogLevel::kInfo,
         upgrades   ? "goes on with the new version"
         : rescales ? absl::StrCat("goes on with parallelism ", submitted_graph().parallelism())
         : restarts ? "goes on with new tasks, as was asked for"
                    : "a worker leaves: goes on on the others");
  ++counters_.restarts_by_reason[upgrades   ? "upgrade"
                                 : rescales ? "rescale"
                                 : restarts ? "restart"
                                            : "worker_leaves"];
  LeaveAttempt();
  SetState(v1::JOB_STATE_RESTARTING);
  TryDeploy();
}

void JobController::RestartAfter(absl::Duration delay) {
  delayed_ = true;
  loop_.After(delay, [this, token = token_] {
    if (token != token_) return;
    delayed_ = false;
    TryDeploy();
  });
}

// ---- The end.

void JobController::EndAs(v1::JobState state) {
  DropUpdate(absl::AbortedError("the job ends"));
  ForgetPrepared(/*deployed=*/{});
  SetState(state);
  // Behind the write of SetState: the state is durable when this one is.
  PutStatus([this, state] { OnStoredEnd(state); });
}

// The last epoch of the attempt is committed everywhere.
void JobController::FinishStop() {
  MILLRACE_CHECK(attempt_.final_epoch != 0 && CommittedEpoch() >= attempt_.final_epoch);
  const bool drained = newest_epoch()->final();
  if (!drained && (!status_.stop_requested() || status_.stop_drain())) {
    if (status_.has_upgrade()) {
      if (absl::Status status = ReachUpgrade(); !status.ok()) return Fail(status, "failpoint");
      BeginUpgrade();
    }
    return Move();
  }
  attempt_.phase = AttemptPhase::kEnding;
  const bool stopped = status_.stop_requested() && state() == v1::JOB_STATE_STOPPING;
  const v1::JobState end = stopped ? v1::JOB_STATE_STOPPED : v1::JOB_STATE_FINISHED;
  if (!stopped || status_.stop_savepoint_directory().empty()) {
    LeaveAttempt();
    return EndAs(end);
  }
  loop_.RunBlocking(
      [uri = options_.checkpoint_uri, places = places(), record = *newest_epoch(),
       directory = status_.stop_savepoint_directory()] {
        return ExportSavepoint(uri, places, record, directory);
      },
      [this, end, token = token_](absl::StatusOr<std::string> savepoint) {
        if (token != token_ || fenced_) return;
        if (savepoint.ok()) {
          status_.set_savepoint(*savepoint);
        } else {
          status_.set_last_error(
              absl::StrCat("cannot write the savepoint: ", savepoint.status().ToString()));
          AddLog(LogLevel::kError, status_.last_error());
        }
        LeaveAttempt();
        EndAs(end);
      });
}

void JobController::OnStoredEnd(v1::JobState state) {
  end_stored_ = true;
  NotifyWatchers();
  const absl::Status ended = EndedStatus(job_id(), state);
  const v1::EpochRecord* newest = newest_epoch();
  if (state == v1::JOB_STATE_STOPPED || state == v1::JOB_STATE_FINISHED) {
    v1::StopJobResponse response;
    response.set_epoch(newest == nullptr ? 0 : newest->epoch());
    response.set_savepoint(status_.savepoint());
    const bool savepoint_lost =
        !status_.stop_savepoint_directory().empty() && status_.savepoint().empty();
    if (savepoint_lost && status_.stop_requested() && state == v1::JOB_STATE_STOPPED) {
      ReplyToAll<v1::StopJobResponse>(
          stop_replies_,
          newest == nullptr
              ? absl::FailedPreconditionError(absl::StrCat(
                    "job ", job_id(), " is stopped, but it never ran: there is nothing to save"))
              : absl::InternalError(status_.last_error()));
    }
    ReplyToAll<v1::StopJobResponse>(stop_replies_, response);
  } else {
    ReplyToAll<v1::StopJobResponse>(
        stop_replies_,
        absl::AbortedError(absl::StrCat(ended.message(), status_.last_error().empty() ? "" : ": ",
                                        status_.last_error())));
  }
  if (state == v1::JOB_STATE_CANCELLED) {
    ReplyToAll<v1::CancelJobResponse>(cancel_replies_, v1::CancelJobResponse());
  }
  ReplyToAll<v1::CancelJobResponse>(cancel_replies_, ended);
  ReplyToAll<v1::RescaleJobResponse>(rescale_replies_, ended);
  ReplyToAll<v1::UpgradeJobResponse>(upgrade_replies_, ended);
  ReplyToAll<v1::RestartJobResponse>(restart_replies_, ended);
  // A savepoint being exported still ends by itself.
  std::vector<Savepoint> waiting = std::exchange(savepoints_, {});
  for (Savepoint& savepoint : waiting) std::move(savepoint.reply)(ended);
  for (const std::shared_ptr<JobWatcher>& watcher : std::exchange(watchers_, {})) {
    watcher->OnEnd(absl::OkStatus());
  }
  EndTails(state == v1::JOB_STATE_FAILED
               ? absl::AbortedError(absl::StrCat("the job failed: ", status_.last_error()))
               : absl::OkStatus());
  host_.OnJobEnded(job_id());
}

// ---- Users.

void JobController::Stop(bool drain, const std::string& savepoint_directory,
                         Reply<v1::StopJobResponse> reply) {
  if (fenced_) {
    return std::move(reply)(absl::AbortedError("another coordinator controls the job"));
  }
  if (state() == v1::JOB_STATE_STOPPED || state() == v1::JOB_STATE_FINISHED) {
    v1::StopJobResponse response;
    if (newest_epoch() != nullptr) response.set_epoch(newest_epoch()->epoch());
    response.set_savepoint(status_.savepoint());
    return std::move(reply)(response);
  }
  if (!live() || state() == v1::JOB_STATE_CANCELLING) {
    return std::move(reply)(EndedStatus(job_id(), state()));
  }
  stop_replies_.push_back(std::move(reply));
  if (status_.stop_requested()) return;  // The first request decides how.
  status_.set_stop_requested(true);
  status_.set_stop_drain(drain);
  status_.set_stop_savepoint_directory(savepoint_directory);
  AddLog(LogLevel::kInfo, drain ? "stop with drain was requested" : "stop was requested");
  if (state() == v1::JOB_STATE_CREATED) {
    ++token_;
    return EndAs(v1::JOB_STATE_STOPPED);
  }
  if (state() == v1::JOB_STATE_RUNNING) {
    SetState(v1::JOB_STATE_STOPPING);
    return Advance();
  }
  // Restarting: what is recorded must be committed before the job may end, so it runs once more.
  PutStatus([] {});
}

void JobController::Cancel(Reply<v1::CancelJobResponse> reply) {
  if (fenced_) {
    return std::move(reply)(absl::AbortedError("another coordinator controls the job"));
  }
  if (state() == v1::JOB_STATE_CANCELLED) return std::move(reply)(v1::CancelJobResponse());
  if (!live()) return std::move(reply)(EndedStatus(job_id(), state()));
  cancel_replies_.push_back(std::move(reply));
  if (state() == v1::JOB_STATE_CANCELLING) return;
  AddLog(LogLevel::kInfo, "cancel was requested");
  SetState(v1::JOB_STATE_CANCELLING);
  LeaveAttempt();
  EndAs(v1::JOB_STATE_CANCELLED);
}

void JobController::CreateSavepoint(const std::string& directory,
                                    Reply<v1::CreateSavepointResponse> reply) {
  if (fenced_) {
    return std::move(reply)(absl::AbortedError("another coordinator controls the job"));
  }
  if (!live() || state() == v1::JOB_STATE_CANCELLING) {
    return std::move(reply)(EndedStatus(job_id(), state()));
  }
  savepoints_.push_back({.directory = directory, .epoch = 0, .reply = std::move(reply)});
  Advance();
}

void JobController::Watch(std::shared_ptr<JobWatcher> watcher) {
  if (end_stored_) {
    if (watcher->OnJob(Describe())) watcher->OnEnd(absl::OkStatus());
  } else if (!live() || watcher->OnJob(Describe())) {
    watchers_.push_back(std::move(watcher));
  }
}

void JobController::NotifyWatchers() {
  if (watchers_.empty()) return;
  const v1::Job job = Describe();
  std::erase_if(watchers_, [&](const auto& watcher) { return !watcher->OnJob(job); });
}

v1::Job JobController::Describe() const {
  v1::Job job;
  job.set_job_id(job_id());
  job.set_name(stored_.spec.graph().name());
  job.set_state(state());
  job.set_created_unix_us(stored_.spec.created_unix_us());
  job.set_state_since_unix_us(status_.since_unix_us());
  job.set_generation(generation_);
  job.set_attempt(status_.attempt());
  job.set_restarts(status_.restarts());
  job.set_last_error(status_.last_error());
  job.set_stalled_since_unix_us(stalled_since_unix_us_);
  if (const v1::EpochRecord* newest = newest_epoch()) {
    job.set_last_epoch(newest->epoch());
    job.set_last_epoch_bytes(newest->bytes());
    job.set_last_epoch_unix_us(newest->completed_unix_us());
  }
  job.set_parallelism(graph().parallelism());
  if (waits_for_workers_ && live()) job.set_last_error("waits: no worker is registered");
  for (const v1::Node& node : graph().nodes()) {
    v1::NodeStatus& status = *job.add_nodes();
    status.set_uid(node.uid());
    if (const NodeKind* kind = FindNodeKind(node.body_case())) {
      const std::string connector =
          node.has_source() ? node.source().connector() : node.sink().connector();
      status.set_operator_(
          absl::StrCat(std::string(kind->name), connector.empty() ? "" : " ", connector));
    }
    status.set_tasks(node.parallelism());
    bool first = true;
    for (const auto& [key, progress] : progress_) {
      if (key.second != node.uid()) continue;
      status.set_rows_in(status.rows_in() + progress.rows_in());
      status.set_rows_out(status.rows_out() + progress.rows_out());
      status.set_rows_late(status.rows_late() + progress.rows_late());
      status.set_rows_dead_lettered(status.rows_dead_lettered() + progress.rows_dead_lettered());
      status.set_watermark_us(first ? progress.watermark_us()
                                    : std::min(status.watermark_us(), progress.watermark_us()));
      first = false;
    }
  }
  return job;
}

std::vector<v1::EpochRecord> JobController::Checkpoints() const {
  std::vector<v1::EpochRecord> records;
  for (const auto& [number, record] : epochs_) records.push_back(record);
  return records;
}

// ---- Logs.

void JobController::AddLog(LogLevel level, const std::string& text) {
  v1::JobLogLine line;
  line.set_unix_us(loop_.UnixMicros());
  line.set_level(LevelName(level));
  line.set_source("coordinator");
  line.set_text(text);
  AddLogLine(std::move(line));
}

void JobController::AddLogLine(v1::JobLogLine line) {
  if (line.text().size() > kLogTextBytesMax) line.mutable_text()->resize(kLogTextBytesMax);
  logs_.push_back(std::move(line));
  if (logs_.size() > kLogLinesMax) logs_.pop_front();
}

void JobController::OnLogLines(const std::string& worker_id, const v1::LogLines& lines) {
  for (const v1::LogLine& from : lines.lines()) {
    v1::JobLogLine line;
    line.set_unix_us(from.unix_us());
    line.set_level(from.level());
    line.set_source(worker_id);
    line.set_text(from.text());
    line.set_uid(from.uid());
    AddLogLine(std::move(line));
  }
}

std::vector<v1::JobLogLine> JobController::LastLogLines(size_t lines_max) const {
  const size_t count = std::min(lines_max, logs_.size());
  return {logs_.end() - static_cast<ptrdiff_t>(count), logs_.end()};
}

void JobController::OnProgress(const v1::TaskProgress& progress) {
  if (!IsCurrent(progress.attempt())) return;
  progress_[{TaskId{progress.task().chain(), progress.task().index()}, progress.uid()}] = progress;
}

}  // namespace millrace
