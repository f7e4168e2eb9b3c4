// Why a job does not move: from what is seen (a checkpoint that waits, rows that do not come) to
// the task, split or target that holds everything else up.
//
// Pure functions.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "millrace/v1/job_service.pb.h"
#include "millrace/v1/worker_service.pb.h"
#include "runtime/base/ids.h"

namespace millrace {

// A source's split that holds its watermark back.
struct SlowSplit {
  std::string uid;
  std::string split;
  int64_t watermark_us = 0;
  int64_t ahead_us = 0;  // How far the most advanced split of the source is before it.
};

struct DiagnosisView {
  struct Task {
    std::string name;    // "count/1": its first node and its index.
    std::string worker;  // Where it runs.
    bool is_open = true;
    v1::TaskCondition condition;
    absl::Duration heard;  // Since the worker last told of it.
  };
  v1::JobState state = v1::JOB_STATE_UNSPECIFIED;
  std::string last_error;
  bool waits_for_workers = false;
  std::map<TaskId, Task> tasks;
  // The epoch in flight; 0 = none.
  uint64_t epoch = 0;
  absl::Duration epoch_age;
  std::vector<TaskId> not_acknowledged;
  uint64_t recorded_epoch = 0;  // The newest: its commits may be under way; 0 = none.
  std::vector<SlowSplit> slow_splits;
};

// What takes less than this is no cause of anything.
inline constexpr absl::Duration kWorthTelling = absl::Seconds(1);

// The chains of causes, what is seen first; empty: nothing holds the job up.
std::vector<v1::Cause> Diagnose(const DiagnosisView& view);

}  // namespace millrace
