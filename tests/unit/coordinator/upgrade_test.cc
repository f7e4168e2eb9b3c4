// Another graph for a job that runs: what is kept, what is refused, and the way back.
#include <gmock/gmock.h>

#include "coordinator/upgrade_plan.h"
#include "sql/state_layout.h"
#include "tests/unit/coordinator/fake_cluster.h"

namespace millrace {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using Change = v1::NodeChange;

// ---- The plan.

v1::JobGraph Windowed(uint64_t size_ms = 1000, const std::string& uid = "window") {
  v1::JobGraph graph = FakeCluster::Graph();
  v1::Schema& schema = *graph.mutable_nodes(0)->mutable_schema();
  v1::Field& key = *schema.add_fields();
  key.set_id(1);
  key.set_name("k");
  key.mutable_type()->set_kind(v1::Type::KIND_INT64);
  graph.mutable_nodes(1)->set_uid(uid);
  v1::Window& window = *graph.mutable_nodes(1)->mutable_window_aggregate()->mutable_window();
  window.set_kind(v1::Window::KIND_TUMBLE);
  window.set_size_ms(size_ms);
  graph.mutable_edges(0)->set_to(uid);
  graph.mutable_edges(1)->set_from(uid);
  return graph;
}

// As the tasks and the coordinator write it.
v1::Manifest CheckpointOf(const v1::JobGraph& graph, bool with_state = true) {
  v1::Manifest manifest;
  manifest.set_epoch(7);
  manifest.set_max_parallelism(256);
  v1::TaskSnapshot& task = *manifest.add_tasks();
  for (const v1::Node& node : graph.nodes()) {
    v1::NodeSnapshot& snapshot = *task.add_nodes();
    snapshot.set_uid(node.uid());
    snapshot.set_rows_in(5);
    if (node.has_source()) snapshot.add_splits()->set_split_id("s");
    if (node.has_window_aggregate() && with_state) snapshot.add_state()->set_bytes(100);
    if (node.has_sink()) snapshot.add_tokens()->set_uid(node.uid());
  }
  for (const v1::StateLayout& layout : StateLayoutsOf(graph)) *manifest.add_layouts() = layout;
  return manifest;
}

std::vector<Change::Verdict> Verdicts(const UpgradePlan& plan) {
  std::vector<Change::Verdict> verdicts;
  for (const Change& node : plan.nodes) verdicts.push_back(node.verdict());
  return verdicts;
}

TEST(UpgradePlanTest, TheSameGraphKeepsAll) {
  const UpgradePlan plan = PlanUpgrade(CheckpointOf(Windowed()), Windowed(), {});
  EXPECT_TRUE(plan.possible());
  EXPECT_TRUE(plan.status().ok());
  ASSERT_THAT(Verdicts(plan), ElementsAre(Change::VERDICT_KEPT, Change::VERDICT_KEPT));
  EXPECT_EQ(plan.nodes[1].uid(), "window");
  EXPECT_EQ(plan.nodes[1].state_bytes(), 100u);
}

TEST(UpgradePlanTest, StateThatMeansSomethingElseNeedsConsent) {
  const v1::Manifest checkpoint = CheckpointOf(Windowed());
  const UpgradePlan refused = PlanUpgrade(checkpoint, Windowed(2000), {});
  ASSERT_THAT(Verdicts(refused), ElementsAre(Change::VERDICT_KEPT, Change::VERDICT_REFUSED));
  EXPECT_THAT(refused.nodes[1].reason(), HasSubstr("1 s), and is tumble("));
  EXPECT_THAT(refused.nodes[1].hint(), HasSubstr("--drop-state window"));
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(GetDiagnostics(refused.status()), SizeIs(1));

  v1::StateConsent consent;
  consent.add_drop_state("window");
  const UpgradePlan plan = PlanUpgrade(checkpoint, Windowed(2000), consent);
  EXPECT_THAT(Verdicts(plan), ElementsAre(Change::VERDICT_KEPT, Change::VERDICT_REBUILT));
  EXPECT_THAT(plan.dropped, ElementsAre("window"));
}

TEST(UpgradePlanTest, NothingIsLostThatWasNotThere) {
  const UpgradePlan plan = PlanUpgrade(CheckpointOf(Windowed(), false), Windowed(2000), {});
  EXPECT_THAT(Verdicts(plan), ElementsAre(Change::VERDICT_KEPT, Change::VERDICT_REBUILT));
}

TEST(UpgradePlanTest, ANodeThatIsGoneNeedsConsentOrAnHeir) {
  const v1::Manifest checkpoint = CheckpointOf(Windowed());
  const UpgradePlan refused = PlanUpgrade(checkpoint, Windowed(1000, "other"), {});
  EXPECT_THAT(Verdicts(refused),
              ElementsAre(Change::VERDICT_KEPT, Change::VERDICT_NEW, Change::VERDICT_REFUSED));
  EXPECT_EQ(refused.nodes[2].uid(), "window");

  v1::StateConsent consent;
  consent.add_drop_state("window");
  EXPECT_THAT(Verdicts(PlanUpgrade(checkpoint, Windowed(1000, "other"), consent)),
              ElementsAre(Change::VERDICT_KEPT, Change::VERDICT_NEW, Change::VERDICT_DROPPED));

  v1::JobGraph renamed = Windowed(1000, "other");
  renamed.mutable_nodes(1)->add_former_uids("window");
  EXPECT_THAT(Verdicts(PlanUpgrade(checkpoint, renamed, {})),
              ElementsAre(Change::VERDICT_KEPT, Change::VERDICT_KEPT));
}

TEST(UpgradePlanTest, TwoHeirsAreOneTooMany) {
  v1::JobGraph graph = Windowed(1000, "window");
  v1::Node& second = *graph.add_nodes();
  second = graph.nodes(1);
  second.set_uid("second");
  second.add_former_uids("window");
  const UpgradePlan plan = PlanUpgrade(CheckpointOf(Windowed()), graph, {});
  EXPECT_FALSE(plan.possible());
  EXPECT_THAT(plan.nodes[2].reason(), HasSubstr("two nodes want the state of 'window'"));
}

TEST(UpgradePlanTest, ConsentToANodeThatIsNotThereIsAMistake) {
  v1::StateConsent consent;
  consent.add_drop_state("widnow");
  const UpgradePlan plan = PlanUpgrade(CheckpointOf(Windowed()), Windowed(), consent);
  EXPECT_FALSE(plan.possible());
  EXPECT_EQ(plan.nodes.back().uid(), "widnow");
}

TEST(UpgradePlanTest, KeyGroupsAreFrozen) {
  v1::JobGraph graph = Windowed();
  graph.set_max_parallelism(512);
  const UpgradePlan plan = PlanUpgrade(CheckpointOf(Windowed()), graph, {});
  EXPECT_FALSE(plan.possible());
  EXPECT_THAT(plan.status().message(), HasSubstr("max_parallelism is frozen"));
}

TEST(UpgradePlanTest, WhatIsGivenUpAndWhatIsCommittedIsNotRestored) {
  v1::Manifest checkpoint = CheckpointOf(Windowed());
  v1::StateConsent consent;
  consent.add_drop_state("window");
  ApplyPlan(PlanUpgrade(checkpoint, Windowed(2000), consent), checkpoint);
  std::vector<std::string> uids;
  for (const v1::NodeSnapshot& node : checkpoint.tasks(0).nodes()) {
    uids.push_back(node.uid());
    EXPECT_THAT(node.tokens(), IsEmpty());
  }
  EXPECT_THAT(uids, ElementsAre("in", "out"));
  EXPECT_THAT(checkpoint.layouts(), SizeIs(1));
}

// ---- The job.

class UpgradeTest : public testing::Test {
 protected:
  void SetUp() override {
    a_ = &cluster_.AddWorker("a");
    v1::NodeSnapshot state;
    state.set_uid("window");
    state.add_state()->set_bytes(100);
    a_->snapshot_node = state;
    job_ = cluster_.Submit(Windowed());
    cluster_.Advance(absl::Seconds(3));
    ASSERT_EQ(cluster_.StateOf(job_), v1::JOB_STATE_RUNNING);
  }

