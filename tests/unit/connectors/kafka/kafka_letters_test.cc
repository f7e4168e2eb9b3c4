#include "operators/connectors/kafka/kafka_letters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "operators/connectors/kafka/letter_queue.h"
#include "runtime/task/dead_letters.h"

namespace millrace {
namespace {

using testing::Contains;
using testing::Pair;

using Headers = std::vector<std::pair<std::string, std::string>>;

Headers HeadersOf(const KafkaFrame& frame) {
  Headers headers;
  for (const KafkaHeader& header : frame.headers) {
    headers.emplace_back(header.name, header.value.value_or("NULL"));
  }
  return headers;
}

Batch Letters(const std::vector<DeadLetter>& letters) {
  BatchBuilder builder(DeadLetterSchema());
  for (const DeadLetter& letter : letters) AppendDeadLetter(letter, builder);
  return builder.Finish();
}

DeadLetter OfRecord(std::string_view value) {
  return {.uid = "clicks",
          .time_us = 1'767'225'600'000'000,
          .code = "MR3101",
          .error = "not JSON",
          .origin =
              RowOrigin{.source = "in", .partition = 3, .offset = 17, .key = "k", .value = value}};
}

KafkaLetterWriter Writer(size_t bytes_max = 1'000'000) {
  return *KafkaLetterWriter::Make(*DeadLetterSchema(), "job-1", 2, bytes_max);
}

TEST(KafkaLettersTest, ARecordThatFailedKeepsItsBytesAndTellsTheRestByTheNamesOfConnect) {
  KafkaLetterWriter writer = Writer();
  const Batch batch = Letters({OfRecord(std::string_view("\xff\0{", 3))});
  const KafkaFrame frame = writer.FrameOf(batch, 0);
  EXPECT_EQ(frame.key, "k");
  EXPECT_EQ(frame.value, std::string_view("\xff\0{", 3));
  EXPECT_EQ(HeadersOf(frame), (Headers{{"__connect.errors.topic", "in"},
                                       {"__connect.errors.partition", "3"},
                                       {"__connect.errors.offset", "17"},
                                       {"__connect.errors.connector.name", "job-1"},
                                       {"__connect.errors.task.id", "2"},
                                       {"__connect.errors.stage", "VALUE_CONVERTER"},
                                       {"__connect.errors.class.name", "clicks"},
                                       {"__connect.errors.exception.class.name", "MR3101"},
                                       {"__connect.errors.exception.message", "not JSON"},
                                       {"__millrace.errors.time", "2026-01-01T00:00:00.000Z"}}));
  const auto letter = ReadKafkaLetter(frame.headers);
  ASSERT_TRUE(letter);
  EXPECT_TRUE(letter->has_original());
  EXPECT_EQ(letter->offset, 17);
  EXPECT_EQ(letter->uid, "clicks");
}

TEST(KafkaLettersTest, ARowWithoutARecordSaysWhichColumnsItHas) {
  KafkaLetterWriter writer = Writer();
  const Batch batch = Letters({{.uid = "sums",
                                .code = "MR4005",
                                .error = "out of range",
                                .row = R"({"a":1,"b":null})",
                                .columns = "a, b"}});
  const KafkaFrame frame = writer.FrameOf(batch, 0);
  EXPECT_EQ(frame.key, std::nullopt);
  EXPECT_EQ(frame.value, R"({"a":1,"b":null})");
  EXPECT_THAT(HeadersOf(frame), Contains(Pair("__millrace.errors.columns", "a, b")));
  EXPECT_THAT(HeadersOf(frame), Contains(Pair("__connect.errors.stage", "TRANSFORMATION")));
  EXPECT_FALSE(ReadKafkaLetter(frame.headers)->has_original());
}

TEST(KafkaLettersTest, AValueThatIsTooLargeForARecordIsLeftOutAndSaid) {
  KafkaLetterWriter writer = Writer(/*bytes_max=*/10'000);
  const std::string fits(8000, 'x'), large(9999, 'x');
  const Batch batch = Letters({OfRecord(fits), OfRecord(large)});
  EXPECT_EQ(writer.FrameOf(batch, 0).value, fits);
  const KafkaFrame frame = writer.FrameOf(batch, 1);
  EXPECT_EQ(frame.value, std::nullopt);
  EXPECT_THAT(HeadersOf(frame), Contains(Pair("__millrace.errors.value.bytes", "9999")));
  EXPECT_THAT(HeadersOf(frame), Contains(Pair("__connect.errors.offset", "17")));
  EXPECT_FALSE(ReadKafkaLetter(frame.headers)->has_original());
}

TEST(KafkaLettersTest, OtherColumnsAreRefused) {
  const auto writer = KafkaLetterWriter::Make(
      *Schema::Make({{.id = 1, .name = "uid", .type = TypeKind::kString}}), "job", 0, 1000);
  EXPECT_EQ(writer.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(KafkaLettersTest, LettersOfKafkaConnectAreLettersToo) {
  const std::vector<KafkaHeader> headers = {{"other", "x"},
                                            {"__connect.errors.topic", "orders"},
                                            {"__connect.errors.partition", "1"},
                                            {"__connect.errors.offset", "many"}};
  const auto letter = ReadKafkaLetter(headers);
  ASSERT_TRUE(letter);
  EXPECT_EQ(letter->topic, "orders");
  EXPECT_EQ(letter->partition, 1);
  EXPECT_EQ(letter->offset, std::nullopt);
  EXPECT_FALSE(ReadKafkaLetter(std::span(headers).first(1)));
}

TEST(LetterQueueTest, ProgressSurvivesEncodingAndNothingElseIsProgress) {
  const ReplayProgress progress = {.selection = 7, .replayed = 12, .next = {{0, 5}, {3, 1 << 20}}};
  const std::string bytes = EncodeReplayProgress(progress);
  EXPECT_EQ(*DecodeReplayProgress(bytes), progress);
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(DecodeReplayProgress(bytes.substr(0, size)).ok()) << size;
  }
  EXPECT_FALSE(DecodeReplayProgress(bytes + "x").ok());
  std::string newer = bytes;
  newer[1] = 9;
  EXPECT_EQ(DecodeReplayProgress(newer).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(LetterQueueTest, OffsetsAreReadAndEveryOtherTextIsRefused) {
  const auto places = LetterSelection::ParseOffsets("0:12,3:7,0:15");
  ASSERT_TRUE(places.ok());
  EXPECT_EQ(*places, (std::map<int32_t, std::set<int64_t>>{{0, {12, 15}}, {3, {7}}}));
  for (const char* wrong : {"", "1", "1:", ":1", "a:1", "-1:2", "1:-2", "1:2,", "1:2:3"}) {
    EXPECT_FALSE(LetterSelection::ParseOffsets(wrong).ok()) << wrong;
  }
}

}  // namespace
}  // namespace millrace
