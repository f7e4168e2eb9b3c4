// A job's way from a graph to running tasks, and back to those that still run.
#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/chain_planner.h"
#include "coordinator/job_controller.h"
#include "coordinator/job_state.h"
#include "runtime/base/check.h"
#include "runtime/base/status.h"
#include "sql/state_layout.h"

namespace millrace {
namespace {

// Epoch numbers that may be used before the status is written again.
constexpr uint64_t kEpochsReserved = 1000;

// Nobody would take these rows, and nobody miss them: a node that is there checks the rest.
absl::Status CheckInFlight(const v1::JobGraph& graph, const v1::Manifest& manifest) {
  std::set<std::string> known;
  for (const v1::Node& node : graph.nodes()) {
    known.insert(node.uid());
    known.insert(node.former_uids().begin(), node.former_uids().end());
  }
  for (const v1::TaskSnapshot& task : manifest.tasks()) {
    for (const v1::NodeSnapshot& node : task.nodes()) {
      if (node.in_flight_size() == 0 || known.contains(node.uid())) continue;
      return absl::FailedPreconditionError(
          absl::StrCat("MR5302: the checkpoint has rows on their way to node ", node.uid(),
                       ", which is gone; go on from a savepoint, which has no such rows"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

void JobController::TryDeploy() {
  if (fenced_ || delayed_ || raises_pending_ > 0) return;
  if (attempt_.phase != AttemptPhase::kNone) return;
  if (roll_back_ && !RollBack()) return;
  if (state() != v1::JOB_STATE_CREATED && state() != v1::JOB_STATE_RESTARTING) return;
  const std::vector<PlacementWorker> workers = host_.WorkersFor(job_id());
  if (workers.empty()) {
    if (!std::exchange(waits_for_workers_, true)) {
      AddLog(LogLevel::kWarning, "no worker is registered; waits for one");
    }
    return;
  }
  waits_for_workers_ = false;
  attempt_ = {};
  attempt_.phase = AttemptPhase::kPlanning;
  ++token_;
  if (status_.rescale_pending()) {
    status_.clear_planned();
    status_.set_rescale_pending(false);
  }
  status_.set_restart_pending(false);
  const absl::StatusOr<ChainPlan> plan = PlanChains(graph(), CoresOf(workers));
  if (!plan.ok()) return Fail(plan.status(), "plan");
  *status_.mutable_planned() = plan->graph;
  attempt_.id.set_job_id(job_id());
  attempt_.id.set_generation(generation_);
  attempt_.id.set_attempt(status_.attempt() + 1);
  status_.set_attempt(attempt_.id.attempt());
  SetState(v1::JOB_STATE_DEPLOYING);
  const v1::EpochRecord* newest = newest_epoch();
  attempt_.layouts = StateLayoutsOf(plan->graph);
  if (newest == nullptr) return OnManifest(token_, v1::Manifest());
  loop_.RunBlocking([uri = options_.checkpoint_uri, places = places(),
                     record = *newest] { return LoadManifest(uri, places, record); },
                    [this, token = token_](absl::StatusOr<v1::Manifest> manifest) {
                      OnManifest(token, std::move(manifest));
                    });
}

void JobController::OnManifest(uint64_t token, absl::StatusOr<v1::Manifest> manifest) {
  if (token != token_ || fenced_) return;
  if (!manifest.ok()) {
    return Fail(Annotate(manifest.status(), "cannot read the checkpoint to restore"), "restore");
  }
  manifest = TakeOver(*std::move(manifest));
  if (!manifest.ok()) return Fail(manifest.status(), "upgrade");
  if (absl::Status status = CheckInFlight(status_.planned(), *manifest); !status.ok()) {
    return Fail(status, "restore");
  }
  const std::vector<PlacementWorker> workers = host_.WorkersFor(job_id());
  if (workers.empty()) return Move();  // They have gone meanwhile.
  const absl::StatusOr<ChainPlan> plan = PlanChains(status_.planned(), 1);
  MILLRACE_CHECK(plan.ok());  // It was planned before.
  const std::vector<v1::Task> previous(status_.tasks().begin(), status_.tasks().end());
  const std::vector<v1::Task> tasks =
      PlaceTasks(plan->chains, plan->graph.max_parallelism(), workers, previous);
  const uint64_t restored = manifest->epoch();
  attempt_.next_epoch = restored + 1;
  attempt_.rows_at_begin = BalanceRows(plan->graph, *manifest);
  status_.set_generation(attempt_.id.generation());
  status_.set_epochs_reserved(restored + kEpochsReserved);
  *status_.mutable_tasks() = {tasks.begin(), tasks.end()};
  SetTasks(tasks);
  // Stored first: a coordinator that comes back must know whom to expect.
  PutStatus([this, token, manifest = *std::move(manifest), reserved = status_.epochs_reserved()] {
    if (token != token_ || fenced_) return;
    epochs_reserved_durably_ = reserved;
    attempt_.phase = AttemptPhase::kOpening;
    if (MustMove()) return Move();
    SendDeploys(manifest);
  });
}

void JobController::SetTasks(const std::vector<v1::Task>& tasks) {
  progress_.clear();
  conditions_.clear();
  const absl::StatusOr<ChainPlan> plan = PlanChains(status_.planned(), 1);
  MILLRACE_CHECK(plan.ok());
  std::map<uint32_t, std::string> heads;  // By chain.
  std::set<uint32_t> source_chains;
  for (const v1::Chain& chain : plan->chains) {
    heads[chain.id()] = chain.uids(0);
    for (const v1::Node& node : plan->graph.nodes()) {
      if (node.uid() == chain.uids(0) && node.has_source()) source_chains.insert(chain.id());
    }
  }
  attempt_.tasks.clear();
  attempt_.workers.clear();
  for (const v1::Task& task : tasks) {
    attempt_.tasks[{task.key().chain(), task.key().index()}] = {
        .task = task,
        .head_uid = heads[task.key().chain()],
        .is_source = source_chains.contains(task.key().chain())};
    attempt_.workers.insert(task.worker_id());
  }
}

void JobController::SendToAttempt(const v1::ConnectResponse& message) {
  for (const std::string& worker : attempt_.workers) host_.SendTo(worker, message);
}

void JobController::SendDeploys(const v1::Manifest& manifest) {
  const absl::StatusOr<ChainPlan> plan = PlanChains(status_.planned(), 1);
  MILLRACE_CHECK(plan.ok());
  v1::ConnectResponse message;
  v1::DeployAttempt& deploy = *message.mutable_deploy();
  *deploy.mutable_attempt() = attempt_.id;
  *deploy.mutable_graph() = plan->graph;
  *deploy.mutable_graph()->mutable_models() = GraphInUse().models();
  // Every worker gets every task: it connects its channels by their addresses.
  for (const auto& [id, run] : attempt_.tasks) *deploy.add_tasks() = run.task;
  deploy.set_restore_epoch(manifest.epoch());
  if (manifest.epoch() > 0) *deploy.mutable_restore() = manifest;
  deploy.set_checkpoint_uri(options_.checkpoint_uri);
  *deploy.mutable_chains() = {plan->chains.begin(), plan->chains.end()};
  *deploy.mutable_layouts() = {attempt_.layouts.begin(), attempt_.layouts.end()};
  AddLog(LogLevel::kInfo,
         absl::StrCat(
             "deploys attempt ", attempt_.id.attempt(), " of generation ", attempt_.id.generation(),
             ": ", attempt_.tasks.size(), " tasks on ", attempt_.workers.size(), " workers, ",
             manifest.epoch() == 0 ? "a fresh start"
                                   : absl::StrCat("restored from epoch ", manifest.epoch())));
  SendToAttempt(message);
  ForgetPrepared(attempt_.workers);
  loop_.After(options_.deploy_timeout, [this, token = token_] {
    if (token != token_ || attempt_.phase != AttemptPhase::kOpening) return;
    Fail(absl::DeadlineExceededError("tasks did not become ready in time"), "deploy_timeout");
  });
}

void JobController::BeginAdoption() {
  attempt_ = {};
  attempt_.phase = AttemptPhase::kAdopting;
  ++token_;
  attempt_.id.set_job_id(job_id());
  attempt_.id.set_generation(status_.generation());
  attempt_.id.set_attempt(status_.attempt());
  // The coordinator before this one may have used any number that it had reserved.
  attempt_.next_epoch = status_.epochs_reserved() + 1;
  attempt_.layouts = StateLayoutsOf(status_.planned());
  SetTasks({status_.tasks().begin(), status_.tasks().end()});
  loop_.After(options_.registration_grace, [this, token = token_] {
    if (token != token_ || attempt_.phase != AttemptPhase::kAdopting) return;
    Fail(absl::UnavailableError("not all workers of the running attempt have come back"),
         "adoption");
  });
}

void JobController::OnWorkerRegistered(const std::string& worker_id,
                                       const std::vector<v1::AttemptId>& running) {
  if (fenced_) return;
  bool runs_current = false;
  for (const v1::AttemptId& id : running) {
    if (id.job_id() != job_id()) continue;
    const bool current = attempt_.phase != AttemptPhase::kNone &&
                         id.generation() == attempt_.id.generation() &&
                         id.attempt() == attempt_.id.attempt();
    if (current) {
      runs_current = true;
    } else {
      v1::ConnectResponse stop;
      *stop.mutable_stop()->mutable_attempt() = id;
      host_.SendTo(worker_id, stop);
    }
  }
  if (attempt_.workers.contains(worker_id) && attempt_.phase != AttemptPhase::kPlanning) {
    if (!runs_current) {
      return Fail(absl::UnavailableError(
                      absl::StrCat("worker ", worker_id, " does not run its tasks any more")),
                  "worker_lost");
    }
    // Messages may have been lost between the two connections.
    if (attempt_.epoch.phase == EpochPhase::kCollecting) {
      AbandonEpoch(absl::StrCat("worker ", worker_id, " has reconnected"));
    }
    if (const v1::EpochRecord* newest = newest_epoch();
        newest != nullptr && newest->generation() == attempt_.id.generation() &&
        attempt_.phase == AttemptPhase::kRunning) {
      SendEpochCompleted(newest->epoch());
    }
  }
  TryDeploy();
}

void JobController::OnWorkerLost(const std::string& worker_id, const absl::Status& reason) {
  if (preparation_ && !preparation_->done && preparation_->waits_for.contains(worker_id)) {
    EndPreparation(absl::UnavailableError(absl::StrCat("lost worker ", worker_id)));
  }
  if (!attempt_.workers.contains(worker_id)) return;
  if (attempt_.phase == AttemptPhase::kAdopting) {
    for (auto& [id, run] : attempt_.tasks) {
      if (run.task.worker_id() == worker_id) run.state = v1::TaskStateChanged::STATE_UNSPECIFIED;
    }
    return;  // It may come back within the grace.
  }
  Fail(absl::UnavailableError(
           absl::StrCat("lost worker ", worker_id, ": ", std::string(reason.message()))),
       "worker_lost");
}

void JobController::OnWorkerLeaving(const std::string& worker_id) {
  if (fenced_ || !attempt_.workers.contains(worker_id)) return;
  // Tasks that have not begun have nothing to finish. While the plan is made or stored, or an
  // attempt adopted, what follows comes here again.
  if (attempt_.phase == AttemptPhase::kOpening) return Move();
  Advance();
}

void JobController::OnTaskState(const v1::TaskStateChanged& message) {
  if (!IsCurrent(message.attempt())) return;
  const auto it = attempt_.tasks.find({message.task().chain(), message.task().index()});
  if (it == attempt_.tasks.end()) return;
  if (message.state() == v1::TaskStateChanged::STATE_FAILED) {
    const absl::StatusCode code = static_cast<absl::StatusCode>(message.status_code());
    const std::string where =
        absl::StrCat("task ", message.task().chain(), "/", message.task().index(),
                     message.uid().empty() ? "" : absl::StrCat(", uid=", message.uid()));
    // A failure without a reason is a bug of the worker; the same input would fail again.
    const absl::Status status(code == absl::StatusCode::kOk ? absl::StatusCode::kInternal : code,
                              absl::StrCat(where, ": ", message.status_message()));
    return Fail(status, "task_failed");
  }
  it->second.state = message.state();
  StartWhenReady();
  Advance();
}

void JobController::StartWhenReady() {
  if (attempt_.phase != AttemptPhase::kOpening && attempt_.phase != AttemptPhase::kAdopting) return;
  for (const auto& [id, run] : attempt_.tasks) {
    if (run.state != v1::TaskStateChanged::STATE_READY &&
        run.state != v1::TaskStateChanged::STATE_RUNNING &&
        run.state != v1::TaskStateChanged::STATE_EXHAUSTED) {
      return;
    }
  }
  const bool adopted = attempt_.phase == AttemptPhase::kAdopting;
  v1::ConnectResponse message;
  *message.mutable_start()->mutable_attempt() = attempt_.id;
  for (const auto& [id, run] : attempt_.tasks) *message.mutable_start()->add_tasks() = run.task;
  SendToAttempt(message);  // A worker that has started ignores it.
  attempt_.phase = AttemptPhase::kRunning;
  if (adopted) AddLog(LogLevel::kInfo, "all tasks of the running attempt were found; goes on");
  if (paused_since_ns_ != 0) {
    const int64_t now = loop_.env().clock.MonotonicNanos();
    const absl::Duration paused = absl::Nanoseconds(now - std::exchange(paused_since_ns_, 0));
    AddLog(LogLevel::kInfo, absl::StrCat("rows waited for ", absl::FormatDuration(absl::Trunc(
                                                                 paused, absl::Milliseconds(1)))));
  }
  if (state() == v1::JOB_STATE_DEPLOYING) SetState(v1::JOB_STATE_RUNNING);
  SendTaps();
  AnswerRescale();
  AnswerRestart();
  if (state() == v1::JOB_STATE_RUNNING && status_.stop_requested()) {
    SetState(v1::JOB_STATE_STOPPING);
  }
  const v1::EpochRecord* newest = newest_epoch();
  if (newest != nullptr && newest->generation() == attempt_.id.generation() &&
      newest->generation() == status_.generation() && adopted) {
    // Its commit may not have been asked for, or not acknowledged.
    if (newest->final()) attempt_.final_epoch = newest->epoch();
    SendEpochCompleted(newest->epoch());
  }
}

bool JobController::ReserveEpochs() {
  if (attempt_.next_epoch + kEpochsReserved / 10 > epochs_reserved_durably_ && !reserving_) {
    reserving_ = true;
    status_.set_epochs_reserved(attempt_.next_epoch + kEpochsReserved);
    PutStatus([this, token = token_, reserved = status_.epochs_reserved()] {
      reserving_ = false;
      if (token != token_) return;
      epochs_reserved_durably_ = reserved;
      Advance();
    });
  }
  return attempt_.next_epoch <= epochs_reserved_durably_;
}

}  // namespace millrace
