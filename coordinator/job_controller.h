// The life of one job: deploys its attempts, takes its epochs, restarts it, ends it. The
// coordinator's event loop calls it; what it decides it asks the pure functions of
// checkpoint_decision.h, placement.h and job_state.h.
//
// Threading: the loop.
// Ownership: the coordinator owns controllers and keeps them for good; host and loop are borrowed.
// Errors: failures of tasks and workers become restarts or the end FAILED. A conditional write that
//         another coordinator has fenced off takes the job out of this coordinator's hands.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "coordinator/checkpoint_decision.h"
#include "coordinator/checkpoint_files.h"
#include "coordinator/conservation.h"
#include "coordinator/diagnosis.h"
#include "coordinator/job_api.h"
#include "coordinator/loop.h"
#include "coordinator/metadata/job_metadata.h"
#include "coordinator/placement.h"
#include "coordinator/upgrade_plan.h"
#include "millrace/v1/metadata.pb.h"
#include "millrace/v1/worker_service.pb.h"
#include "runtime/base/ids.h"
#include "runtime/base/log.h"
#include "runtime/metrics/metrics.h"

namespace millrace {

// What a job needs of the coordinator. Loop.
class JobHost {
 public:
  virtual ~JobHost() = default;
  // Registered ones, with the tasks that other jobs than `job_id` have on them.
  virtual std::vector<PlacementWorker> WorkersFor(const std::string& job_id) = 0;
  // A message to a worker that is gone is dropped: its loss is on its way as a letter.
  virtual void SendTo(const std::string& worker_id, const v1::ConnectResponse& message) = 0;
  // The worker wants to end: jobs take their tasks away from it.
  virtual bool IsLeaving(const std::string& worker_id) = 0;
  // The job has no tasks anywhere for now.
  virtual void OnAttemptLeft() = 0;
  virtual void OnJobEnded(const std::string& job_id) = 0;
  // Another coordinator controls the job now.
  virtual void OnFenced(const std::string& job_id, const absl::Status& status) = 0;
};

struct JobOptions {
  std::string checkpoint_uri;    // The job's own folder.
  std::shared_ptr<S3Access> s3;  // Null: s3:// is refused.
  std::string coordinator_id;    // Names this incarnation.
  // How long a restarted coordinator waits for the workers of a running attempt.
  absl::Duration registration_grace = absl::Seconds(5);
  absl::Duration deploy_timeout = absl::Minutes(10);
  absl::Duration sweep_interval = absl::Minutes(1);
  absl::Duration sweep_grace = absl::Minutes(10);
  // Without progress for so long, although something waits, a job is stalled.
  absl::Duration stall_timeout = absl::Minutes(1);
};

// What the store holds of one job.
struct StoredJob {
  v1::JobSpec spec;
  v1::JobStatus status;
  uint64_t generation = 0;
  JobMetadata::Versions versions;
  std::vector<v1::EpochRecord> epochs;  // Ascending.
};

// Where the time of epochs goes. The phases are those of a task: from the trigger to the barrier's
// arrival (with the way of its acknowledgement), waiting for the barrier on the other inputs, the
// cut on the task's thread, the writing on an io thread.
struct EpochHistograms {
  DurationHistogram whole, start_delay, align, sync, async;
};

// Counters since this process began; for metrics.
struct JobCounters {
  std::map<std::string, uint64_t> restarts_by_reason;
  uint64_t epochs_completed = 0;
  uint64_t epochs_abandoned = 0;
  uint64_t epochs_unaligned = 0;  // Of the completed ones: barriers overtook rows ...
  uint64_t in_flight_bytes = 0;   // ... which became so many bytes of segments.
  uint64_t messages_fenced = 0;   // Of other attempts: dropped.
  // Epochs whose sums of rows were compared.
  uint64_t conservation_held = 0;
  uint64_t conservation_violated = 0;
  // Shared with a scrape that is under way.
  std::shared_ptr<EpochHistograms> epochs = std::make_shared<EpochHistograms>();
};

class JobController {
 public:
  JobController(JobOptions options, Loop& loop, MetadataStore& store, JobHost& host,
                StoredJob stored);
  JobController(const JobController&) = delete;
  JobController& operator=(const JobController&) = delete;

