#include "coordinator/job_state.h"

namespace millrace {

std::string_view JobStateName(v1::JobState state) {
  constexpr std::string_view kPrefix = "JOB_STATE_";
  std::string_view name = v1::JobState_Name(state);
  if (name.starts_with(kPrefix)) name.remove_prefix(kPrefix.size());
  return name;
}

}  // namespace millrace
