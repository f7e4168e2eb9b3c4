#include "runtime/checkpoint/local_copies.h"

#include "gmock/gmock.h"
#include "runtime/checkpoint/segment_file.h"
#include "runtime/checkpoint/segment_name.h"
#include "tests/unit/checkpoint/memory_disk.h"
#include "tests/unit/checkpoint/storage_conformance.h"

namespace millrace {
namespace {

constexpr char kUri[] = "file:///checkpoints/job";

// Storage on one disk, copies on another.
struct TwoDisks {
  MemoryDisk far;
  MemoryDisk near;
  LocalCopies copies{near, "/copies", 1 << 20};
  std::unique_ptr<CheckpointStorage> storage =
      copies.Wrap(kUri, OpenCheckpointStorage(kUri, {.disk = &far}).value());
};

INSTANTIATE_TEST_SUITE_P(Copied, StorageConformance,
                         ::testing::Values(StorageMaker{"copied", [] {
                                                          auto made = std::make_shared<TwoDisks>();
                                                          return std::shared_ptr<CheckpointStorage>(
                                                              made, made->storage.get());
                                                        }}));

class LocalCopiesTest : public ::testing::Test {
 protected:
  v1::Segment Write(uint64_t epoch, const std::string& record,
                    v1::Segment::Kind kind = v1::Segment::KIND_STATE_DELTA) {
    v1::Segment segment;
    segment.set_uid("sums");
    segment.set_kind(kind);
    segment.set_epoch(epoch);
    segment.set_key_group_last(127);
    segment.set_name(
        SegmentName({.uid = "sums", .prefix = "g1-a1-c0-t0"}, kind, Epoch{epoch}, sequence_++));
    auto writer = SegmentWriter::Create(*disks_.storage, segment).value();
    EXPECT_TRUE(writer->Append(record).ok());
    return writer->Publish().value();
  }
  std::string Read(const v1::Segment& segment) {
    std::string read;
    const absl::Status status = ReadSegment(*disks_.storage, segment, [&](std::string_view record) {
      read.append(record);
      return absl::OkStatus();
    });
    return status.ok() ? read : std::string(status.message());
  }
  std::vector<std::string> Copies() { return disks_.near.List("/copies").value(); }
  std::string& TheCopy() { return *disks_.near.Bytes("/copies/" + Copies().at(0)); }
  LocalCopies::Counters counters() const { return disks_.copies.counters(); }
  // Nothing but the copy can have answered.
  void RemoveFromStorage(const v1::Segment& segment) {
    EXPECT_TRUE(disks_.storage->Remove({segment.name()}).ok());
  }

