// The life of a job as one table of legal transitions.
#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "millrace/v1/job_service.pb.h"

namespace millrace {

struct JobTransition {
  v1::JobState from;
  v1::JobState to;
};

// Sorted by `from`, then `to`. A stored job begins as CREATED.
inline constexpr JobTransition kJobTransitions[] = {
    {v1::JOB_STATE_CREATED, v1::JOB_STATE_DEPLOYING},
    {v1::JOB_STATE_CREATED, v1::JOB_STATE_CANCELLING},
    {v1::JOB_STATE_CREATED, v1::JOB_STATE_STOPPED},  // Nothing ran, nothing is pending.
    {v1::JOB_STATE_CREATED, v1::JOB_STATE_FAILED},
    {v1::JOB_STATE_DEPLOYING, v1::JOB_STATE_RUNNING},
    {v1::JOB_STATE_DEPLOYING, v1::JOB_STATE_RESTARTING},
    {v1::JOB_STATE_DEPLOYING, v1::JOB_STATE_CANCELLING},
    {v1::JOB_STATE_DEPLOYING, v1::JOB_STATE_FAILED},
    {v1::JOB_STATE_RUNNING, v1::JOB_STATE_RESTARTING},
    {v1::JOB_STATE_RUNNING, v1::JOB_STATE_STOPPING},
    {v1::JOB_STATE_RUNNING, v1::JOB_STATE_CANCELLING},
    {v1::JOB_STATE_RUNNING, v1::JOB_STATE_FINISHED},
    {v1::JOB_STATE_RUNNING, v1::JOB_STATE_FAILED},
    {v1::JOB_STATE_RESTARTING, v1::JOB_STATE_DEPLOYING},
    {v1::JOB_STATE_RESTARTING, v1::JOB_STATE_RUNNING},  // Adopted by a coordinator that came back.
    {v1::JOB_STATE_RESTARTING, v1::JOB_STATE_CANCELLING},
    {v1::JOB_STATE_RESTARTING, v1::JOB_STATE_FAILED},
    {v1::JOB_STATE_STOPPING, v1::JOB_STATE_RESTARTING},  // Stops when it runs again.
    {v1::JOB_STATE_STOPPING, v1::JOB_STATE_CANCELLING},
    {v1::JOB_STATE_STOPPING, v1::JOB_STATE_FINISHED},
    {v1::JOB_STATE_STOPPING, v1::JOB_STATE_STOPPED},
    {v1::JOB_STATE_STOPPING, v1::JOB_STATE_FAILED},
    {v1::JOB_STATE_CANCELLING, v1::JOB_STATE_CANCELLED},
};

constexpr bool IsLegalTransition(v1::JobState from, v1::JobState to) {
  for (const JobTransition& transition : kJobTransitions) {
    if (transition.from == from && transition.to == to) return true;
  }
  return false;
}

// Nothing follows.
constexpr bool IsTerminal(v1::JobState state) {
  return state == v1::JOB_STATE_FINISHED || state == v1::JOB_STATE_STOPPED ||
         state == v1::JOB_STATE_CANCELLED || state == v1::JOB_STATE_FAILED;
}

// "RUNNING": without the prefix of the enumeration.
std::string_view JobStateName(v1::JobState state);
// What those are told who ask something of a job that has ended, or is about to.
absl::Status EndedStatus(std::string_view job_id, v1::JobState state);

}  // namespace millrace
