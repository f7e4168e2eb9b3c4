// MILLRACE_RETURN_IF_ERROR and MILLRACE_ASSIGN_OR_RETURN: the shape of Abseil's later
// status_macros.h, which Debian 12's Abseil does not have yet.
#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define MILLRACE_STATUS_CONCAT_INNER_(a, b) a##b
#define MILLRACE_STATUS_CONCAT_(a, b) MILLRACE_STATUS_CONCAT_INNER_(a, b)

#define MILLRACE_RETURN_IF_ERROR(expression)                                    \
  do {                                                                          \
    if (absl::Status millrace_status_ = (expression); !millrace_status_.ok()) { \
      return millrace_status_;                                                  \
    }                                                                           \
  } while (false)

#define MILLRACE_ASSIGN_OR_RETURN(lhs, expression) \
  MILLRACE_ASSIGN_OR_RETURN_IMPL_(MILLRACE_STATUS_CONCAT_(millrace_or_, __LINE__), lhs, expression)

#define MILLRACE_ASSIGN_OR_RETURN_IMPL_(result, lhs, expression) \
  auto result = (expression);                                    \
  if (!result.ok()) return std::move(result).status();           \
  lhs = *std::move(result)
