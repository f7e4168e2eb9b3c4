#include "operators/connectors/kafka/kafka_position.h"

#include <gtest/gtest.h>

#include <limits>

namespace millrace {
namespace {

TEST(KafkaPositionTest, PositionsSurviveEncoding) {
  for (const KafkaPosition& position :
       {KafkaPosition{}, KafkaPosition{.offset = 42}, KafkaPosition{.offset = 7, .end = 9},
        KafkaPosition{.offset = std::numeric_limits<int64_t>::max(), .end = 0},
        KafkaPosition{.offset = 7, .end = 9, .topic_id = {1, 2}},
        KafkaPosition{.offset = 7, .topic_id = {0, 0, 5}}}) {
    const auto decoded = DecodeKafkaPosition(EncodeKafkaPosition(position));
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    EXPECT_EQ(*decoded, position);
  }
}

TEST(KafkaPositionTest, PositionsOfCheckpointsBeforeThereWereTopicIdsAreRead) {
  const char old[] = "K\x01\x01\x07\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0";
  const std::string_view bytes(old, sizeof(old) - 1);
  EXPECT_EQ(*DecodeKafkaPosition(bytes), (KafkaPosition{.offset = 7, .end = 9}));
  EXPECT_EQ(EncodeKafkaPosition({.offset = 7, .end = 9}), bytes);
}

TEST(KafkaPositionTest, EveryTruncationAndTrailingByteIsAnError) {
  for (const KafkaTopicId id : {KafkaTopicId{}, KafkaTopicId{1, 2, 3}}) {
    const std::string good = EncodeKafkaPosition({.offset = 7, .end = 9, .topic_id = id});
    for (size_t size = 0; size < good.size(); ++size) {
      EXPECT_EQ(DecodeKafkaPosition(good.substr(0, size)).status().code(),
                absl::StatusCode::kDataLoss)
          << size;
    }
    EXPECT_FALSE(DecodeKafkaPosition(good + "x").ok());
  }
}

TEST(KafkaPositionTest, NewerVersionsAndNegativeOffsetsAreRefused) {
  std::string bytes = EncodeKafkaPosition({.offset = 7});
  bytes[1] = 3;
  EXPECT_EQ(DecodeKafkaPosition(bytes).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(DecodeKafkaPosition(EncodeKafkaPosition({.offset = -1})).ok());
  EXPECT_FALSE(DecodeKafkaPosition(EncodeKafkaPosition({.offset = 1, .end = -5})).ok());
}

TEST(KafkaPositionTest, SplitIdsNameTopicAndPartition) {
  EXPECT_EQ(KafkaSplitId({"bids", 3}), "bids/3");
  EXPECT_EQ(*ParseKafkaSplitId("bids/3"), (KafkaPartition{"bids", 3}));
  for (const char* bad : {"", "bids", "/3", "bids/", "bids/x", "bids/-1", "bids/99999999999"}) {
    EXPECT_FALSE(ParseKafkaSplitId(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace millrace
