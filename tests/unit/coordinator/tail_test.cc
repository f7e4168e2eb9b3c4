// Rows of a job for those who look on.
#include <gmock/gmock.h>

#include "tests/unit/coordinator/fake_cluster.h"

namespace millrace {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class Reader : public TailWatcher {
 public:
  bool OnRows(const v1::TailNodeResponse& response, std::function<void()> taken) override {
    if (!listens) return false;
    for (const v1::TailedRow& row : response.rows().rows()) values.push_back(row.values(0));
    ++messages;
    if (taken != nullptr) untaken.push_back(std::move(taken));
    return true;
  }
  bool listening() const override { return listens; }
  void OnEnd(const absl::Status& status) override { end = status; }
  void Take() {
    for (const auto& taken : std::exchange(untaken, {})) taken();
  }

  bool listens = true;
  int messages = 0;
  std::vector<std::string> values;
  std::vector<std::function<void()>> untaken;
  std::optional<absl::Status> end;
};

class TailTest : public testing::Test {
 protected:
  void Start(const std::string& connector) {
    a_ = &cluster_.AddWorker("a");
    v1::JobGraph graph = FakeCluster::Graph();
    graph.mutable_nodes(2)->mutable_sink()->set_connector(connector);
    v1::SubmitJobRequest submit;
    *submit.mutable_job()->mutable_graph() = graph;
    const auto submitted = cluster_.Call(&JobApi::SubmitJob, submit);
    ASSERT_TRUE(submitted.ok()) << submitted.status();
    job_ = submitted->job_id();
    cluster_.Advance(absl::Seconds(1));
    ASSERT_EQ(cluster_.StateOf(job_), v1::JOB_STATE_RUNNING);
  }

  std::shared_ptr<Reader> Tail(const std::string& uid, uint32_t rate = 0) {
    auto reader = std::make_shared<Reader>();
    v1::TailNodeRequest request;
    request.set_job(job_);
    request.set_uid(uid);
    request.set_rows_per_second_max(rate);
    cluster_.coordinator().TailNode(request, reader);
    cluster_.Run();
    return reader;
  }

  FakeCluster cluster_;
  FakeWorker* a_ = nullptr;
  std::string job_;
};

TEST_F(TailTest, WorkersSendRowsWhileSomebodyLooks) {
  Start("print");
  EXPECT_TRUE(a_->tails.empty());
  const auto reader = Tail("window");
  ASSERT_EQ(a_->tails.size(), 1u);
  EXPECT_EQ(a_->tails[0].rows_per_second_max(), 100u);
  a_->SendRows("window", "1");
  a_->SendRows("in", "not asked for");
  cluster_.Run();
  EXPECT_THAT(reader->values, ElementsAre("1"));
  const auto curious = Tail("window", 5000);
  EXPECT_EQ(a_->tails.back().rows_per_second_max(), 1000u) << "the most there may be";
  curious->listens = false;
  cluster_.Advance(absl::Seconds(2));
  EXPECT_EQ(a_->tails.back().rows_per_second_max(), 100u);
  reader->listens = false;
  cluster_.Advance(absl::Seconds(2));
  EXPECT_EQ(a_->tails.back().rows_per_second_max(), 0u);
}

TEST_F(TailTest, NewTasksAreAskedToo) {
  Start("print");
  const auto reader = Tail("window");
  v1::RescaleJobRequest rescale;
  rescale.set_job(job_);
  rescale.set_parallelism(3);
  const auto answer = cluster_.Begin(&JobApi::RescaleJob, rescale);
  cluster_.Advance(absl::Seconds(3));
  ASSERT_TRUE(answer->has_value());
  ASSERT_EQ(a_->tails.size(), 2u);
  EXPECT_EQ(a_->tails[1].attempt().attempt(), 2u);
  a_->SendRows("window", "2");
  cluster_.Run();
  EXPECT_THAT(reader->values, ElementsAre("2"));
}

TEST_F(TailTest, TheEndOfTheJobIsTold) {
  Start("print");
  const auto reader = Tail("window");
  v1::CancelJobRequest cancel;
  cancel.set_job(job_);
  ASSERT_TRUE(cluster_.Call(&JobApi::CancelJob, cancel).ok());
  ASSERT_TRUE(reader->end.has_value());
  EXPECT_TRUE(reader->end->ok());
  EXPECT_EQ(Tail("window")->end->code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(TailTest, AFailureOfTheJobIsTold) {
  Start("print");
  const auto reader = Tail("window");
  a_->Report({0, 0}, FakeWorker::State::STATE_FAILED, absl::InvalidArgumentError("no such column"));
  cluster_.Run();
  ASSERT_TRUE(reader->end.has_value());
  EXPECT_EQ(reader->end->code(), absl::StatusCode::kAborted);
  EXPECT_THAT(reader->end->message(), HasSubstr("no such column"));
}

TEST_F(TailTest, AnUnknownNodeIsToldWhichThereAre) {
  Start("print");
  const auto reader = Tail("widow");
  EXPECT_EQ(reader->end->code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(reader->end->message(), HasSubstr("in, window, out"));
}

TEST_F(TailTest, ResultsWaitForTheirReader) {
  Start("collect");
  a_->SendRows("out", "1", /*number=*/1);
  cluster_.Run();
  EXPECT_TRUE(a_->rows_taken.empty());
  const auto reader = Tail("out");
  EXPECT_THAT(reader->values, ElementsAre("1"));
  EXPECT_TRUE(a_->rows_taken.empty()) << "it has no room yet";
  EXPECT_TRUE(a_->tails.empty()) << "no sample";
  reader->Take();
  cluster_.Run();
  EXPECT_THAT(a_->rows_taken, ElementsAre(1u));
  a_->SendRows("out", "2", 2);
  cluster_.Run();
  EXPECT_THAT(reader->values, ElementsAre("1", "2"));
}

TEST_F(TailTest, ASecondReaderOfResultsIsRefusedAndANewOneGetsWhatWasNotTaken) {
  Start("collect");
  const auto reader = Tail("out");
  a_->SendRows("out", "1", 1);
  cluster_.Run();
  EXPECT_EQ(Tail("out")->end->code(), absl::StatusCode::kFailedPrecondition);
  reader->listens = false;
  const auto next = Tail("out");
  EXPECT_THAT(next->values, ElementsAre("1"));
  next->Take();
  cluster_.Run();
  EXPECT_THAT(a_->rows_taken, ElementsAre(1u));
}

TEST_F(TailTest, RowsSentAgainAfterTheCoordinatorWasAwayAreOneMessage) {
  Start("collect");
  a_->SendRows("out", "1", 1);
  a_->SendRows("out", "1", 1);
  cluster_.Run();
  EXPECT_THAT(Tail("out")->values, ElementsAre("1"));
}

TEST_F(TailTest, AQueryThatNobodyReadsEnds) {
  Start("collect");
  const auto reader = Tail("out");
  reader->listens = false;
  a_->SendRows("out", "1", 1);
  cluster_.Advance(absl::Seconds(50));
  EXPECT_EQ(cluster_.StateOf(job_), v1::JOB_STATE_RUNNING);
  cluster_.Advance(absl::Seconds(20));
  EXPECT_EQ(cluster_.StateOf(job_), v1::JOB_STATE_FAILED);
  EXPECT_THAT(cluster_.Job(job_).last_error(), HasSubstr("nobody has read"));
}

}  // namespace
}  // namespace millrace
