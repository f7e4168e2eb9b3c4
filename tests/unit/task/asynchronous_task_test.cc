// A task whose operators have rows under way outside. The test is the server: it answers requests
// one by one, from "foreign threads", in the order that it likes. And its latency marks, and
// operators that give event time themselves.
#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <deque>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "runtime/checkpoint/outbox.h"
#include "runtime/checkpoint/storage.h"
#include "runtime/state/memory_budget.h"
#include "runtime/task/task.h"
#include "tests/unit/coordinator/fake_env.h"
#include "tests/unit/exchange/test_batches.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

struct Request {
  std::vector<int64_t> rows;
  std::function<void(absl::Status)> answer;
};

// Of one operator; outlives it, as a real server does.
struct Server {
  std::deque<Request> requests;
  bool answers_at_once = false;  // Before the call that asks returns.
  void Answer(size_t i, absl::Status status = absl::OkStatus()) {
    Request request = std::move(requests[i]);
    requests.erase(requests.begin() + static_cast<std::ptrdiff_t>(i));
    request.answer(status);
  }
};

// Gathers two rows per request; emits answers as they come; at most two requests at once.
class AskingOperator : public Operator {
 public:
  explicit AskingOperator(Server& server) : server_(server) {}

  absl::Status Open(OperatorContext& context) override {
    inbox_ = std::make_shared<Mailbox>(context.wake);
    return absl::OkStatus();
  }
  absl::Status Process(int, const Batch& batch, Emitter&) override {
    for (int64_t value : ValuesOf(batch)) {
      gathered_.push_back(value);
      order_.push_back({value, false});
      if (gathered_.size() == 2) Send();
    }
    return absl::OkStatus();
  }
  absl::StatusOr<Settled> Collect(bool all, Emitter& out) override {
    out_ = &out;
    inbox_->RunPosted();
    if (!status_.ok()) return status_;
    if (all && !gathered_.empty()) Send();
    if (server_.answers_at_once) {
      while (!server_.requests.empty()) server_.Answer(0);
      inbox_->RunPosted();
    }
    return Settled{.rows = settled_, .full = requests_ >= 2};
  }
  absl::StatusOr<Progress> OnWatermark(EventTime, Emitter&) override { return Progress::kDone; }

 private:
  void Send() {
    ++requests_;
    server_.requests.push_back(
        {gathered_, [this, rows = gathered_, inbox = inbox_](absl::Status status) {
           // `this` is for the letter alone.
           inbox->Post([this, rows, status] { OnAnswer(rows, status); });
         }});
    gathered_.clear();
  }
  void OnAnswer(const std::vector<int64_t>& rows, const absl::Status& status) {
    --requests_;
    if (!status.ok()) {
      status_ = status;
      return;
    }
    out_->Emit(Numbers(rows));
    for (auto& [value, done] : order_) {
      if (std::find(rows.begin(), rows.end(), value) != rows.end()) done = true;
    }
    while (!order_.empty() && order_.front().second) {
      order_.pop_front();
      ++settled_;
    }
  }

  Server& server_;
  std::shared_ptr<Mailbox> inbox_;
  Emitter* out_ = nullptr;
  std::vector<int64_t> gathered_;
  std::deque<std::pair<int64_t, bool>> order_;
  uint64_t settled_ = 0;
  int requests_ = 0;
  absl::Status status_;
};

// Gives event time: what the test says.
class ClockOperator : public Operator {
 public:
  explicit ClockOperator(const int64_t& now) : now_(now) {}
  absl::Status Process(int, const Batch& batch, Emitter& out) override {
    out.Emit(batch);
    return absl::OkStatus();
  }
  std::optional<EventTime> OwnWatermark() override { return EventTime{now_}; }

 private:
  const int64_t& now_;
};

