// MILLRACE_CHECK ends the process when an invariant of ours is broken. A bug must not become a
// wrong answer: recovery from the last checkpoint is the normal path. Active in every build.
#pragma once

namespace millrace::internal {
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition);
}  // namespace millrace::internal

#define MILLRACE_CHECK(condition)                                        \
  do {                                                                   \
    if (!(condition)) [[unlikely]] {                                     \
      ::millrace::internal::CheckFailed(__FILE__, __LINE__, #condition); \
    }                                                                    \
  } while (false)
