#include "coordinator/diagnosis.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace millrace {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Waits = v1::TaskCondition;

// source/0, source/1 -> count/0 -> out/0, on two workers.
class DiagnosisTest : public testing::Test {
 protected:
  DiagnosisTest() {
    view_.state = v1::JOB_STATE_RUNNING;
    view_.tasks[{0, 0}] = {.name = "source/0", .worker = "w1", .condition = {}};
    view_.tasks[{0, 1}] = {.name = "source/1", .worker = "w2", .condition = {}};
    view_.tasks[{1, 0}] = {.name = "count/0", .worker = "w1", .condition = {}};
    view_.tasks[{2, 0}] = {.name = "out/0", .worker = "w2", .condition = {}};
  }
  Waits& Of(TaskId id) { return view_.tasks[id].condition; }
  void WaitForCredit(TaskId id, TaskId of, uint64_t ms) {
    Of(id).set_waits_for(Waits::WAITS_FOR_CREDIT);
    Of(id).set_waits_ms(ms);
    Of(id).mutable_receiver()->set_chain(of.chain);
    Of(id).mutable_receiver()->set_index(of.index);
  }
  void Align(TaskId id, TaskId missing, uint64_t ms) {
    Of(id).set_aligning_epoch(7);
    Of(id).set_align_ms(ms);
    Of(id).mutable_missing()->set_chain(missing.chain);
    Of(id).mutable_missing()->set_index(missing.index);
  }
  void EpochWaitsFor(std::vector<TaskId> ids) {
    view_.epoch = 7;
    view_.epoch_age = absl::Seconds(90);
    view_.not_acknowledged = std::move(ids);
  }
  std::vector<std::string> Lines() const {
    std::vector<std::string> lines;
    for (const v1::Cause& cause : Diagnose(view_)) {
      lines.push_back(absl::StrCat(std::string(cause.depth(), '>'), cause.text()));
    }
    return lines;
  }

  DiagnosisView view_;
};

TEST_F(DiagnosisTest, NothingHoldsUpAJobThatWorksOrWaitsForInput) {
  Of({0, 0}).set_waits_for(Waits::WAITS_FOR_INPUT);
  WaitForCredit({0, 1}, {1, 0}, 200);  // A moment.
  view_.epoch = 7;
  view_.epoch_age = absl::Milliseconds(300);
  EXPECT_THAT(Lines(), IsEmpty());
}

TEST_F(DiagnosisTest, ACheckpointIsFollowedToTheServerThatDoesNotAnswer) {
  EpochWaitsFor({{0, 1}, {1, 0}});
  Align({1, 0}, {0, 1}, 89'000);
  WaitForCredit({0, 1}, {2, 0}, 95'500);
  Of({2, 0}).set_waits_for(Waits::WAITS_FOR_ANSWERS);
  Of({2, 0}).set_waits_ms(95'600);
  view_.not_acknowledged = {{1, 0}, {0, 1}};
  EXPECT_THAT(
      Lines(),
      ElementsAre("checkpoint 7 has been under way for 1m30s, and waits for 2 of 4 tasks",
                  ">task count/0 on w1 has been waiting for 1m29s for the barrier of epoch 7 "
                  "from a task before it",
                  ">>task source/1 on w2 has been held back for 1m35.5s by a task that is slower",
                  ">>>task out/0 on w2 has been waiting for 1m35.6s for the server that its "
                  "operator asks"));
}

TEST_F(DiagnosisTest, ATargetThatIsTooSlowIsNamedByThoseThatItHoldsBack) {
  WaitForCredit({0, 1}, {2, 0}, 9'000);
  Of({2, 0}).set_waits_for(Waits::WAITS_FOR_COMMIT);
  Of({2, 0}).set_waits_ms(9'500);
  Of({2, 0}).set_commit_ms(12'000);
  view_.recorded_epoch = 6;
  EXPECT_THAT(Lines(), testing::Contains(testing::HasSubstr(
                           ">task out/0 on w2 has taken no rows for 9.5s: complete checkpoints "
                           "wait for its target, which is slower than the source")));
}

TEST_F(DiagnosisTest, ACommitThatHangsIsNamedAlthoughNoEpochIsInFlight) {
  view_.recorded_epoch = 6;
  Of({2, 0}).set_waits_for(Waits::WAITS_FOR_INPUT);
  Of({2, 0}).set_commit_ms(12'000);
  EXPECT_THAT(Lines(), ElementsAre("the rows of checkpoint 6 are not all visible yet",
                                   ">task out/0 on w2 has been committing to its target for 12s",
                                   ">task out/0 on w2 waits for input"));
}

TEST_F(DiagnosisTest, BackPressureEndsAtTheTaskThatIsBusy) {
  WaitForCredit({0, 0}, {1, 0}, 5'000);
  WaitForCredit({0, 1}, {1, 0}, 4'000);
  EXPECT_THAT(
      Lines(),
      ElementsAre(
          "rows are held back",
          ">task source/0 on w1 has been held back for 5s by a task that is "
          "slower",
          ">>task count/0 on w1 works, and is the slowest: more parallelism, or less work per row",
          "rows are held back",
          ">task source/1 on w2 has been held back for 4s by a task that is slower",
          ">>task count/0 on w1: see above"));
}

TEST_F(DiagnosisTest, AWorkerThatHangsIsNamed) {
  EpochWaitsFor({{2, 0}});
  view_.tasks[{2, 0}].heard = absl::Seconds(4);
  EXPECT_THAT(Lines(), testing::Contains(">task out/0 on w2 has not been heard of for 4s: its "
                                         "worker hangs, or cannot be reached"));
}

TEST_F(DiagnosisTest, ACycleOfNamesEnds) {
  WaitForCredit({0, 0}, {1, 0}, 5'000);
  WaitForCredit({1, 0}, {0, 0}, 5'000);
  EXPECT_EQ(Lines().back(), ">>>task source/0 on w1: see above");
}

TEST_F(DiagnosisTest, TheSplitThatHoldsTheWatermarkBackIsNamed) {
  view_.slow_splits = {{.uid = "source",
                        .split = "orders/3",
                        .watermark_us = 1'767'225'600'000'000,
                        .ahead_us = 3'600'000'000}};
  EXPECT_THAT(Lines(), ElementsAre("the watermark of source is held back at 2026-01-01 00:00:00 "
                                   "UTC by its split orders/3",
                                   ">another split is 1h ahead of it: windows wait for the slower "
                                   "one"));
}

TEST_F(DiagnosisTest, AJobThatDoesNotRunSaysWhy) {
  view_.state = v1::JOB_STATE_RESTARTING;
  view_.last_error = "UNAVAILABLE: broker is away";
  EXPECT_THAT(Lines(), ElementsAre("the job is RESTARTING", ">UNAVAILABLE: broker is away"));
  view_.waits_for_workers = true;
  EXPECT_THAT(Lines(), ElementsAre("the job is RESTARTING", ">no worker is registered; start one"));
  view_.state = v1::JOB_STATE_FINISHED;
  EXPECT_THAT(Lines(), IsEmpty());
}

}  // namespace
}  // namespace millrace
