#include <gmock/gmock.h>

#include <string>

#include "tests/unit/coordinator/fake_cluster.h"

namespace millrace {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

class UpdateModelTest : public testing::Test {
 protected:
  void SetUp() override {
    a_ = &cluster_.AddWorker("a");
    b_ = &cluster_.AddWorker("b");
    v1::JobGraph graph = FakeCluster::Graph();
    *graph.add_models() = ModelOf("1", 'a');
    job_ = cluster_.Submit(graph);
    cluster_.Advance(absl::Seconds(2));
  }

  static v1::Model ModelOf(const std::string& version, char digit) {
    v1::Model model;
    model.set_name("m");
    model.set_version(version);
    for (v1::Tensor* tensor : {model.add_inputs(), model.add_outputs()}) {
      tensor->set_name("x");
      tensor->set_type(v1::Tensor::TYPE_FLOAT32);
      tensor->set_width(1);
    }
    model.mutable_local()->set_format(v1::LocalModel::FORMAT_LINEAR_JSON);
    model.mutable_local()->set_path("/models/" + version);
    model.mutable_local()->set_sha256(std::string(64, digit));
    model.mutable_local()->set_size_bytes_max(1000);
    return model;
  }

  v1::UpdateModelRequest Request(const std::string& version, char digit) const {
    v1::UpdateModelRequest request;
    request.set_job(job_);
    request.mutable_model()->set_name("m");
    request.mutable_model()->set_version(version);
    request.mutable_model()->mutable_local()->set_path("/models/" + version);
    request.mutable_model()->mutable_local()->set_sha256(std::string(64, digit));
    return request;
  }

  std::string VersionInUse() {
    v1::GetJobRequest request;
    request.set_job(job_);
    const auto response = cluster_.Call(&JobApi::GetJob, request);
    return response.ok() ? response->graph().models(0).version() : "";
  }

  // Everything restarts from the newest epoch; the version that is deployed.
  std::string VersionAfterRestart() {
    b_->Report({b_->tasks()[0].key().chain(), b_->tasks()[0].key().index()},
               v1::TaskStateChanged::STATE_FAILED, absl::UnavailableError("crash"));
    cluster_.Advance(absl::Seconds(30));
    EXPECT_EQ(cluster_.StateOf(job_), v1::JOB_STATE_RUNNING);
    EXPECT_EQ(a_->deploy().graph().models(0).version(), b_->deploy().graph().models(0).version());
    return a_->deploy().graph().models(0).version();
  }