  v1::UpgradeJobRequest To(const v1::JobGraph& graph, bool drop = false) const {
    v1::UpgradeJobRequest request;
    request.set_job(job_);
    *request.mutable_source()->mutable_graph() = graph;
    if (drop) request.mutable_consent()->add_drop_state("window");
    return request;
  }
  uint64_t WindowMs() const {
    return a_->deploy().graph().nodes(1).window_aggregate().window().size_ms();
  }

  FakeCluster cluster_;
  FakeWorker* a_ = nullptr;
  std::string job_;
};

TEST_F(UpgradeTest, GoesOnFromALastEpochThatIsCommitted) {
  const auto answer = cluster_.Begin(&JobApi::UpgradeJob, To(Windowed(2000), /*drop=*/true));
  cluster_.Advance(absl::Seconds(3));
  ASSERT_TRUE(answer->has_value());
  ASSERT_TRUE((*answer)->ok()) << (*answer)->status();
  EXPECT_EQ(a_->deploy().restore_epoch(), (**answer)->epoch());
  EXPECT_EQ(WindowMs(), 2000u);
  EXPECT_THAT(a_->deploy().restore().tasks(0).nodes(), IsEmpty()) << "the state was given up";
  EXPECT_EQ(cluster_.StateOf(job_), v1::JOB_STATE_RUNNING);
  EXPECT_EQ(cluster_.Job(job_).restarts(), 0u);
  EXPECT_EQ(cluster_.Counters(job_).restarts_by_reason["upgrade"], 1u);
  // The next start restores what the new version has written.
  a_->Report({0, 0}, v1::TaskStateChanged::STATE_FAILED, absl::UnavailableError("crash"));
  cluster_.Advance(absl::Seconds(3));
  EXPECT_EQ(WindowMs(), 2000u);
  EXPECT_THAT(a_->deploy().restore().tasks(0).nodes(), SizeIs(1));
}

TEST_F(UpgradeTest, ADryRunChangesNothing) {
  v1::UpgradeJobRequest request = To(Windowed(2000));
  request.set_dry_run(true);
  const auto plan = cluster_.Call(&JobApi::UpgradeJob, request);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_FALSE(plan->possible());
  EXPECT_EQ(plan->nodes(1).verdict(), Change::VERDICT_REFUSED);
  cluster_.Advance(absl::Seconds(3));
  EXPECT_EQ(a_->deploys, 1);
}

TEST_F(UpgradeTest, ARefusalLeavesTheVersionThatRuns) {
  const auto answer = cluster_.Begin(&JobApi::UpgradeJob, To(Windowed(2000)));
  cluster_.Advance(absl::Seconds(10));
  ASSERT_TRUE(answer->has_value());
  EXPECT_EQ((*answer)->status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(GetDiagnostics((*answer)->status()), SizeIs(1));
  EXPECT_EQ(a_->deploys, 1) << "it never stopped";
  EXPECT_EQ(WindowMs(), 1000u);
}

// A node that is gone could not finish what it has to commit.
TEST_F(UpgradeTest, AFailureBeforeTheLastEpochIsAStartOfTheOldVersion) {
  a_->commits = false;
  const auto answer = cluster_.Begin(&JobApi::UpgradeJob, To(Windowed(2000), /*drop=*/true));
  cluster_.Advance(absl::Seconds(3));
  ASSERT_FALSE(answer->has_value()) << "the last epoch is not committed";
  a_->commits = true;
  a_->Report({0, 0}, v1::TaskStateChanged::STATE_FAILED, absl::UnavailableError("crash"));
  cluster_.Advance(absl::Seconds(5));
  ASSERT_TRUE(answer->has_value());
  EXPECT_TRUE((*answer)->ok()) << (*answer)->status();
  EXPECT_EQ(WindowMs(), 2000u);
  EXPECT_EQ(a_->deploys, 3) << "the old version, once more, the new one";
}

TEST_F(UpgradeTest, AVersionThatCannotRunIsTakenBack) {
  a_->becomes_ready = false;
  const auto answer = cluster_.Begin(&JobApi::UpgradeJob, To(Windowed(2000), /*drop=*/true));
  cluster_.Advance(absl::Seconds(3));
  ASSERT_EQ(WindowMs(), 2000u);
  a_->becomes_ready = true;
  a_->Report({0, 0}, v1::TaskStateChanged::STATE_FAILED,
             absl::InvalidArgumentError("no such table"));
  cluster_.Advance(absl::Seconds(5));
  ASSERT_TRUE(answer->has_value());
  EXPECT_THAT((*answer)->status().message(), HasSubstr("goes on with the version before"));
  EXPECT_THAT((*answer)->status().message(), HasSubstr("no such table"));
  EXPECT_EQ(cluster_.StateOf(job_), v1::JOB_STATE_RUNNING);
  EXPECT_EQ(WindowMs(), 1000u);
  EXPECT_THAT(a_->deploy().restore().tasks(0).nodes(), SizeIs(1)) << "with all its state";
}

// Its first epoch is recorded, and nobody knows it yet, when it fails for good: there is no way
// back from that epoch to a version that did not write it.
TEST_F(UpgradeTest, AVersionWhoseEpochIsRecordedIsNotTakenBack) {
  a_->acks_epochs = false;
  const auto answer = cluster_.Begin(&JobApi::UpgradeJob, To(Windowed(2000), /*drop=*/true));
  cluster_.Run();
  a_->AckEpoch(a_->triggers.back().epoch());
  cluster_.Advance(absl::Seconds(1));
  ASSERT_EQ(WindowMs(), 2000u);
  const uint64_t first = a_->triggers.back().epoch();
  bool broken = true;
  cluster_.store.SetFaults([&](MemoryMetadataStore::Call call, const std::string& key) {
    using Fault = MemoryMetadataStore::Fault;
    if (!broken) return Fault::kNone;
    const bool is_epoch =
        call == MemoryMetadataStore::Call::kCreate && key.ends_with(absl::StrCat(first));
    return is_epoch ? Fault::kUnknownApplied : Fault::kUnavailable;
  });
  a_->AckEpoch(first);
  cluster_.Advance(absl::Milliseconds(500));
  a_->Report({0, 0}, v1::TaskStateChanged::STATE_FAILED, absl::InvalidArgumentError("too late"));
  cluster_.Advance(absl::Seconds(1));
  broken = false;
  a_->acks_epochs = true;
  cluster_.Advance(absl::Seconds(30));
  EXPECT_EQ(cluster_.Job(job_).last_epoch(), first);
  EXPECT_EQ(cluster_.StateOf(job_), v1::JOB_STATE_FAILED);
  ASSERT_TRUE(answer->has_value());
  EXPECT_TRUE((*answer)->ok()) << "the upgrade itself was made";
}

TEST_F(UpgradeTest, ACoordinatorThatComesBackKnowsWhetherThereIsAWayBack) {
  a_->acks_epochs = false;
  (void)cluster_.Begin(&JobApi::UpgradeJob, To(Windowed(2000), /*drop=*/true));
  cluster_.Run();
  a_->AckEpoch(a_->triggers.back().epoch());
  cluster_.Advance(absl::Seconds(1));
  const uint64_t first = a_->triggers.back().epoch();
  // The epoch is recorded; that it confirms the upgrade is not written any more.
  cluster_.store.SetFaults([&](MemoryMetadataStore::Call, const std::string& key) {
    return key.ends_with("/state") ? MemoryMetadataStore::Fault::kUnavailable
                                   : MemoryMetadataStore::Fault::kNone;
  });
  a_->AckEpoch(first);
  cluster_.Run();
  cluster_.Crash();
  cluster_.store.SetFaults(nullptr);
  a_->Connect();
  cluster_.Run();
  ASSERT_EQ(cluster_.Job(job_).last_epoch(), first);
  a_->Report({0, 0}, v1::TaskStateChanged::STATE_FAILED, absl::InvalidArgumentError("too late"));
  cluster_.Advance(absl::Seconds(30));
  EXPECT_EQ(cluster_.StateOf(job_), v1::JOB_STATE_FAILED);
}

TEST_F(UpgradeTest, ACoordinatorThatComesBackGoesOnWithIt) {
  a_->acks_epochs = false;
  const auto answer = cluster_.Begin(&JobApi::UpgradeJob, To(Windowed(2000), /*drop=*/true));
  cluster_.Run();
  ASSERT_FALSE(answer->has_value());
  cluster_.Crash();
  a_->acks_epochs = true;
  a_->Connect();
  cluster_.Advance(absl::Seconds(10));
  EXPECT_EQ(cluster_.StateOf(job_), v1::JOB_STATE_RUNNING);
  EXPECT_EQ(WindowMs(), 2000u);
  cluster_.Crash();
  cluster_.Advance(absl::Seconds(10));
  a_->Connect();
  cluster_.Advance(absl::Seconds(10));
  EXPECT_EQ(WindowMs(), 2000u);
}

TEST_F(UpgradeTest, ARescaleKeepsTheVersion) {
  const auto upgraded = cluster_.Begin(&JobApi::UpgradeJob, To(Windowed(2000), /*drop=*/true));
  cluster_.Advance(absl::Seconds(3));
  ASSERT_TRUE(upgraded->has_value() && (*upgraded)->ok());
  v1::RescaleJobRequest request;
  request.set_job(job_);
  request.set_parallelism(3);
  const auto rescaled = cluster_.Begin(&JobApi::RescaleJob, request);
  cluster_.Advance(absl::Seconds(3));
  ASSERT_TRUE(rescaled->has_value() && (*rescaled)->ok());
  EXPECT_EQ(WindowMs(), 2000u);
  EXPECT_EQ(a_->deploy().tasks_size(), 6);
}

TEST_F(UpgradeTest, ASavepointIsReadWithTheSameCare) {
  v1::NodeSnapshot state;  // State without a file.
  state.set_uid("window");
  state.add_splits()->set_split_id("s");
  a_->snapshot_node = state;
  v1::CreateSavepointRequest request;
  request.set_job(job_);
  request.set_directory("/savepoints");
  const auto savepoint = cluster_.Call(&JobApi::CreateSavepoint, request);
  ASSERT_TRUE(savepoint.ok()) << savepoint.status();
  v1::SubmitJobRequest submit;
  *submit.mutable_job()->mutable_graph() = Windowed(2000);
  submit.set_savepoint(savepoint->savepoint());
  EXPECT_EQ(cluster_.Call(&JobApi::SubmitJob, submit).status().code(),
            absl::StatusCode::kFailedPrecondition);
  submit.mutable_consent()->add_drop_state("window");
  const auto submitted = cluster_.Call(&JobApi::SubmitJob, submit);
  ASSERT_TRUE(submitted.ok()) << submitted.status();
  cluster_.Advance(absl::Seconds(3));
  EXPECT_EQ(cluster_.StateOf(submitted->job_id()), v1::JOB_STATE_RUNNING);
  EXPECT_EQ(WindowMs(), 2000u);
}

}  // namespace
}  // namespace millrace
