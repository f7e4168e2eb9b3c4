#include "runtime/checkpoint/segment_file.h"

#include "gmock/gmock.h"
#include "millrace/v1/checkpoint.pb.h"
#include "runtime/checkpoint/segment_name.h"
#include "tests/unit/checkpoint/memory_disk.h"

namespace millrace {
namespace internal {
uint32_t Crc32cPortable(std::string_view bytes, uint32_t crc);
}
namespace {

class SegmentFileTest : public ::testing::Test {
 protected:
  v1::Segment Write(const std::vector<std::string>& records, const std::string& name = "s") {
    v1::Segment identity;
    identity.set_name(name);
    identity.set_kind(v1::Segment::KIND_OUTBOX);
    identity.set_uid("sink");
    identity.set_key_group_first(2);
    identity.set_key_group_last(9);
    identity.set_epoch(7);
    auto writer = SegmentWriter::Create(*storage_, identity).value();
    for (const std::string& record : records) EXPECT_TRUE(writer->Append(record).ok());
    return writer->Publish().value();
  }
  absl::StatusOr<std::vector<std::string>> Read(const v1::Segment& segment) {
    std::vector<std::string> records;
    absl::Status status = ReadSegment(*storage_, segment, [&](std::string_view record) {
      records.emplace_back(record);
      return absl::OkStatus();
    });
    if (!status.ok()) return status;
    return records;
  }
  std::string& Bytes(const v1::Segment& segment) {
    return *disk_.Bytes("/checkpoints/" + segment.name());
  }

  MemoryDisk disk_;
  std::unique_ptr<CheckpointStorage> storage_ =
      OpenCheckpointStorage("file:///checkpoints", {.disk = &disk_}).value();
};

TEST(Crc32cTest, AgreesWithTheKnownValuesInBothForms) {
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(internal::Crc32cPortable("123456789", 0), 0xe3069283u);
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8a9136aau);
  std::string bytes;
  for (int i = 0; i < 1000; ++i) {
    bytes += static_cast<char>(i * 7);
    const size_t half = bytes.size() / 3;
    ASSERT_EQ(Crc32c(bytes), internal::Crc32cPortable(bytes, 0));
    ASSERT_EQ(Crc32c(bytes.substr(half), Crc32c(bytes.substr(0, half))), Crc32c(bytes));
  }
  // Long enough for several rounds of three lanes, with any rest.
  for (int i = 1000; i < 10'000; ++i) {
    bytes += static_cast<char>(i * i);
    if (i % 7 != 0) continue;
    ASSERT_EQ(Crc32c(bytes, 5), internal::Crc32cPortable(bytes, 5));
  }
}

TEST(SegmentNameTest, IsAValidNameForAnyUid) {
  MemoryDisk disk;
  auto storage = OpenCheckpointStorage("file:///checkpoints", {.disk = &disk}).value();
  for (const std::string& uid :
       {std::string("a b/../c"), std::string(500, 'x'), std::string("\xff\0", 2)}) {
    const std::string name = SegmentName({.uid = uid, .prefix = "g1-a1-c0-t0"},
                                         v1::Segment::KIND_STATE_BASE, Epoch{3}, 0);
    EXPECT_TRUE(storage->Create(name).ok()) << name;
  }
}

TEST_F(SegmentFileTest, GivesBackItsRecords) {
  const std::vector<std::string> records = {"", "a", std::string(3 << 20, 'b'), "c"};
  const v1::Segment segment = Write(records);
  EXPECT_EQ(segment.rows(), 4u);
  EXPECT_EQ(segment.bytes(), Bytes(segment).size());
  EXPECT_EQ(Read(segment).value(), records);
  EXPECT_EQ(Read(Write({}, "empty")).value(), std::vector<std::string>{});
}

TEST_F(SegmentFileTest, SurvivesACrashOncePublished) {
  const v1::Segment segment = Write({"a"});
  disk_.Crash();
  EXPECT_TRUE(Read(segment).ok());
}

TEST_F(SegmentFileTest, AnyChangedByteIsDataLoss) {
  const v1::Segment segment = Write({"abc", "", std::string(50, 'd')});
  std::string& bytes = Bytes(segment);
  for (size_t at = 0; at < bytes.size(); ++at) {
    for (const int flip : {0x01, 0x80, 0xff}) {
      bytes[at] ^= static_cast<char>(flip);
      const absl::Status status = Read(segment).status();
      // A changed version number may look like a newer format.
      if (at >= 4 && at < 8) {
        EXPECT_FALSE(status.ok());
      } else {
        EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << at << " " << status;
      }
      EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("segment s"));
      bytes[at] ^= static_cast<char>(flip);
    }
  }
  EXPECT_TRUE(Read(segment).ok());
}

TEST_F(SegmentFileTest, AnyMissingOrAdditionalByteIsDataLoss) {
  v1::Segment segment = Write({"abc", "def"});
  const std::string whole = Bytes(segment);
  for (const bool size_known : {true, false}) {
    if (!size_known) segment.clear_bytes();
    for (size_t length = 0; length < whole.size(); ++length) {
      Bytes(segment) = whole.substr(0, length);
      EXPECT_EQ(Read(segment).status().code(), absl::StatusCode::kDataLoss) << length;
    }
    Bytes(segment) = whole + "x";
    EXPECT_EQ(Read(segment).status().code(), absl::StatusCode::kDataLoss);
  }
}

TEST_F(SegmentFileTest, RefusesAForeignSegment) {
  const v1::Segment segment = Write({"abc"});
  const auto code = [&](auto change) {
    v1::Segment other = segment;
    change(other);
    return Read(other).status().code();
  };
  using absl::StatusCode;
  EXPECT_EQ(code([](v1::Segment& s) { s.set_uid("other"); }), StatusCode::kDataLoss);
  EXPECT_EQ(code([](v1::Segment& s) { s.set_epoch(8); }), StatusCode::kDataLoss);
  EXPECT_EQ(code([](v1::Segment& s) { s.set_kind(v1::Segment::KIND_STATE_BASE); }),
            StatusCode::kDataLoss);
  EXPECT_EQ(code([](v1::Segment& s) { s.set_key_group_last(10); }), StatusCode::kDataLoss);
  EXPECT_EQ(code([](v1::Segment& s) { s.set_name("missing"); }), StatusCode::kDataLoss);
  EXPECT_EQ(code([](v1::Segment& s) { s.set_crc32c(1); }), StatusCode::kDataLoss);
  // A reader may want fewer key groups than the segment has.
  EXPECT_EQ(code([](v1::Segment& s) { s.set_key_group_first(5); }), StatusCode::kOk);
}

TEST_F(SegmentFileTest, RefusesANewerFormatByNumber) {
  const v1::Segment segment = Write({"abc"});
  Bytes(segment)[4] = 9;
  const absl::Status status = Read(segment).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("format 9"));
}

TEST_F(SegmentFileTest, NeverTakesAnothersName) {
  const v1::Segment segment = Write({"first"});
  auto writer = SegmentWriter::Create(*storage_, segment).value();
  ASSERT_TRUE(writer->Append("second").ok());
  EXPECT_EQ(writer->Publish().status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(Read(segment).value(), std::vector<std::string>{"first"});
}

}  // namespace
}  // namespace millrace
