#include "runtime/exchange/router.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "test_batches.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;

// A router with `count` receivers.
struct Fixture {
  explicit Fixture(RouterOptions options, int count) {
    std::vector<std::unique_ptr<ChannelSender>> senders;
    for (int i = 0; i < count; ++i) {
      LocalChannel channel = MakeLocalChannel(
          {}, [] {}, [] {});
      senders.push_back(std::move(channel.sender));
      receivers.push_back(std::move(channel.receiver));
    }
    router = std::make_unique<Router>(std::move(options), std::move(senders));
  }
  std::vector<int64_t> Take(size_t receiver) {
    std::vector<int64_t> all;
    ChannelItem item;
    while (receivers[receiver]->Receive(item)) {
      for (int64_t value : ValuesOf(item.batch)) all.push_back(value);
    }
    return all;
  }
  std::vector<std::unique_ptr<ChannelReceiver>> receivers;
  std::unique_ptr<Router> router;
};

TEST(RouterTest, SendsEachKeyToTheOwnerOfItsKeyGroup) {
  Fixture fixture({.routing = Routing::kHash, .key_columns = {0}, .max_parallelism = 256}, 3);
  std::vector<int64_t> values;
  for (int64_t i = 0; i < 1000; ++i) values.push_back(i);
  const Batch batch = Numbers(values);
  fixture.router->SendBatch(batch);
  EncodedKeys keys;
  EncodeKeys(batch, std::vector<int>{0}, keys);
  size_t total = 0;
  for (uint32_t task = 0; task < 3; ++task) {
    const std::vector<int64_t> received = fixture.Take(task);
    EXPECT_GT(received.size(), 200u);
    total += received.size();
    for (int64_t value : received) {
      const uint32_t group = KeyGroupOf(keys.hashes[static_cast<size_t>(value)], 256);
      EXPECT_TRUE(KeyGroupsOfTask(task, 3, 256).Contains(group));
    }
  }
  EXPECT_EQ(total, 1000u);
}

TEST(RouterTest, RebalancesBatchesInTurnAndBroadcastsToAll) {
  Fixture turn({.routing = Routing::kRebalance}, 2);
  turn.router->SendBatch(Numbers({1}));
  turn.router->SendBatch(Numbers({2}));
  turn.router->SendBatch(Numbers({3}));
  EXPECT_THAT(turn.Take(0), ElementsAre(1, 3));
  EXPECT_THAT(turn.Take(1), ElementsAre(2));

  Fixture all({.routing = Routing::kBroadcast}, 2);
  all.router->SendBatch(Numbers({1, 2}));
  EXPECT_THAT(all.Take(0), ElementsAre(1, 2));
  EXPECT_THAT(all.Take(1), ElementsAre(1, 2));
}

TEST(KeyGroupsTest, RangesPartitionTheKeyGroupsForEveryParallelism) {
  for (uint32_t parallelism = 1; parallelism <= 256; ++parallelism) {
    for (uint32_t group = 0; group < 256; ++group) {
      const uint32_t task = TaskForKeyGroup(group, parallelism, 256);
      ASSERT_LT(task, parallelism);
      ASSERT_TRUE(KeyGroupsOfTask(task, parallelism, 256).Contains(group))
          << "parallelism=" << parallelism << " group=" << group;
    }
  }
}

TEST(RouterTest, TellsEveryTaskOfATruncatedTable) {
  Fixture fixture({.routing = Routing::kHash, .key_columns = {0}, .max_parallelism = 256}, 3);
  BatchBuilder builder(NumberSchema());
  for (int64_t n = 0; n < 100; ++n) {
    builder.column(0).AppendInt64(n);
    builder.column(1).AppendString("row");
    builder.SetKind(n == 50 ? RowKind::kTruncate : RowKind::kInsert);
  }
  fixture.router->SendBatch(builder.Finish());
  int64_t inserts = 0;
  for (size_t task = 0; task < 3; ++task) {
    ChannelItem item;
    int truncates = 0;
    while (fixture.receivers[task]->Receive(item)) {
      for (int64_t row = 0; row < item.batch.rows(); ++row) {
        const bool truncate = item.batch.kind(row) == RowKind::kTruncate;
        truncates += truncate ? 1 : 0;
        inserts += truncate ? 0 : 1;
      }
    }
    EXPECT_EQ(truncates, 1) << "task " << task;
  }
  EXPECT_EQ(inserts, 99);
}

}  // namespace
}  // namespace millrace
