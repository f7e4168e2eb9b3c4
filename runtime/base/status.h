// What a failure means. Expected failures are absl::Status values that name what was attempted,
// values last ("cannot assign partitions: topic=orders"); the task adds job and operator, once.
#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace millrace {

// What the coordinator does with a job when one of its tasks ends with a status.
enum class Remedy {
  kRestartJob,  // With back-off, from the last checkpoint.
  kFailJob,     // The same input would fail again: the job ends FAILED.
};

// The one place that decides what a failure means.
Remedy RemedyFor(const absl::Status& status);

// `status` with "what: " in front of its message; OK stays OK.
absl::Status Annotate(const absl::Status& status, std::string_view what);

// Status of a failed system call, from errno: ENOSPC and friends are kResourceExhausted, ENOENT is
// kNotFound, the rest kUnavailable.
absl::Status StatusFromErrno(int error_number, std::string_view attempted);

}  // namespace millrace