// Commits nothing anywhere.
class FakeSink : public Sink {
 public:
  explicit FakeSink(bool visible_on_write) : visible_on_write_(visible_on_write) {}
  absl::Status Open(SinkContext& context) override {
    outbox_ = &context.outbox;
    return absl::OkStatus();
  }
  absl::Status Write(const Batch&) override { return absl::OkStatus(); }
  absl::StatusOr<v1::CommitToken> Prepare(Epoch epoch) override { return outbox_->Seal(epoch); }
  absl::Status Commit(const v1::CommitToken&) override { return absl::OkStatus(); }
  bool VisibleOnWrite() const override { return visible_on_write_; }

 private:
  const bool visible_on_write_;
  Outbox* outbox_ = nullptr;
};

class Nodes : public NodeFactory {
 public:
  explicit Nodes(std::map<std::string, Server>& servers) : servers_(servers) {}
  absl::StatusOr<std::unique_ptr<Operator>> MakeOperator(const v1::Node& node) const override {
    if (node.uid() == clock) return std::make_unique<ClockOperator>(now);
    return std::make_unique<AskingOperator>(servers_[node.uid()]);
  }
  absl::StatusOr<std::unique_ptr<Source>> MakeSource(const v1::Node&) const override {
    return absl::UnimplementedError("none");
  }
  absl::StatusOr<std::unique_ptr<SplitDiscovery>> MakeDiscovery(const v1::Node&,
                                                                Env&) const override {
    return absl::UnimplementedError("none");
  }
  absl::StatusOr<std::unique_ptr<Sink>> MakeSink(const v1::Node&) const override {
    return std::make_unique<FakeSink>(visible_on_write);
  }
  bool IsStateful(const v1::Node&) const override { return false; }
  bool IsBlocking(const v1::Node&) const override { return false; }
  bool visible_on_write = false;  // Of sinks.
  std::string clock;              // The node that gives event time.
  int64_t now = 0;

 private:
  std::map<std::string, Server>& servers_;
};

class FakeListener : public TaskListener {
 public:
  void OnExhausted(TaskId) override {}
  void OnFailed(TaskId, std::string_view uid, const absl::Status& status) override {
    failure = std::string(uid) + ": " + std::string(status.message());
  }
  void OnSnapshot(TaskId, Epoch epoch, v1::TaskSnapshot, EpochTimes) override {
    snapshots.push_back(epoch.number);
  }
  void OnCommitted(TaskId, Epoch) override {}
  std::string failure;
  std::vector<uint64_t> snapshots;
};

constexpr char kGraph[] = R"(
  format: 1 max_parallelism: 16
  nodes { uid: "in" source {} schema { %s } }
  nodes { uid: "a" filter {} schema { %s } }
  nodes { uid: "b" filter {} schema { %s } }
  nodes { uid: "out" sink {} schema { %s } }
  edges { from: "in" to: "a" forward {} }
  edges { from: "a" to: "b" forward {} }
  edges { from: "b" to: "out" forward {} }
)";
constexpr char kFields[] = R"(
  fields { id: 1 name: "n" type { kind: KIND_INT64 } }
  fields { id: 2 name: "s" type { kind: KIND_STRING } })";