  // Deploys a new job; for one that was `loaded`, waits for its workers or restarts it.
  void Start(bool loaded);

  // Workers. `running`: what the worker says that it still runs.
  void OnWorkerRegistered(const std::string& worker_id, const std::vector<v1::AttemptId>& running);
  void OnWorkerLost(const std::string& worker_id, const absl::Status& reason);
  // JobHost::IsLeaving is true of it from now on.
  void OnWorkerLeaving(const std::string& worker_id);
  void OnTaskState(const v1::TaskStateChanged& message);
  void OnEpochAck(const std::string& worker_id, const v1::EpochAck& message);
  void OnCommitAck(const v1::CommitAck& message);
  void OnModelPrepared(const v1::ModelPrepared& message);
  void OnStatePrepared(const std::string& worker_id, const v1::StatePrepared& message);
  void OnNodeRows(const std::string& worker_id, const v1::NodeRows& message);
  void OnProgress(const v1::TaskProgress& progress);
  void OnCondition(const v1::TaskCondition& condition);
  void OnLogLines(const std::string& worker_id, const v1::LogLines& lines);

  // Users.
  void Stop(bool drain, const std::string& savepoint_directory, Reply<v1::StopJobResponse> reply);
  void Cancel(Reply<v1::CancelJobResponse> reply);
  void CreateSavepoint(const std::string& directory, Reply<v1::CreateSavepointResponse> reply);
  // `model`: from CompleteModel, with its digest. Replies when the switch is part of a complete
  // epoch.
  void UpdateModel(const v1::Model& model, Reply<v1::UpdateModelResponse> reply);
  // What a user said of a new version, filled in from the one in use and compared with it.
  absl::StatusOr<v1::Model> CompleteModel(v1::Model model) const;
  // `rescaled`: compiled, of submitted_graph() with another parallelism. Replies when the job runs
  // so.
  void Rescale(v1::JobGraph rescaled, Reply<v1::RescaleJobResponse> reply);
  // Replies when the job runs again. `from_checkpoint`: without a last epoch.
  void Restart(bool from_checkpoint, Reply<v1::RestartJobResponse> reply);
  // `graph`: compiled. Replies when the first epoch of the new version is complete; an error when
  // it was refused, or the job has gone back to the version before.
  void Upgrade(v1::JobGraph graph, v1::StateConsent consent, Reply<v1::UpgradeJobResponse> reply);
  // What Upgrade would do with the newest epoch; changes nothing.
  void PlanUpgradeTo(v1::JobGraph graph, v1::StateConsent consent,
                     Reply<v1::UpgradeJobResponse> reply);
  // To be called every second or so.
  void WatchProgress();
  // What holds the job up just now; empty: nothing does.
  std::vector<v1::Cause> Why() const;
  bool stalled() const { return stalled_since_unix_us_ != 0; }
  void Watch(std::shared_ptr<JobWatcher> watcher);
  // An error: the watcher is not called.
  absl::Status Tail(const v1::TailNodeRequest& request, std::shared_ptr<TailWatcher> watcher);
  v1::Job Describe() const;
  std::vector<v1::EpochRecord> Checkpoints() const;
  std::vector<v1::JobLogLine> LastLogLines(size_t lines_max) const;

