#include "runtime/state/state_store.h"

#include "gmock/gmock.h"
#include "runtime/base/failpoint.h"
#include "runtime/checkpoint/segment_file.h"
#include "tests/unit/state/state_test_env.h"

namespace millrace {
namespace {

class StateStoreTest : public ::testing::Test {
 protected:
  ~StateStoreTest() override { Failpoints::DisarmAll(); }

  absl::StatusOr<std::unique_ptr<StateStore>> Open(std::vector<v1::Segment> restore = {}) {
    return OpenStateStore({.uid = "count/by key",
                           .key_groups = {0, 255},
                           .storage = *storage_,
                           .env = env_.env,
                           .budget = budget_,
                           .name_prefix = "a" + std::to_string(++attempt_),
                           .restore = std::move(restore)});
  }
  PaneTable& Panes(StateStore& store) {
    return *store.OpenPaneTable("panes", std::make_shared<SumCountLayout>()).value();
  }

  StateTestEnv env_;
  std::unique_ptr<CheckpointStorage> storage_ = OpenTestStorage(env_.disk);
  MemoryBudget budget_{1 << 20};
  int attempt_ = 0;
};

TEST_F(StateStoreTest, RefusesATableWithAnotherKindOrWidth) {
  auto store = Open().value();
  Panes(*store);
  EXPECT_EQ(store->OpenKeyedTable("panes").status().code(), absl::StatusCode::kInvalidArgument);
  const auto segments = [&] {
    EXPECT_TRUE(AddAll(Panes(*store), 1, {"a"}, 1).ok());
    return Checkpoint(*store, 1);
  }();
  auto restored = Open(segments).value();
  EXPECT_EQ(restored->OpenKeyedTable("panes").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(MergeAll(Panes(*restored), {1}, 10, 256), (MergedMap{{"a", {1, 1}}}));
}

TEST_F(StateStoreTest, DroppedPanesDoNotComeBack) {
  auto store = Open().value();
  PaneTable& panes = Panes(*store);
  ASSERT_TRUE(AddAll(panes, 1, {"a"}, 1).ok());
  ASSERT_TRUE(AddAll(panes, 2, {"a"}, 2).ok());
  ASSERT_TRUE(panes.DropPanesUpTo(1).ok());
  EXPECT_THAT(panes.Panes(), ::testing::ElementsAre(2));
  EXPECT_EQ(AddAll(panes, 1, {"a"}, 1).code(), absl::StatusCode::kFailedPrecondition);
  auto restored = Open(Checkpoint(*store, 1)).value();
  EXPECT_THAT(Panes(*restored).Panes(), ::testing::ElementsAre(2));
  EXPECT_EQ(AddAll(Panes(*restored), 1, {"a"}, 1).code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(StateStoreTest, AnEpochWithoutChangesWritesNothing) {
  auto store = Open().value();
  ASSERT_TRUE(AddAll(Panes(*store), 1, {"a"}, 1).ok());
  EXPECT_EQ(Checkpoint(*store, 1).size(), 1u);
  const size_t files = env_.disk.files();
  EXPECT_EQ(Checkpoint(*store, 2).size(), 1u);
  EXPECT_EQ(env_.disk.files(), files);
}

TEST_F(StateStoreTest, ScansAKeyGroupByPrefixInOrder) {
  auto store = Open().value();
  KeyedTable& table = *store->OpenKeyedTable("rows").value();
  for (const char* key : {"b2", "a", "b1", "c", "b"}) ASSERT_TRUE(table.Put(7, key, key).ok());
  ASSERT_TRUE(table.Put(8, "b0", "other").ok());
  std::vector<std::string> keys;
  ASSERT_TRUE(table
                  .Scan(7, "b",
                        [&](std::string_view key, std::string_view) {
                          keys.emplace_back(key);
                          return keys.size() < 2;
                        })
                  .ok());
  EXPECT_THAT(keys, ::testing::ElementsAre("b", "b1"));
}

TEST_F(StateStoreTest, NamesTheDamagedSegment) {
  auto store = Open().value();
  ASSERT_TRUE(AddAll(Panes(*store), 1, {"a", "b", "c"}, 1).ok());
  const std::vector<v1::Segment> segments = Checkpoint(*store, 1);
  std::string& bytes = *env_.disk.Bytes("/checkpoints/" + segments.at(0).name());
  bytes[bytes.size() / 2] ^= 0x10;
  const absl::Status status = Open(segments).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr(segments[0].name()));
}

// Whatever a segment with a right checksum holds, restoring it ends with a status.
TEST_F(StateStoreTest, RefusesASegmentWithMalformedRecords) {
  const std::vector<std::string> records = {"",
                                            "\x09",
                                            std::string("\x01short"),
                                            std::string("\x02\0\0\0\1", 5),
                                            std::string("\x03\xff\xff\xff\xff", 5),
                                            std::string("\x03\x06\0\0\0abcdef", 11)};
  for (size_t i = 0; i < records.size(); ++i) {
    SCOPED_TRACE(i);
    v1::Segment identity;
    identity.set_name("foreign" + std::to_string(i));
    identity.set_kind(v1::Segment::KIND_STATE_DELTA);
    identity.set_uid("u");
    identity.set_key_group_last(255);
    auto writer = SegmentWriter::Create(*storage_, identity).value();
    ASSERT_TRUE(writer->Append(records[i]).ok());
    const v1::Segment segment = writer->Publish().value();
    EXPECT_EQ(Open({segment}).status().code(), absl::StatusCode::kDataLoss);
  }
}

TEST_F(StateStoreTest, AFullDiskIsAnErrorAndTheNextWorkCatchesUp) {
  auto store = Open().value();
  ASSERT_TRUE(AddAll(Panes(*store), 1, {"a"}, 5).ok());
  env_.disk.bytes_left = 10;
  auto work = store->FreezeEpoch(Epoch{1}).value();
  EXPECT_EQ(std::move(work)().status().code(), absl::StatusCode::kResourceExhausted);
  store->AbandonEpoch(Epoch{1});
  env_.disk.bytes_left = 1 << 20;
  auto restored = Open(Checkpoint(*store, 2)).value();
  EXPECT_EQ(MergeAll(Panes(*restored), {1}, 10, 256), (MergedMap{{"a", {5, 1}}}));
}

TEST_F(StateStoreTest, AFullDiskDuringEvictionIsAnErrorToo) {
  auto store = Open().value();
  budget_.Charge(1 << 20);
  env_.disk.bytes_left = 0;
  absl::Status status;
  for (int i = 0; status.ok() && i < 100'000; ++i) {
    status = AddAll(Panes(*store), 1, {"key" + std::to_string(i)}, 1);
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  budget_.Charge(-(1 << 20));
}

TEST_F(StateStoreTest, EveryFailpointLeavesAStateThatTheNextEpochCompletes) {
  uint64_t epoch = 0;
  auto store = Open().value();
  for (const std::string point : {"state.freeze", "segment.before_sync", "segment.after_sync"}) {
    SCOPED_TRACE(point);
    ASSERT_TRUE(AddAll(Panes(*store), 1, {"a", point}, 1).ok());
    ASSERT_TRUE(Failpoints::Arm(point + "=error").ok());
    absl::StatusOr<SegmentWork> work = store->FreezeEpoch(Epoch{++epoch});
    const absl::Status status = work.ok() ? (*std::move(work))().status() : work.status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    EXPECT_EQ(Failpoints::Hits(point), 1);
    Failpoints::DisarmAll();
    store->AbandonEpoch(Epoch{epoch});
    // The process restarts after such an error; what is not durable is gone, the rest is intact.
    auto fresh = Open().value();
    ASSERT_TRUE(AddAll(Panes(*fresh), 1, {"a", point}, 1).ok());
    const auto segments = Checkpoint(*fresh, ++epoch);
    env_.disk.Crash();
    auto restored = Open(segments).value();
    EXPECT_EQ(MergeAll(Panes(*restored), {1}, 10, 256),
              (MergedMap{{"a", {1, 1}}, {point, {1, 1}}}));
    store = Open().value();
  }
}

TEST_F(StateStoreTest, MemoryStaysNearTheBudgetWithManyKeys) {
  auto store = Open().value();
  PaneTable& panes = Panes(*store);
  for (int i = 0; i < 2'000; ++i) {
    std::vector<std::string> keys;
    for (int k = 0; k < 100; ++k) keys.push_back("key-" + std::to_string((i * 100 + k) % 150'000));
    ASSERT_TRUE(AddAll(panes, 1, keys, 1).ok());
    ASSERT_LE(budget_.used(), (1 << 20) * 5 / 4);
  }
  ASSERT_GT(store->cold_bytes(), 0u);
  const MergedMap merged = MergeAll(panes, {1}, 1000, 256);
  ASSERT_EQ(merged.size(), 150'000u);
  int64_t rows = 0;
  for (const auto& [key, value] : merged) rows += value.second;
  EXPECT_EQ(rows, 200'000);
}

}  // namespace
}  // namespace millrace