// One task with one input and, unless it ends in a sink, one output; its chain is `uids`.
class AsynchronousTaskTest : public ::testing::Test {
 protected:
  void MakeTask(const std::vector<std::string>& uids) {
    ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(
        absl::StrReplaceAll(kGraph, {{"%s", kFields}}), &graph_));
    for (const std::string& uid : uids) chain_.add_uids(uid);
    chain_.set_parallelism(1);
    storage_ = *OpenCheckpointStorage("file:///checkpoints", {.disk = &env_.disk});
    const auto nothing = [] {};
    LocalChannel in = MakeLocalChannel({}, nothing, nothing);
    LocalChannel out = MakeLocalChannel({}, nothing, nothing);
    in_ = std::move(in.sender);
    out_ = std::move(out.receiver);
    std::vector<TaskInput> inputs;
    inputs.push_back({.input = 0, .receiver = std::move(in.receiver)});
    if (has_second_channel_) {
      LocalChannel second = MakeLocalChannel({}, nothing, nothing);
      second_in_ = std::move(second.sender);
      inputs.push_back({.input = 0, .receiver = std::move(second.receiver)});
    }
    task_ = Task::Make({.env = env_.env(),
                        .factory = nodes_,
                        .graph = graph_,
                        .chain = chain_,
                        .restore = restore_,
                        .layouts = layouts_,
                        .storage = *storage_,
                        .budget = budget_,
                        .listener = listener_,
                        .wake = [this] { ++wakes_; },
                        .key_groups = {0, 15}},
                       std::move(inputs));
    ASSERT_TRUE(task_->Open().ok());
    if (uids.back() == "out") return;
    std::vector<TaskOutput> outputs;
    std::vector<std::unique_ptr<ChannelSender>> senders;
    senders.push_back(std::move(out.sender));
    outputs.push_back({.uid = uids.back(),
                       .port = OutputPort::kMain,
                       .router = std::make_unique<Router>(RouterOptions{}, std::move(senders))});
    task_->Start(std::move(outputs));
  }

  void Rows(const std::vector<int64_t>& values) {
    in_->Send({.kind = ChannelItem::Kind::kBatch, .batch = Numbers(values)});
  }
  void Watermark(int64_t at) { SendWatermark(*in_, at); }
  void SecondWatermark(int64_t at) { SendWatermark(*second_in_, at); }
  void Idle() { in_->Send({.kind = ChannelItem::Kind::kIdle}); }
  void SecondIdle() { second_in_->Send({.kind = ChannelItem::Kind::kIdle}); }
  void Barrier(uint64_t epoch) { SendBarrier(*in_, epoch); }
  void SecondBarrier(uint64_t epoch) { SendBarrier(*second_in_, epoch); }
  void LatencyMark(int64_t read_us) {
    in_->Send({.kind = ChannelItem::Kind::kLatencyMark, .read_us = read_us});
  }
  // Runs the task until it has nothing to do, and says why; never longer than some steps.
  Task::Step Run() {
    for (int steps = 0; steps < 1000; ++steps) {
      const Task::Step step = task_->RunOnce();
      if (step != Task::Step::kProgress) return step;
    }
    ADD_FAILURE() << "the task does not come to rest";
    return Task::Step::kProgress;
  }
  // What came out: "1", "w5", "barrier 1", "idle".
  std::vector<std::string> Out() {
    std::vector<std::string> all;
    ChannelItem item;
    while (out_->Receive(item)) {
      switch (item.kind) {
        case ChannelItem::Kind::kBatch:
          for (int64_t value : ValuesOf(item.batch)) all.push_back(absl::StrCat(value));
          break;
        case ChannelItem::Kind::kWatermark:
          all.push_back(item.watermark == EventTime::Max() ? "end"
                                                           : absl::StrCat("w", item.watermark.us));
          break;
        case ChannelItem::Kind::kIdle:
          all.emplace_back("idle");
          break;
        case ChannelItem::Kind::kBarrier:
          all.push_back(absl::StrCat("barrier ", item.epoch.number));
          break;
        case ChannelItem::Kind::kLatencyMark:
          all.push_back(absl::StrCat("read at ", item.read_us));
          break;
      }
    }
    return all;
  }

  // How many latencies the sink has seen, and their sum.
  std::pair<uint64_t, double> Latencies() const {
    for (const auto& metric : task_->Views().back().counters->metrics.Read()) {
      if (metric.name != "millrace_end_to_end_latency_seconds") continue;
      uint64_t count = 0;
      for (uint64_t of_bucket : metric.counts) count += of_bucket;
      return {count, metric.number};
    }
    ADD_FAILURE() << "the sink has no latencies";
    return {};
  }

  static void SendWatermark(ChannelSender& to, int64_t at) {
    to.Send({.kind = ChannelItem::Kind::kWatermark, .watermark = EventTime{at}});
  }
  static void SendBarrier(ChannelSender& to, uint64_t epoch) {
    to.Send({.kind = ChannelItem::Kind::kBarrier, .epoch = Epoch{epoch}});
  }

  FakeEnv env_;
  std::map<std::string, Server> servers_;
  Nodes nodes_{servers_};
  FakeListener listener_;
  MemoryBudget budget_{1 << 20};
  v1::JobGraph graph_;
  v1::Chain chain_;
  v1::Manifest restore_;
  google::protobuf::RepeatedPtrField<v1::StateLayout> layouts_;
  std::unique_ptr<CheckpointStorage> storage_;
  std::shared_ptr<Task> task_;
  bool has_second_channel_ = false;
  std::unique_ptr<ChannelSender> in_, second_in_;
  std::unique_ptr<ChannelReceiver> out_;
  int wakes_ = 0;
};

