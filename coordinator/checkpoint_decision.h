// What to do next about epochs, and with the failures of a job: pure decisions, the caller does the
// I/O.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "millrace/v1/graph.pb.h"

namespace millrace {

// ---- The epoch in flight.

enum class EpochPhase {
  kNone,        // No epoch is in flight.
  kCollecting,  // Barriers travel; acks come in.
  kRecording,   // Manifest and epoch record are being written: no way back.
};

struct CheckpointView {
  EpochPhase phase = EpochPhase::kNone;
  size_t tasks_total = 0;
  size_t tasks_acked = 0;
  bool task_refused = false;  // An ack carried an error.
  absl::Duration age;         // Of the epoch in flight.
  bool had_epoch = false;     // This attempt has begun one before.
  absl::Duration since_last;  // Since the last one of this attempt began ...
  absl::Duration since_end = absl::InfiniteDuration();  // ... and since it ended.
  bool ending = false;            // The last epoch is due: stop, drain, savepoint or end of input.
  bool last_epoch_taken = false;  // It is recorded: none follows.
};

enum class CheckpointStep {
  kWait,
  kTrigger,
  kRecord,  // All acks are in: manifest, then epoch record.
  kAbandon,
};

// What the job asks for.
struct CheckpointTimes {
  absl::Duration interval;   // From one's begin to the next one's.
  absl::Duration timeout;    // Of each.
  absl::Duration min_pause;  // From one's end to the next one's begin.
};
CheckpointTimes CheckpointTimesOf(const v1::Settings& settings);

// One epoch in flight; the first one at once, so that a restart never begins at zero for long.
CheckpointStep NextCheckpointStep(const CheckpointView& view, const CheckpointTimes& times);

// How long the decision above stays the same if nothing arrives; infinite = for ever.
absl::Duration TimeToNextStep(const CheckpointView& view, const CheckpointTimes& times);

// ---- The end of an attempt.

struct EndView {
  bool exhausted = false;  // Every source task has reported its end.
  bool stop_requested = false;
  bool moves = false;           // A worker leaves: the attempt ends, the job goes on elsewhere.
  bool final_recorded = false;  // The last epoch's record exists.
  bool all_committed = false;   // Every task has acknowledged that epoch's commit.
};

enum class EndStep {
  kRun,
  kTakeLastEpoch,
  kAwaitCommits,
  kEnd,  // Of the attempt; the job's only when it does not move.
};

EndStep NextEndStep(const EndView& view);

// ---- Restarts.

// Before restart number `failures` in a row without progress: 0.1 s doubled up to 30 s, of which
// `random` keeps between a half and all.
absl::Duration RestartDelay(uint32_t failures, uint64_t random);

enum class FailureStep { kRestart, kFail };

// `failures_in_row`: with this one.
FailureStep NextFailureStep(const absl::Status& status, uint32_t failures_in_row,
                            uint32_t attempts_max);

// ---- Retention.

inline constexpr size_t kEpochsKept = 3;

// Of `epochs` (ascending), those whose record may be deleted.
std::vector<uint64_t> EpochsToForget(const std::vector<uint64_t>& epochs, size_t kept);

// The epoch in a name of a segment or manifest ("....e17..."); 0 when there is none.
uint64_t EpochOfFileName(const std::string& name);

}  // namespace millrace