  FakeCluster cluster_;
  FakeWorker* a_ = nullptr;
  FakeWorker* b_ = nullptr;
  std::string job_;
};

TEST_F(UpdateModelTest, AllTasksSwitchAtOneEpochAndARestartKeepsTheNewVersion) {
  const auto answer = cluster_.Call(&JobApi::UpdateModel, Request("2", 'b'));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(a_->prepared, b_->prepared);
  EXPECT_EQ(answer->epoch(), a_->prepared.at(0));
  EXPECT_EQ(answer->sha256(), std::string(64, 'b'));
  EXPECT_EQ(VersionInUse(), "2");
  EXPECT_EQ(VersionAfterRestart(), "2");
  EXPECT_EQ(a_->deploy().graph().models(0).inputs_size(), 1);
}

TEST_F(UpdateModelTest, NoEpochBeginsWhileATaskIsNotReady) {
  b_->prepares.reset();
  const auto answer = cluster_.Begin(&JobApi::UpdateModel, Request("2", 'b'));
  cluster_.Advance(absl::Seconds(10));
  EXPECT_FALSE(answer->has_value());
  const uint64_t number = a_->prepared.at(0);
  for (const v1::TriggerEpoch& trigger : a_->triggers) EXPECT_LT(trigger.epoch(), number);
  // After a minute the number is skipped: the tasks that are ready wait for it in vain.
  cluster_.Advance(absl::Seconds(60));
  ASSERT_TRUE(answer->has_value());
  EXPECT_EQ((*answer)->status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_GT(a_->completed.back(), number);
  for (const v1::TriggerEpoch& trigger : a_->triggers) EXPECT_NE(trigger.epoch(), number);
  EXPECT_EQ(VersionInUse(), "1");
}

TEST_F(UpdateModelTest, ATaskThatCannotLoadItKeepsTheOldVersionEverywhere) {
  b_->prepares = absl::InvalidArgumentError("no such file");
  const auto answer = cluster_.Call(&JobApi::UpdateModel, Request("2", 'b'));
  EXPECT_EQ(answer.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(answer.status().message()), HasSubstr("no such file"));
  cluster_.Advance(absl::Seconds(5));
  for (const v1::TriggerEpoch& trigger : a_->triggers) {
    EXPECT_NE(trigger.epoch(), a_->prepared.at(0));
  }
  EXPECT_EQ(VersionAfterRestart(), "1");
  // The next try does not care.
  b_->prepares = absl::OkStatus();
  EXPECT_TRUE(cluster_.Call(&JobApi::UpdateModel, Request("3", 'c')).ok());
  EXPECT_EQ(VersionInUse(), "3");
}

TEST_F(UpdateModelTest, ACrashBeforeTheEpochIsCompleteRestoresTheOldVersion) {
  b_->acks_epochs = false;  // The cut is made, but never recorded.
  const auto answer = cluster_.Begin(&JobApi::UpdateModel, Request("2", 'b'));
  cluster_.Advance(absl::Seconds(2));
  EXPECT_FALSE(answer->has_value());
  ASSERT_EQ(a_->triggers.back().epoch(), a_->prepared.at(0));
  b_->acks_epochs = true;
  EXPECT_EQ(VersionAfterRestart(), "1");
  ASSERT_TRUE(answer->has_value());
  EXPECT_EQ((*answer)->status().code(), absl::StatusCode::kAborted);
  EXPECT_EQ(VersionInUse(), "1");
}

TEST_F(UpdateModelTest, ACoordinatorThatComesBackLearnsTheVersionFromTheTasks) {
  ASSERT_TRUE(cluster_.Call(&JobApi::UpdateModel, Request("2", 'b')).ok());
  cluster_.Crash();
  a_->Connect();
  b_->Connect();
  cluster_.Advance(absl::Seconds(10));
  EXPECT_EQ(VersionInUse(), "2");
  EXPECT_EQ(VersionAfterRestart(), "2");
}

TEST_F(UpdateModelTest, ARequestThatIsRepeatedFindsItsWorkDone) {
  ASSERT_TRUE(cluster_.Call(&JobApi::UpdateModel, Request("2", 'b')).ok());
  EXPECT_TRUE(cluster_.Call(&JobApi::UpdateModel, Request("2", 'b')).ok());
  EXPECT_EQ(a_->prepared.size(), 1u);
  // The same version cannot be another file.
  EXPECT_EQ(cluster_.Call(&JobApi::UpdateModel, Request("2", 'c')).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(UpdateModelTest, RefusesWhatIsNoNewVersionOfTheModel) {
  const auto code = [&](const v1::UpdateModelRequest& request) {
    return cluster_.Call(&JobApi::UpdateModel, request).status().code();
  };
  v1::UpdateModelRequest request = Request("2", 'b');
  request.mutable_model()->set_name("other");
  EXPECT_EQ(code(request), absl::StatusCode::kNotFound);
  request = Request("", 'b');
  EXPECT_EQ(code(request), absl::StatusCode::kInvalidArgument);
  request = Request("2", 'b');
  *request.mutable_model()->add_inputs() = ModelOf("1", 'a').inputs(0);
  request.mutable_model()->mutable_inputs(0)->set_width(2);
  EXPECT_EQ(code(request), absl::StatusCode::kInvalidArgument);
  request = Request("2", 'b');
  request.mutable_model()->mutable_local()->clear_sha256();  // Nobody could compute it.
  EXPECT_EQ(code(request), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(a_->prepared, IsEmpty());
}

}  // namespace
}  // namespace millrace
