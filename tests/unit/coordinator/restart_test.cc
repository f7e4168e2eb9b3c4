// A job that is to go on with new tasks.
#include <gmock/gmock.h>

#include "tests/unit/coordinator/fake_cluster.h"

namespace millrace {
namespace {

using testing::HasSubstr;

class RestartTest : public testing::Test {
 protected:
  void SetUp() override {
    a_ = &cluster_.AddWorker("a");
    job_ = cluster_.Submit();
    cluster_.Advance(absl::Seconds(3));
    ASSERT_EQ(cluster_.StateOf(job_), v1::JOB_STATE_RUNNING);
  }

  v1::RestartJobRequest Request(bool from_checkpoint = false) const {
    v1::RestartJobRequest request;
    request.set_job(job_);
    request.set_from_checkpoint(from_checkpoint);
    return request;
  }

  FakeCluster cluster_;
  FakeWorker* a_ = nullptr;
  std::string job_;
};

TEST_F(RestartTest, GoesOnFromALastEpoch) {
  const uint64_t before = cluster_.Job(job_).last_epoch();
  const auto answer = cluster_.Begin(&JobApi::RestartJob, Request());
  cluster_.Advance(absl::Seconds(3));
  ASSERT_TRUE(answer->has_value());
  ASSERT_TRUE((*answer)->ok()) << (*answer)->status();
  EXPECT_GT((**answer)->epoch(), before);
  EXPECT_EQ(a_->deploys, 2);
  EXPECT_EQ(a_->deploy().restore_epoch(), (**answer)->epoch());
  EXPECT_EQ(cluster_.Job(job_).restarts(), 0u) << "nothing failed";
  EXPECT_EQ(cluster_.Counters(job_).restarts_by_reason["restart"], 1u);
}

TEST_F(RestartTest, NeedsNoEpochFromTheCheckpoint) {
  a_->acks_epochs = false;
  cluster_.Advance(absl::Seconds(2));  // One is under way, and does not end.
  const uint64_t before = cluster_.Job(job_).last_epoch();
  const auto answer = cluster_.Begin(&JobApi::RestartJob, Request(/*from_checkpoint=*/true));
  cluster_.Advance(absl::Seconds(1));
  ASSERT_TRUE(answer->has_value());
  ASSERT_TRUE((*answer)->ok()) << (*answer)->status();
  EXPECT_EQ((**answer)->epoch(), before);
  EXPECT_EQ(a_->deploy().restore_epoch(), before);
}

TEST_F(RestartTest, EndsTheBackOff) {
  a_->Report({0, 0}, FakeWorker::State::STATE_FAILED, absl::UnavailableError("away"));
  cluster_.Run();
  ASSERT_EQ(cluster_.StateOf(job_), v1::JOB_STATE_RESTARTING);
  const auto answer = cluster_.Call(&JobApi::RestartJob, Request());
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(cluster_.StateOf(job_), v1::JOB_STATE_RUNNING);
  EXPECT_EQ(a_->deploys, 2);
  cluster_.Advance(absl::Seconds(10));
  EXPECT_EQ(a_->deploys, 2) << "the back-off that is over does not restart it";
}

TEST_F(RestartTest, ACoordinatorThatComesBackGoesOnWithIt) {
  a_->acks_epochs = false;
  const auto answer = cluster_.Begin(&JobApi::RestartJob, Request());
  cluster_.Run();
  ASSERT_FALSE(answer->has_value());
  cluster_.Crash();
  a_->acks_epochs = true;
  a_->Connect();
  cluster_.Advance(absl::Seconds(10));
  EXPECT_EQ(a_->deploys, 2);
  EXPECT_EQ(cluster_.StateOf(job_), v1::JOB_STATE_RUNNING);
}

TEST_F(RestartTest, TheSameRequestRestartsOnce) {
  v1::RestartJobRequest request = Request();
  request.set_request_id("again");
  for (int i = 0; i < 2; ++i) {
    const auto answer = cluster_.Begin(&JobApi::RestartJob, request);
    cluster_.Advance(absl::Seconds(3));
    ASSERT_TRUE(answer->has_value() && (*answer)->ok());
  }
  EXPECT_EQ(a_->deploys, 2);
}

TEST_F(RestartTest, AnEndedJobIsNotBegunAgain) {
  v1::CancelJobRequest cancel;
  cancel.set_job(job_);
  ASSERT_TRUE(cluster_.Call(&JobApi::CancelJob, cancel).ok());
  const auto answer = cluster_.Call(&JobApi::RestartJob, Request());
  EXPECT_EQ(answer.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(answer.status().message(), HasSubstr("--savepoint"));
}

}  // namespace
}  // namespace millrace
