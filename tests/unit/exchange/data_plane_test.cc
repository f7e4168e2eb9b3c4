#include "runtime/exchange/data_plane.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/base/mailbox.h"
#include "runtime/base/real_env.h"
#include "test_batches.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr absl::Duration kPatience = absl::Seconds(10);

// Two workers' data planes on loopback.
class DataPlaneTest : public ::testing::Test {
 protected:
  void SetUp() override {
    sending_ = *DataPlane::Start(env_.env().network, "127.0.0.1:0");
    receiving_ = *DataPlane::Start(env_.env().network, "127.0.0.1:0");
  }
  std::function<void()> Wake(Waker& waker) {
    return [&waker] { waker.Wake(); };
  }
  ChannelItem Receive(ChannelReceiver& receiver) {
    ChannelItem item;
    for (int i = 0; i < 100 && !receiver.Receive(item); ++i) received_.Wait(kPatience / 100);
    return item;
  }

  RealEnv env_{{}};
  // Before the planes, which may wake them until they are gone.
  Waker received_, credited_;
  std::unique_ptr<DataPlane> sending_, receiving_;
  const AttemptKey attempt_{.job_id = "job", .generation = 1, .attempt = 1};
};

TEST_F(DataPlaneTest, CarriesWhatTravelsInOrder) {
  auto receiver =
      receiving_->OpenReceiver(attempt_, {1, 0, 0}, NumberSchema(), {}, Wake(received_));
  auto sender =
      sending_->OpenSender(attempt_, {1, 0, 0}, receiving_->address(), {}, Wake(credited_));
  sender->Send({.kind = ChannelItem::Kind::kBatch, .batch = Numbers({4, 5})});
  sender->Send({.kind = ChannelItem::Kind::kWatermark, .watermark = EventTime{-9}});
  sender->Send({.kind = ChannelItem::Kind::kBarrier, .epoch = Epoch{12}});
  sender->Send({.kind = ChannelItem::Kind::kLatencyMark, .read_us = 17});
  const ChannelItem batch = Receive(*receiver);
  EXPECT_TRUE(SameRows(batch.batch, Numbers({4, 5})));
  EXPECT_EQ(Receive(*receiver).watermark, EventTime{-9});
  EXPECT_EQ(Receive(*receiver).epoch, Epoch{12});
  EXPECT_EQ(Receive(*receiver).read_us, 17);
}

TEST_F(DataPlaneTest, WaitsForCreditOfTheReceivingTask) {
  const ChannelLimits limits{.bytes_max = 200};
  auto receiver =
      receiving_->OpenReceiver(attempt_, {1, 0, 0}, NumberSchema(), limits, Wake(received_));
  auto sender =
      sending_->OpenSender(attempt_, {1, 0, 0}, receiving_->address(), limits, Wake(credited_));
  int64_t sent = 0;
  while (sender->HasCredit()) {
    sender->Send({.kind = ChannelItem::Kind::kBatch, .batch = Numbers({sent++})});
  }
  EXPECT_LT(sent, 40);
  for (int64_t i = 0; i < sent; ++i) {
    EXPECT_THAT(ValuesOf(Receive(*receiver).batch), ElementsAre(i));
  }
  for (int i = 0; i < 100 && !sender->HasCredit(); ++i) credited_.Wait(kPatience / 100);
  EXPECT_TRUE(sender->HasCredit());
}

TEST_F(DataPlaneTest, ABarrierCanBeTakenThoughNoRowIsCredited) {
  const ChannelLimits limits{.bytes_max = 1};
  auto receiver =
      receiving_->OpenReceiver(attempt_, {1, 0, 0}, NumberSchema(), limits, Wake(received_));
  auto sender =
      sending_->OpenSender(attempt_, {1, 0, 0}, receiving_->address(), limits, Wake(credited_));
  sender->Send({.kind = ChannelItem::Kind::kBatch, .batch = Numbers({1})});
  sender->Send({.kind = ChannelItem::Kind::kBarrier, .epoch = Epoch{12}});
  ChannelItem batch, barrier;
  for (int i = 0; i < 100 && !receiver->Take(batch); ++i) received_.Wait(kPatience / 100);
  for (int i = 0; i < 100 && !receiver->Take(barrier); ++i) received_.Wait(kPatience / 100);
  EXPECT_EQ(barrier.epoch, Epoch{12});
  EXPECT_FALSE(sender->HasCredit());
  receiver->GiveCredit(batch.batch.byte_size());
  for (int i = 0; i < 100 && !sender->HasCredit(); ++i) credited_.Wait(kPatience / 100);
  EXPECT_TRUE(sender->HasCredit());
}

TEST_F(DataPlaneTest, TellsTheSenderWhenTheAttemptIsNotThere) {
  auto sender =
      sending_->OpenSender(attempt_, {1, 0, 0}, receiving_->address(), {}, Wake(credited_));
  for (int i = 0; i < 100 && sender->status().ok(); ++i) credited_.Wait(kPatience / 100);
  EXPECT_EQ(sender->status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(sender->status().message()), HasSubstr(receiving_->address()));
}

TEST_F(DataPlaneTest, TellsTheReceiverWhenTheSenderIsGone) {
  auto receiver =
      receiving_->OpenReceiver(attempt_, {1, 0, 0}, NumberSchema(), {}, Wake(received_));
  auto sender =
      sending_->OpenSender(attempt_, {1, 0, 0}, receiving_->address(), {}, Wake(credited_));
  sender->Send({.kind = ChannelItem::Kind::kBatch, .batch = Numbers({1})});
  EXPECT_THAT(ValuesOf(Receive(*receiver).batch), ElementsAre(1));
  sending_ = nullptr;
  for (int i = 0; i < 100 && receiver->status().ok(); ++i) received_.Wait(kPatience / 100);
  EXPECT_EQ(receiver->status().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace millrace
