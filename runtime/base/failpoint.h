// Failpoints: named places where tests inject a fault. All names stand in kFailpoints
// (failpoint.cc); a name that is not there does not link into any test by accident.
//
//   MILLRACE_FAILPOINT("checkpoint.before_epoch_record");
//
// Armed by MILLRACE_FAILPOINTS="name=action[@n];..." at start, or Arm() in tests. Actions: `crash`
// (the process ends as by SIGKILL), `error` (the enclosing function returns kUnavailable), `hang`
// (sleeps for ever; real runs only). `@n`: only the n-th time it is reached. Cost when nothing is
// armed: one relaxed load.
#pragma once

#include <atomic>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace millrace {

class Failpoints {
 public:
  // kInvalidArgument names what is wrong in `specification`.
  static absl::Status Arm(std::string_view specification);
  static void DisarmAll();
  // Decides at every failpoint what it returns, instead of what is armed; null ends that. For the
  // simulator. Must not reach a failpoint itself.
  using Plan = std::function<absl::Status(std::string_view name)>;
  static void SetPlan(Plan plan);
  static std::span<const std::string_view> Names();
  // How often `name` was reached since it was armed.
  static int Hits(std::string_view name);

  static bool AnyArmed() { return any_armed_.load(std::memory_order_relaxed); }
  static absl::Status Reach(std::string_view name);

 private:
  // Relaxed: a failpoint that is armed while the process runs may be seen late.
  static inline std::atomic<bool> any_armed_{false};
};

}  // namespace millrace

// In a function that returns Status or StatusOr.
#define MILLRACE_FAILPOINT(name)                                                             \
  do {                                                                                       \
    if (::millrace::Failpoints::AnyArmed()) [[unlikely]] {                                   \
      if (absl::Status failpoint_ = ::millrace::Failpoints::Reach(name); !failpoint_.ok()) { \
        return failpoint_;                                                                   \
      }                                                                                      \
    }                                                                                        \
  } while (false)
