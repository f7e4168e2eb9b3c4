#include "operators/connectors/kafka/native/record_batch.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "operators/connectors/kafka/native/record_set.h"
#include "tests/unit/connectors/kafka/record_batches.h"

namespace millrace {
namespace {

std::string OneRecord(const KafkaFrame& frame, KafkaCodec codec = KafkaCodec::kNone) {
  RecordBatchWriter writer;
  writer.Add(frame, 1000);
  Compressor compressor(codec, -1);
  return **writer.Finish(
      {.producer = {.id = 5, .epoch = 3}, .first_sequence = 8, .transactional = true}, compressor);
}

TEST(RecordBatchTest, IsWhatABrokerHasButForItsOwnFields) {
  std::string expected = BatchBytes({.records = {{.key = "k", .value = std::nullopt}},
                                     .attributes = kTestTransactional,
                                     .producer_id = 5,
                                     .leader_epoch = -1});
  std::string found = OneRecord({.key = "k"});
  ASSERT_EQ(found.size(), expected.size());
  // Epoch and sequence, which the reader's batches have at zero.
  EXPECT_EQ(LoadBigEndian<int16_t>(found.data() + 51), 3);
  EXPECT_EQ(LoadBigEndian<int32_t>(found.data() + 53), 8);
  std::memset(found.data() + 51, 0, 6);
  EXPECT_EQ(LoadBigEndian<uint32_t>(found.data() + 17), Crc32c(OneRecord({.key = "k"}).substr(21)));
  std::memset(found.data() + 17, 0, 4);
  std::memset(expected.data() + 17, 0, 4);
  EXPECT_EQ(found, expected);
}

TEST(RecordBatchTest, EveryCodecGivesBackWhatWasAdded) {
  std::mt19937_64 random(4711);
  for (const KafkaCodec codec : {KafkaCodec::kNone, KafkaCodec::kGzip, KafkaCodec::kSnappy,
                                 KafkaCodec::kLz4, KafkaCodec::kZstd}) {
    SCOPED_TRACE(static_cast<int>(codec));
    Compressor compressor(codec, 1);
    RecordBatchWriter writer;
    for (int batch = 0; batch < 3; ++batch) {  // The writer and the codec are used again.
      std::vector<std::optional<std::string>> keys, values;
      std::vector<int64_t> times;
      const int count = batch == 0 ? 1 : 500;
      for (int i = 0; i < count; ++i) {
        const auto any = [&]() -> std::optional<std::string> {
          if (random() % 8 == 0) return std::nullopt;
          std::string bytes(random() % (random() % 20 == 0 ? 5000 : 100), 'x');
          for (size_t at = 0; at < bytes.size(); at += 5) bytes[at] = static_cast<char>(random());
          return bytes;
        };
        keys.push_back(any());
        values.push_back(any());
        times.push_back(1'700'000'000'000 + static_cast<int64_t>(random() % 10'000) - 5'000);
        const KafkaHeader headers[] = {{"name", "value"}, {"none", std::nullopt}};
        KafkaFrame frame{.key = keys.back(), .value = values.back()};
        if (i % 3 == 0) frame.headers = headers;
        writer.Add(frame, times.back());
      }
      const auto finished = writer.Finish({}, compressor);
      ASSERT_TRUE(finished.ok()) << finished.status();
      EXPECT_EQ(writer.records(), 0);
      EXPECT_EQ(writer.bytes(), 0u);
      ByteBlock block;
      block.Resize((*finished)->size());
      std::memcpy(block.data(), (*finished)->data(), block.size());
      RecordSetReader reader;
      reader.Reset(block.view(), 0, {});
      std::vector<KafkaRecord> records;
      const absl::Status read = reader.Read(10'000, records);
      ASSERT_TRUE(read.ok()) << read;
      ASSERT_EQ(records.size(), static_cast<size_t>(count));
      for (size_t i = 0; i < records.size(); ++i) {
        ASSERT_EQ(records[i].offset, static_cast<int64_t>(i));
        ASSERT_EQ(records[i].timestamp_ms, times[i]);
        ASSERT_EQ(records[i].has_key, keys[i].has_value());
        ASSERT_EQ(records[i].has_value, values[i].has_value());
        ASSERT_TRUE(records[i].key == keys[i].value_or(""));
        ASSERT_TRUE(records[i].value == values[i].value_or(""));
      }
    }
  }
}

}  // namespace
}  // namespace millrace
