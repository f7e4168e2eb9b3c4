#include "coordinator/checkpoint_decision.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "runtime/base/status.h"

namespace millrace {

namespace {

constexpr uint32_t kIntervalMsDefault = 1000;
constexpr uint32_t kTimeoutMsDefault = 600'000;

// Until the next epoch is due, when none is in flight.
absl::Duration Wait(const CheckpointView& view, const CheckpointTimes& times) {
  return std::max(times.interval - view.since_last, times.min_pause - view.since_end);
}

}  // namespace

CheckpointTimes CheckpointTimesOf(const v1::Settings& settings) {
  const auto ms = [](uint32_t value, uint32_t otherwise) {
    return absl::Milliseconds(value == 0 ? otherwise : value);
  };
  return {.interval = ms(settings.checkpoint_interval_ms(), kIntervalMsDefault),
          .timeout = ms(settings.checkpoint_timeout_ms(), kTimeoutMsDefault),
          .min_pause = ms(settings.checkpoint_min_pause_ms(), 0)};
}

CheckpointStep NextCheckpointStep(const CheckpointView& view, const CheckpointTimes& times) {
  switch (view.phase) {
    case EpochPhase::kRecording:
      return CheckpointStep::kWait;
    case EpochPhase::kCollecting:
      if (view.task_refused) return CheckpointStep::kAbandon;
      if (view.tasks_acked == view.tasks_total) return CheckpointStep::kRecord;
      return view.age < times.timeout ? CheckpointStep::kWait : CheckpointStep::kAbandon;
    case EpochPhase::kNone:
      break;
  }
  if (view.last_epoch_taken) return CheckpointStep::kWait;
  if (!view.had_epoch || view.ending) return CheckpointStep::kTrigger;
  return Wait(view, times) > absl::ZeroDuration() ? CheckpointStep::kWait
                                                  : CheckpointStep::kTrigger;
}

absl::Duration TimeToNextStep(const CheckpointView& view, const CheckpointTimes& times) {
  if (NextCheckpointStep(view, times) != CheckpointStep::kWait) return absl::ZeroDuration();
  if (view.phase == EpochPhase::kCollecting) return times.timeout - view.age;
  if (view.phase == EpochPhase::kRecording || view.last_epoch_taken) {
    return absl::InfiniteDuration();
  }
  return Wait(view, times);
}

EndStep NextEndStep(const EndView& view) {
  if (!view.exhausted && !view.stop_requested && !view.moves && !view.final_recorded) {
    return EndStep::kRun;
  }
  if (!view.final_recorded) return EndStep::kTakeLastEpoch;
  return view.all_committed ? EndStep::kEnd : EndStep::kAwaitCommits;
}

absl::Duration RestartDelay(uint32_t failures, uint64_t random) {
  constexpr absl::Duration kFirst = absl::Milliseconds(100);
  constexpr absl::Duration kMost = absl::Seconds(30);
  const uint32_t doublings = std::min(failures == 0 ? 0 : failures - 1, 16u);
  const absl::Duration delay = std::min(kFirst * (int64_t{1} << doublings), kMost);
  const double share =
      0.5 + 0.5 * static_cast<double>(random >> 11) / static_cast<double>(1ull << 53);
  return delay * share;
}

FailureStep NextFailureStep(const absl::Status& status, uint32_t failures_in_row,
                            uint32_t attempts_max) {
  if (RemedyFor(status) == Remedy::kFailJob) return FailureStep::kFail;
  return failures_in_row > attempts_max ? FailureStep::kFail : FailureStep::kRestart;
}

std::vector<uint64_t> EpochsToForget(const std::vector<uint64_t>& epochs, size_t kept) {
  if (epochs.size() <= kept) return {};
  return {epochs.begin(), epochs.end() - static_cast<ptrdiff_t>(kept)};
}

uint64_t EpochOfFileName(const std::string& name) {
  uint64_t epoch = 0;
  // From the right: a uid may look like anything.
  const std::vector<std::string> parts = absl::StrSplit(name, '.');
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
    uint64_t number = 0;
    if (part->size() > 1 && part->front() == 'e' && absl::SimpleAtoi(part->substr(1), &number)) {
      epoch = number;
      break;
    }
  }
  return epoch;
}

}  // namespace millrace
