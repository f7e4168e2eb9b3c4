// The coordinator's loop against workers that only talk, in virtual time.
#include "coordinator/coordinator.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/metadata/job_metadata.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/base/failpoint.h"
#include "tests/unit/coordinator/fake_cluster.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using State = v1::TaskStateChanged;
using Fault = MemoryMetadataStore::Fault;
using StoreCall = MemoryMetadataStore::Call;

class CoordinatorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    a_ = &cluster_.AddWorker("a");
    b_ = &cluster_.AddWorker("b");
  }
  void TearDown() override { Failpoints::DisarmAll(); }

  template <typename Request>
  static Request For(const std::string& job) {
    Request request;
    request.set_job(job);
    return request;
  }

  FakeCluster cluster_;
  FakeWorker* a_ = nullptr;
  FakeWorker* b_ = nullptr;
};

TEST_F(CoordinatorTest, AJobRunsAndTakesEpochsAtItsInterval) {
  const std::string job = cluster_.Submit();
  EXPECT_EQ(cluster_.StateOf(job), v1::JOB_STATE_RUNNING);
  EXPECT_TRUE(a_->started());
  EXPECT_TRUE(b_->started());
  EXPECT_THAT(a_->tasks(), SizeIs(2));
  EXPECT_THAT(b_->tasks(), SizeIs(2));
  // The first epoch came right after the start.
  EXPECT_THAT(a_->completed, ElementsAre(1));
  cluster_.Advance(absl::Seconds(3));
  EXPECT_THAT(a_->completed, ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(cluster_.Job(job).last_epoch(), 4u);
  EXPECT_EQ(cluster_.Job(job).restarts(), 0u);
}

TEST_F(CoordinatorTest, NoTaskStartsBeforeAllAreReady) {
  b_->becomes_ready = false;
  const std::string job = cluster_.Submit();
  EXPECT_EQ(cluster_.StateOf(job), v1::JOB_STATE_DEPLOYING);
  EXPECT_FALSE(a_->started());
  b_->ReportAll(State::STATE_READY);
  cluster_.Run();
  EXPECT_TRUE(a_->started());
  EXPECT_EQ(cluster_.StateOf(job), v1::JOB_STATE_RUNNING);
}

TEST_F(CoordinatorTest, OnlyTheNewestEpochsAreKept) {
  const std::string job = cluster_.Submit();
  cluster_.Advance(absl::Seconds(6));
  const auto list = cluster_.Call(&JobApi::ListCheckpoints, For<v1::ListCheckpointsRequest>(job));
  ASSERT_TRUE(list.ok());
  ASSERT_THAT(list->checkpoints(), SizeIs(kEpochsKept));
  EXPECT_EQ(list->checkpoints(2).epoch(), 7u);
  EXPECT_EQ(list->checkpoints(0).epoch(), 5u);
  // The files of the others go after the grace.
  cluster_.Advance(absl::Seconds(30));
  const auto files = cluster_.fake.disk.List("/checkpoints/" + job);
  ASSERT_TRUE(files.ok());
  EXPECT_LE(files->size(), 16u);
  EXPECT_GE(files->size(), kEpochsKept);
}

TEST_F(CoordinatorTest, ALostWorkerRestartsTheJobFromTheNewestEpochOnTheOthers) {
  const std::string job = cluster_.Submit();
  cluster_.Advance(absl::Seconds(2));
  const uint64_t epoch = cluster_.Job(job).last_epoch();
  ASSERT_EQ(epoch, 3u);
  b_->Disconnect();
  cluster_.Run();
  EXPECT_EQ(cluster_.StateOf(job), v1::JOB_STATE_RESTARTING);
  EXPECT_THAT(a_->stopped, SizeIs(1));
  EXPECT_THAT(cluster_.Job(job).last_error(), HasSubstr("lost worker b"));
  cluster_.Advance(absl::Milliseconds(200));
  EXPECT_EQ(cluster_.StateOf(job), v1::JOB_STATE_RUNNING);
  EXPECT_THAT(a_->tasks(), SizeIs(4));
  EXPECT_EQ(a_->deploy().restore_epoch(), epoch);
  EXPECT_EQ(a_->deploy().restore().epoch(), epoch);
  EXPECT_THAT(a_->deploy().restore().tasks(), SizeIs(4));
  EXPECT_EQ(a_->deploy().attempt().generation(), 2u);
  EXPECT_EQ(a_->deploy().attempt().attempt(), 2u);
  EXPECT_EQ(cluster_.Job(job).restarts(), 1u);
  EXPECT_EQ(a_->triggers.back().epoch(), epoch + 1);
}

TEST_F(CoordinatorTest, AWorkerThatLeavesHandsItsTasksOverAfterALastEpoch) {
  const std::string job = cluster_.Submit();
  cluster_.Advance(absl::Seconds(2));
  a_->commits = false;
  b_->Leave();
  cluster_.Run();
  // The sources hold behind the barrier; nothing ends before the last commit.
  const uint64_t epoch = b_->triggers.back().epoch();
  EXPECT_TRUE(b_->triggers.back().hold());
  EXPECT_FALSE(b_->triggers.back().drain());
  EXPECT_EQ(cluster_.StateOf(job), v1::JOB_STATE_RUNNING);
  EXPECT_FALSE(b_->may_leave);
  a_->AckCommit(epoch);
  cluster_.Run();
  EXPECT_TRUE(b_->may_leave);
  EXPECT_EQ(cluster_.StateOf(job), v1::JOB_STATE_RUNNING) << "at once, without a delay";
  EXPECT_THAT(a_->tasks(), SizeIs(4));
  EXPECT_EQ(a_->deploy().restore_epoch(), epoch);
  EXPECT_EQ(cluster_.Job(job).restarts(), 0u);
  EXPECT_EQ(cluster_.Job(job).last_error(), "");
  a_->commits = true;
  b_->Disconnect();
  cluster_.Advance(absl::Seconds(2));
  EXPECT_EQ(cluster_.coordinator().workers_lost(), 0u);
  EXPECT_EQ(cluster_.StateOf(job), v1::JOB_STATE_RUNNING);
}

TEST_F(CoordinatorTest, AWorkerWithoutTasksMayLeaveAtOnce) {
  b_->Leave();
  cluster_.Run();
  EXPECT_TRUE(b_->may_leave);
  const std::string job = cluster_.Submit();
  cluster_.Run();
  EXPECT_FALSE(b_->runs()) << "nothing new comes to a worker that leaves";
  EXPECT_THAT(a_->tasks(), SizeIs(4));
}

TEST_F(CoordinatorTest, WhenAllWorkersLeaveTheJobWaitsForOthers) {
  const std::string job = cluster_.Submit();
  a_->Leave();
  b_->Leave();
  cluster_.Run();
  EXPECT_TRUE(a_->may_leave);
  EXPECT_TRUE(b_->may_leave);
  EXPECT_EQ(cluster_.StateOf(job), v1::JOB_STATE_RESTARTING);
  const uint64_t epoch = cluster_.Job(job).last_epoch();
  FakeWorker& c = cluster_.AddWorker("c");
  EXPECT_EQ(cluster_.StateOf(job), v1::JOB_STATE_RUNNING);
  EXPECT_EQ(c.deploy().restore_epoch(), epoch);
}

TEST_F(CoordinatorTest, AWorkerThatLeavesWhileTasksOpenIsLeftOut) {
  a_->becomes_ready = b_->becomes_ready = false;
  const std::string job = cluster_.Submit();
  b_->Leave();
  cluster_.Run();
  EXPECT_TRUE(b_->may_leave);
  a_->ReportAll(State::STATE_READY);
  cluster_.Run();
  EXPECT_EQ(cluster_.StateOf(job), v1::JOB_STATE_RUNNING);
  EXPECT_THAT(a_->tasks(), SizeIs(4));
}

TEST_F(CoordinatorTest, AStopWithDrainThatComesWhileAWorkerLeavesStillDrains) {
  const std::string job = cluster_.Submit();
  a_->commits = false;
  b_->Leave();
  cluster_.Run();
  v1::StopJobRequest request = For<v1::StopJobRequest>(job);
  request.set_drain(true);
  auto answer = cluster_.Begin(&JobApi::StopJob, request);
  cluster_.Run();
  a_->AckCommit(a_->triggers.back().epoch());
  a_->commits = true;
  cluster_.Advance(absl::Seconds(2));
  EXPECT_TRUE(a_->triggers.back().drain());
  EXPECT_EQ(cluster_.StateOf(job), v1::JOB_STATE_STOPPED);
  EXPECT_TRUE(answer->has_value());
}

TEST_F(CoordinatorTest, ASilentWorkerIsLostAfterTheHeartbeatTimeout) {
  const std::string job = cluster_.Submit();
  a_->acks_epochs = false;
  cluster_.Advance(absl::Seconds(4), /*heartbeats=*/false);
  EXPECT_EQ(cluster_.coordinator().workers_lost(), 0u);
  a_->SendHeartbeat();
  cluster_.Advance(absl::Seconds(2), /*heartbeats=*/false);
  EXPECT_EQ(cluster_.coordinator().workers_lost(), 1u);
  EXPECT_THAT(cluster_.Job(job).last_error(), HasSubstr("lost worker b: no heartbeat"));
}

TEST_F(CoordinatorTest, ATransientFailureRestartsWithGrowingDelays) {
  const std::string job = cluster_.Submit();
  a_->acks_epochs = false;  // No progress between the failures.
  std::vector<absl::Duration> delays;
  for (int i = 0; i < 3; ++i) {
    a_->Report({0, a_->tasks()[0].key().index()}, State::STATE_FAILED,
               absl::UnavailableError("broker is away"));
    cluster_.Run();
    ASSERT_EQ(cluster_.StateOf(job), v1::JOB_STATE_RESTARTING);
    const absl::Duration begin = cluster_.fake.clock.elapsed;
    while (cluster_.StateOf(job) != v1::JOB_STATE_RUNNING) {
      cluster_.Advance(absl::Milliseconds(10));
      ASSERT_LT(cluster_.fake.clock.elapsed - begin, absl::Seconds(5));
    }
    delays.push_back(cluster_.fake.clock.elapsed - begin);
  }
  EXPECT_LE(delays[0], absl::Milliseconds(110));
  EXPECT_GE(delays[1], absl::Milliseconds(90));
  EXPECT_GE(delays[2], absl::Milliseconds(190));
  EXPECT_EQ(cluster_.Job(job).restarts(), 3u);
  EXPECT_EQ(cluster_.Counters(job).restarts_by_reason["task_failed"], 3u);
}

TEST_F(CoordinatorTest, RestartsWithoutProgressEndTheJob) {
  v1::JobGraph graph = FakeCluster::Graph();
  graph.mutable_settings()->set_restart_attempts_max(2);
  const std::string job = cluster_.Submit(graph);
  a_->acks_epochs = false;
  // The first epoch had completed before: the row begins now.
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(a_->runs()) << i;
    a_->Report({0, a_->tasks()[0].key().index()}, State::STATE_FAILED,
               absl::UnavailableError("broker is away"));
    cluster_.Advance(absl::Seconds(2));
  }
  EXPECT_EQ(cluster_.StateOf(job), v1::JOB_STATE_FAILED);
  EXPECT_THAT(cluster_.Job(job).last_error(), HasSubstr("gave up after 2 restarts"));
  EXPECT_FALSE(a_->runs());
  EXPECT_FALSE(b_->runs());
}