  TwoDisks disks_;
  uint64_t sequence_ = 0;
};

TEST_F(LocalCopiesTest, ReadsWhatItWroteWithoutStorage) {
  const v1::Segment segment = Write(3, "rows");
  RemoveFromStorage(segment);
  EXPECT_EQ(Read(segment), "rows");
  EXPECT_EQ(counters().local_reads, 1u);
  EXPECT_EQ(counters().local_bytes, segment.bytes());
  EXPECT_EQ(counters().storage_reads, 0u);
  EXPECT_EQ(counters().kept_bytes, segment.bytes());
}

TEST_F(LocalCopiesTest, EveryDamagedByteIsFoundAndStorageRead) {
  const size_t bytes = Write(3, "rows").bytes();
  for (size_t at = 0; at < bytes; ++at) {
    disks_.copies.Retain(kUri, Epoch{9}, {});
    const v1::Segment segment = Write(3, "rows");
    TheCopy()[at] ^= 1;
    EXPECT_EQ(Read(segment), "rows") << at;
    EXPECT_EQ(counters().damaged, at + 1);
    EXPECT_EQ(counters().storage_reads, at + 1);
    EXPECT_THAT(Copies(), ::testing::IsEmpty());
    EXPECT_EQ(counters().kept_bytes, 0u);
  }
  EXPECT_EQ(counters().local_reads, 0u);
}

TEST_F(LocalCopiesTest, ShortLongAndMissingCopiesAreNotUsed) {
  for (const int bytes : {-1, 1}) {
    const v1::Segment segment = Write(3, "rows");
    TheCopy().resize(TheCopy().size() + static_cast<size_t>(bytes));
    EXPECT_EQ(Read(segment), "rows");
  }
  EXPECT_EQ(counters().damaged, 2u);
  const v1::Segment segment = Write(3, "rows");
  ASSERT_TRUE(disks_.near.Remove("/copies/" + Copies().at(0)).ok());
  EXPECT_EQ(Read(segment), "rows");
  EXPECT_EQ(counters().missing, 1u);
  EXPECT_EQ(counters().storage_reads, 3u);
  EXPECT_EQ(counters().local_reads, 0u);
}

TEST_F(LocalCopiesTest, AStaleCopyIsNotUsed) {
  const v1::Segment older = Write(3, "older");
  const std::string stale = TheCopy();
  disks_.copies.Retain(kUri, Epoch{3}, {});
  const v1::Segment newer = Write(4, "newer");
  ASSERT_EQ(stale.size(), TheCopy().size());
  TheCopy() = stale;  // A whole segment, but another one.
  EXPECT_EQ(Read(newer), "newer");
  EXPECT_EQ(counters().damaged, 1u);
}

TEST_F(LocalCopiesTest, OnlyWhatTheCheckpointNamesStays) {
  const v1::Segment kept = Write(3, "kept");
  v1::Segment other_checksum = Write(3, "checksum");
  v1::Segment other_length = Write(3, "length");
  const v1::Segment superseded = Write(2, "superseded");
  const v1::Segment in_flight = Write(4, "in flight");
  other_checksum.set_crc32c(other_checksum.crc32c() + 1);
  other_length.set_bytes(other_length.bytes() + 1);
  disks_.copies.Retain("file:///checkpoints/other-job", Epoch{9}, {});
  EXPECT_EQ(Copies().size(), 5u);
  disks_.copies.Retain(kUri, Epoch{3}, {kept, other_checksum, other_length});
  EXPECT_EQ(Copies().size(), 2u);
  EXPECT_EQ(counters().kept_bytes, kept.bytes() + in_flight.bytes());
  EXPECT_EQ(Read(superseded), "superseded");
  EXPECT_EQ(counters().storage_reads, 1u);
}

TEST_F(LocalCopiesTest, TheOldestGoWhenThereAreTooManyBytes) {
  const std::string record(400 << 10, 'r');
  const v1::Segment first = Write(1, record);
  const v1::Segment second = Write(2, record);
  const v1::Segment third = Write(3, record);
  EXPECT_EQ(counters().kept_bytes, second.bytes() + third.bytes());
  EXPECT_EQ(Copies().size(), 2u);
  EXPECT_EQ(Read(first), record);
  EXPECT_EQ(counters().storage_reads, 1u);
  // One that would push out all others and not even fit itself.
  Write(4, std::string(2 << 20, 'r'));
  EXPECT_EQ(Copies().size(), 2u);
}

TEST_F(LocalCopiesTest, ADiskWithoutRoomEndsTheCopyAlone) {
  for (const uint64_t room : {0, 20}) {
    disks_.near.bytes_left = room;
    const v1::Segment segment = Write(3, "rows");
    EXPECT_EQ(Read(segment), "rows");
    EXPECT_THAT(Copies(), ::testing::IsEmpty());
  }
  EXPECT_EQ(counters().storage_reads, 2u);
}

TEST_F(LocalCopiesTest, WhatStorageDidNotPublishIsNotCopied) {
  const v1::Segment segment = Write(3, "first");
  auto writer = disks_.storage->Create(segment.name()).value();
  ASSERT_TRUE(writer->Append("a rival of the same name").ok());
  EXPECT_EQ(writer->Publish().code(), absl::StatusCode::kAlreadyExists);
  writer.reset();
  EXPECT_EQ(Copies().size(), 1u);
  EXPECT_EQ(Read(segment), "first");
}

TEST_F(LocalCopiesTest, OutboxesAndOtherFilesAreNotCopied) {
  const v1::Segment outbox = Write(3, "output", v1::Segment::KIND_OUTBOX);
  EXPECT_EQ(Read(outbox), "output");
  EXPECT_THAT(Copies(), ::testing::IsEmpty());
  EXPECT_EQ(counters().storage_reads, 0u);
}

TEST_F(LocalCopiesTest, TheStartForgetsWhatAnEarlierProcessLeft) {
  Write(3, "rows");
  LocalCopies next(disks_.near, "/copies", 1 << 20);
  ASSERT_TRUE(next.Start().ok());
  EXPECT_THAT(Copies(), ::testing::IsEmpty());
}

TEST(SegmentNameTest, TellsTheEpochOfState) {
  const auto name = [](const std::string& uid, v1::Segment::Kind kind) {
    return SegmentName({.uid = uid, .prefix = "g1-a1-c0-t0"}, kind, Epoch{17}, 4);
  };
  EXPECT_EQ(EpochOfStateSegment(name("a", v1::Segment::KIND_STATE_BASE)), Epoch{17});
  EXPECT_EQ(EpochOfStateSegment(name("x.base.e5.", v1::Segment::KIND_STATE_DELTA)), Epoch{17});
  EXPECT_EQ(EpochOfStateSegment(name("x.base.e5.", v1::Segment::KIND_OUTBOX)), std::nullopt);
  for (const char* other : {"", "manifest-e3", "g1.a.base.e", "g1.a.base.ex.n0", "g1.a.base.e3"}) {
    EXPECT_EQ(EpochOfStateSegment(other), std::nullopt) << other;
  }
}

}  // namespace
}  // namespace millrace
