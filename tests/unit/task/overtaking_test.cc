// Barriers that overtake rows: a task with two keyed channels whose output takes nothing, and the
// restore of what was in flight, at the same and at other parallelisms.
#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "runtime/base/failpoint.h"
#include "runtime/checkpoint/storage.h"
#include "runtime/columns/keys.h"
#include "runtime/state/memory_budget.h"
#include "runtime/task/task.h"
#include "tests/unit/coordinator/fake_env.h"
#include "tests/unit/exchange/test_batches.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAreArray;

class PassingOperator : public Operator {
 public:
  absl::Status Process(int, const Batch& batch, Emitter& out) override {
    out.Emit(batch);
    return absl::OkStatus();
  }
};

class Nodes : public NodeFactory {
 public:
  absl::StatusOr<std::unique_ptr<Operator>> MakeOperator(const v1::Node&) const override {
    return std::make_unique<PassingOperator>();
  }
  absl::StatusOr<std::unique_ptr<Source>> MakeSource(const v1::Node&) const override {
    return absl::UnimplementedError("none");
  }
  absl::StatusOr<std::unique_ptr<SplitDiscovery>> MakeDiscovery(const v1::Node&,
                                                                Env&) const override {
    return absl::UnimplementedError("none");
  }
  absl::StatusOr<std::unique_ptr<Sink>> MakeSink(const v1::Node&) const override {
    return absl::UnimplementedError("none");
  }
  bool IsStateful(const v1::Node&) const override { return false; }
  bool IsBlocking(const v1::Node&) const override { return false; }
};

class Listener : public TaskListener {
 public:
  void OnExhausted(TaskId) override {}
  void OnFailed(TaskId, std::string_view, const absl::Status& status) override {
    failure = std::string(status.message());
  }
  void OnSnapshot(TaskId, Epoch epoch, v1::TaskSnapshot snapshot, EpochTimes times) override {
    snapshots[epoch.number] = std::move(snapshot);
    align_ns = times.align_ns;
  }
  void OnCommitted(TaskId, Epoch) override {}
  std::string failure;
  std::map<uint64_t, v1::TaskSnapshot> snapshots;
  int64_t align_ns = 0;
};

constexpr char kGraph[] = R"(
  format: 1 max_parallelism: 16
  nodes { uid: "in" source {} schema { %s } }
  nodes { uid: "a" filter {} schema { %s } }
  nodes { uid: "b" filter {} schema { %s } }
  edges { from: "in" to: "a" hash { keys { ids: 1 } } }
  edges { from: "a" to: "b" hash { keys { ids: 1 } } }
)";
constexpr char kFields[] = R"(
  fields { id: 1 name: "n" type { kind: KIND_INT64 } }
  fields { id: 2 name: "s" type { kind: KIND_STRING } })";

constexpr absl::Duration kTimeout = absl::Seconds(1);
// One batch fills the output.
constexpr ChannelLimits kOneBatch{.bytes_max = 1};

// A task "a" with two channels in and one out.
struct Running {
  std::shared_ptr<Task> task;
  std::unique_ptr<ChannelSender> in[2];
  std::unique_ptr<ChannelReceiver> out;
  Listener listener;
  v1::Chain chain;
  absl::Status opened;
};

class OvertakingTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(
        absl::StrReplaceAll(kGraph, {{"%s", kFields}}), &graph_));
    storage_ = *OpenCheckpointStorage("file:///checkpoints", {.disk = &env_.disk});
  }

  std::unique_ptr<Running> Open(uint32_t index, uint32_t parallelism, ChannelLimits out_limits) {
    auto running = std::make_unique<Running>();
    running->chain.add_uids("a");
    running->chain.set_parallelism(parallelism);
    const auto nothing = [] {};
    std::vector<TaskInput> inputs;
    for (auto& in : running->in) {
      LocalChannel channel = MakeLocalChannel(in_limits_, nothing, nothing);
      in = std::move(channel.sender);
      inputs.push_back({.input = 0, .receiver = std::move(channel.receiver)});
      if (keyed_) inputs.back().key_columns = {0};
    }
    running->task = Task::Make({.env = env_.env(),
                                .factory = nodes_,
                                .graph = graph_,
                                .chain = running->chain,
                                .restore = restore_,
                                .layouts = layouts_,
                                .storage = *storage_,
                                .budget = budget_,
                                .listener = running->listener,
                                .wake = [this] { ++wakes_; },
                                .attempt = ++attempt_,
                                .id = {1, index},
                                .key_groups = KeyGroupsOfTask(index, parallelism, 16)},
                               std::move(inputs));
    running->opened = running->task->Open();
    LocalChannel out = MakeLocalChannel(out_limits, nothing, nothing);
    running->out = std::move(out.receiver);
    std::vector<std::unique_ptr<ChannelSender>> senders;
    senders.push_back(std::move(out.sender));
    std::vector<TaskOutput> outputs;
    outputs.push_back({.uid = "a",
                       .port = OutputPort::kMain,
                       .router = std::make_unique<Router>(RouterOptions{}, std::move(senders))});
    if (running->opened.ok()) running->task->Start(std::move(outputs));
    return running;
  }

  static void Rows(ChannelSender& to, const std::vector<int64_t>& values) {
    to.Send({.kind = ChannelItem::Kind::kBatch, .batch = Numbers(values)});
  }
  static void Watermark(ChannelSender& to, int64_t at) {
    to.Send({.kind = ChannelItem::Kind::kWatermark, .watermark = EventTime{at}});
  }
  static void Barrier(ChannelSender& to, uint64_t epoch) {
    to.Send({.kind = ChannelItem::Kind::kBarrier, .epoch = Epoch{epoch}});
  }
  static void Trigger(Running& running, uint64_t epoch, absl::Duration timeout = kTimeout) {
    running.task->TriggerEpoch(Epoch{epoch}, Task::AfterEpoch::kGoOn, timeout);
  }
  // Until there is nothing to do, for the task and the io threads.
  Task::Step Run(Running& running) {
    for (int steps = 0; steps < 10'000; ++steps) {
      const Task::Step step = running.task->RunOnce();
      if (step == Task::Step::kProgress || env_.executor.RunOne()) continue;
      return step;
    }
    ADD_FAILURE() << "the task does not come to rest";
    return Task::Step::kProgress;
  }
  void Wait(absl::Duration time) {
    const absl::Duration end = env_.clock.elapsed + time;
    while (env_.executor.NextTimer(end)) {
      while (env_.executor.RunOne()) continue;
    }
    env_.clock.elapsed = end;
  }
  // What is in the output now.
  static std::vector<std::string> TakeOut(Running& running) {
    std::vector<std::string> all;
    ChannelItem item;
    while (running.out->Receive(item)) {
      if (item.kind == ChannelItem::Kind::kBatch) {
        for (int64_t value : ValuesOf(item.batch)) all.push_back(absl::StrCat(value));
      } else if (item.kind == ChannelItem::Kind::kWatermark) {
        all.push_back(absl::StrCat("w", item.watermark.us));
      } else if (item.kind == ChannelItem::Kind::kBarrier) {
        all.push_back(absl::StrCat("barrier ", item.epoch.number));
      }
    }
    return all;
  }
  // All that comes out until the task rests.
  std::vector<std::string> Drain(Running& running) {
    std::vector<std::string> all;
    while (true) {
      const Task::Step step = Run(running);
      const std::vector<std::string> some = TakeOut(running);
      all.insert(all.end(), some.begin(), some.end());
      if (some.empty() && step != Task::Step::kBlocked) return all;
    }
  }
  static uint64_t RowsIn(Running& running) {
    return running.task->Views()[0].counters->rows_in.value();
  }
  void RestoreFrom(const std::vector<v1::TaskSnapshot>& snapshots) {
    restore_.Clear();
    restore_.set_epoch(1);
    for (const v1::TaskSnapshot& snapshot : snapshots) *restore_.add_tasks() = snapshot;
  }
  // A task whose epoch 1 has the rows 3 and 4 of one channel and 5 of the other in flight.
  std::unique_ptr<Running> WithRowsInFlight() {
    auto running = Open(0, 1, kOneBatch);
    Rows(*running->in[0], {1, 2});
    EXPECT_EQ(Run(*running), Task::Step::kBlocked);
    Rows(*running->in[0], {3});
    Rows(*running->in[0], {4});
    Rows(*running->in[1], {5});
    for (auto& in : running->in) Barrier(*in, 1);
    Trigger(*running, 1);
    EXPECT_EQ(Run(*running), Task::Step::kBlocked);
    EXPECT_THAT(running->listener.snapshots, IsEmpty());
    Wait(kTimeout);
    Run(*running);
    return running;
  }

  FakeEnv env_;
  Nodes nodes_;
  MemoryBudget budget_{1 << 20};
  v1::JobGraph graph_;
  v1::Manifest restore_;
  google::protobuf::RepeatedPtrField<v1::StateLayout> layouts_;
  std::unique_ptr<CheckpointStorage> storage_;
  ChannelLimits in_limits_;
  bool keyed_ = true;
  std::vector<std::string> own_;
  uint64_t attempt_ = 0;
  int wakes_ = 0;
};

