#include "operators/connectors/kafka/kafka_marker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace millrace {
namespace {

const KafkaMarker kMarker = {.epoch = 12, .generation = 3, .count = 1000, .hash = 0xdeadbeef};
const KafkaCommitPayload kPayload = {
    .transactional_id = "millrace/job/sink/0", .topic = "hot", .count = 2, .hash = 7};

TEST(KafkaMarkerTest, KeysTellJobsSinksAndSlotsApart) {
  EXPECT_EQ(KafkaMarkerKey("job", "sink", 4), "job/sink/4");
}

TEST(KafkaMarkerTest, MarkersAndPayloadsSurviveEncoding) {
  EXPECT_EQ(*DecodeKafkaMarker(EncodeKafkaMarker(kMarker)), kMarker);
  EXPECT_EQ(*DecodeKafkaCommitPayload(EncodeKafkaCommitPayload(kPayload)), kPayload);
}

TEST(KafkaMarkerTest, EveryTruncationAndTrailingByteIsAnError) {
  const std::string marker = EncodeKafkaMarker(kMarker);
  for (size_t size = 0; size < marker.size(); ++size) {
    EXPECT_FALSE(DecodeKafkaMarker(marker.substr(0, size)).ok()) << size;
  }
  EXPECT_FALSE(DecodeKafkaMarker(marker + "x").ok());
  const std::string payload = EncodeKafkaCommitPayload(kPayload);
  for (size_t size = 0; size < payload.size(); ++size) {
    EXPECT_FALSE(DecodeKafkaCommitPayload(payload.substr(0, size)).ok()) << size;
  }
  EXPECT_FALSE(DecodeKafkaCommitPayload(payload + "x").ok());
}

TEST(KafkaMarkerTest, NewerVersionsAreRefusedByName) {
  std::string bytes = EncodeKafkaMarker(kMarker);
  bytes[1] = 9;
  EXPECT_EQ(DecodeKafkaMarker(bytes).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(KafkaMarkerTest, TokensWithHeadersAreRefusedByBuildsThatKnowNone) {
  KafkaCommitPayload payload = kPayload;
  EXPECT_EQ(EncodeKafkaCommitPayload(payload)[1], 1);
  payload.has_headers = true;
  const std::string bytes = EncodeKafkaCommitPayload(payload);
  EXPECT_EQ(bytes[1], 2);
  EXPECT_EQ(*DecodeKafkaCommitPayload(bytes), payload);
}

TEST(KafkaOutboxTest, HeadersSurviveBesideBlocksWithout) {
  KafkaOutboxWriter writer(/*with_headers=*/true);
  const std::vector<KafkaHeader> headers = {{"a", "1"}, {"a", ""}, {"none", std::nullopt}};
  writer.Add({.partition = 3, .key = "k", .value = "v", .headers = headers});
  writer.Add({.partition = 4, .key = std::nullopt, .value = std::nullopt});
  KafkaOutboxReader reader;
  std::vector<std::string> seen;
  const auto see = [&](const KafkaFrame& frame) {
    std::string text = std::to_string(frame.partition) + std::string(frame.key.value_or("-")) +
                       std::string(frame.value.value_or("-"));
    for (const KafkaHeader& header : frame.headers) {
      text += " " + std::string(header.name) + "=" + std::string(header.value.value_or("NULL"));
    }
    seen.push_back(text);
    return absl::OkStatus();
  };
  const std::string block(writer.TakeBlock());
  int whole = 0;  // Nothing, and the first frame.
  for (size_t size = 1; size < block.size(); ++size) {
    const auto ignore = [](const KafkaFrame&) { return absl::OkStatus(); };
    if (KafkaOutboxReader().Add(block.substr(0, size), ignore).ok()) ++whole;
  }
  EXPECT_EQ(whole, 2);
  ASSERT_TRUE(reader.Add(block, see).ok());
  KafkaOutboxTotals totals;
  ASSERT_TRUE(reader.Add(writer.TakeTrailer(totals), see).ok());
  EXPECT_TRUE(reader.Finish(totals).ok());
  KafkaOutboxWriter plain;
  plain.Add({.partition = 5, .key = "p", .value = "q"});
  EXPECT_TRUE(reader.Add(plain.TakeBlock(), see).ok());
  EXPECT_THAT(seen, testing::ElementsAre("3kv a=1 a= none=NULL", "4--", "5pq"));
}

struct Record {
  int32_t partition;
  std::optional<std::string> key;
  std::optional<std::string> value;
  bool operator==(const Record&) const = default;
};

// What a sink would append for one epoch.
std::vector<std::string> Epoch(KafkaOutboxWriter& writer, const std::vector<Record>& records,
                               KafkaOutboxTotals& totals) {
  std::vector<std::string> out;
  for (const Record& r : records) {
    writer.Add({.partition = r.partition, .key = r.key, .value = r.value});
    if (writer.block_bytes() > 20) out.emplace_back(writer.TakeBlock());
  }
  if (writer.block_bytes() > 0) out.emplace_back(writer.TakeBlock());
  out.push_back(writer.TakeTrailer(totals));
  return out;
}

absl::Status ReadAll(const std::vector<std::string>& outbox, const KafkaOutboxTotals& totals,
                     std::vector<Record>& records, KafkaOutboxTotals* all = nullptr) {
  KafkaOutboxReader reader;
  for (const std::string& record : outbox) {
    absl::Status status = reader.Add(record, [&](const KafkaFrame& f) {
      records.push_back(
          {f.partition, std::optional<std::string>(f.key), std::optional<std::string>(f.value)});
      return absl::OkStatus();
    });
    if (!status.ok()) return status;
  }
  if (all != nullptr) *all = reader.all();
  return reader.Finish(totals);
}

const std::vector<Record> kRecords = {{0, "k", "value 0"},
                                      {3, std::nullopt, "value 1"},
                                      {2147483647, "", ""},
                                      {1, "key", std::nullopt},
                                      {1, std::string("\0b", 2), std::string(300, 'x')}};

TEST(KafkaMarkerTest, FramesComeOutOfTheOutboxAsTheyWentIn) {
  KafkaOutboxWriter writer;
  KafkaOutboxTotals totals;
  const auto outbox = Epoch(writer, kRecords, totals);
  EXPECT_GT(outbox.size(), 2u);
  EXPECT_EQ(totals.count, kRecords.size());
  std::vector<Record> read;
  const absl::Status status = ReadAll(outbox, totals, read);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(read, kRecords);
  EXPECT_TRUE(writer.empty_epoch());
}

TEST(KafkaMarkerTest, AnAbandonedEpochInFrontIsReadToo) {
  KafkaOutboxWriter writer;
  KafkaOutboxTotals first, second, all;
  auto outbox = Epoch(writer, {kRecords[0]}, first);
  const auto more = Epoch(writer, {kRecords[1], kRecords[3]}, second);
  outbox.insert(outbox.end(), more.begin(), more.end());
  std::vector<Record> read;
  const absl::Status status = ReadAll(outbox, second, read, &all);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(all.count, 3u);
  EXPECT_EQ(read, (std::vector<Record>{kRecords[0], kRecords[1], kRecords[3]}));
}

TEST(KafkaMarkerTest, MissingBlocksTrailersAndForeignTokensAreDataLoss) {
  KafkaOutboxWriter writer;
  KafkaOutboxTotals totals;
  const auto outbox = Epoch(writer, kRecords, totals);
  std::vector<Record> read;
  for (size_t missing = 0; missing < outbox.size(); ++missing) {
    auto damaged = outbox;
    damaged.erase(damaged.begin() + static_cast<std::ptrdiff_t>(missing));
    EXPECT_EQ(ReadAll(damaged, totals, read).code(), absl::StatusCode::kDataLoss) << missing;
  }
  EXPECT_EQ(ReadAll(outbox, {totals.count, totals.hash + 1}, read).code(),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(ReadAll({"?"}, totals, read).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(ReadAll({""}, totals, read).code(), absl::StatusCode::kDataLoss);
}

TEST(KafkaMarkerTest, EveryFlippedBitOfABlockIsFound) {
  KafkaOutboxWriter writer;
  KafkaOutboxTotals totals;
  const auto outbox = Epoch(writer, {kRecords[0], kRecords[3]}, totals);
  for (size_t i = 0; i < outbox[0].size() * 8; ++i) {
    auto damaged = outbox;
    damaged[0][i / 8] = static_cast<char>(damaged[0][i / 8] ^ (1 << (i % 8)));
    std::vector<Record> read;
    EXPECT_FALSE(ReadAll(damaged, totals, read).ok()) << i;
  }
}

}  // namespace
}  // namespace millrace