  const std::string& job_id() const { return stored_.spec.job_id(); }
  const v1::JobSpec& spec() const { return stored_.spec; }
  const v1::JobGraph& graph() const;
  // As it was submitted, or as the last upgrade or rescale has left it: not planned.
  const v1::JobGraph& submitted_graph() const;
  // With the models of the newest epoch, which may have been replaced since the submit.
  v1::JobGraph GraphInUse() const;
  v1::JobState state() const { return status_.state(); }
  const JobCounters& counters() const { return counters_; }
  // Per state that the job was or is in, since this process began to control it.
  std::map<v1::JobState, absl::Duration> TimeInStates() const;
  bool epoch_in_flight() const { return attempt_.epoch.phase != EpochPhase::kNone; }
  bool live() const;
  // How many tasks of the running attempt are on that worker.
  uint32_t TasksOn(const std::string& worker_id) const;
  // The newest complete epoch; null = none.
  const v1::EpochRecord* newest_epoch() const;

 private:
  struct TaskRun {
    v1::Task task;
    std::string head_uid;  // The first node of its chain.
    bool is_source = false;
    v1::TaskStateChanged::State state = v1::TaskStateChanged::STATE_UNSPECIFIED;
    uint64_t committed_epoch = 0;
  };
  struct InFlight {
    EpochPhase phase = EpochPhase::kNone;
    uint64_t epoch = 0;
    bool last = false;   // The attempt ends with it.
    bool drain = false;  // The input ends before it.
    int64_t begin_ns = 0;
    bool refused = false;
    std::string refusal;
    std::map<TaskId, v1::TaskSnapshot> snapshots;
    uint64_t in_flight_bytes = 0;  // Of all snapshots, once they are there.
  };
  enum class AttemptPhase {
    kNone,      // Nothing is deployed.
    kPlanning,  // The manifest is being read, the plan stored.
    kAdopting,  // Waits for the workers of an attempt that ran before this coordinator came.
    kOpening,   // Deployed; tasks restore.
    kRunning,
    kEnding,  // Everything is committed; the end is being stored.
  };
  struct Attempt {
    AttemptPhase phase = AttemptPhase::kNone;
    v1::AttemptId id;
    std::map<TaskId, TaskRun> tasks;
    std::set<std::string> workers;
    InFlight epoch;
    bool had_epoch = false;
    bool recorded_epoch = false;
    int64_t last_begin_ns = 0;
    int64_t last_end_ns = 0;  // 0 = none has ended.
    uint32_t abandoned_in_row = 0;
    uint64_t next_epoch = 1;
    uint64_t final_epoch = 0;              // 0 = none is recorded.
    std::vector<v1::StateLayout> layouts;  // Of the planned graph.
    // What was restored; of an attempt that was adopted, what its first epoch here says.
    std::optional<RowBalance> rows_at_begin;
  };
  struct Savepoint {
    std::string directory;
    uint64_t epoch = 0;  // 0 = waits for the next one to begin.
    Reply<v1::CreateSavepointResponse> reply;
  };

  // See job_preparation.cc.
  struct Preparation {
    uint64_t number = 0;  // Of the round; answers to others are dropped.
    uint64_t epoch = 0;   // That it restores.
    int rounds = 0;
    int64_t begin_ns = 0;
    std::set<std::string> waits_for;
    bool done = false;  // Or done without.
  };

  // Somebody who sees rows of a node; see job_tails.cc.
  struct TailedNode {
    std::string uid;
    uint32_t rows_per_second_max = 0;  // 0: a sink `collect`.
    std::shared_ptr<TailWatcher> watcher;
  };
  // Rows of a sink `collect` that its reader has not taken yet.
  struct UntakenRows {
    std::string worker_id;
    v1::NodeRows message;
    bool given = false;  // To the reader that there is now.
  };

  // A new version of a model on its way.
  struct ModelUpdate {
    v1::Model model;
    uint64_t epoch = 0;          // Its barrier is the cut.
    std::set<TaskId> waits_for;  // Empty: the epoch may begin.
    Reply<v1::UpdateModelResponse> reply;
  };

