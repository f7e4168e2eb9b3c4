#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "runtime/exchange/channel.h"
#include "test_batches.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;

TEST(LocalChannelTest, DeliversItemsInOrder) {
  LocalChannel channel = MakeLocalChannel(
      {}, [] {}, [] {});
  channel.sender->Send({.kind = ChannelItem::Kind::kBatch, .batch = Numbers({1, 2})});
  channel.sender->Send({.kind = ChannelItem::Kind::kWatermark, .watermark = EventTime{7}});
  channel.sender->Send({.kind = ChannelItem::Kind::kBarrier, .epoch = Epoch{3}});
  ChannelItem item;
  ASSERT_TRUE(channel.receiver->Receive(item));
  EXPECT_THAT(ValuesOf(item.batch), ElementsAre(1, 2));
  ASSERT_TRUE(channel.receiver->Receive(item));
  EXPECT_EQ(item.watermark, EventTime{7});
  ASSERT_TRUE(channel.receiver->Receive(item));
  EXPECT_EQ(item.epoch, Epoch{3});
  EXPECT_FALSE(channel.receiver->Receive(item));
}

TEST(LocalChannelTest, TakesCreditByBytesAndGivesItBack) {
  int woken = 0;
  LocalChannel channel = MakeLocalChannel(
      {.bytes_max = 100}, [&] { ++woken; }, [] {});
  EXPECT_TRUE(channel.sender->HasCredit());
  channel.sender->Send({.kind = ChannelItem::Kind::kBatch, .batch = Numbers({1, 2, 3, 4, 5, 6})});
  EXPECT_FALSE(channel.sender->HasCredit());
  ChannelItem item;
  ASSERT_TRUE(channel.receiver->Receive(item));
  EXPECT_EQ(woken, 1);
  EXPECT_TRUE(channel.sender->HasCredit());
}

TEST(LocalChannelTest, GivesNoCreditForWhatIsOnlyTaken) {
  int woken = 0;
  LocalChannel channel = MakeLocalChannel(
      {.bytes_max = 100}, [&] { ++woken; }, [] {});
  channel.sender->Send({.kind = ChannelItem::Kind::kBatch, .batch = Numbers({1, 2, 3, 4, 5, 6})});
  ChannelItem item;
  ASSERT_TRUE(channel.receiver->Take(item));
  EXPECT_FALSE(channel.sender->HasCredit());
  EXPECT_EQ(woken, 0);
  channel.receiver->GiveCredit(item.batch.byte_size());
  EXPECT_EQ(woken, 1);
  EXPECT_TRUE(channel.sender->HasCredit());
}

TEST(LocalChannelTest, KeepsWhatIsSentWithoutRoomInTheRing) {
  LocalChannel channel = MakeLocalChannel(
      {.bytes_max = 1 << 30}, [] {}, [] {});
  for (int64_t i = 0; i < 1000; ++i) {
    channel.sender->Send({.kind = ChannelItem::Kind::kBatch, .batch = Numbers({i})});
  }
  EXPECT_FALSE(channel.sender->HasCredit());
  ChannelItem item;
  for (int64_t i = 0; i < 1000; ++i) {
    if (!channel.receiver->Receive(item)) {
      (void)channel.sender->HasCredit();  // Moves what waits.
      ASSERT_TRUE(channel.receiver->Receive(item));
    }
    ASSERT_THAT(ValuesOf(item.batch), ElementsAre(i));
  }
}

TEST(LocalChannelTest, LosesNothingBetweenTwoThreads) {
  LocalChannel channel = MakeLocalChannel(
      {.bytes_max = 4096}, [] {}, [] {});
  constexpr int64_t kItems = 20'000;
  std::thread sender([&] {
    for (int64_t i = 0; i < kItems;) {
      if (!channel.sender->HasCredit()) {
        std::this_thread::yield();
        continue;
      }
      channel.sender->Send({.kind = ChannelItem::Kind::kBatch, .batch = Numbers({i++})});
    }
    while (!channel.sender->HasCredit()) std::this_thread::yield();
  });
  ChannelItem item;
  for (int64_t expected = 0; expected < kItems;) {
    if (!channel.receiver->Receive(item)) {
      std::this_thread::yield();
      continue;
    }
    ASSERT_THAT(ValuesOf(item.batch), ElementsAre(expected));
    ++expected;
  }
  sender.join();
}

}  // namespace
}  // namespace millrace
