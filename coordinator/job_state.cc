#include "coordinator/job_state.h"

#include <string>

#include "absl/strings/str_cat.h"

namespace millrace {

std::string_view JobStateName(v1::JobState state) {
  constexpr std::string_view kPrefix = "JOB_STATE_";
  std::string_view name = v1::JobState_Name(state);
  if (name.starts_with(kPrefix)) name.remove_prefix(kPrefix.size());
  return name;
}

absl::Status EndedStatus(std::string_view job_id, v1::JobState state) {
  return absl::FailedPreconditionError(
      absl::StrCat("job ", std::string(job_id), " has ended: ", std::string(JobStateName(state))));
}

}  // namespace millrace