  // job_controller.cc: states, restarts, the end.
  void SetState(v1::JobState state);
  void PutStatus(JobMetadata::Done done);
  void Fail(const absl::Status& status, const std::string& reason);
  void LeaveAttempt();
  void Move();
  bool MustMove() const;
  void RestartAfter(absl::Duration delay);
  void EndAs(v1::JobState state);
  void FinishStop();
  void OnStoredEnd(v1::JobState state);
  void OnLost(const absl::Status& status);
  void NotifyWatchers();
  void AddLog(LogLevel level, const std::string& text);
  void AddLogLine(v1::JobLogLine line);
  bool IsCurrent(const v1::AttemptId& id);

  // job_deploy.cc: from a graph to running tasks.
  void TryDeploy();
  void OnManifest(uint64_t token, absl::StatusOr<v1::Manifest> manifest);
  void SetTasks(const std::vector<v1::Task>& tasks);
  void SendDeploys(const v1::Manifest& manifest);
  void BeginAdoption();
  void StartWhenReady();
  void SendToAttempt(const v1::ConnectResponse& message);

  // job_epochs.cc: checkpoints and commits.
  CheckpointView ViewOfEpoch() const;
  EndView ViewOfEnd() const;
  void Advance();
  void ArmTimer(absl::Duration delay);
  void TriggerEpoch();
  bool MayOvertake() const;
  bool ReserveEpochs();
  void RecordEpoch();
  absl::Status CheckRows(const v1::Manifest& manifest);
  void OnManifestStored(uint64_t token, absl::StatusOr<v1::EpochRecord> record, bool last);
  void OnEpochRecorded(uint64_t token, v1::EpochRecord record, bool last);
  void SendEpochCompleted(uint64_t epoch);
  void ObservePhases(const v1::EpochAck& message, int64_t since_trigger_ns);
  void AbandonEpoch(const std::string& reason);
  void GiveEpochUp(const std::string& reason);
  StoragePlaces places() const { return {&loop_.env().disk, options_.s3}; }
  void ExportSavepoints();
  void ForgetEpochs();
  void SweepFilesSometimes();
  uint64_t CommittedEpoch() const;

  // job_diagnosis.cc: what holds the job up.
  void FindSlowSplits();
  DiagnosisView ViewForDiagnosis() const;

  // job_versions.cc: another parallelism, another graph.
  absl::Status CheckChangeable() const;
  void PlanWithNewest(v1::JobGraph graph, v1::StateConsent consent,
                      absl::AnyInvocable<void(absl::StatusOr<UpgradePlan>, uint64_t epoch)> then);
  void AskForUpgrade(v1::JobGraph graph, v1::StateConsent consent,
                     Reply<v1::UpgradeJobResponse> reply);
  void AnswerRescale();
  void AnswerRestart();
  bool IsForeign(uint64_t epoch) const { return epoch <= status_.version().foreign_epoch(); }
  // The restored manifest as this version takes it over.
  absl::StatusOr<v1::Manifest> TakeOver(v1::Manifest manifest);
  absl::Status ReachUpgrade() const;
  void BeginUpgrade();
  void ConfirmUpgrade();
  // False: the job has ended.
  bool RollBack();

  // job_preparation.cc: state that is restored before the attempt ends.
  bool WantsToMove() const;
  bool MayMove() const;
  void PrepareToMove();
  void BeginRound();
  absl::Status SendPreparation(v1::Manifest manifest);
  void EndPreparation(const absl::Status& status);
  void ForgetPrepared(const std::set<std::string>& deployed);

  // job_tails.cc: rows for those who look on.
  void SendTap(const std::string& uid);
  void SendTaps();
  void GiveUntaken();
  void OnRowsTaken(const std::string& worker_id, const v1::AttemptId& id, uint64_t number);
  void LookAtTails();
  void EndTails(const absl::Status& status);

