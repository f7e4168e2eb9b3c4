// Another parallelism for a job that runs, and for one that does not just now.
#include "coordinator/rescale.h"

#include <gmock/gmock.h>

#include "tests/unit/coordinator/fake_cluster.h"

namespace millrace {
namespace {

using testing::HasSubstr;

class RescaleTest : public testing::Test {
 protected:
  void SetUp() override {
    a_ = &cluster_.AddWorker("a");
    cluster_.AddWorker("b");
    job_ = cluster_.Submit();
    cluster_.Advance(absl::Seconds(3));
    ASSERT_EQ(cluster_.StateOf(job_), v1::JOB_STATE_RUNNING);
  }

  v1::RescaleJobRequest To(uint32_t parallelism) const {
    v1::RescaleJobRequest request;
    request.set_job(job_);
    request.set_parallelism(parallelism);
    return request;
  }
  int DeployedTasks() const { return a_->deploy().tasks_size(); }

  FakeCluster cluster_;
  FakeWorker* a_ = nullptr;
  std::string job_;
};

TEST_F(RescaleTest, GoesOnFromALastEpochWithMoreTasksAndFewer) {
  EXPECT_EQ(DeployedTasks(), 4);
  for (const auto& [parallelism, former] : {std::pair(3u, 2u), {1u, 3u}, {5u, 1u}}) {
    const auto answer = cluster_.Begin(&JobApi::RescaleJob, To(parallelism));
    cluster_.Advance(absl::Seconds(3));
    ASSERT_TRUE(answer->has_value());
    ASSERT_TRUE((*answer)->ok()) << (*answer)->status();
    EXPECT_EQ((**answer)->former_parallelism(), former);
    EXPECT_EQ(a_->deploy().restore_epoch(), (**answer)->epoch());
    EXPECT_GT((**answer)->epoch(), 0u);
    EXPECT_EQ(static_cast<uint32_t>(DeployedTasks()), 2 * parallelism);
    EXPECT_EQ(cluster_.Job(job_).parallelism(), parallelism);
  }
  EXPECT_EQ(cluster_.StateOf(job_), v1::JOB_STATE_RUNNING);
  EXPECT_EQ(cluster_.Job(job_).restarts(), 0u);
  EXPECT_EQ(cluster_.Counters(job_).restarts_by_reason["rescale"], 3u);
}

TEST_F(RescaleTest, TheSameParallelismIsAnsweredAtOnce) {
  const auto answer = cluster_.Call(&JobApi::RescaleJob, To(2));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(cluster_.Counters(job_).restarts_by_reason.size(), 0u);
}

TEST_F(RescaleTest, RefusesWhatCannotBe) {
  for (const uint32_t parallelism : {0u, 257u}) {
    const auto answer = cluster_.Call(&JobApi::RescaleJob, To(parallelism));
    EXPECT_EQ(answer.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(answer.status().message(), HasSubstr("max_parallelism, which is 256"));
  }
  a_->acks_epochs = false;  // The last epoch takes its time.
  const auto waiting = cluster_.Begin(&JobApi::RescaleJob, To(3));
  cluster_.Run();
  const auto other = cluster_.Call(&JobApi::RescaleJob, To(4));
  EXPECT_EQ(other.status().code(), absl::StatusCode::kFailedPrecondition);
  a_->AckEpoch(a_->triggers.back().epoch());
  cluster_.Advance(absl::Seconds(3));
  EXPECT_TRUE((*waiting)->ok());
  v1::CancelJobRequest cancel;
  cancel.set_job(job_);
  ASSERT_TRUE(cluster_.Call(&JobApi::CancelJob, cancel).ok());
  EXPECT_EQ(cluster_.Call(&JobApi::RescaleJob, To(4)).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(RescaleTest, ACoordinatorThatComesBackGoesOnWithIt) {
  a_->acks_epochs = false;
  const auto answer = cluster_.Begin(&JobApi::RescaleJob, To(3));
  cluster_.Run();
  ASSERT_FALSE(answer->has_value());
  EXPECT_EQ(DeployedTasks(), 4);
  cluster_.Crash();
  a_->acks_epochs = true;
  a_->Connect();
  cluster_.worker("b").Connect();
  cluster_.Advance(absl::Seconds(10));
  EXPECT_EQ(cluster_.StateOf(job_), v1::JOB_STATE_RUNNING);
  EXPECT_EQ(DeployedTasks(), 6);
  EXPECT_EQ(cluster_.Job(job_).parallelism(), 3u);
  cluster_.Crash();  // It is known of the job from now on.
  cluster_.Advance(absl::Seconds(10));
  a_->Connect();
  cluster_.worker("b").Connect();
  cluster_.Advance(absl::Seconds(10));
  EXPECT_EQ(DeployedTasks(), 6);
}

TEST_F(RescaleTest, AFailureOnTheWayIsAStartWithIt) {
  a_->acks_epochs = false;
  const auto answer = cluster_.Begin(&JobApi::RescaleJob, To(3));
  cluster_.Run();
  ASSERT_FALSE(answer->has_value());
  a_->acks_epochs = true;
  a_->Report({a_->tasks()[0].key().chain(), a_->tasks()[0].key().index()},
             v1::TaskStateChanged::STATE_FAILED, absl::UnavailableError("crash"));
  cluster_.Advance(absl::Seconds(30));
  ASSERT_TRUE(answer->has_value());
  EXPECT_TRUE((*answer)->ok());
  EXPECT_EQ(DeployedTasks(), 6);
  EXPECT_EQ(cluster_.Job(job_).restarts(), 1u);
}

TEST(WithParallelismTest, RoutesAnewWhatIsNotEquallyParallelAnyMore) {
  v1::JobGraph graph = FakeCluster::Graph(2);
  graph.mutable_nodes(2)->set_parallelism(2);
  for (v1::Edge& edge : *graph.mutable_edges()) edge.mutable_forward();
  const auto rescaled = WithParallelism(graph, 3);
  ASSERT_TRUE(rescaled.ok());
  EXPECT_TRUE(rescaled->edges(0).has_forward());
  EXPECT_EQ(rescaled->edges(1).routing_case(), v1::Edge::ROUTING_NOT_SET);
}

}  // namespace
}  // namespace millrace