TEST_F(OvertakingTest, CutsBeforeTheRowsThatWaitForAFullOutput) {
  auto running = WithRowsInFlight();
  ASSERT_THAT(running->listener.snapshots, SizeIs(1));
  const v1::NodeSnapshot& node = running->listener.snapshots[1].nodes(0);
  ASSERT_EQ(node.in_flight_size(), 1);
  EXPECT_EQ(node.in_flight(0).rows(), 3u);
  EXPECT_EQ(node.in_flight(0).segment().kind(), v1::Segment::KIND_IN_FLIGHT);
  EXPECT_EQ(node.rows_in(), 2u);
  EXPECT_EQ(running->listener.align_ns, absl::ToInt64Nanoseconds(kTimeout));
  // The rows themselves go on behind the barrier, in the order of their channel, once.
  Rows(*running->in[0], {6});
  const std::vector<std::string> out = Drain(*running);
  ASSERT_THAT(out, SizeIs(7));
  EXPECT_EQ(out[0], "1");
  EXPECT_EQ(out[1], "2");
  EXPECT_EQ(out[2], "barrier 1");
  EXPECT_THAT(out, UnorderedElementsAreArray({"1", "2", "barrier 1", "3", "4", "5", "6"}));
  EXPECT_LT(std::find(out.begin(), out.end(), "3"), std::find(out.begin(), out.end(), "4"));
  EXPECT_LT(std::find(out.begin(), out.end(), "4"), std::find(out.begin(), out.end(), "6"));
  EXPECT_EQ(RowsIn(*running), 6u);
  EXPECT_EQ(running->listener.failure, "");
}

TEST_F(OvertakingTest, StaysAlignedWithoutATimeout) {
  auto running = Open(0, 1, kOneBatch);
  Rows(*running->in[0], {1, 2});
  Run(*running);
  Rows(*running->in[0], {3});
  for (auto& in : running->in) Barrier(*in, 1);
  Trigger(*running, 1, absl::ZeroDuration());
  Wait(absl::Hours(1));
  EXPECT_EQ(Run(*running), Task::Step::kBlocked);
  EXPECT_THAT(running->listener.snapshots, IsEmpty());
  EXPECT_THAT(Drain(*running), ElementsAre("1", "2", "3", "barrier 1"));
  EXPECT_EQ(running->listener.snapshots[1].nodes(0).in_flight_size(), 0);
}

TEST_F(OvertakingTest, StaysAlignedOnEdgesThatAreNotKeyed) {
  keyed_ = false;
  auto running = Open(0, 1, kOneBatch);
  Rows(*running->in[0], {1, 2});
  Run(*running);
  Rows(*running->in[0], {3});
  for (auto& in : running->in) Barrier(*in, 1);
  Trigger(*running, 1);
  Wait(absl::Hours(1));
  Run(*running);
  EXPECT_THAT(running->listener.snapshots, IsEmpty());
  EXPECT_THAT(Drain(*running), ElementsAre("1", "2", "3", "barrier 1"));
  EXPECT_EQ(running->listener.snapshots[1].nodes(0).in_flight_size(), 0);
}

TEST_F(OvertakingTest, StaysAlignedWhereATruncateWaits) {
  auto running = Open(0, 1, kOneBatch);
  Rows(*running->in[0], {1, 2});
  Run(*running);
  Rows(*running->in[0], {3});
  Batch truncate = Numbers({0});
  truncate.set_kinds(Buffer::CopyOf(std::string(1, static_cast<char>(RowKind::kTruncate))));
  running->in[0]->Send({.kind = ChannelItem::Kind::kBatch, .batch = truncate});
  for (auto& in : running->in) Barrier(*in, 1);
  Trigger(*running, 1);
  Wait(kTimeout);
  Run(*running);
  EXPECT_THAT(running->listener.snapshots, IsEmpty());
  EXPECT_THAT(Drain(*running), ElementsAre("1", "2", "3", "0", "barrier 1"));
  EXPECT_EQ(running->listener.snapshots[1].nodes(0).in_flight_size(), 0);
  EXPECT_EQ(running->listener.snapshots[1].nodes(0).rows_in(), 4u);
}