TEST_F(CoordinatorTest, TheFirstEpochOfAnAttemptIsNoProgress) {
  v1::JobGraph graph = FakeCluster::Graph();
  graph.mutable_settings()->set_checkpoint_interval_ms(60'000);
  graph.mutable_settings()->set_restart_attempts_max(2);
  const std::string job = cluster_.Submit(graph);
  const auto fail = [this] {
    a_->Report({0, a_->tasks()[0].key().index()}, State::STATE_FAILED,
               absl::UnavailableError("no room for the row that is always next"));
    cluster_.Advance(absl::Seconds(2));
  };
  fail();
  fail();
  cluster_.Advance(absl::Seconds(60));  // A second epoch: the job was healthy, the row is over.
  fail();
  fail();
  EXPECT_EQ(cluster_.StateOf(job), v1::JOB_STATE_RUNNING);
  const uint64_t epoch = cluster_.Job(job).last_epoch();
  EXPECT_GE(epoch, 6u);  // Every attempt has taken its first one.
  fail();
  EXPECT_EQ(cluster_.StateOf(job), v1::JOB_STATE_FAILED);
  EXPECT_THAT(cluster_.Job(job).last_error(), HasSubstr("gave up after 2 restarts"));
}

TEST_F(CoordinatorTest, ADeterministicFailureEndsTheJobAtOnce) {
  const std::string job = cluster_.Submit();
  b_->Report({1, b_->tasks()[1].key().index()}, State::STATE_FAILED,
             absl::InvalidArgumentError("no such topic: bids"));
  cluster_.Run();
  EXPECT_EQ(cluster_.StateOf(job), v1::JOB_STATE_FAILED);
  EXPECT_THAT(cluster_.Job(job).last_error(), HasSubstr("no such topic: bids"));
  EXPECT_EQ(cluster_.Job(job).restarts(), 0u);
  EXPECT_FALSE(a_->runs());
  cluster_.Advance(absl::Minutes(2));
  EXPECT_EQ(a_->deploys, 1);
}

TEST_F(CoordinatorTest, AnEpochThatTakesTooLongIsAbandonedAndTheNextOneGoesOn) {
  v1::JobGraph graph = FakeCluster::Graph();
  graph.mutable_settings()->set_checkpoint_timeout_ms(5000);
  b_->acks_epochs = false;
  const std::string job = cluster_.Submit(graph);
  cluster_.Advance(absl::Seconds(4));
  EXPECT_THAT(a_->triggers, SizeIs(1));
  b_->acks_epochs = true;
  cluster_.Advance(absl::Seconds(3));
  EXPECT_EQ(cluster_.Counters(job).epochs_abandoned, 1u);
  EXPECT_THAT(a_->completed, Not(IsEmpty()));
  EXPECT_GT(a_->completed.front(), 1u);
  EXPECT_EQ(cluster_.StateOf(job), v1::JOB_STATE_RUNNING);
  EXPECT_EQ(cluster_.Job(job).restarts(), 0u);
}

TEST_F(CoordinatorTest, MoreAbandonedEpochsInARowThanTheJobTakesMakeItRestart) {
  v1::JobGraph graph = FakeCluster::Graph();
  graph.mutable_settings()->set_checkpoint_timeout_ms(5000);
  graph.mutable_settings()->set_checkpoint_failures_max(2);
  const std::string job = cluster_.Submit(graph);
  cluster_.Advance(absl::Seconds(3));
  b_->acks_epochs = false;
  cluster_.Advance(absl::Seconds(14));
  EXPECT_EQ(cluster_.Counters(job).epochs_abandoned, 2u);
  b_->acks_epochs = true;  // One that ends well begins the count anew.
  b_->AckEpoch(b_->triggers.back().epoch());
  cluster_.Advance(absl::Seconds(3));
  b_->acks_epochs = false;
  cluster_.Advance(absl::Seconds(14));
  EXPECT_EQ(cluster_.Counters(job).epochs_abandoned, 4u);
  EXPECT_EQ(cluster_.Job(job).restarts(), 0u);
  cluster_.Advance(absl::Seconds(6));
  EXPECT_EQ(cluster_.Job(job).restarts(), 1u);
  EXPECT_EQ(cluster_.Counters(job).restarts_by_reason["checkpoints_abandoned"], 1u);
  EXPECT_THAT(cluster_.Logs(job), HasSubstr("3 checkpoints in a row were abandoned, and 2 may be"));
}

TEST_F(CoordinatorTest, BarriersOvertakeNothingInSavepointsAndLastEpochs) {
  v1::JobGraph graph = FakeCluster::Graph();
  graph.mutable_settings()->set_aligned_checkpoint_timeout_ms(700);
  const std::string job = cluster_.Submit(graph);
  cluster_.Advance(absl::Seconds(2));
  for (const v1::TriggerEpoch& trigger : a_->triggers) {
    EXPECT_EQ(trigger.alignment_timeout_ms(), 700u);
  }
  const size_t before = a_->triggers.size();
  v1::CreateSavepointRequest savepoint = For<v1::CreateSavepointRequest>(job);
  savepoint.set_directory("/savepoints");
  const auto saved = cluster_.Begin(&JobApi::CreateSavepoint, savepoint);
  cluster_.Run();
  ASSERT_THAT(a_->triggers, SizeIs(before + 1));
  EXPECT_EQ(a_->triggers.back().alignment_timeout_ms(), 0u);
  cluster_.Advance(absl::Seconds(2));
  EXPECT_EQ(a_->triggers.back().alignment_timeout_ms(), 700u);
  const auto stopped = cluster_.Begin(&JobApi::StopJob, For<v1::StopJobRequest>(job));
  cluster_.Run();
  EXPECT_TRUE(a_->triggers.back().hold());
  EXPECT_EQ(a_->triggers.back().alignment_timeout_ms(), 0u);
}

TEST_F(CoordinatorTest, AnEpochBeginsNoSoonerThanThePauseBehindTheLastOne) {
  v1::JobGraph graph = FakeCluster::Graph();
  graph.mutable_settings()->set_checkpoint_min_pause_ms(3000);
  b_->acks_epochs = false;
  const std::string job = cluster_.Submit(graph);
  cluster_.Advance(absl::Seconds(5));
  ASSERT_THAT(a_->triggers, SizeIs(1));
  b_->acks_epochs = true;
  b_->AckEpoch(1);
  cluster_.Advance(absl::Milliseconds(2900));
  EXPECT_THAT(a_->triggers, SizeIs(1));
  cluster_.Advance(absl::Milliseconds(200));
  EXPECT_THAT(a_->triggers, SizeIs(2));
}

TEST_F(CoordinatorTest, AnEpochThatHasLostRowsIsNotRecordedAndTheJobRestartsFromTheOneBefore) {
  const std::string job = cluster_.Submit();
  cluster_.Advance(absl::Seconds(1));
  const uint64_t epoch = cluster_.Job(job).last_epoch();
  v1::NodeSnapshot lossy;
  lossy.set_uid("in");
  lossy.set_rows_in(10);
  lossy.set_rows_out(9);
  a_->snapshot_node = lossy;
  cluster_.Advance(absl::Seconds(1));
  EXPECT_EQ(cluster_.Job(job).last_epoch(), epoch);
  EXPECT_THAT(cluster_.Job(job).last_error(), HasSubstr("MR5301: rows are not conserved: in"));
  EXPECT_EQ(cluster_.Job(job).restarts(), 1u);
  a_->snapshot_node.reset();
  cluster_.Advance(absl::Seconds(1));
  EXPECT_EQ(cluster_.StateOf(job), v1::JOB_STATE_RUNNING);
  EXPECT_GT(cluster_.Job(job).last_epoch(), epoch);
}

TEST_F(CoordinatorTest, AJobThatStandsStillIsStalledUntilItMoves) {
  const std::string job = cluster_.Submit();
  cluster_.Advance(absl::Minutes(3));
  EXPECT_EQ(cluster_.Job(job).stalled_since_unix_us(), 0) << "epochs of an idle job go on";
  a_->acks_epochs = false;
  cluster_.Advance(absl::Seconds(50));
  EXPECT_EQ(cluster_.Job(job).stalled_since_unix_us(), 0);
  cluster_.Advance(absl::Seconds(15));
  EXPECT_GT(cluster_.Job(job).stalled_since_unix_us(), 0);
  EXPECT_EQ(cluster_.StateOf(job), v1::JOB_STATE_RUNNING);
  a_->AckEpoch(a_->triggers.back().epoch());
  a_->acks_epochs = true;
  cluster_.Advance(absl::Seconds(3));
  EXPECT_EQ(cluster_.Job(job).stalled_since_unix_us(), 0);
}

TEST_F(CoordinatorTest, AJobWhoseCommitHangsIsStalledThoughItsEpochsGoOn) {
  const std::string job = cluster_.Submit();
  cluster_.Advance(absl::Seconds(3));
  a_->commits = false;
  cluster_.Advance(absl::Seconds(50));
  v1::TaskCondition commits;
  commits.set_commit_ms(50'000);
  a_->TellCondition(commits);
  EXPECT_EQ(cluster_.Job(job).stalled_since_unix_us(), 0);
  cluster_.Advance(absl::Seconds(15));
  EXPECT_GT(cluster_.Job(job).stalled_since_unix_us(), 0);
  EXPECT_GT(cluster_.Job(job).last_epoch(), 60u);
  EXPECT_THAT(cluster_.Logs(job), HasSubstr("are not all visible yet"));
  a_->commits = true;
  a_->AckCommit(cluster_.Job(job).last_epoch());
  cluster_.Advance(absl::Seconds(3));
  EXPECT_EQ(cluster_.Job(job).stalled_since_unix_us(), 0);
}

TEST_F(CoordinatorTest, ARefusedEpochIsAbandonedWithoutARestart) {
  const std::string job = cluster_.Submit();
  b_->acks_epochs = false;
  cluster_.Advance(absl::Seconds(1));
  b_->AckEpoch(b_->triggers.back().epoch(), {}, absl::ResourceExhaustedError("disk is full"));
  b_->acks_epochs = true;
  cluster_.Run();
  EXPECT_EQ(cluster_.Counters(job).epochs_abandoned, 1u);
  EXPECT_THAT(cluster_.Logs(job), HasSubstr("disk is full"));
  cluster_.Advance(absl::Seconds(2));
  EXPECT_GT(cluster_.Job(job).last_epoch(), 2u);
  EXPECT_EQ(cluster_.StateOf(job), v1::JOB_STATE_RUNNING);
}

TEST_F(CoordinatorTest, MessagesOfAnOldAttemptAreDroppedAndCounted) {
  const std::string job = cluster_.Submit();
  const v1::AttemptId old = a_->deploy().attempt();
  a_->Report({0, a_->tasks()[0].key().index()}, State::STATE_FAILED, absl::UnavailableError("x"));
  b_->acks_epochs = false;
  cluster_.Advance(absl::Milliseconds(500));
  ASSERT_EQ(cluster_.StateOf(job), v1::JOB_STATE_RUNNING);
  const uint64_t epoch = b_->triggers.back().epoch();
  const uint64_t dropped = cluster_.Counters(job).messages_fenced;
  b_->AckEpoch(epoch, old);
  cluster_.Run();
  EXPECT_GT(cluster_.Counters(job).messages_fenced, dropped);
  EXPECT_LT(cluster_.Job(job).last_epoch(), epoch);
  b_->AckEpoch(epoch);
  cluster_.Run();
  EXPECT_EQ(cluster_.Job(job).last_epoch(), epoch);
}

// ---- The commit point.

class UnknownOutcomeTest : public CoordinatorTest, public ::testing::WithParamInterface<Fault> {};

TEST_P(UnknownOutcomeTest, OfTheEpochRecordIsLookedUpBeforeAnythingBecomesVisible) {
  const std::string job = cluster_.Submit();
  int faults = 3;
  cluster_.store.SetFaults([&](StoreCall call, const std::string& key) {
    const bool hit = call == StoreCall::kCreate && key.find("/epoch/") != std::string::npos;
    return hit && faults-- > 0 ? GetParam() : Fault::kNone;
  });
  cluster_.Advance(absl::Milliseconds(1050));
  EXPECT_THAT(a_->completed, ElementsAre(1)) << "visible before the record was certain";
  cluster_.Advance(absl::Seconds(1));
  EXPECT_THAT(a_->completed, ::testing::Contains(2));
  EXPECT_EQ(cluster_.Job(job).restarts(), 0u);
  EXPECT_THAT(cluster_.fenced, IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(All, UnknownOutcomeTest,
                         ::testing::Values(Fault::kUnknownApplied, Fault::kUnknownDropped,
                                           Fault::kUnavailable));

TEST_F(CoordinatorTest, ARecordOfUnknownOutcomeCountsForTheRestartThatFollows) {
  const std::string job = cluster_.Submit();
  bool broken = true;
  cluster_.store.SetFaults([&](StoreCall call, const std::string& key) {
    if (call == StoreCall::kCreate && key.find("/epoch/") != std::string::npos && broken) {
      return Fault::kUnknownApplied;
    }
    return broken && call != StoreCall::kCreate ? Fault::kUnavailable : Fault::kNone;
  });
  cluster_.Advance(absl::Milliseconds(1050));
  b_->Disconnect();
  cluster_.Advance(absl::Seconds(2));
  // The raise of the generation waits behind the record.
  EXPECT_EQ(a_->deploys, 1);
  broken = false;
  cluster_.Advance(absl::Seconds(4));
  EXPECT_EQ(cluster_.StateOf(job), v1::JOB_STATE_RUNNING);
  EXPECT_EQ(a_->deploys, 2);
  EXPECT_EQ(a_->deploy().restore_epoch(), 2u);
  EXPECT_GE(a_->triggers.back().epoch(), 3u);
}

TEST_F(CoordinatorTest, AManifestThatCannotBeWrittenAbandonsTheEpoch) {
  const std::string job = cluster_.Submit();
  cluster_.fake.disk.bytes_left = 0;
  cluster_.Advance(absl::Seconds(2));
  EXPECT_EQ(cluster_.Job(job).last_epoch(), 1u);
  EXPECT_GE(cluster_.Counters(job).epochs_abandoned, 1u);
  EXPECT_EQ(cluster_.StateOf(job), v1::JOB_STATE_RUNNING);
  cluster_.fake.disk.bytes_left = ~uint64_t{0};
  cluster_.Advance(absl::Seconds(3));
  EXPECT_GT(cluster_.Job(job).last_epoch(), 2u);
}

TEST_F(CoordinatorTest, EveryFailpointOfAnEpochEndsWell) {
  for (const char* name :
       {"checkpoint.before_manifest", "checkpoint.after_manifest", "checkpoint.before_epoch_record",
        "checkpoint.after_epoch_record", "checkpoint.before_completed"}) {
    SCOPED_TRACE(name);
    FakeCluster cluster;
    FakeWorker& worker = cluster.AddWorker("a");
    const std::string job = cluster.Submit();
    ASSERT_TRUE(Failpoints::Arm(absl::StrCat(name, "=error@1")).ok());
    cluster.Advance(absl::Seconds(5));
    EXPECT_EQ(Failpoints::Hits(name) > 1, true);
    EXPECT_EQ(cluster.StateOf(job), v1::JOB_STATE_RUNNING);
    EXPECT_GT(cluster.Job(job).last_epoch(), 3u);
    EXPECT_TRUE(std::is_sorted(worker.completed.begin(), worker.completed.end()));
    Failpoints::DisarmAll();
  }
}

TEST_F(CoordinatorTest, EveryFailpointOfASubmitIsPassedByTheSameRequestAgain) {
  for (const std::string_view name : Failpoints::Names()) {
    if (!name.starts_with("job.")) continue;
    SCOPED_TRACE(name);
    FakeCluster cluster;
    cluster.AddWorker("a");
    ASSERT_TRUE(Failpoints::Arm(absl::StrCat(std::string(name), "=error@1")).ok());
    const auto submit = [&] {
      v1::SubmitJobRequest request;
      request.set_request_id("one");
      *request.mutable_job()->mutable_graph() = FakeCluster::Graph();
      return cluster.Call(&JobApi::SubmitJob, request);
    };
    EXPECT_TRUE(absl::IsUnavailable(submit().status()));
    EXPECT_EQ(Failpoints::Hits(name), 1);
    const absl::StatusOr<v1::SubmitJobResponse> again = submit();
    ASSERT_TRUE(again.ok()) << again.status();
    cluster.Advance(absl::Seconds(2));
    EXPECT_EQ(cluster.StateOf(again->job_id()), v1::JOB_STATE_RUNNING);
    Failpoints::DisarmAll();
  }
}

TEST_F(CoordinatorTest, EveryFailpointOfASavepointLeavesTheJobRunningAndASecondTryWorks) {
  for (const char* name :
       {"savepoint.before_export", "savepoint.before_manifest", "savepoint.after_manifest"}) {
    SCOPED_TRACE(name);
    FakeCluster cluster;
    cluster.AddWorker("a");
    const std::string job = cluster.Submit();
    cluster.Advance(absl::Seconds(2));
    ASSERT_TRUE(Failpoints::Arm(absl::StrCat(name, "=error@1")).ok());
    const auto savepoint = [&] {
      v1::CreateSavepointRequest request;
      request.set_job(job);
      request.set_directory("file:///savepoints");
      return cluster.Call(&JobApi::CreateSavepoint, request);
    };
    EXPECT_TRUE(absl::IsUnavailable(savepoint().status()));
    EXPECT_EQ(cluster.StateOf(job), v1::JOB_STATE_RUNNING);
    const absl::StatusOr<v1::CreateSavepointResponse> again = savepoint();
    EXPECT_TRUE(again.ok()) << again.status();
    Failpoints::DisarmAll();
  }
}

TEST_F(CoordinatorTest, ARivalCoordinatorTakesTheJobAway) {
  const std::string job = cluster_.Submit();
  const std::string key = JobKey(job, "generation");
  const MetadataEntry entry = cluster_.store.Get(key).value();
  ASSERT_TRUE(cluster_.store.CompareAndSwap(key, entry.version, "7 rival 1", {}).ok());
  cluster_.Advance(absl::Seconds(2));
  EXPECT_THAT(cluster_.fenced, SizeIs(1));
  // Nothing more becomes visible through this coordinator, and the rival's tasks are not stopped.
  EXPECT_THAT(a_->completed, ElementsAre(1));
  EXPECT_THAT(a_->stopped, IsEmpty());
}

// ---- A coordinator that comes back.

TEST_F(CoordinatorTest, ARestartedCoordinatorAdoptsWhatStillRuns) {
  const std::string job = cluster_.Submit();
  cluster_.Advance(absl::Seconds(2));
  const uint64_t last = a_->triggers.back().epoch();
  cluster_.Crash();
  EXPECT_EQ(cluster_.StateOf(job), v1::JOB_STATE_RUNNING);
  a_->Connect();
  cluster_.Advance(absl::Seconds(1));
  EXPECT_EQ(a_->triggers.back().epoch(), last) << "one worker is missing";
  b_->Connect();
  cluster_.Advance(absl::Seconds(2));
  EXPECT_EQ(cluster_.StateOf(job), v1::JOB_STATE_RUNNING);
  EXPECT_EQ(a_->deploys, 1);
  EXPECT_EQ(b_->deploys, 1);
  EXPECT_THAT(a_->stopped, IsEmpty());
  // Numbers that the first coordinator may have used are not used again.
  EXPECT_GT(a_->triggers.back().epoch(), last + 500);
  EXPECT_EQ(cluster_.Job(job).last_epoch(), a_->triggers.back().epoch());
  EXPECT_EQ(cluster_.Job(job).restarts(), 0u);
}

TEST_F(CoordinatorTest, ARestartedCoordinatorCompletesTheCommitThatItsPredecessorRecorded) {
  const std::string job = cluster_.Submit();
  // The record of epoch 2 is written; then the coordinator dies before it tells anybody.
  cluster_.store.SetFaults([&](StoreCall call, const std::string& key) {
    const bool hit = call == StoreCall::kCreate && key.find("/epoch/") != std::string::npos;
    return hit ? Fault::kUnknownApplied : Fault::kNone;
  });
  cluster_.Advance(absl::Milliseconds(1000));
  cluster_.store.SetFaults(nullptr);
  ASSERT_THAT(a_->completed, ElementsAre(1));
  cluster_.Crash();
  EXPECT_EQ(cluster_.Job(job).last_epoch(), 2u);
  a_->Connect();
  b_->Connect();
  cluster_.Run();
  ASSERT_GE(a_->completed.size(), 2u);
  EXPECT_EQ(a_->completed[1], 2u);
  EXPECT_EQ(b_->completed[1], 2u);
}

TEST_F(CoordinatorTest, ARestartedCoordinatorRestartsAJobWhoseWorkersDoNotComeBack) {
  const std::string job = cluster_.Submit();
  cluster_.Advance(absl::Seconds(2));
  const uint64_t epoch = cluster_.Job(job).last_epoch();
  cluster_.Crash();
  a_->Connect();
  cluster_.Advance(absl::Seconds(4));
  EXPECT_EQ(a_->deploys, 1);
  cluster_.Advance(absl::Seconds(3));
  EXPECT_EQ(cluster_.StateOf(job), v1::JOB_STATE_RUNNING);
  EXPECT_EQ(a_->deploys, 2);
  EXPECT_EQ(a_->deploy().restore_epoch(), epoch);
  EXPECT_EQ(a_->deploy().attempt().generation(), 2u);
  // The other one comes late, with an attempt that is over.
  b_->Connect();
  cluster_.Run();
  EXPECT_THAT(b_->stopped, SizeIs(1));
  EXPECT_FALSE(b_->runs());
}

TEST_F(CoordinatorTest, ARestartedCoordinatorFindsATaskThatFailedMeanwhile) {
  const std::string job = cluster_.Submit();
  cluster_.Crash();
  a_->Report({0, a_->tasks()[0].key().index()}, State::STATE_FAILED,
             absl::UnavailableError("broker is away"));
  a_->Connect();
  b_->Connect();
  cluster_.Advance(absl::Seconds(1));
  EXPECT_EQ(cluster_.Job(job).restarts(), 1u);
  EXPECT_EQ(cluster_.StateOf(job), v1::JOB_STATE_RUNNING);
}

TEST_F(CoordinatorTest, AnEndedJobStaysEndedAfterARestart) {
  const std::string job = cluster_.Submit();
  ASSERT_TRUE(cluster_.Call(&JobApi::CancelJob, For<v1::CancelJobRequest>(job)).ok());
  cluster_.Crash();
  cluster_.AddWorker("c");
  cluster_.Advance(absl::Seconds(10));
  EXPECT_EQ(cluster_.StateOf(job), v1::JOB_STATE_CANCELLED);
  EXPECT_FALSE(cluster_.worker("c").runs());
}

TEST_F(CoordinatorTest, AWorkerThatReconnectsWithItsTasksCausesNoSecondDeploy) {
  const std::string job = cluster_.Submit();
  const int deploys = a_->deploys;
  a_->Connect();  // A second connection of the same incarnation, before the first one closes.
  cluster_.Advance(absl::Seconds(2));
  EXPECT_EQ(a_->deploys, deploys);
  EXPECT_EQ(cluster_.StateOf(job), v1::JOB_STATE_RUNNING);
  EXPECT_GT(cluster_.Job(job).last_epoch(), 2u);
}

// ---- The end.

TEST_F(CoordinatorTest, ABoundedJobFinishesAfterItsLastCommit) {
  const std::string job = cluster_.Submit();
  b_->commits = false;
  a_->ExhaustSources();
  cluster_.Run();
  EXPECT_THAT(a_->triggers, SizeIs(1)) << "one source still reads";
  b_->ExhaustSources();
  cluster_.Run();
  ASSERT_THAT(a_->triggers, SizeIs(2));
  EXPECT_TRUE(a_->triggers.back().drain());
  const uint64_t last = a_->triggers.back().epoch();
  EXPECT_EQ(cluster_.Job(job).last_epoch(), last);
  cluster_.Advance(absl::Seconds(5));
  EXPECT_EQ(cluster_.StateOf(job), v1::JOB_STATE_RUNNING) << "a commit is missing";
  EXPECT_THAT(a_->triggers, SizeIs(2)) << "nothing follows the last epoch";
  b_->AckCommit(last);
  cluster_.Run();
  EXPECT_EQ(cluster_.StateOf(job), v1::JOB_STATE_FINISHED);
  EXPECT_FALSE(a_->runs());
  EXPECT_FALSE(b_->runs());
}

TEST_F(CoordinatorTest, AWorkerLostBeforeTheLastCommitMakesTheJobRunOnceMore) {
  const std::string job = cluster_.Submit();
  b_->commits = false;
  a_->ExhaustSources();
  b_->ExhaustSources();
  cluster_.Run();
  const uint64_t last = cluster_.Job(job).last_epoch();
  b_->Disconnect();
  cluster_.Advance(absl::Seconds(1));
  ASSERT_EQ(cluster_.StateOf(job), v1::JOB_STATE_RUNNING);
  EXPECT_EQ(a_->deploy().restore_epoch(), last);
  a_->ExhaustSources();
  cluster_.Run();
  EXPECT_EQ(cluster_.StateOf(job), v1::JOB_STATE_FINISHED);
}

TEST_F(CoordinatorTest, StopTakesALastEpochAndAnswersAfterItsCommit) {
  const std::string job = cluster_.Submit();
  b_->commits = false;
  auto answer = cluster_.Begin(&JobApi::StopJob, For<v1::StopJobRequest>(job));
  cluster_.Run();
  EXPECT_EQ(cluster_.StateOf(job), v1::JOB_STATE_STOPPING);
  EXPECT_FALSE(a_->triggers.back().drain());
  EXPECT_FALSE(answer->has_value());
  b_->AckCommit(b_->triggers.back().epoch());
  cluster_.Run();
  EXPECT_EQ(cluster_.StateOf(job), v1::JOB_STATE_STOPPED);
  ASSERT_TRUE(answer->has_value());
  ASSERT_TRUE((*answer)->ok());
  EXPECT_EQ((**answer)->epoch(), a_->triggers.back().epoch());
  EXPECT_FALSE(a_->runs());
}

TEST_F(CoordinatorTest, StopWithDrainEndsTheSourcesFirst) {
  const std::string job = cluster_.Submit();
  v1::StopJobRequest request = For<v1::StopJobRequest>(job);
  request.set_drain(true);
  ASSERT_TRUE(cluster_.Call(&JobApi::StopJob, request).ok());
  EXPECT_TRUE(a_->triggers.back().drain());
  EXPECT_EQ(cluster_.StateOf(job), v1::JOB_STATE_STOPPED);
}

TEST_F(CoordinatorTest, AStopSurvivesAFailureAndACoordinatorRestart) {
  const std::string job = cluster_.Submit();
  a_->commits = b_->commits = false;
  cluster_.Begin(&JobApi::StopJob, For<v1::StopJobRequest>(job));
  cluster_.Run();
  cluster_.Crash();
  a_->commits = b_->commits = true;
  a_->Connect();
  b_->Connect();
  cluster_.Advance(absl::Seconds(1));
  EXPECT_EQ(cluster_.StateOf(job), v1::JOB_STATE_STOPPED);
}

TEST_F(CoordinatorTest, AStopDuringARestartWaitsUntilEverythingIsCommitted) {
  const std::string job = cluster_.Submit();
  a_->Report({0, a_->tasks()[0].key().index()}, State::STATE_FAILED, absl::UnavailableError("x"));
  cluster_.Run();
  ASSERT_EQ(cluster_.StateOf(job), v1::JOB_STATE_RESTARTING);
  auto answer = cluster_.Begin(&JobApi::StopJob, For<v1::StopJobRequest>(job));
  cluster_.Run();
  EXPECT_FALSE(answer->has_value());
  cluster_.Advance(absl::Seconds(1));
  EXPECT_EQ(cluster_.StateOf(job), v1::JOB_STATE_STOPPED);
  EXPECT_TRUE(answer->has_value());
}

TEST_F(CoordinatorTest, CancelStopsEveryWorkerAndIsIdempotent) {
  const std::string job = cluster_.Submit();
  ASSERT_TRUE(cluster_.Call(&JobApi::CancelJob, For<v1::CancelJobRequest>(job)).ok());
  EXPECT_EQ(cluster_.StateOf(job), v1::JOB_STATE_CANCELLED);
  EXPECT_FALSE(a_->runs());
  EXPECT_FALSE(b_->runs());
  EXPECT_TRUE(cluster_.Call(&JobApi::CancelJob, For<v1::CancelJobRequest>(job)).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(
      cluster_.Call(&JobApi::StopJob, For<v1::StopJobRequest>(job)).status()));
}

TEST_F(CoordinatorTest, ASavepointCanStartAnotherJob) {
  const std::string job = cluster_.Submit();
  cluster_.Advance(absl::Milliseconds(500));
  v1::CreateSavepointRequest request = For<v1::CreateSavepointRequest>(job);
  request.set_directory("/savepoints");
  const auto savepoint = cluster_.Call(&JobApi::CreateSavepoint, request);
  ASSERT_TRUE(savepoint.ok()) << savepoint.status();
  EXPECT_EQ(savepoint->epoch(), 2u) << "not at once";
  EXPECT_EQ(savepoint->savepoint(), absl::StrCat("file:///savepoints/", job, "-e2"));
  EXPECT_EQ(cluster_.StateOf(job), v1::JOB_STATE_RUNNING);
  ASSERT_TRUE(cluster_.Call(&JobApi::CancelJob, For<v1::CancelJobRequest>(job)).ok());

  v1::SubmitJobRequest submit;
  *submit.mutable_job()->mutable_graph() = FakeCluster::Graph();
  submit.set_savepoint(savepoint->savepoint());
  const auto next = cluster_.Call(&JobApi::SubmitJob, submit);
  ASSERT_TRUE(next.ok()) << next.status();
  cluster_.Run();
  EXPECT_EQ(cluster_.StateOf(next->job_id()), v1::JOB_STATE_RUNNING);
  EXPECT_EQ(a_->deploy().restore_epoch(), 2u);
  EXPECT_EQ(a_->deploy().restore().job_id(), next->job_id());
  // Above the generation of the first job: names of files never meet.
  EXPECT_GT(a_->deploy().attempt().generation(), 1u);
}

TEST_F(CoordinatorTest, StopWithSavepointNamesIt) {
  const std::string job = cluster_.Submit();
  v1::StopJobRequest request = For<v1::StopJobRequest>(job);
  request.set_savepoint_directory("/savepoints");
  const auto stopped = cluster_.Call(&JobApi::StopJob, request);
  ASSERT_TRUE(stopped.ok()) << stopped.status();
  EXPECT_EQ(stopped->savepoint(), absl::StrCat("file:///savepoints/", job, "-e", stopped->epoch()));
}

TEST_F(CoordinatorTest, AMissingSavepointIsRefused) {
  v1::SubmitJobRequest submit;
  *submit.mutable_job()->mutable_graph() = FakeCluster::Graph();
  submit.set_savepoint("/nothing/here");
  const absl::Status status = cluster_.Call(&JobApi::SubmitJob, submit).status();
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
}

// ---- Requests.

TEST_F(CoordinatorTest, TheSameRequestIdSubmitsOnce) {
  const std::string job = cluster_.Submit(FakeCluster::Graph(), "request-1");
  EXPECT_EQ(cluster_.Submit(FakeCluster::Graph(), "request-1"), job);
  cluster_.Crash();
  EXPECT_EQ(cluster_.Submit(FakeCluster::Graph(), "request-1"), job);
  const auto jobs = cluster_.Call(&JobApi::ListJobs, v1::ListJobsRequest());
  EXPECT_THAT(jobs->jobs(), SizeIs(1));
  v1::SubmitJobRequest other;
  other.set_request_id("request-1");
  *other.mutable_job()->mutable_graph() = FakeCluster::Graph(1);
  EXPECT_TRUE(absl::IsAlreadyExists(cluster_.Call(&JobApi::SubmitJob, other).status()));
}

TEST_F(CoordinatorTest, TheSameRequestIdGivesTheSameSavepoint) {
  const std::string job = cluster_.Submit();
  v1::CreateSavepointRequest request = For<v1::CreateSavepointRequest>(job);
  request.set_request_id("savepoint-1");
  request.set_directory("/savepoints");
  const auto first = cluster_.Call(&JobApi::CreateSavepoint, request);
  ASSERT_TRUE(first.ok());
  cluster_.Advance(absl::Seconds(2));
  const auto second = cluster_.Call(&JobApi::CreateSavepoint, request);
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(first->epoch(), second->epoch());
}

TEST_F(CoordinatorTest, AnInvalidJobIsRefusedWithAllItsProblems) {
  v1::SubmitJobRequest request;
  request.mutable_job()->set_yaml("nodes: []");
  const auto response = cluster_.Call(&JobApi::SubmitJob, request);
  EXPECT_TRUE(absl::IsInvalidArgument(response.status()));
  EXPECT_THAT(std::string(response.status().message()), HasSubstr("MR1001"));
  EXPECT_THAT(GetDiagnostics(response.status()), SizeIs(1));
  v1::ValidateJobRequest validate;
  *validate.mutable_job() = request.job();
  EXPECT_FALSE(cluster_.Call(&JobApi::ValidateJob, validate)->valid());
}

TEST_F(CoordinatorTest, ExplainShowsChainsAndChannels) {
  v1::ExplainJobRequest request;
  *request.mutable_job()->mutable_graph() = FakeCluster::Graph();
  const auto response = cluster_.Call(&JobApi::ExplainJob, request);
  ASSERT_TRUE(response.ok());
  EXPECT_THAT(response->text(), HasSubstr("window -> out"));
  EXPECT_THAT(response->text(), HasSubstr("in -> window: hash"));
}

TEST_F(CoordinatorTest, AJobIsFoundByIdAndByItsNameIfThatIsUnique) {
  const std::string first = cluster_.Submit();
  EXPECT_EQ(cluster_.Job("count").job_id(), first);
  cluster_.Submit();
  EXPECT_TRUE(absl::IsFailedPrecondition(
      cluster_.Call(&JobApi::GetJob, For<v1::GetJobRequest>("count")).status()));
  EXPECT_TRUE(
      absl::IsNotFound(cluster_.Call(&JobApi::GetJob, For<v1::GetJobRequest>("nothing")).status()));
}

TEST_F(CoordinatorTest, AWatcherSeesEveryStateAndTheEnd) {
  struct Watcher final : JobWatcher {
    bool OnJob(const v1::Job& job) override {
      if (states.empty() || states.back() != job.state()) states.push_back(job.state());
      return true;
    }
    void OnEnd(const absl::Status& status) override { ended = status; }
    std::vector<v1::JobState> states;
    std::optional<absl::Status> ended;
  };
  const std::string job = cluster_.Submit();
  auto watcher = std::make_shared<Watcher>();
  cluster_.coordinator().WatchJob(For<v1::WatchJobRequest>(job), watcher);
  cluster_.Run();
  ASSERT_TRUE(cluster_.Call(&JobApi::StopJob, For<v1::StopJobRequest>(job)).ok());
  EXPECT_THAT(watcher->states,
              ElementsAre(v1::JOB_STATE_RUNNING, v1::JOB_STATE_STOPPING, v1::JOB_STATE_STOPPED));
  EXPECT_TRUE(watcher->ended.has_value() && watcher->ended->ok());
}

TEST_F(CoordinatorTest, ProgressOfTasksIsSummedByNode) {
  const std::string job = cluster_.Submit();
  for (FakeWorker* worker : {a_, b_}) {
    v1::TaskProgress progress;
    *progress.mutable_attempt() = worker->deploy().attempt();
    *progress.mutable_task() = worker->tasks()[0].key();
    progress.set_uid("in");
    progress.set_rows_out(10);
    progress.set_watermark_us(worker == a_ ? 5 : 9);
    cluster_.coordinator().Post([&cluster = cluster_, progress] {
      cluster.coordinator().VisitJobs([&](const JobController& visited) {
        const_cast<JobController&>(visited).OnProgress(progress);
      });
    });
  }
  cluster_.Run();
  const v1::Job described = cluster_.Job(job);
  EXPECT_EQ(described.nodes(0).rows_out(), 20u);
  EXPECT_EQ(described.nodes(0).watermark_us(), 5);
}

TEST(CoordinatorWithoutWorkersTest, AJobWaitsWithAReasonUntilAWorkerComes) {
  FakeCluster cluster;
  const std::string job = cluster.Submit();
  EXPECT_EQ(cluster.StateOf(job), v1::JOB_STATE_CREATED);
  EXPECT_THAT(cluster.Job(job).last_error(), HasSubstr("no worker is registered"));
  cluster.Advance(absl::Minutes(5));
  EXPECT_EQ(cluster.StateOf(job), v1::JOB_STATE_CREATED);
  cluster.AddWorker("a");
  EXPECT_EQ(cluster.StateOf(job), v1::JOB_STATE_RUNNING);
  EXPECT_THAT(cluster.Job(job).last_error(), IsEmpty());
}

TEST(CoordinatorWithoutWorkersTest, AJobThatNeverRanCanBeStoppedAndCancelled) {
  FakeCluster cluster;
  v1::StopJobRequest stop;
  stop.set_job(cluster.Submit());
  EXPECT_TRUE(cluster.Call(&JobApi::StopJob, stop).ok());
  EXPECT_EQ(cluster.StateOf(stop.job()), v1::JOB_STATE_STOPPED);
  v1::CancelJobRequest cancel;
  cancel.set_job(cluster.Submit());
  EXPECT_TRUE(cluster.Call(&JobApi::CancelJob, cancel).ok());
  cluster.AddWorker("a");
  EXPECT_FALSE(cluster.worker("a").runs());
}

TEST(CoordinatorWithoutWorkersTest, MetadataOfANewerVersionIsRefusedByItsKey) {
  FakeCluster cluster;
  const std::string job = cluster.Submit();
  const MetadataEntry entry = cluster.store.Get(JobKey(job, "spec")).value();
  v1::JobSpec spec;
  ASSERT_TRUE(spec.ParseFromString(entry.value));
  spec.set_format(9);
  ASSERT_TRUE(
      cluster.store.CompareAndSwap(entry.key, entry.version, spec.SerializeAsString(), {}).ok());
  FakeEnv fake;
  Coordinator second(
      {.coordinator_id = "second", .checkpoint_uri = "file:///checkpoints"}, fake.env(),
      cluster.store, [](const v1::JobSource&) { return CompiledJob(); }, [] {});
  const absl::Status status = second.Start();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("format 9"));
}

}  // namespace
}  // namespace millrace
