#include "coordinator/checkpoint_decision.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr absl::Duration kInterval = absl::Seconds(1);
constexpr absl::Duration kTimeout = absl::Seconds(60);
constexpr CheckpointTimes kTimes{
    .interval = kInterval, .timeout = kTimeout, .min_pause = absl::Milliseconds(300)};

TEST(CheckpointDecisionTest, NextStep) {
  struct Case {
    std::string name;
    CheckpointView view;
    CheckpointStep step;
    absl::Duration until;
  };
  const std::vector<Case> cases = {
      {"the first at once", {}, CheckpointStep::kTrigger, absl::ZeroDuration()},
      {"too early",
       {.had_epoch = true, .since_last = absl::Milliseconds(400)},
       CheckpointStep::kWait,
       absl::Milliseconds(600)},
      {"due", {.had_epoch = true, .since_last = kInterval}, CheckpointStep::kTrigger, {}},
      {"due, but the last one has only just ended",
       {.had_epoch = true, .since_last = absl::Seconds(5), .since_end = absl::Milliseconds(100)},
       CheckpointStep::kWait,
       absl::Milliseconds(200)},
      {"due, and the pause is over",
       {.had_epoch = true, .since_last = absl::Seconds(5), .since_end = absl::Milliseconds(300)},
       CheckpointStep::kTrigger,
       {}},
      {"the last one does not wait",
       {.had_epoch = true,
        .since_last = absl::ZeroDuration(),
        .since_end = absl::ZeroDuration(),
        .ending = true},
       CheckpointStep::kTrigger,
       {}},
      {"nothing after the last one",
       {.had_epoch = true, .since_last = kInterval, .ending = true, .last_epoch_taken = true},
       CheckpointStep::kWait,
       absl::InfiniteDuration()},
      {"acks are missing",
       {.phase = EpochPhase::kCollecting,
        .tasks_total = 3,
        .tasks_acked = 2,
        .age = absl::Seconds(10)},
       CheckpointStep::kWait,
       absl::Seconds(50)},
      {"one at a time, even when the next is due",
       {.phase = EpochPhase::kCollecting,
        .tasks_total = 3,
        .tasks_acked = 2,
        .age = absl::Seconds(10),
        .had_epoch = true,
        .since_last = absl::Seconds(10)},
       CheckpointStep::kWait,
       absl::Seconds(50)},
      {"all acks",
       {.phase = EpochPhase::kCollecting, .tasks_total = 3, .tasks_acked = 3},
       CheckpointStep::kRecord,
       {}},
      {"all acks, though late",
       {.phase = EpochPhase::kCollecting,
        .tasks_total = 3,
        .tasks_acked = 3,
        .age = absl::Seconds(99)},
       CheckpointStep::kRecord,
       {}},
      {"timeout",
       {.phase = EpochPhase::kCollecting, .tasks_total = 3, .tasks_acked = 2, .age = kTimeout},
       CheckpointStep::kAbandon,
       {}},
      {"refused by a task",
       {.phase = EpochPhase::kCollecting, .tasks_total = 3, .tasks_acked = 2, .task_refused = true},
       CheckpointStep::kAbandon,
       {}},
      {"no way back while recording",
       {.phase = EpochPhase::kRecording,
        .tasks_total = 3,
        .tasks_acked = 3,
        .task_refused = true,
        .age = absl::Hours(1)},
       CheckpointStep::kWait,
       absl::InfiniteDuration()},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(NextCheckpointStep(c.view, kTimes), c.step);
    EXPECT_EQ(TimeToNextStep(c.view, kTimes), c.until);
  }
}

TEST(CheckpointDecisionTest, AJobEndsOnlyAfterTheLastCommit) {
  struct Case {
    std::string name;
    EndView view;
    EndStep step;
  };
  const std::vector<Case> cases = {
      {"runs", {}, EndStep::kRun},
      {"commits alone are no reason to end", {.all_committed = true}, EndStep::kRun},
      {"exhausted", {.exhausted = true}, EndStep::kTakeLastEpoch},
      {"exhausted, earlier epochs committed",
       {.exhausted = true, .all_committed = true},
       EndStep::kTakeLastEpoch},
      {"stop", {.stop_requested = true}, EndStep::kTakeLastEpoch},
      {"recorded", {.exhausted = true, .final_recorded = true}, EndStep::kAwaitCommits},
      {"recorded before this coordinator came", {.final_recorded = true}, EndStep::kAwaitCommits},
      {"committed",
       {.exhausted = true, .final_recorded = true, .all_committed = true},
       EndStep::kEnd},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(NextEndStep(c.view), c.step);
  }
}

TEST(CheckpointDecisionTest, RestartDelayDoublesUpToThirtySecondsWithJitter) {
  constexpr uint64_t kMost = ~uint64_t{0};
  EXPECT_EQ(RestartDelay(1, 0), absl::Milliseconds(50));
  EXPECT_LE(RestartDelay(1, kMost), absl::Milliseconds(100));
  EXPECT_EQ(RestartDelay(2, 0), absl::Milliseconds(100));
  EXPECT_EQ(RestartDelay(5, 0), absl::Milliseconds(800));
  for (uint32_t failures : {9u, 10u, 100u, 4'000'000'000u}) {
    EXPECT_GE(RestartDelay(failures, 0), absl::Milliseconds(12800)) << failures;
    EXPECT_LE(RestartDelay(failures, kMost), absl::Seconds(30)) << failures;
  }
}

TEST(CheckpointDecisionTest, DeterministicFailuresStopRetrying) {
  EXPECT_EQ(NextFailureStep(absl::UnavailableError(""), 1, 10), FailureStep::kRestart);
  EXPECT_EQ(NextFailureStep(absl::UnavailableError(""), 10, 10), FailureStep::kRestart);
  EXPECT_EQ(NextFailureStep(absl::UnavailableError(""), 11, 10), FailureStep::kFail);
  EXPECT_EQ(NextFailureStep(absl::InvalidArgumentError(""), 1, 10), FailureStep::kFail);
  EXPECT_EQ(NextFailureStep(absl::DataLossError(""), 1, 10), FailureStep::kFail);
}

TEST(CheckpointDecisionTest, TheNewestEpochsAreKept) {
  EXPECT_THAT(EpochsToForget({}, 3), IsEmpty());
  EXPECT_THAT(EpochsToForget({4, 5, 6}, 3), IsEmpty());
  EXPECT_THAT(EpochsToForget({2, 4, 5, 6, 9}, 3), ElementsAre(2, 4));
}

TEST(CheckpointDecisionTest, TheEpochOfAFileIsReadFromItsName) {
  EXPECT_EQ(EpochOfFileName("g3-a1-c2-t0.window-1.delta.e17.n0"), 17u);
  EXPECT_EQ(EpochOfFileName("g3-a1.manifest.e4"), 4u);
  EXPECT_EQ(EpochOfFileName("g3-a1-c2-t0.e9.delta.e17.n0"), 17u);
  EXPECT_EQ(EpochOfFileName("notes.txt"), 0u);
  EXPECT_EQ(EpochOfFileName("a.e99999999999999999999999.b"), 0u);
}

}  // namespace
}  // namespace millrace