// What is looked at ahead is not credited: the sender gets no further, however many epochs pass.
TEST_F(OvertakingTest, GivesNoCreditForRowsThatItHasNotProcessed) {
  in_limits_ = kOneBatch;
  auto running = Open(0, 1, kOneBatch);
  Rows(*running->in[0], {1});
  Run(*running);
  Rows(*running->in[0], {2});
  for (uint64_t epoch = 1; epoch <= 5; ++epoch) {
    for (auto& in : running->in) Barrier(*in, epoch);
    Trigger(*running, epoch);
    Wait(kTimeout);
    Run(*running);
    EXPECT_FALSE(running->in[0]->HasCredit());
    ASSERT_EQ(running->listener.snapshots.count(epoch), 1u);
    EXPECT_EQ(running->listener.snapshots[epoch].nodes(0).in_flight(0).rows(), 1u);
  }
  Drain(*running);
  EXPECT_TRUE(running->in[0]->HasCredit());
  EXPECT_EQ(RowsIn(*running), 2u);
}

// An epoch that its coordinator has given up: its barriers go with those of the next one.
TEST_F(OvertakingTest, OvertakesBarriersOfAnEpochThatWasAbandoned) {
  auto running = Open(0, 1, kOneBatch);
  Rows(*running->in[0], {1});
  Run(*running);
  Barrier(*running->in[0], 1);
  Rows(*running->in[0], {2});
  Rows(*running->in[1], {3});
  for (auto& in : running->in) Barrier(*in, 2);
  Trigger(*running, 1);
  Trigger(*running, 2);
  Wait(kTimeout);
  Run(*running);
  ASSERT_THAT(running->listener.snapshots, SizeIs(1));
  EXPECT_EQ(running->listener.snapshots[2].nodes(0).in_flight(0).rows(), 2u);
  EXPECT_THAT(Drain(*running), UnorderedElementsAreArray({"1", "2", "3", "barrier 2"}));
}

TEST_F(OvertakingTest, DeliversTheRowsOfARestoreFirstAtAnyParallelism) {
  auto running = WithRowsInFlight();
  RestoreFrom({running->listener.snapshots[1]});
  for (uint32_t parallelism : {1u, 2u, 3u}) {
    SCOPED_TRACE(parallelism);
    std::vector<std::string> restored;
    uint64_t rows_in = 0;
    for (uint32_t index = 0; index < parallelism; ++index) {
      auto part = Open(index, parallelism, {});
      ASSERT_TRUE(part->opened.ok()) << part->opened;
      Rows(*part->in[0], {100});
      Watermark(*part->in[0], 7);
      std::vector<std::string> out = Drain(*part);
      ASSERT_FALSE(out.empty());
      EXPECT_EQ(out.back(), "100");
      out.pop_back();
      const KeyGroupRange own = KeyGroupsOfTask(index, parallelism, 16);
      for (const std::string& row : out) {
        EncodedKeys keys;
        const int key[] = {0};
        EncodeKeys(Numbers({std::stoll(row)}), key, keys);
        EXPECT_TRUE(own.Contains(KeyGroupOf(keys.hashes[0], 16))) << row;
      }
      restored.insert(restored.end(), out.begin(), out.end());
      rows_in += RowsIn(*part) - 1;
    }
    EXPECT_THAT(restored, UnorderedElementsAreArray({"3", "4", "5"}));
    EXPECT_EQ(rows_in, 5u);  // With the two before the cut.
  }
}

