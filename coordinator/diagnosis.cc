#include "coordinator/diagnosis.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "coordinator/job_state.h"

namespace millrace {
namespace {

constexpr size_t kTasksTold = 3;  // Of a list; the others are like them.

std::string Text(absl::Duration duration) {
  return absl::FormatDuration(absl::Trunc(duration, absl::Milliseconds(100)));
}

TaskId IdOf(const v1::TaskKey& key) { return {key.chain(), key.index()}; }

class Chains {
 public:
  explicit Chains(const DiagnosisView& view) : view_(view) {}

  void Add(uint32_t depth, std::string text) {
    v1::Cause& cause = causes_.emplace_back();
    cause.set_depth(depth);
    cause.set_text(std::move(text));
  }

  // Why the task does not go on, and what holds up that. Each task is explained once.
  void Explain(TaskId id, uint32_t depth) {
    const auto it = view_.tasks.find(id);
    if (it == view_.tasks.end()) return;
    const DiagnosisView::Task& task = it->second;
    const std::string name = absl::StrCat("task ", task.name, " on ", task.worker);
    if (!explained_.insert(id).second) return Add(depth, absl::StrCat(name, ": see above"));
    const v1::TaskCondition& now = task.condition;
    const absl::Duration waits = absl::Milliseconds(now.waits_ms());
    if (!task.is_open) return Add(depth, name + " is still restoring its state");
    if (task.heard > absl::Seconds(3)) {
      return Add(depth, absl::StrCat(name, " has not been heard of for ", Text(task.heard),
                                     ": its worker hangs, or cannot be reached"));
    }
    if (now.commit_ms() >= Ms(kWorthTelling)) {
      Add(depth, absl::StrCat(name, " has been committing to its target for ",
                              Text(absl::Milliseconds(now.commit_ms()))));
    }
    switch (now.waits_for()) {
      case v1::TaskCondition::WAITS_FOR_CREDIT:
        Add(depth, absl::StrCat(name, " has been held back for ", Text(waits),
                                " by a task that is slower"));
        return Explain(IdOf(now.receiver()), depth + 1);
      case v1::TaskCondition::WAITS_FOR_SNAPSHOT:
        return Add(depth, absl::StrCat(name, " still writes the snapshot before, for ",
                                       Text(absl::Milliseconds(now.snapshot_ms())),
                                       ": the checkpoint storage is slow"));
      case v1::TaskCondition::WAITS_FOR_ANSWERS:
        return Add(depth, absl::StrCat(name, " has been waiting for ", Text(waits),
                                       " for the server that its operator asks"));
      case v1::TaskCondition::WAITS_FOR_COMMIT:
        return Add(depth, absl::StrCat(name, " has taken no rows for ", Text(waits),
                                       ": complete checkpoints wait for its target, which is "
                                       "slower than the source"));
      default:
        break;
    }
    if (now.aligning_epoch() != 0 && now.align_ms() >= Ms(kWorthTelling)) {
      Add(depth, absl::StrCat(
                     name, " has been waiting for ", Text(absl::Milliseconds(now.align_ms())),
                     " for the barrier of epoch ", now.aligning_epoch(), " from a task before it"));
      return Explain(IdOf(now.missing()), depth + 1);
    }
    if (now.snapshot_ms() >= Ms(kWorthTelling)) {
      return Add(depth, absl::StrCat(name, " has been writing its snapshot for ",
                                     Text(absl::Milliseconds(now.snapshot_ms()))));
    }
    if (now.waits_for() == v1::TaskCondition::WAITS_FOR_INPUT) {
      return Add(depth, name + " waits for input");
    }
    Add(depth, name + " works, and is the slowest: more parallelism, or less work per row");
  }

  bool Explained(TaskId id) const { return explained_.contains(id); }
  std::vector<v1::Cause> Take() { return std::move(causes_); }

 private:
  static uint64_t Ms(absl::Duration duration) {
    return static_cast<uint64_t>(absl::ToInt64Milliseconds(duration));
  }

  const DiagnosisView& view_;
  std::vector<v1::Cause> causes_;
  std::set<TaskId> explained_;
};

void ExplainState(const DiagnosisView& view, Chains& chains) {
  chains.Add(0, absl::StrCat("the job is ", std::string(JobStateName(view.state))));
  if (view.waits_for_workers) return chains.Add(1, "no worker is registered; start one");
  if (!view.last_error.empty()) chains.Add(1, view.last_error);
  size_t told = 0;
  for (const auto& [id, task] : view.tasks) {
    if (view.state != v1::JOB_STATE_DEPLOYING || task.is_open || ++told > kTasksTold) continue;
    chains.Explain(id, 1);
  }
}

void ExplainEpoch(const DiagnosisView& view, Chains& chains) {
  if (view.epoch == 0 || view.epoch_age < kWorthTelling) return;
  chains.Add(0, absl::StrCat("checkpoint ", view.epoch, " has been under way for ",
                             Text(view.epoch_age), ", and waits for ", view.not_acknowledged.size(),
                             " of ", view.tasks.size(), " tasks"));
  if (view.not_acknowledged.empty()) {
    return chains.Add(1, "its manifest or its record is being written");
  }
  size_t told = 0;
  for (const TaskId id : view.not_acknowledged) {
    if (chains.Explained(id)) continue;
    if (++told > kTasksTold) break;
    chains.Explain(id, 1);
  }
}

void ExplainCommits(const DiagnosisView& view, Chains& chains) {
  for (const auto& [id, task] : view.tasks) {
    if (absl::Milliseconds(task.condition.commit_ms()) < kWorthTelling || chains.Explained(id)) {
      continue;
    }
    chains.Add(0, absl::StrCat("the rows of checkpoint ", view.recorded_epoch,
                               " are not all visible yet"));
    chains.Explain(id, 1);
  }
}

void ExplainBackPressure(const DiagnosisView& view, Chains& chains) {
  for (const auto& [id, task] : view.tasks) {
    if (task.condition.waits_for() < v1::TaskCondition::WAITS_FOR_CREDIT) continue;
    if (absl::Milliseconds(task.condition.waits_ms()) < kWorthTelling || chains.Explained(id)) {
      continue;
    }
    chains.Add(0, "rows are held back");
    chains.Explain(id, 1);
  }
}

void ExplainWatermark(const DiagnosisView& view, Chains& chains) {
  for (const SlowSplit& slow : view.slow_splits) {
    if (absl::Microseconds(slow.ahead_us) < absl::Minutes(1)) continue;
    chains.Add(0, absl::StrCat(
                      "the watermark of ", slow.uid, " is held back at ",
                      absl::FormatTime("%Y-%m-%d %H:%M:%S", absl::FromUnixMicros(slow.watermark_us),
                                       absl::UTCTimeZone()),
                      " UTC by its split ", slow.split));
    chains.Add(1, absl::StrCat("another split is ", Text(absl::Microseconds(slow.ahead_us)),
                               " ahead of it: windows wait for the slower one"));
  }
}

}  // namespace

std::vector<v1::Cause> Diagnose(const DiagnosisView& view) {
  Chains chains(view);
  if (view.state != v1::JOB_STATE_RUNNING && view.state != v1::JOB_STATE_STOPPING) {
    if (IsTerminal(view.state)) return {};
    ExplainState(view, chains);
    return chains.Take();
  }
  ExplainEpoch(view, chains);
  ExplainCommits(view, chains);
  ExplainBackPressure(view, chains);
  ExplainWatermark(view, chains);
  return chains.Take();
}

}  // namespace millrace
