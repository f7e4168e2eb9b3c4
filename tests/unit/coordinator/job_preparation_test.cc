// State that is restored beside the running tasks, before their last epoch.
#include <gmock/gmock.h>

#include "tests/unit/coordinator/fake_cluster.h"

namespace millrace {
namespace {

class JobPreparationTest : public testing::Test {
 protected:
  void SetUp() override {
    a_ = &cluster_.AddWorker("a");
    b_ = &cluster_.AddWorker("b");
    v1::NodeSnapshot keeps;
    keeps.set_uid("count");
    v1::Segment& segment = *keeps.add_state();
    segment.set_name("some");
    segment.set_kind(v1::Segment::KIND_STATE_DELTA);
    segment.set_key_group_last(255);
    for (FakeWorker* worker : {a_, b_}) worker->snapshot_node = keeps;
    job_ = cluster_.Submit();
    cluster_.Advance(absl::Seconds(3));
    ASSERT_EQ(cluster_.StateOf(job_), v1::JOB_STATE_RUNNING);
  }

  std::shared_ptr<std::optional<absl::StatusOr<v1::RescaleJobResponse>>> Rescale(
      uint32_t parallelism) {
    v1::RescaleJobRequest request;
    request.set_job(job_);
    request.set_parallelism(parallelism);
    return cluster_.Begin(&JobApi::RescaleJob, request);
  }
  bool HasLastEpoch() const {
    return std::any_of(a_->triggers.begin(), a_->triggers.end(),
                       [](const v1::TriggerEpoch& trigger) { return trigger.hold(); });
  }

  FakeCluster cluster_;
  FakeWorker* a_ = nullptr;
  FakeWorker* b_ = nullptr;
  std::string job_;
};

TEST_F(JobPreparationTest, TheLastEpochWaitsForTheStateAndThePlacementIsTheSame) {
  b_->prepares_state.reset();
  const auto answer = Rescale(3);
  cluster_.Advance(absl::Seconds(20));
  EXPECT_FALSE(HasLastEpoch());
  EXPECT_EQ(cluster_.StateOf(job_), v1::JOB_STATE_RUNNING);
  EXPECT_GT(a_->triggers.back().epoch(), 10u);  // Epochs go on, and leave the segments alone.
  EXPECT_TRUE(a_->triggers.back().keep_segments());
  b_->prepares_state = absl::OkStatus();
  b_->AnswerPrepareState();
  cluster_.Advance(absl::Seconds(3));
  ASSERT_TRUE(answer->has_value() && (*answer)->ok());
  EXPECT_TRUE(HasLastEpoch());
  const v1::PrepareState& prepared = a_->prepared_states.back();
  // What has come meanwhile was prepared, too: the deploy has an epoch or two to catch up with.
  EXPECT_GE(prepared.restore().epoch() + 2, a_->deploy().restore_epoch());
  ASSERT_EQ(prepared.tasks_size(), a_->deploy().tasks_size());
  for (int i = 0; i < prepared.tasks_size(); ++i) {
    EXPECT_EQ(prepared.tasks(i).SerializeAsString(), a_->deploy().tasks(i).SerializeAsString());
  }
  cluster_.Advance(absl::Seconds(3));
  EXPECT_FALSE(a_->triggers.back().keep_segments());
}

TEST_F(JobPreparationTest, WhatCannotBePreparedIsDoneWithout) {
  b_->prepares_state = absl::UnavailableError("the store is away");
  const auto answer = Rescale(3);
  cluster_.Advance(absl::Seconds(3));
  ASSERT_TRUE(answer->has_value() && (*answer)->ok());
  EXPECT_EQ(cluster_.Job(job_).restarts(), 0u);
}

TEST_F(JobPreparationTest, AWorkerThatLeavesIsNotHeldForLong) {
  b_->prepares_state.reset();
  a_->Leave();
  cluster_.Advance(absl::Seconds(5));
  EXPECT_FALSE(a_->may_leave);
  cluster_.Advance(absl::Seconds(10));
  EXPECT_TRUE(a_->may_leave);
  EXPECT_EQ(cluster_.StateOf(job_), v1::JOB_STATE_RUNNING);
}

TEST_F(JobPreparationTest, AWorkerThatIsLostWhileItPreparesIsNotWaitedFor) {
  FakeWorker& c = cluster_.AddWorker("c");
  c.prepares_state.reset();
  const auto answer = Rescale(3);
  cluster_.Advance(absl::Seconds(2));
  ASSERT_FALSE(c.prepared_states.empty());
  ASSERT_FALSE(answer->has_value());
  c.Disconnect();
  cluster_.Advance(absl::Seconds(3));
  ASSERT_TRUE(answer->has_value() && (*answer)->ok());
  EXPECT_EQ(cluster_.Job(job_).restarts(), 0u);
}

TEST_F(JobPreparationTest, AJobThatEndsMeanwhileIsForgotten) {
  b_->prepares_state.reset();
  const auto answer = Rescale(3);
  cluster_.Advance(absl::Seconds(2));
  v1::CancelJobRequest cancel;
  cancel.set_job(job_);
  ASSERT_TRUE(cluster_.Call(&JobApi::CancelJob, cancel).ok());
  cluster_.Advance(absl::Seconds(2));
  ASSERT_TRUE(answer->has_value());
  EXPECT_FALSE((*answer)->ok());
  for (FakeWorker* worker : {a_, b_}) {
    ASSERT_FALSE(worker->prepared_states.empty());
    EXPECT_EQ(worker->prepared_states.back().tasks_size(), 0);
  }
}

TEST_F(JobPreparationTest, AStopIsNotHeldUp) {
  b_->prepares_state.reset();
  const auto answer = Rescale(3);
  cluster_.Advance(absl::Seconds(2));
  v1::StopJobRequest stop;
  stop.set_job(job_);
  const auto stopped = cluster_.Begin(&JobApi::StopJob, stop);
  cluster_.Advance(absl::Seconds(3));
  ASSERT_TRUE(stopped->has_value() && (*stopped)->ok());
  EXPECT_EQ(cluster_.StateOf(job_), v1::JOB_STATE_STOPPED);
}

}  // namespace
}  // namespace millrace
