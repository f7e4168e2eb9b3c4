// State that is restored before it is needed. When a job is to go on with other tasks, the workers
// that will get them restore the newest epoch while the job runs on, then what has come since,
// until little is missing: only then the last epoch is taken, and only what it has changed is left
// to be read. So the time for which rows wait does not grow with the state.
//
// It decides nothing: the deploy that follows plans and places as ever, and a task for which
// nothing fits restores all by itself. So a preparation that fails, or takes too long, is done
// without.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/chain_planner.h"
#include "coordinator/job_controller.h"
#include "runtime/base/status.h"

namespace millrace {
namespace {

// Each one restores what has come during the one before.
constexpr int kRoundsMax = 4;
// A worker that leaves may be killed when it takes too long.
constexpr absl::Duration kLeaveTimeout = absl::Seconds(10);

bool HasState(const v1::Manifest& manifest) {
  return std::any_of(manifest.tasks().begin(), manifest.tasks().end(), [](const auto& task) {
    return std::any_of(task.nodes().begin(), task.nodes().end(),
                       [](const auto& node) { return node.state_size() > 0; });
  });
}

}  // namespace

bool JobController::WantsToMove() const { return MustMove() || status_.has_upgrade(); }

bool JobController::MayMove() const {
  return WantsToMove() && preparation_.has_value() && preparation_->done;
}

// The running attempt is to be followed by another one.
void JobController::PrepareToMove() {
  preparation_.emplace();
  preparation_->begin_ns = loop_.env().clock.MonotonicNanos();
  // A version whose first epoch is not complete may be taken back.
  if (newest_epoch() == nullptr || status_.has_former()) {
    preparation_->done = true;
    return;
  }
  const bool leaves = !status_.rescale_pending() && !status_.has_upgrade();
  loop_.After(leaves ? kLeaveTimeout : options_.deploy_timeout, [this, token = token_] {
    if (token != token_ || !preparation_ || preparation_->done) return;
    EndPreparation(absl::DeadlineExceededError("it takes too long"));
  });
  BeginRound();
}

void JobController::BeginRound() {
  Preparation& preparation = *preparation_;
  ++preparation.rounds;
  preparation.number = ++preparations_;
  preparation.epoch = newest_epoch()->epoch();
  loop_.RunBlocking(
      [uri = options_.checkpoint_uri, places = places(), record = *newest_epoch()] {
        return LoadManifest(uri, places, record);
      },
      [this, token = token_, number = preparation.number](absl::StatusOr<v1::Manifest> manifest) {
        if (token != token_ || !preparation_ || preparation_->done ||
            preparation_->number != number) {
          return;
        }
        if (!manifest.ok()) return EndPreparation(manifest.status());
        if (absl::Status sent = SendPreparation(*std::move(manifest)); !sent.ok()) {
          EndPreparation(sent);
        }
      });
}

// As TryDeploy and OnManifest will plan and place it, if nothing changes until then.
absl::Status JobController::SendPreparation(v1::Manifest manifest) {
  const std::vector<PlacementWorker> workers = host_.WorkersFor(job_id());
  if (workers.empty()) return absl::UnavailableError("no worker is registered");
  const v1::JobGraph& graph = status_.has_upgrade()       ? status_.upgrade().graph()
                              : status_.rescale_pending() ? submitted_graph()
                                                          : this->graph();
  const absl::StatusOr<ChainPlan> plan = PlanChains(graph, CoresOf(workers));
  if (!plan.ok()) return plan.status();
  if (status_.has_upgrade()) {
    const UpgradePlan upgrade = PlanUpgrade(manifest, graph, status_.upgrade().consent());
    if (!upgrade.possible()) return upgrade.status();
    ApplyPlan(upgrade, manifest);
  }
  if (!HasState(manifest)) {
    preparation_->done = true;
    Advance();
    return absl::OkStatus();
  }
  v1::ConnectResponse message;
  v1::PrepareState& prepare = *message.mutable_prepare_state();
  prepare.set_job_id(job_id());
  prepare.set_number(preparation_->number);
  *prepare.mutable_graph() = plan->graph;
  *prepare.mutable_chains() = {plan->chains.begin(), plan->chains.end()};
  for (v1::Task& task : PlaceTasks(plan->chains, plan->graph.max_parallelism(), workers,
                                   {status_.tasks().begin(), status_.tasks().end()})) {
    preparation_->waits_for.insert(task.worker_id());
    *prepare.add_tasks() = std::move(task);
  }
  *prepare.mutable_restore() = std::move(manifest);
  prepare.set_checkpoint_uri(options_.checkpoint_uri);
  if (preparation_->rounds == 1) {
    AddLog(LogLevel::kInfo,
           absl::StrCat("prepares the state of ", prepare.tasks_size(),
                        " tasks beside the running ones, from epoch ", preparation_->epoch, " on"));
  }
  for (const std::string& worker : preparation_->waits_for) {
    prepared_workers_.insert(worker);
    host_.SendTo(worker, message);
  }
  return absl::OkStatus();
}

void JobController::OnStatePrepared(const std::string& worker_id,
                                    const v1::StatePrepared& message) {
  if (!preparation_ || preparation_->done || message.number() != preparation_->number) return;
  if (message.status_code() != 0) {
    return EndPreparation(
        absl::Status(static_cast<absl::StatusCode>(message.status_code()),
                     absl::StrCat("worker ", worker_id, ": ", message.status_message())));
  }
  preparation_->waits_for.erase(worker_id);
  if (!preparation_->waits_for.empty()) return;
  if (newest_epoch()->epoch() > preparation_->epoch && preparation_->rounds < kRoundsMax) {
    return BeginRound();
  }
  preparation_->done = true;
  const absl::Duration took =
      absl::Nanoseconds(loop_.env().clock.MonotonicNanos() - preparation_->begin_ns);
  AddLog(LogLevel::kInfo,
         absl::StrCat("the state is prepared up to epoch ", preparation_->epoch, ", after ",
                      absl::FormatDuration(absl::Trunc(took, absl::Milliseconds(1)))));
  Advance();
}

void JobController::EndPreparation(const absl::Status& status) {
  preparation_->done = true;
  AddLog(LogLevel::kWarning, absl::StrCat("goes on without prepared state: ", status.ToString()));
  Advance();
}

// A worker that gets no tasks keeps nothing for them; what is deployed has taken its own.
void JobController::ForgetPrepared(const std::set<std::string>& deployed) {
  v1::ConnectResponse message;
  message.mutable_prepare_state()->set_job_id(job_id());
  for (const std::string& worker : std::exchange(prepared_workers_, {})) {
    if (!deployed.contains(worker)) host_.SendTo(worker, message);
  }
}

}  // namespace millrace
