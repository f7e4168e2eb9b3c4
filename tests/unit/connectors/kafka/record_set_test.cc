#include "operators/connectors/kafka/native/record_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <lz4frame.h>
#include <snappy.h>
#include <zlib.h>
#include <zstd.h>

#include "record_batches.h"

namespace millrace {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// "offset:key=value", "-" for none.
std::string TextOf(const KafkaRecord& record) {
  return std::to_string(record.offset) + ":" + (record.has_key ? std::string(record.key) : "-") +
         "=" + (record.has_value ? std::string(record.value) : "-");
}

class RecordSetTest : public testing::Test {
 protected:
  void Reset(const std::string& bytes, int64_t next_offset = 0,
             std::vector<AbortedTransaction> aborted = {}) {
    block_.Resize(bytes.size());
    if (!bytes.empty()) std::memcpy(block_.data(), bytes.data(), bytes.size());
    reader_.Reset(block_.view(), next_offset, std::move(aborted));
  }
  // All records, read `records_max` at a time; views are only looked at while they live.
  absl::StatusOr<std::vector<std::string>> ReadAll(size_t records_max = 100) {
    std::vector<std::string> all;
    while (!reader_.done()) {
      std::vector<KafkaRecord> records;
      if (absl::Status status = reader_.Read(records_max, records); !status.ok()) return status;
      EXPECT_LE(records.size(), records_max);
      for (const KafkaRecord& record : records) all.push_back(TextOf(record));
    }
    return all;
  }
  std::vector<std::string> MustRead(const std::string& bytes, int64_t next_offset = 0,
                                    std::vector<AbortedTransaction> aborted = {}) {
    Reset(bytes, next_offset, std::move(aborted));
    const auto all = ReadAll();
    EXPECT_TRUE(all.ok()) << all.status();
    return all.value_or(std::vector<std::string>());
  }
  absl::Status Failure(const std::string& bytes) {
    Reset(bytes);
    return ReadAll().status();
  }

