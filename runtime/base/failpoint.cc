#include "runtime/base/failpoint.h"

#include <algorithm>
#include <csignal>
#include <map>
#include <string>

#include <unistd.h>

#include "absl/base/thread_annotations.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"
#include "runtime/base/check.h"

namespace millrace {
namespace {

// Every failpoint of the product, sorted. One line each; a test for each.
// clang-format off
constexpr std::string_view kFailpoints[] = {
    "checkpoint.after_epoch_record",
    "checkpoint.after_manifest",
    "checkpoint.before_completed",
    "checkpoint.before_epoch_record",
    "checkpoint.before_manifest",
    "file.after_upload",
    "file.before_upload",
    "in_flight.before_read",
    "in_flight.before_write",
    "job.after_generation",
    "job.after_spec",
    "job.after_state",
    "job.before_generation",
    "job.before_spec",
    "job.before_state",
    "kafka.commit.after_begin",
    "kafka.commit.after_commit",
    "kafka.commit.after_marker",
    "kafka.commit.after_produce",
    "kafka.commit.before_begin",
    "kafka.commit.before_commit",
    "kafka.init.after_fence",
    "kafka.replay.after_commit",
    "kafka.replay.before_commit",
    "leader.after_renewal",
    "leader.after_term",
    "leader.before_load",
    "leader.before_renewal",
    "leader.before_term",
    "metadata.after_forget",
    "metadata.after_generation",
    "metadata.after_status",
    "metadata.before_forget",
    "metadata.before_generation",
    "metadata.before_status",
    "postgres.after_commit",
    "postgres.after_slot",
    "postgres.before_commit",
    "postgres.before_marker",
    "postgres.before_slot",
    "prepare.after_restore",
    "prepare.before_restore",
    "restore.after_manifest",
    "restore.after_open",
    "restore.before_manifest",
    "restore.before_open",
    "s3.before_complete",
    "savepoint.after_manifest",
    "savepoint.before_export",
    "savepoint.before_import",
    "savepoint.before_manifest",
    "segment.after_link",
    "segment.after_sync",
    "segment.before_create",
    "segment.before_read",
    "segment.before_sync",
    "state.freeze",
    "sweep.before_list",
    "sweep.before_remove",
    "task.after_commit",
    "task.after_snapshot_write",
    "task.before_commit",
    "task.before_restored_commit",
    "task.before_snapshot_write",
    "upgrade.before_switch",
};
// clang-format on

enum class Action { kCrash, kError, kHang };

struct Armed {
  Action action;
  int at = 0;  // 0 = every time.
  int hits = 0;
};

struct Registry {
  absl::Mutex mutex;
  Failpoints::Plan plan ABSL_GUARDED_BY(mutex);
  std::map<std::string, Armed, std::less<>> armed ABSL_GUARDED_BY(mutex);
};

Registry& TheRegistry() {
  static auto* registry = new Registry;  // Never destroyed: failpoints may be reached at exit.
  return *registry;
}

bool Known(std::string_view name) {
  return std::find(std::begin(kFailpoints), std::end(kFailpoints), name) != std::end(kFailpoints);
}

}  // namespace

absl::Status Failpoints::Arm(std::string_view specification) {
  Registry& registry = TheRegistry();
  const std::vector<std::string> parts =
      absl::StrSplit(std::string(specification), ';', absl::SkipWhitespace());
  for (const std::string& part : parts) {
    const size_t equals = part.find('=');
    if (equals == std::string::npos) {
      return absl::InvalidArgumentError(absl::StrCat("failpoint without an action: ", part));
    }
    const std::string name = part.substr(0, equals);
    std::string action = part.substr(equals + 1);
    Armed armed{.action = Action::kError};
    if (const size_t at = action.find('@'); at != std::string::npos) {
      if (!absl::SimpleAtoi(action.substr(at + 1), &armed.at) || armed.at < 1) {
        return absl::InvalidArgumentError(absl::StrCat("bad count of failpoint: ", part));
      }
      action.resize(at);
    }
    if (action == "crash") {
      armed.action = Action::kCrash;
    } else if (action == "hang") {
      armed.action = Action::kHang;
    } else if (action != "error") {
      return absl::InvalidArgumentError(
          absl::StrCat("unknown action of failpoint (crash, error, hang): ", part));
    }
    if (!Known(name)) return absl::InvalidArgumentError(absl::StrCat("unknown failpoint: ", name));
    absl::MutexLock lock(&registry.mutex);
    registry.armed[name] = armed;
    any_armed_.store(true, std::memory_order_relaxed);
  }
  return absl::OkStatus();
}

void Failpoints::DisarmAll() {
  Registry& registry = TheRegistry();
  absl::MutexLock lock(&registry.mutex);
  registry.armed.clear();
  any_armed_.store(false, std::memory_order_relaxed);
}

void Failpoints::SetPlan(Plan plan) {
  Registry& registry = TheRegistry();
  absl::MutexLock lock(&registry.mutex);
  registry.plan = std::move(plan);
  any_armed_.store(registry.plan != nullptr || !registry.armed.empty(), std::memory_order_relaxed);
}

std::span<const std::string_view> Failpoints::Names() { return kFailpoints; }

int Failpoints::Hits(std::string_view name) {
  Registry& registry = TheRegistry();
  absl::MutexLock lock(&registry.mutex);
  auto it = registry.armed.find(name);
  return it == registry.armed.end() ? 0 : it->second.hits;
}

absl::Status Failpoints::Reach(std::string_view name) {
  MILLRACE_CHECK(Known(name));
  Action action;
  {
    Registry& registry = TheRegistry();
    absl::MutexLock lock(&registry.mutex);
    if (registry.plan != nullptr) return registry.plan(name);
    auto it = registry.armed.find(name);
    if (it == registry.armed.end()) return absl::OkStatus();
    Armed& armed = it->second;
    ++armed.hits;
    if (armed.at != 0 && armed.hits != armed.at) return absl::OkStatus();
    action = armed.action;
  }
  if (action == Action::kCrash) {
    (void)kill(getpid(), SIGKILL);  // Nothing can be done about a failure.
  }
  while (action == Action::kHang) pause();
  return absl::UnavailableError(absl::StrCat("failpoint ", std::string(name)));
}

}  // namespace millrace