TEST_F(AsynchronousTaskTest, EmitsAnswersWhenTheyComeAndIsWokenByThem) {
  MakeTask({"a"});
  Rows({1, 2});
  EXPECT_EQ(Run(), Task::Step::kIdle);
  EXPECT_THAT(Out(), IsEmpty());
  const int before = wakes_;
  servers_["a"].Answer(0);
  EXPECT_GT(wakes_, before);
  EXPECT_EQ(Run(), Task::Step::kIdle);
  EXPECT_THAT(Out(), ElementsAre("1", "2"));
}

TEST_F(AsynchronousTaskTest, HoldsAWatermarkUntilTheRowsBeforeItAreOutWhileLaterRowsComeIn) {
  MakeTask({"a"});
  Rows({1, 2});
  Watermark(10);
  Rows({3, 4});
  Watermark(20);
  Run();
  ASSERT_EQ(servers_["a"].requests.size(), 2u);
  servers_["a"].Answer(1);  // Later rows may pass the watermark; it passes no row.
  Run();
  EXPECT_THAT(Out(), ElementsAre("3", "4"));
  servers_["a"].Answer(0);
  Run();
  EXPECT_THAT(Out(), ElementsAre("1", "2", "w20"));
}

TEST_F(AsynchronousTaskTest, ReleasesEachWatermarkAsSoonAsItsOwnRowsAreOut) {
  MakeTask({"a"});
  Watermark(1);
  Rows({1, 2});
  Watermark(10);
  Rows({3, 4});
  Watermark(20);
  Run();
  EXPECT_THAT(Out(), ElementsAre("w1"));
  servers_["a"].Answer(0);
  Run();
  EXPECT_THAT(Out(), ElementsAre("1", "2", "w10"));
  servers_["a"].Answer(0);
  Run();
  EXPECT_THAT(Out(), ElementsAre("3", "4", "w20"));
}

TEST_F(AsynchronousTaskTest, BringsEverythingOutBeforeABarrier) {
  MakeTask({"a"});
  Rows({1, 2, 3});  // The third waits for a fourth.
  Watermark(10);
  Barrier(1);
  Rows({5, 6});
  EXPECT_EQ(Run(), Task::Step::kBlocked);
  // The row that waited was sent at once; nothing behind the barrier was taken.
  ASSERT_EQ(servers_["a"].requests.size(), 2u);
  EXPECT_THAT(servers_["a"].requests[1].rows, ElementsAre(3));
  servers_["a"].Answer(0);
  EXPECT_EQ(Run(), Task::Step::kBlocked);
  EXPECT_THAT(Out(), ElementsAre("1", "2"));
  servers_["a"].Answer(0);
  EXPECT_EQ(Run(), Task::Step::kIdle);
  EXPECT_THAT(Out(), ElementsAre("3", "w10", "barrier 1"));
  while (env_.executor.RunOne()) Run();
  EXPECT_THAT(listener_.snapshots, ElementsAre(1u));
  ASSERT_EQ(servers_["a"].requests.size(), 1u);
  EXPECT_THAT(servers_["a"].requests[0].rows, ElementsAre(5, 6));
}