  // job_models.cc: other versions of models.
  void DropUpdate(const absl::Status& status);
  void FinishUpdate(const v1::EpochRecord& record);
  // kInternal: the tasks do not agree.
  absl::StatusOr<std::vector<v1::Model>> ModelsOfEpoch() const;

  const JobOptions options_;
  Loop& loop_;
  JobHost& host_;
  const StoredJob stored_;  // As loaded; what changes lives below.
  JobMetadata metadata_;
  v1::JobStatus status_;
  int64_t state_since_ns_;  // Monotonic; not before this process.
  std::map<v1::JobState, absl::Duration> time_in_former_states_;
  uint64_t generation_;  // Of the store; an attempt with a lower one is over.
  bool fenced_ = false;
  bool end_stored_;  // The terminal state is durable.

  Attempt attempt_;
  std::optional<Preparation> preparation_;  // Of what follows it.
  std::set<std::string> prepared_workers_;  // They hold state that nobody uses yet.
  uint64_t preparations_ = 0;
  // Since the trigger of an attempt's last epoch, until the next attempt runs; 0 = rows flow.
  int64_t paused_since_ns_ = 0;
  // Of the newest attempt; kept when it is over, so that an ended job still tells what it did.
  std::map<std::pair<TaskId, std::string>, v1::TaskProgress> progress_;
  struct Told {
    v1::TaskCondition condition;
    int64_t heard_ns = 0;
  };
  std::map<TaskId, Told> conditions_;
  std::vector<SlowSplit> slow_splits_;  // As of the newest epoch.
  uint64_t moved_ = 0;                  // Changes whenever a row or an epoch has moved.
  int64_t moved_ns_ = 0;
  uint64_t committed_ = 0;  // Everywhere, as of the last look; since when, or all is visible.
  int64_t committed_ns_ = 0;
  int64_t stalled_since_unix_us_ = 0;
  // Raised whenever the attempt changes: letters of an earlier one are ignored.
  uint64_t token_ = 0;
  uint64_t timer_ = 0;  // The newest timer; older ones are ignored.
  uint32_t failures_in_row_ = 0;
  bool waits_for_workers_ = false;
  bool delayed_ = false;  // The back-off or the grace is not over.
  // The store may still record an epoch of the attempt before: which one is the newest is known
  // only when the generation is raised.
  int raises_pending_ = 0;
  uint64_t epochs_reserved_durably_ = 0;
  bool reserving_ = false;

  std::map<uint64_t, v1::EpochRecord> epochs_;
  std::multiset<uint64_t> pinned_epochs_;  // Being exported.
  std::vector<Savepoint> savepoints_;
  std::optional<ModelUpdate> update_;
  Unreferenced unreferenced_;
  bool sweeping_ = false;
  absl::Time last_sweep_ = absl::InfinitePast();

  std::vector<Reply<v1::StopJobResponse>> stop_replies_;
  std::vector<Reply<v1::CancelJobResponse>> cancel_replies_;
  std::vector<Reply<v1::RescaleJobResponse>> rescale_replies_;
  std::vector<Reply<v1::RestartJobResponse>> restart_replies_;
  uint32_t former_parallelism_ = 0;  // For the replies.
  std::vector<Reply<v1::UpgradeJobResponse>> upgrade_replies_;
  v1::UpgradeJobResponse upgrade_response_;  // What was done with the state.
  struct RollBackCause {
    absl::Status status;
    bool ends = false;  // The job, when there is no way back.
  };
  std::optional<RollBackCause> roll_back_;  // Wanted; decided when the generation is raised.
  std::vector<std::shared_ptr<JobWatcher>> watchers_;
  std::vector<TailedNode> tails_;
  std::deque<UntakenRows> untaken_;  // Of the running attempt; oldest first.
  int64_t unread_since_ns_ = 0;      // Rows wait and nobody reads; 0 = not so.
  std::deque<v1::JobLogLine> logs_;
  JobCounters counters_;
};

}  // namespace millrace
