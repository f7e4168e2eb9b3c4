// Another parallelism for a job: as when a worker leaves, the attempt ends with a last epoch, and
// the next one is planned anew.
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/job_controller.h"
#include "coordinator/job_state.h"

namespace millrace {

void JobController::Rescale(v1::JobGraph rescaled, Reply<v1::RescaleJobResponse> reply) {
  const uint32_t parallelism = rescaled.parallelism();
  if (fenced_) {
    return std::move(reply)(absl::AbortedError("another coordinator controls the job"));
  }
  if (!live() || state() == v1::JOB_STATE_CANCELLING) {
    return std::move(reply)(EndedStatus(job_id(), state()));
  }
  if (status_.stop_requested()) {
    return std::move(reply)(absl::FailedPreconditionError("the job is being stopped"));
  }
  if (!rescale_replies_.empty() && status_.rescaled().parallelism() != parallelism) {
    return std::move(reply)(absl::FailedPreconditionError(
        absl::StrCat("the job is about to go on with parallelism ",
                     status_.rescaled().parallelism(), "; ask again when it has")));
  }
  const uint32_t former = graph().parallelism();
  rescale_replies_.push_back(std::move(reply));
  const bool asked = status_.rescale_pending() && status_.rescaled().parallelism() == parallelism;
  if (former == parallelism && !status_.rescale_pending()) {
    former_parallelism_ = former;
    if (attempt_.phase == AttemptPhase::kRunning) AnswerRescale();
    return;
  }
  if (asked) return;
  former_parallelism_ = former;
  *status_.mutable_rescaled() = std::move(rescaled);
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

}  // namespace millrace
