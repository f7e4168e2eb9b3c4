#include "runtime/checkpoint/segment_outbox.h"

#include "gmock/gmock.h"
#include "millrace/v1/checkpoint.pb.h"
#include "tests/unit/checkpoint/memory_disk.h"

namespace millrace {
namespace {

class SegmentOutboxTest : public ::testing::Test {
 protected:
  std::vector<std::string> Read(Outbox& outbox, const v1::CommitToken& token) {
    std::vector<std::string> records;
    const absl::Status status = outbox.Read(token, [&](std::string_view record) {
      records.emplace_back(record);
      return absl::OkStatus();
    });
    EXPECT_TRUE(status.ok()) << status;
    return records;
  }

  MemoryDisk disk_;
  std::unique_ptr<CheckpointStorage> storage_ =
      OpenCheckpointStorage("file:///checkpoints", {.disk = &disk_}).value();
  SegmentOutbox outbox_{{.storage = *storage_, .uid = "sink", .slot = 3, .name_prefix = "g1-a1"}};
};

TEST_F(SegmentOutboxTest, OutputIsDurableOnceTheWorkHasRun) {
  ASSERT_TRUE(outbox_.Append("a").ok());
  ASSERT_TRUE(outbox_.Append("b").ok());
  const v1::CommitToken token = outbox_.Seal(Epoch{5}).value();
  EXPECT_EQ(token.uid(), "sink");
  EXPECT_EQ(token.slot(), 3u);
  EXPECT_EQ(token.epoch(), 5u);
  ASSERT_EQ(token.outbox_size(), 1);
  EXPECT_EQ(token.outbox(0).rows(), 2u);
  const auto nothing = [](std::string_view) { return absl::OkStatus(); };
  EXPECT_EQ(outbox_.Read(token, nothing).code(), absl::StatusCode::kDataLoss);
  const std::vector<v1::Segment> durable = outbox_.TakeWork()().value();
  ASSERT_EQ(durable.size(), 1u);
  EXPECT_EQ(durable[0].SerializeAsString(), token.outbox(0).SerializeAsString());
  disk_.Crash();
  EXPECT_THAT(Read(outbox_, token), ::testing::ElementsAre("a", "b"));
}

TEST_F(SegmentOutboxTest, AnEmptyEpochHasATokenWithoutSegments) {
  const v1::CommitToken token = outbox_.Seal(Epoch{1}).value();
  EXPECT_EQ(token.outbox_size(), 0);
  EXPECT_TRUE(outbox_.TakeWork()()->empty());
  EXPECT_TRUE(Read(outbox_, token).empty());
}

TEST_F(SegmentOutboxTest, WhatADroppedWorkHasNotDoneTheNextOneDoes) {
  ASSERT_TRUE(outbox_.Append("a").ok());
  const v1::CommitToken first = outbox_.Seal(Epoch{1}).value();
  { SegmentWork dropped = outbox_.TakeWork(); }
  ASSERT_TRUE(outbox_.Append("b").ok());
  const v1::CommitToken second = outbox_.Seal(Epoch{2}).value();
  EXPECT_EQ(outbox_.TakeWork()()->size(), 2u);
  EXPECT_TRUE(outbox_.TakeWork()()->empty());
  disk_.Crash();
  EXPECT_THAT(Read(outbox_, first), ::testing::ElementsAre("a"));
  EXPECT_THAT(Read(outbox_, second), ::testing::ElementsAre("b"));
}

TEST_F(SegmentOutboxTest, VerifiesAllSegmentsBeforeItGivesOutTheFirstRecord) {
  v1::CommitToken both;
  for (const char* record : {"a", "b"}) {
    ASSERT_TRUE(outbox_.Append(record).ok());
    *both.add_outbox() = outbox_.Seal(Epoch{1})->outbox(0);
  }
  ASSERT_TRUE(outbox_.TakeWork()().ok());
  EXPECT_THAT(Read(outbox_, both), ::testing::ElementsAre("a", "b"));
  std::string& bytes = *disk_.Bytes("/checkpoints/" + both.outbox(1).name());
  bytes[bytes.size() - 20] ^= 1;
  int records = 0;
  const absl::Status status = outbox_.Read(both, [&](std::string_view) {
    ++records;
    return absl::OkStatus();
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(records, 0);
}

TEST_F(SegmentOutboxTest, SaysThatTheDiskIsFull) {
  disk_.bytes_left = 0;
  EXPECT_EQ(outbox_.Append("a").code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace millrace