TEST_F(AsynchronousTaskTest, ALatencyMarkWaitsForTheRowsBeforeIt) {
  MakeTask({"a", "b"});
  LatencyMark(5);
  Rows({1, 2});
  LatencyMark(7);
  LatencyMark(8);  // One that waits is enough.
  Run();
  EXPECT_THAT(Out(), ElementsAre("read at 5"));
  servers_["a"].Answer(0);
  Run();
  EXPECT_THAT(Out(), IsEmpty());  // The rows are under way at the next one.
  servers_["b"].Answer(0);
  Run();
  EXPECT_THAT(Out(), ElementsAre("1", "2", "read at 7"));
}

TEST_F(AsynchronousTaskTest, LatencyEndsWithTheCommitOfTheEpoch) {
  MakeTask({"out"});
  LatencyMark(absl::ToUnixMicros(env_.clock.Now()));
  Run();
  Barrier(1);
  Run();
  while (env_.executor.RunOne()) Run();
  LatencyMark(absl::ToUnixMicros(env_.clock.Now()));  // Of the next epoch.
  env_.clock.elapsed += absl::Seconds(3);
  Run();
  EXPECT_EQ(Latencies().first, 0u);
  task_->CompleteEpoch(Epoch{1});
  Run();
  while (env_.executor.RunOne()) Run();
  EXPECT_EQ(Latencies(), std::pair(uint64_t{1}, 3.0));
}

TEST_F(AsynchronousTaskTest, LatencyEndsWithTheWriteWhereThatIsVisible) {
  nodes_.visible_on_write = true;
  MakeTask({"out"});
  LatencyMark(absl::ToUnixMicros(env_.clock.Now() - absl::Seconds(2)));
  Run();
  EXPECT_EQ(Latencies(), std::pair(uint64_t{1}, 2.0));
}

TEST_F(AsynchronousTaskTest, TheEndOfTheInputBringsEverythingOut) {
  MakeTask({"a"});
  Rows({1});
  EXPECT_EQ(Run(), Task::Step::kIdle);
  EXPECT_THAT(servers_["a"].requests, IsEmpty());
  Watermark(EventTime::Max().us);
  Run();
  ASSERT_EQ(servers_["a"].requests.size(), 1u);
  EXPECT_THAT(Out(), IsEmpty());
  servers_["a"].Answer(0);
  Run();
  EXPECT_THAT(Out(), ElementsAre("1", "end"));
}

TEST_F(AsynchronousTaskTest, TakesNoInputWhileItIsFull) {
  MakeTask({"a"});
  for (int64_t i = 0; i < 10; i += 2) Rows({i, i + 1});
  EXPECT_EQ(Run(), Task::Step::kBlocked);
  EXPECT_EQ(servers_["a"].requests.size(), 2u);
  servers_["a"].Answer(0);
  EXPECT_EQ(Run(), Task::Step::kBlocked);
  EXPECT_EQ(servers_["a"].requests.size(), 2u);
  EXPECT_THAT(Out(), ElementsAre("0", "1"));
  while (!servers_["a"].requests.empty()) {
    servers_["a"].Answer(0);
    Run();
  }
  EXPECT_THAT(Out(), ElementsAre("2", "3", "4", "5", "6", "7", "8", "9"));
}

TEST_F(AsynchronousTaskTest, IsNotIdleForOthersWhileRowsAreUnderWay) {
  MakeTask({"a"});
  Rows({1, 2});
  Idle();
  Run();
  EXPECT_THAT(Out(), IsEmpty());
  servers_["a"].Answer(0);
  Run();
  EXPECT_THAT(Out(), ElementsAre("1", "2", "idle"));
}