  ByteBlock block_;
  RecordSetReader reader_;
};

const TestBatch kThree = {.base_offset = 10,
                          .records = {{.offset = 10, .key = "k", .value = "a"},
                                      {.offset = 11, .value = ""},
                                      {.offset = 12, .key = "", .headers = 2}}};

TEST_F(RecordSetTest, ReadsKeysValuesAndTimes) {
  TestBatch batch = kThree;
  batch.records[1].timestamp_ms = 900;  // Before the first one.
  Reset(BatchBytes(batch), 10);
  std::vector<KafkaRecord> records;
  ASSERT_TRUE(reader_.Read(10, records).ok());
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(TextOf(records[0]), "10:k=a");
  EXPECT_EQ(TextOf(records[1]), "11:-=");
  EXPECT_EQ(TextOf(records[2]), "12:=-");
  EXPECT_EQ(records[0].timestamp_ms, 1000);
  EXPECT_EQ(records[1].timestamp_ms, 900);
  EXPECT_TRUE(reader_.done());
  EXPECT_EQ(reader_.next_offset(), 13);
}

TEST_F(RecordSetTest, TheTimeOfTheLogIsThatOfAllItsRecords) {
  TestBatch batch = kThree;
  batch.attributes = 0x08;
  batch.max_timestamp_ms = 5000;
  Reset(BatchBytes(batch));
  std::vector<KafkaRecord> records;
  ASSERT_TRUE(reader_.Read(10, records).ok());
  for (const KafkaRecord& record : records) EXPECT_EQ(record.timestamp_ms, 5000);
}

TEST_F(RecordSetTest, BeginsInTheMiddleOfABatchAndPassesOverWholeOnes) {
  const std::string bytes =
      BatchBytes(kThree) +
      BatchBytes({.base_offset = 13, .records = {{.offset = 13, .value = "d"}}});
  EXPECT_THAT(MustRead(bytes, 12), ElementsAre("12:=-", "13:-=d"));
  EXPECT_THAT(MustRead(bytes, 13), ElementsAre("13:-=d"));
  EXPECT_THAT(MustRead(bytes, 14), IsEmpty());
}

TEST_F(RecordSetTest, GapsOfCompactionAreNoGapsOfThePosition) {
  const std::string bytes =
      BatchBytes({.base_offset = 5,
                  .records = {{.offset = 7, .value = "a"}, {.offset = 9, .value = "b"}},
                  .last_offset = 20}) +
      BatchBytes({.base_offset = 30, .records = {}, .last_offset = 40});
  EXPECT_THAT(MustRead(bytes), ElementsAre("7:-=a", "9:-=b"));
  EXPECT_EQ(reader_.next_offset(), 41);
  EXPECT_EQ(FindRecordSetEnd(bytes).next_offset, 41);
  EXPECT_EQ(FindRecordSetEnd(bytes).leader_epoch, 7);
}

TEST_F(RecordSetTest, ReadsAFewAtATime) {
  const std::string bytes =
      BatchBytes(kThree) +
      BatchBytes({.base_offset = 13, .records = {{.offset = 13, .value = "d"}}});
  for (const size_t records_max : {1, 2, 3}) {
    Reset(bytes);
    EXPECT_EQ(ReadAll(records_max)->size(), 4u);
  }
  Reset(bytes);
  std::vector<KafkaRecord> records;
  ASSERT_TRUE(reader_.Read(2, records).ok());
  EXPECT_FALSE(reader_.done());
  EXPECT_EQ(reader_.next_offset(), 12);
}

TEST_F(RecordSetTest, ACutOffBatchIsLeftForTheNextFetch) {
  const std::string first = BatchBytes(kThree);
  const std::string second =
      BatchBytes({.base_offset = 13, .records = {{.offset = 13, .value = "d"}}});
  for (size_t size = first.size(); size < first.size() + second.size(); ++size) {
    const std::string bytes = (first + second).substr(0, size);
    EXPECT_EQ(MustRead(bytes).size(), 3u) << size;
    EXPECT_EQ(reader_.next_offset(), 13);
    EXPECT_EQ(FindRecordSetEnd(bytes).next_offset, 13);
  }
  EXPECT_EQ(FindRecordSetEnd(first.substr(0, 20)).next_offset, -1);
}

TEST_F(RecordSetTest, PassesOverAbortedTransactionsAndMarkers) {
  const auto batch = [](int64_t offset, int64_t producer, const char* value) {
    return BatchBytes({.base_offset = offset,
                       .records = {{.offset = offset, .value = value}},
                       .attributes = static_cast<int16_t>(producer < 0 ? 0 : kTestTransactional),
                       .producer_id = producer});
  };
  const std::string bytes = batch(0, 1, "aborted") + batch(1, 2, "kept") + batch(2, -1, "plain") +
                            MarkerBytes(3, 1, false) + batch(4, 1, "kept, too") +
                            MarkerBytes(5, 2, true) + MarkerBytes(6, 1, true) +
                            batch(7, 2, "aborted") + MarkerBytes(8, 2, false);
  EXPECT_THAT(MustRead(bytes, 0, {{2, 7}, {1, 0}}),
              ElementsAre("1:-=kept", "2:-=plain", "4:-=kept, too"));
  EXPECT_EQ(reader_.next_offset(), 9);
  // A transaction may have begun before what was fetched.
  EXPECT_THAT(MustRead(batch(10, 3, "aborted") + batch(11, 4, "kept"), 10, {{3, 2}}),
              ElementsAre("11:-=kept"));
  // A producer that also writes outside of transactions.
  EXPECT_THAT(MustRead(BatchBytes({.base_offset = 10,
                                   .records = {{.offset = 10, .value = "plain"}},
                                   .producer_id = 3}),
                       10, {{3, 2}}),
              ElementsAre("10:-=plain"));
}

struct Codec {
  const char* name;
  int16_t attributes;
  std::string (*pack)(const std::string&);
};

std::string Gzip(const std::string& bytes) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&stream, bytes.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}
std::string Snappy(const std::string& bytes) {
  std::string out;
  snappy::Compress(bytes.data(), bytes.size(), &out);
  return out;
}
std::string SnappyBlocks(const std::string& bytes) {
  std::string out("\x82SNAPPY\0\0\0\0\1\0\0\0\1", 16);
  for (size_t at = 0; at < bytes.size(); at += 1000) {
    const std::string block = Snappy(bytes.substr(at, 1000));
    PutBigEndian(out, static_cast<int32_t>(block.size()));
    out += block;
  }
  return out;
}
std::string Lz4(const std::string& bytes) {
  std::string out(LZ4F_compressFrameBound(bytes.size(), nullptr), '\0');
  out.resize(LZ4F_compressFrame(out.data(), out.size(), bytes.data(), bytes.size(), nullptr));
  return out;
}
std::string Zstd(const std::string& bytes) {
  std::string out(ZSTD_compressBound(bytes.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), 3));
  return out;
}