TEST_F(OvertakingTest, TakesAnEpochBeforeTheRowsOfARestoreAreDelivered) {
  auto running = WithRowsInFlight();
  RestoreFrom({running->listener.snapshots[1]});
  auto again = Open(0, 1, kOneBatch);
  for (auto& in : again->in) Barrier(*in, 2);
  Trigger(*again, 2);
  Run(*again);  // One batch is delivered, and fills the output.
  Wait(kTimeout);
  Run(*again);
  ASSERT_THAT(again->listener.snapshots, SizeIs(1));
  const v1::NodeSnapshot& node = again->listener.snapshots[2].nodes(0);
  ASSERT_EQ(node.in_flight_size(), 1);
  EXPECT_EQ(node.in_flight(0).rows() + node.rows_in(), 5u);
  EXPECT_EQ(node.in_flight(0).rows(), 2u);
  RestoreFrom({again->listener.snapshots[2]});
  EXPECT_THAT(Drain(*Open(0, 1, {})), SizeIs(2));
}

// Two tasks stood at different watermarks: the rows of each find that of their task, so that none
// is late which was on time, nor on time which was late.
TEST_F(OvertakingTest, BringsTheWatermarkOfTheTaskWithTheRows) {
  std::vector<v1::TaskSnapshot> snapshots;
  for (uint32_t index : {0u, 1u}) {
    auto running = Open(index, 2, kOneBatch);
    for (auto& in : running->in) Watermark(*in, index == 0 ? 9 : 5);
    // A row of the task's own key groups.
    int64_t own = 0;
    for (;; ++own) {
      EncodedKeys keys;
      const int key[] = {0};
      EncodeKeys(Numbers({own}), key, keys);
      if (KeyGroupsOfTask(index, 2, 16).Contains(KeyGroupOf(keys.hashes[0], 16))) break;
    }
    own_.push_back(absl::StrCat(own));
    Run(*running);
    Rows(*running->in[0], {own});
    Run(*running);
    Rows(*running->in[0], {own});
    // Overtaken: not in the checkpoint.
    for (auto& in : running->in) Watermark(*in, 20);
    for (auto& in : running->in) Barrier(*in, 1);
    Trigger(*running, 1);
    Wait(kTimeout);
    Run(*running);
    ASSERT_THAT(running->listener.snapshots, SizeIs(1));
    snapshots.push_back(running->listener.snapshots[1]);
    EXPECT_EQ(snapshots.back().nodes(0).in_flight(0).watermark_us(), index == 0 ? 9 : 5);
  }
  RestoreFrom(snapshots);
  auto one = Open(0, 1, {});
  // Senders tell theirs when they start.
  for (auto& in : one->in) Watermark(*in, 20);
  EXPECT_THAT(Drain(*one), ElementsAre("w5", own_[1], "w9", own_[0], "w20"));
}

TEST_F(OvertakingTest, RefusesRowsOfOtherColumnsOrKeys) {
  auto running = WithRowsInFlight();
  RestoreFrom({running->listener.snapshots[1]});
  auto& node = *restore_.mutable_tasks(0)->mutable_nodes(0);
  node.mutable_in_flight(0)->mutable_inputs(0)->set_key_columns(0, 1);
  auto other = Open(0, 1, {});
  EXPECT_TRUE(absl::IsFailedPrecondition(other->opened)) << other->opened;
  EXPECT_THAT(std::string(other->opened.message()), HasSubstr("MR5302"));
}

TEST_F(OvertakingTest, RefusesASegmentWithOtherRowsThanTheManifestSays) {
  auto running = WithRowsInFlight();
  RestoreFrom({running->listener.snapshots[1]});
  restore_.mutable_tasks(0)->mutable_nodes(0)->mutable_in_flight(0)->set_rows(4);
  EXPECT_TRUE(absl::IsDataLoss(Open(0, 1, {})->opened));
}

TEST_F(OvertakingTest, FailsWhenTheRowsCannotBeWrittenOrRead) {
  ASSERT_TRUE(Failpoints::Arm("in_flight.before_write=error").ok());
  auto running = WithRowsInFlight();
  Failpoints::DisarmAll();
  EXPECT_THAT(running->listener.snapshots, IsEmpty());
  EXPECT_THAT(running->listener.failure, HasSubstr("in_flight.before_write"));

  running = WithRowsInFlight();
  RestoreFrom({running->listener.snapshots[1]});
  ASSERT_TRUE(Failpoints::Arm("in_flight.before_read=error").ok());
  EXPECT_TRUE(absl::IsUnavailable(Open(0, 1, {})->opened));
  Failpoints::DisarmAll();
}

}  // namespace
}  // namespace millrace
