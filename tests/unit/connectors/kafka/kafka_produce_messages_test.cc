#include "operators/connectors/kafka/native/produce_messages.h"

#include <gtest/gtest.h>

#include "tests/unit/connectors/kafka/hex.h"

namespace millrace {
namespace {

using namespace std::string_view_literals;

std::string Joined(const std::vector<RequestPiece>& pieces) {
  std::string all;
  for (const RequestPiece& piece : pieces) all += piece.bytes();
  return all;
}

TEST(KafkaProduceMessagesTest, AProduceSharesItsBatches) {
  const auto batch = std::make_shared<const std::string>("batch");
  const ProduceRequest request{
      .transactional_id = "x",
      .timeout_ms = 1000,
      .topics = {{.name = "t", .partitions = {{.partition = 3, .batch = batch}}}}};
  const auto pieces = EncodeProduceRequest(3, request);
  EXPECT_EQ(batch.use_count(), 3);
  EXPECT_EQ(Hex(Joined(pieces)),
            "0001"
            "78"
            "ffff"
            "000003e8"
            "00000001"
            "0001"
            "74"
            "00000001"
            "00000003"
            "00000005" +
                Hex("batch"));
  EXPECT_EQ(Hex(Joined(EncodeProduceRequest(9, request))),
            "02"
            "78"
            "ffff"
            "000003e8"
            "02"
            "02"
            "74"
            "02"
            "00000003"
            "06" +
                Hex("batch") + "000000");
  EXPECT_EQ(Hex(Joined(EncodeProduceRequest(3, {.timeout_ms = 1000}))),
            "ffff"
            "ffff"
            "000003e8"
            "00000000");
}

TEST(KafkaProduceMessagesTest, ProducedHasAnErrorPerPartition) {
  const std::string_view old(
      "\0\0\0\1"
      "\0\1t"
      "\0\0\0\1"
      "\0\0\0\3"
      "\0\x2d"
      "\0\0\0\0\0\0\0\1"
      "\0\0\0\0\0\0\0\2"
      "\0\0\0\0"sv);
  const auto three = DecodeProduce(3, old);
  ASSERT_TRUE(three.ok()) << three.status();
  ASSERT_EQ(three->topics.size(), 1u);
  EXPECT_EQ(three->topics[0].name, "t");
  EXPECT_EQ(three->topics[0].partitions[0].partition, 3);
  EXPECT_EQ(three->topics[0].partitions[0].error, 45);
  const std::string_view flexible(
      "\2"
      "\2t"
      "\2"
      "\0\0\0\3"
      "\0\x57"
      "\0\0\0\0\0\0\0\1"
      "\0\0\0\0\0\0\0\2"
      "\0\0\0\0\0\0\0\3"
      "\2"
      "\0\0\0\0"
      "\4why"
      "\0"
      "\0"
      "\0"
      "\0"
      "\0\0\0\0"
      "\0"sv);
  const auto nine = DecodeProduce(9, flexible);
  ASSERT_TRUE(nine.ok()) << nine.status();
  EXPECT_EQ(nine->topics[0].partitions[0].error, 87);
  EXPECT_EQ(nine->topics[0].partitions[0].message, "why");
  for (size_t size = 0; size < flexible.size(); ++size) {
    EXPECT_FALSE(DecodeProduce(9, flexible.substr(0, size)).ok()) << size;
  }
}

TEST(KafkaProduceMessagesTest, TheCoordinatorIsABroker) {
  EXPECT_EQ(Hex(EncodeFindCoordinator(2, "x")), "00017801");
  EXPECT_EQ(Hex(EncodeFindCoordinator(3, "x")), "02780100");
  const auto found = DecodeFindCoordinator(3,
                                           "\0\0\0\0"
                                           "\0\0"
                                           "\0"
                                           "\0\0\0\7"
                                           "\5host"
                                           "\0\0\0\11"
                                           "\0"sv);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->broker.id, 7);
  EXPECT_EQ(found->broker.host, "host");
  EXPECT_EQ(found->broker.port, 9);
}

TEST(KafkaProduceMessagesTest, AProducerTellsWhoItIsFromVersionThreeOn) {
  EXPECT_EQ(Hex(EncodeInitProducerId(1, "", 9, {.id = 5, .epoch = 3})), "ffff00000009");
  EXPECT_EQ(Hex(EncodeInitProducerId(4, "x", 9, {.id = 5, .epoch = 3})),
            "0278"
            "00000009"
            "0000000000000005"
            "0003"
            "00");
  const auto made = DecodeInitProducerId(1,
                                         "\0\0\0\0"
                                         "\0\0"
                                         "\0\0\0\0\0\0\0\5"
                                         "\0\3"sv);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->producer.id, 5);
  EXPECT_EQ(made->producer.epoch, 3);
}

TEST(KafkaProduceMessagesTest, TransactionsNamePartitionsAndEnd) {
  const KafkaProducerId producer{.id = 5, .epoch = 3};
  EXPECT_EQ(Hex(EncodeAddPartitionsToTxn(0, "x", producer, {{"t", {0, 2}}})),
            "0001"
            "78"
            "0000000000000005"
            "0003"
            "00000001"
            "0001"
            "74"
            "00000002"
            "00000000"
            "00000002");
  const auto added = DecodeAddPartitionsToTxn(3,
                                              "\0\0\0\0"
                                              "\2"
                                              "\2t"
                                              "\2"
                                              "\0\0\0\2"
                                              "\0\x33"
                                              "\0"
                                              "\0"
                                              "\0"sv);
  ASSERT_TRUE(added.ok()) << added.status();
  ASSERT_EQ(added->partitions.size(), 1u);
  EXPECT_EQ(added->partitions[0].topic, "t");
  EXPECT_EQ(added->partitions[0].partition, 2);
  EXPECT_EQ(added->partitions[0].error, 51);
  EXPECT_EQ(Hex(EncodeEndTxn(3, "x", producer)),
            "0278"
            "0000000000000005"
            "0003"
            "01"
            "00");
  EXPECT_EQ(*DecodeEndTxn(1, "\0\0\0\0\0\x2f"sv), 47);
  EXPECT_FALSE(DecodeEndTxn(3, "\0\0\0\0\0\0"sv).ok());
}

}  // namespace
}  // namespace millrace