// In whatever order inputs fall silent: nobody waits for them any more.
TEST_F(AsynchronousTaskTest, TheLastInputThatFallsSilentHoldsNoWatermarkBack) {
  has_second_channel_ = true;
  MakeTask({"a"});
  Watermark(10);
  Run();
  EXPECT_THAT(Out(), IsEmpty());
  Idle();
  Run();
  EXPECT_THAT(Out(), IsEmpty()) << "the second may bring rows of any time";
  SecondIdle();
  Run();
  EXPECT_THAT(Out(), ElementsAre("w10", "idle"));
}

TEST_F(AsynchronousTaskTest, AnInputThatHasEndedIsNotTheEndForOneThatIsSilent) {
  has_second_channel_ = true;
  MakeTask({"a"});
  Watermark(10);
  SecondWatermark(20);
  SecondWatermark(EventTime::Max().us);
  Idle();
  Run();
  EXPECT_THAT(Out(), ElementsAre("w10", "w20", "idle"));
  Watermark(30);
  Run();
  EXPECT_THAT(Out(), ElementsAre("w30"));
  Watermark(EventTime::Max().us);
  Run();
  EXPECT_THAT(Out(), ElementsAre("end"));
}

TEST_F(AsynchronousTaskTest, WhatIsUnderWayGoesBeforeTheWatermarkOfSilentInputs) {
  has_second_channel_ = true;
  MakeTask({"a"});
  Rows({1, 2});
  Watermark(10);
  Idle();
  SecondIdle();
  Run();
  EXPECT_THAT(Out(), IsEmpty());
  servers_["a"].Answer(0);
  Run();
  EXPECT_THAT(Out(), ElementsAre("1", "2", "w10", "idle"));
}

// Found by a seed of the simulator: a coordinator that ends between two triggers has begun an epoch
// at some sources only.
TEST_F(AsynchronousTaskTest, SkipsAnEpochWhoseBarrierALaterOneSupersedes) {
  has_second_channel_ = true;
  MakeTask({"a"});
  Barrier(7);
  Run();
  Rows({1, 2});
  Run();
  EXPECT_THAT(servers_["a"].requests, IsEmpty());  // Behind the barrier.
  SecondBarrier(8);
  Run();
  ASSERT_THAT(servers_["a"].requests, SizeIs(1));
  servers_["a"].Answer(0);
  Run();
  EXPECT_THAT(Out(), ElementsAre("1", "2"));
  Barrier(8);
  Run();
  EXPECT_THAT(Out(), ElementsAre("barrier 8"));
  Barrier(10);
  SecondBarrier(9);  // Begun earlier, arrives later.
  Run();
  EXPECT_THAT(Out(), IsEmpty());
  SecondBarrier(10);
  while (env_.executor.RunOne()) Run();  // The snapshot of epoch 8 first.
  EXPECT_THAT(Out(), ElementsAre("barrier 10"));
  EXPECT_THAT(listener_.snapshots, ElementsAre(8, 10));
  EXPECT_EQ(listener_.failure, "");
}

// Rows that come out while the barrier waits are progress, but not yet the cut.
TEST_F(AsynchronousTaskTest, ABarrierIsNotLostWhenAnswersComeWhileRowsAreBroughtOut) {
  servers_["a"].answers_at_once = true;
  MakeTask({"a"});
  Rows({1});
  Barrier(1);
  Run();
  EXPECT_THAT(Out(), ElementsAre("1", "barrier 1"));
}

TEST_F(AsynchronousTaskTest, AFailedAnswerFailsTheTask) {
  MakeTask({"a"});
  Rows({1, 2});
  Run();
  servers_["a"].Answer(0, absl::InvalidArgumentError("no such model"));
  Run();
  EXPECT_EQ(listener_.failure, "a: no such model");
  Rows({3, 4});
  EXPECT_EQ(Run(), Task::Step::kIdle);
  EXPECT_THAT(servers_["a"].requests, IsEmpty());
}

