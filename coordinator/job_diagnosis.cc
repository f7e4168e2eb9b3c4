// What holds a job up, and whether it stands still.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "coordinator/job_controller.h"

namespace millrace {

void JobController::OnCondition(const v1::TaskCondition& condition) {
  if (!IsCurrent(condition.attempt())) return;
  conditions_[{condition.task().chain(), condition.task().index()}] = {
      .condition = condition, .heard_ns = loop_.env().clock.MonotonicNanos()};
}

// Of each source, the split that holds its watermark back.
void JobController::FindSlowSplits() {
  slow_splits_.clear();
  struct Range {
    const v1::SplitPosition* slowest = nullptr;
    int64_t fastest_us = 0;
  };
  std::map<std::string, Range> sources;
  for (const auto& [id, snapshot] : attempt_.epoch.snapshots) {
    for (const v1::NodeSnapshot& node : snapshot.nodes()) {
      for (const v1::SplitPosition& split : node.splits()) {
        // One that has given no row yet, or is at its end, holds nothing back.
        if (split.finished() || split.watermark_us() == EventTime::Min().us) continue;
        Range& range = sources[node.uid()];
        if (range.slowest == nullptr || split.watermark_us() < range.slowest->watermark_us()) {
          range.slowest = &split;
        }
        range.fastest_us = std::max(range.fastest_us, split.watermark_us());
      }
    }
  }
  for (const auto& [uid, range] : sources) {
    slow_splits_.push_back({.uid = uid,
                            .split = range.slowest->split_id(),
                            .watermark_us = range.slowest->watermark_us(),
                            .ahead_us = range.fastest_us - range.slowest->watermark_us()});
  }
}

DiagnosisView JobController::ViewForDiagnosis() const {
  const int64_t now = loop_.env().clock.MonotonicNanos();
  DiagnosisView view;
  view.state = state();
  view.last_error = status_.last_error();
  view.waits_for_workers = waits_for_workers_;
  view.slow_splits = slow_splits_;
  if (const v1::EpochRecord* newest = newest_epoch()) view.recorded_epoch = newest->epoch();
  for (const auto& [id, run] : attempt_.tasks) {
    DiagnosisView::Task& task = view.tasks[id];
    task.name = absl::StrCat(run.head_uid, "/", id.index);
    task.worker = run.task.worker_id();
    task.is_open = run.state != v1::TaskStateChanged::STATE_UNSPECIFIED;
    const auto told = conditions_.find(id);
    if (told == conditions_.end()) continue;
    task.condition = told->second.condition;
    task.heard = absl::Nanoseconds(now - told->second.heard_ns);
  }
  if (attempt_.epoch.phase == EpochPhase::kNone) return view;
  view.epoch = attempt_.epoch.epoch;
  view.epoch_age = absl::Nanoseconds(now - attempt_.epoch.begin_ns);
  for (const auto& [id, run] : attempt_.tasks) {
    if (attempt_.epoch.phase == EpochPhase::kCollecting && !attempt_.epoch.snapshots.contains(id)) {
      view.not_acknowledged.push_back(id);
    }
  }
  return view;
}

std::vector<v1::Cause> JobController::Why() const { return Diagnose(ViewForDiagnosis()); }

// A job is stalled when no row and no epoch has moved for a while although something waits, or when
// epochs go on, but the rows of an earlier one do not become visible. An idle one is not.
void JobController::WatchProgress() {
  LookAtTails();
  const int64_t now = loop_.env().clock.MonotonicNanos();
  uint64_t moved = attempt_.id.attempt() + CommittedEpoch();
  for (const auto& [key, progress] : progress_) moved += progress.rows_in();
  if (newest_epoch() != nullptr) moved += newest_epoch()->epoch();
  const bool runs = attempt_.phase == AttemptPhase::kRunning;
  if (!runs || moved != moved_ || moved_ns_ == 0) {
    moved_ = moved;
    moved_ns_ = now;
  }
  const v1::EpochRecord* newest = newest_epoch();
  const bool commits = runs && newest != nullptr && newest->epoch() > CommittedEpoch() &&
                       newest->generation() == attempt_.id.generation();
  if (!commits || CommittedEpoch() != committed_) {
    committed_ = CommittedEpoch();
    committed_ns_ = now;
  }
  const int64_t since_ns = std::min(moved_ns_, committed_ns_);
  if (since_ns == now) {
    if (std::exchange(stalled_since_unix_us_, 0) == 0) return;
    if (runs) AddLog(LogLevel::kInfo, "the job moves again");
    return NotifyWatchers();
  }
  if (stalled_since_unix_us_ != 0 || absl::Nanoseconds(now - since_ns) < options_.stall_timeout) {
    return;
  }
  DiagnosisView view = ViewForDiagnosis();
  view.slow_splits.clear();  // They hold back windows, not rows.
  const std::vector<v1::Cause> causes = Diagnose(view);
  if (causes.empty()) return;
  stalled_since_unix_us_ = loop_.UnixMicros() - (now - since_ns) / 1000;
  std::string text = "stalled";
  for (const v1::Cause& cause : causes) absl::StrAppend(&text, "; ", cause.text());
  AddLog(LogLevel::kWarning, text);
  LogWarning("a job stands still", {{"job", job_id()}, {"why", text}});
  NotifyWatchers();
}

}  // namespace millrace
