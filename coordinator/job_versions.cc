// Another parallelism, or another graph, for a job that runs: as when a worker leaves, the attempt
// ends with a last epoch, and the next one is planned anew.
//
// A rescale may begin with any attempt: the graph reads every epoch of the job. An upgrade begins
// only behind a last epoch that is committed everywhere, because a node that is gone cannot finish
// a commit. Until an epoch of the new version is complete nothing of it is visible outside, and the
// job can go back.
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/job_controller.h"
#include "coordinator/job_state.h"
#include "coordinator/upgrade_plan.h"
#include "runtime/base/failpoint.h"
#include "runtime/base/status.h"

namespace millrace {
namespace {

v1::UpgradeJobResponse ResponseOf(const UpgradePlan& plan, uint64_t epoch) {
  v1::UpgradeJobResponse response;
  *response.mutable_nodes() = {plan.nodes.begin(), plan.nodes.end()};
  response.set_possible(plan.possible());
  response.set_epoch(epoch);
  return response;
}

}  // namespace

// ---- Another parallelism.

void JobController::Rescale(v1::JobGraph rescaled, Reply<v1::RescaleJobResponse> reply) {
  const uint32_t parallelism = rescaled.parallelism();
  if (absl::Status status = CheckChangeable(); !status.ok()) return std::move(reply)(status);
  if (status_.has_upgrade() || status_.has_former()) {
    return std::move(reply)(
        absl::FailedPreconditionError("the job is being upgraded; ask again when it has been"));
  }
  const uint32_t pending = status_.version().graph().parallelism();
  if (!rescale_replies_.empty() && pending != parallelism) {
    return std::move(reply)(absl::FailedPreconditionError(absl::StrCat(
        "the job is about to go on with parallelism ", pending, "; ask again when it has")));
  }
  const uint32_t former = graph().parallelism();
  rescale_replies_.push_back(std::move(reply));
  const bool asked = status_.rescale_pending() && pending == parallelism;
  if (former == parallelism && !status_.rescale_pending()) {
    former_parallelism_ = former;
    if (attempt_.phase == AttemptPhase::kRunning) AnswerRescale();
    return;
  }
  if (asked) return;
  former_parallelism_ = former;
  *status_.mutable_version()->mutable_graph() = std::move(rescaled);
  status_.set_rescale_pending(true);
  AddLog(LogLevel::kInfo, absl::StrCat("parallelism ", parallelism, " was asked for"));
  PutStatus([] {});
  // Tasks that have not begun have nothing to finish.
  if (attempt_.phase == AttemptPhase::kOpening) return Move();
  Advance();
}

// The job runs; with the parallelism that was asked for last, unless it is about to move again.
void JobController::AnswerRescale() {
  if (rescale_replies_.empty() || status_.rescale_pending()) return;
  v1::RescaleJobResponse response;
  response.set_former_parallelism(former_parallelism_);
  if (newest_epoch() != nullptr) response.set_epoch(newest_epoch()->epoch());
  for (auto& reply : std::exchange(rescale_replies_, {})) std::move(reply)(response);
}

// ---- The same again.

void JobController::Restart(bool from_checkpoint, Reply<v1::RestartJobResponse> reply) {
  if (!fenced_ && !live()) {
    return std::move(reply)(Annotate(
        EndedStatus(job_id(), state()),
        "a job that has ended is not begun again: submit it, with --savepoint where it left one"));
  }
  if (absl::Status status = CheckChangeable(); !status.ok()) return std::move(reply)(status);
  if (status_.has_upgrade() || status_.has_former()) {
    return std::move(reply)(
        absl::FailedPreconditionError("the job is being upgraded; ask again when it has been"));
  }
  restart_replies_.push_back(std::move(reply));
  AddLog(LogLevel::kInfo, from_checkpoint ? "a restart from the newest checkpoint was asked for"
                                          : "a restart was asked for");
  const bool runs = attempt_.phase == AttemptPhase::kRunning ||
                    attempt_.phase == AttemptPhase::kOpening ||
                    attempt_.phase == AttemptPhase::kAdopting;
  if (runs) {
    status_.set_restart_pending(true);
    // Tasks that have not begun have nothing to finish.
    if (from_checkpoint || attempt_.phase == AttemptPhase::kOpening) return Move();
    PutStatus([] {});
    return Advance();
  }
  // It is about to begin anyway; the back-off after a failure is over.
  if (attempt_.phase == AttemptPhase::kNone && state() == v1::JOB_STATE_RESTARTING) {
    delayed_ = false;
    TryDeploy();
  }
}

// The job runs, and is not about to begin again.
void JobController::AnswerRestart() {
  if (status_.restart_pending()) return;
  v1::RestartJobResponse response;
  if (newest_epoch() != nullptr) response.set_epoch(newest_epoch()->epoch());
  for (auto& reply : std::exchange(restart_replies_, {})) std::move(reply)(response);
}

absl::Status JobController::CheckChangeable() const {
  if (fenced_) return absl::AbortedError("another coordinator controls the job");
  if (!live() || state() == v1::JOB_STATE_CANCELLING) return EndedStatus(job_id(), state());
  if (status_.stop_requested()) {
    return absl::FailedPreconditionError("the job is being stopped");
  }
  return absl::OkStatus();
}

// ---- Another graph.

void JobController::PlanUpgradeTo(v1::JobGraph graph, v1::StateConsent consent,
                                  Reply<v1::UpgradeJobResponse> reply) {
  PlanWithNewest(
      graph, consent,
      [reply = std::move(reply)](absl::StatusOr<UpgradePlan> plan, uint64_t epoch) mutable {
        if (!plan.ok()) return std::move(reply)(plan.status());
        std::move(reply)(ResponseOf(*plan, epoch));
      });
}

void JobController::PlanWithNewest(
    v1::JobGraph graph, v1::StateConsent consent,
    absl::AnyInvocable<void(absl::StatusOr<UpgradePlan>, uint64_t epoch)> then) {
  if (absl::Status status = CheckChangeable(); !status.ok()) return then(status, 0);
  const v1::EpochRecord* newest = newest_epoch();
  if (newest == nullptr) {
    return then(
        absl::FailedPreconditionError("the job has no checkpoint yet; ask again when it has"), 0);
  }
  loop_.RunBlocking([uri = options_.checkpoint_uri, places = places(),
                     record = *newest] { return LoadManifest(uri, places, record); },
                    [graph = std::move(graph), consent = std::move(consent),
                     then = std::move(then)](absl::StatusOr<v1::Manifest> manifest) mutable {
                      if (!manifest.ok()) return then(manifest.status(), 0);
                      then(PlanUpgrade(*manifest, graph, consent), manifest->epoch());
                    });
}

// What would be refused is refused before the job stops for it.
void JobController::Upgrade(v1::JobGraph graph, v1::StateConsent consent,
                            Reply<v1::UpgradeJobResponse> reply) {
  PlanWithNewest(graph, consent,
                 [this, graph, consent, reply = std::move(reply)](absl::StatusOr<UpgradePlan> plan,
                                                                  uint64_t) mutable {
                   const absl::Status status = plan.ok() ? plan->status() : plan.status();
                   if (!status.ok()) return std::move(reply)(status);
                   AskForUpgrade(std::move(graph), std::move(consent), std::move(reply));
                 });
}

void JobController::AskForUpgrade(v1::JobGraph graph, v1::StateConsent consent,
                                  Reply<v1::UpgradeJobResponse> reply) {
  if (absl::Status status = CheckChangeable(); !status.ok()) return std::move(reply)(status);
  if (status_.has_upgrade() || status_.has_former() || status_.rescale_pending()) {
    return std::move(reply)(absl::FailedPreconditionError(
        "the job is being upgraded or rescaled; ask again when it has been"));
  }
  v1::JobVersion& version = *status_.mutable_upgrade();
  *version.mutable_graph() = std::move(graph);
  *version.mutable_consent() = std::move(consent);
  upgrade_replies_.push_back(std::move(reply));
  AddLog(LogLevel::kInfo, "an upgrade was asked for");
  PutStatus([] {});
  Advance();
}

// The last epoch of the version that ran is committed everywhere.
void JobController::BeginUpgrade() {
  v1::JobVersion former = status_.version();
  *former.mutable_graph() = submitted_graph();
  *status_.mutable_former() = std::move(former);
  *status_.mutable_version() = std::move(*status_.mutable_upgrade());
  status_.mutable_version()->set_foreign_epoch(newest_epoch()->epoch());
  status_.clear_upgrade();
  status_.clear_planned();
  failures_in_row_ = 0;
}

absl::StatusOr<v1::Manifest> JobController::TakeOver(v1::Manifest manifest) {
  if (manifest.epoch() == 0 || !IsForeign(manifest.epoch())) return manifest;
  // Planned anew: the last epoch may have state that the one before it had not.
  const UpgradePlan plan = PlanUpgrade(manifest, submitted_graph(), status_.version().consent());
  if (!plan.possible()) return plan.status();
  upgrade_response_ = ResponseOf(plan, manifest.epoch());
  ApplyPlan(plan, manifest);
  return manifest;
}

absl::Status JobController::ReachUpgrade() const {
  MILLRACE_FAILPOINT("upgrade.before_switch");
  return absl::OkStatus();
}

void JobController::ConfirmUpgrade() {
  status_.clear_former();
  PutStatus([] {});
  AddLog(LogLevel::kInfo, "the new version has completed an epoch");
  for (auto& reply : std::exchange(upgrade_replies_, {})) std::move(reply)(upgrade_response_);
}

// An epoch of the new version may have been recorded while it failed: then there is no way back.
bool JobController::RollBack() {
  const RollBackCause cause = *std::exchange(roll_back_, std::nullopt);
  if (!IsForeign(newest_epoch()->epoch())) {
    ConfirmUpgrade();
    if (cause.ends) EndAs(v1::JOB_STATE_FAILED);
    return !cause.ends;
  }
  AddLog(LogLevel::kError, "goes back to the version before");
  ++counters_.restarts_by_reason["rollback"];
  *status_.mutable_version() = std::move(*status_.mutable_former());
  status_.clear_former();
  status_.clear_planned();
  failures_in_row_ = 0;
  PutStatus([] {});
  for (auto& reply : std::exchange(upgrade_replies_, {})) {
    std::move(reply)(
        Annotate(cause.status,
                 "the new version could not run, and the job goes on with the version before"));
  }
  return true;
}

}  // namespace millrace