class CodecTest : public RecordSetTest, public testing::WithParamInterface<Codec> {
 protected:
  static TestBatch Packed(TestBatch batch) {
    batch.attributes = GetParam().attributes;
    batch.packed = GetParam().pack(RecordBytes(batch));
    return batch;
  }
};

TEST_P(CodecTest, UnpacksWhatWasPacked) {
  // Small and large batches, so that several are in use at once.
  std::string bytes;
  std::vector<std::string> expected;
  int64_t offset = 0;
  for (const size_t size : {1, 100, 300'000, 7, 5'000'000, 20}) {
    TestBatch batch{.base_offset = offset};
    for (int i = 0; i < 3; ++i) {
      const std::string value =
          std::to_string(offset) + std::string(size, static_cast<char>('a' + i));
      expected.push_back(std::to_string(offset) + ":-=" + value);
      batch.records.push_back({.offset = offset++, .value = value});
    }
    bytes += BatchBytes(Packed(batch));
  }
  for (const size_t records_max : {1, 2, 100}) {
    Reset(bytes);
    const auto all = ReadAll(records_max);
    ASSERT_TRUE(all.ok()) << all.status();
    EXPECT_TRUE(*all == expected) << records_max;
  }
}

TEST_P(CodecTest, RefusesWhatIsCutOffOrNotOfTheCodec) {
  TestBatch batch = Packed(kThree);
  const std::string packed = *batch.packed;
  for (size_t size = 0; size < packed.size(); ++size) {
    batch.packed = packed.substr(0, size);
    EXPECT_EQ(Failure(BatchBytes(batch)).code(), absl::StatusCode::kDataLoss) << size;
  }
  batch.packed = "anything else";
  EXPECT_EQ(Failure(BatchBytes(batch)).code(), absl::StatusCode::kDataLoss);
}

TEST_P(CodecTest, UnpacksNoMoreThanIsAllowed) {
  const std::string packed = GetParam().pack(std::string(1'000'000, 'x'));
  Decompressor decompressor;
  ByteBlock out;
  const auto codec = static_cast<KafkaCodec>(GetParam().attributes);
  EXPECT_TRUE(decompressor.Unpack(codec, packed, 1'100'000, out).ok());
  EXPECT_EQ(out.size(), 1'000'000u);
  EXPECT_EQ(decompressor.Unpack(codec, packed, 999'999, out).code(),
            absl::StatusCode::kFailedPrecondition);
}

INSTANTIATE_TEST_SUITE_P(Codecs, CodecTest,
                         testing::Values(Codec{"gzip", 1, Gzip}, Codec{"snappy", 2, Snappy},
                                         Codec{"snappy_blocks", 2, SnappyBlocks},
                                         Codec{"lz4", 3, Lz4}, Codec{"zstd", 4, Zstd}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_F(RecordSetTest, EveryWrongBitIsFound) {
  const std::string good = BatchBytes(kThree);
  for (size_t byte = 17; byte < good.size(); ++byte) {
    std::string bad = good;
    bad[byte] = static_cast<char>(bad[byte] ^ 4);
    EXPECT_EQ(Failure(bad).code(), absl::StatusCode::kDataLoss) << byte;
  }
}

TEST_F(RecordSetTest, RefusesNumbersThatCannotBe) {
  TestBatch batch = kThree;
  batch.record_count = 4;
  EXPECT_THAT(std::string(Failure(BatchBytes(batch)).message()), HasSubstr("length of a record"));
  batch.record_count = 1 << 30;
  EXPECT_THAT(std::string(Failure(BatchBytes(batch)).message()), HasSubstr("more records"));
  batch.record_count = 2;
  EXPECT_THAT(std::string(Failure(BatchBytes(batch)).message()), HasSubstr("behind the records"));
  batch.record_count = -1;
  EXPECT_EQ(Failure(BatchBytes(batch)).code(), absl::StatusCode::kDataLoss);
  batch = kThree;
  batch.last_offset = 11;  // Before the last record.
  EXPECT_THAT(std::string(Failure(BatchBytes(batch)).message()), HasSubstr("offsets"));
  batch = kThree;
  std::swap(batch.records[1].offset, batch.records[2].offset);
  batch.last_offset = 12;
  EXPECT_THAT(std::string(Failure(BatchBytes(batch)).message()), HasSubstr("offsets"));
}

TEST_F(RecordSetTest, OlderFormatsNeedTheOtherFetch) {
  std::string old = BatchBytes(kThree);
  old[16] = 1;
  const absl::Status status = Failure(old);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("librdkafka"));
}

}  // namespace
}  // namespace millrace