TEST_F(AsynchronousTaskTest, AnswersAfterTheStopReachNobody) {
  MakeTask({"a"});
  Rows({1, 2, 3, 4});
  Run();
  ASSERT_EQ(servers_["a"].requests.size(), 2u);
  task_->Stop();
  servers_["a"].Answer(0);
  EXPECT_EQ(Run(), Task::Step::kIdle);
  EXPECT_THAT(Out(), IsEmpty());
  task_.reset();
  servers_["a"].Answer(0);  // Address sanitizer: the operator is gone.
}

TEST_F(AsynchronousTaskTest, TwoInOneChainHoldTheWatermarkEachForItself) {
  MakeTask({"a", "b"});
  Rows({1, 2});
  Watermark(10);
  Rows({3, 4});
  Barrier(1);
  EXPECT_EQ(Run(), Task::Step::kBlocked);
  servers_["a"].Answer(0);  // 1 and 2, and the watermark behind them, go on to b.
  EXPECT_EQ(Run(), Task::Step::kBlocked);
  EXPECT_THAT(Out(), IsEmpty());
  servers_["a"].Answer(0);
  EXPECT_EQ(Run(), Task::Step::kBlocked);
  ASSERT_EQ(servers_["b"].requests.size(), 2u);
  servers_["b"].Answer(0);
  EXPECT_EQ(Run(), Task::Step::kBlocked);
  EXPECT_THAT(Out(), ElementsAre("1", "2", "w10"));
  servers_["b"].Answer(0);
  EXPECT_EQ(Run(), Task::Step::kIdle);
  EXPECT_THAT(Out(), ElementsAre("3", "4", "barrier 1"));
}

TEST_F(AsynchronousTaskTest, AClockGivesTheWatermarkInsteadOfTheInput) {
  nodes_.clock = "a";
  nodes_.now = 5;
  MakeTask({"a"});
  Rows({1});
  Watermark(100);
  Run();
  EXPECT_THAT(Out(), ElementsAre("w5", "1"));
  Run();
  EXPECT_THAT(Out(), IsEmpty());
  nodes_.now = 7;
  Run();
  EXPECT_THAT(Out(), ElementsAre("w7"));
  Barrier(1);
  Run();
  EXPECT_THAT(Out(), ElementsAre("barrier 1"));
  Watermark(EventTime::Max().us);
  Run();
  EXPECT_THAT(Out(), ElementsAre("end"));
  nodes_.now = 8;
  Run();
  EXPECT_THAT(Out(), IsEmpty());
}

TEST_F(AsynchronousTaskTest, AClockGoesOnWhileTheInputIsIdleOrUnderWay) {
  nodes_.clock = "b";
  nodes_.now = 3;
  MakeTask({"a", "b"});
  Rows({1, 2});
  Watermark(100);
  Idle();
  Run();
  EXPECT_THAT(Out(), ElementsAre("w3"));
  nodes_.now = 4;
  Run();
  EXPECT_THAT(Out(), ElementsAre("w4"));
  servers_["a"].Answer(0);
  Run();
  EXPECT_THAT(Out(), ElementsAre("1", "2"));
  Watermark(EventTime::Max().us);
  Run();
  EXPECT_THAT(Out(), ElementsAre("end"));
}

TEST_F(AsynchronousTaskTest, TheWatermarkOfAClockWaitsForRowsBehindIt) {
  nodes_.clock = "a";
  nodes_.now = 3;
  MakeTask({"a", "b"});
  Run();
  EXPECT_THAT(Out(), ElementsAre("w3"));
  Rows({1, 2});
  Run();
  nodes_.now = 4;
  Run();
  EXPECT_THAT(Out(), IsEmpty());
  servers_["b"].Answer(0);
  Run();
  EXPECT_THAT(Out(), ElementsAre("1", "2", "w4"));
}

}  // namespace
}  // namespace millrace
