// Batches of message format 2 as a broker has them, written by hand.
//
// Threading: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "operators/connectors/kafka/native/wire.h"
#include "runtime/checkpoint/segment_file.h"

namespace millrace {

struct TestRecord {
  int64_t offset = 0;
  std::optional<std::string> key;
  std::optional<std::string> value;
  int64_t timestamp_ms = 1000;
  int headers = 0;
};

struct TestBatch {
  int64_t base_offset = 0;
  std::vector<TestRecord> records;
  std::optional<int64_t> last_offset = {};  // That of the last record.
  int16_t attributes = 0;
  int64_t producer_id = -1;
  int64_t base_timestamp_ms = 1000;
  int64_t max_timestamp_ms = 1000;
  int32_t leader_epoch = 7;
  std::optional<int32_t> record_count = {};
  std::optional<std::string> packed = {};  // Instead of the records' bytes.
};

inline void PutZigzag(std::string& out, int64_t value) {
  uint64_t bits = (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63);
  for (; bits >= 0x80; bits >>= 7) out.push_back(static_cast<char>(bits | 0x80));
  out.push_back(static_cast<char>(bits));
}

inline void PutNullable(std::string& out, const std::optional<std::string>& bytes) {
  PutZigzag(out, bytes ? static_cast<int64_t>(bytes->size()) : -1);
  out += bytes.value_or("");
}

inline std::string RecordBytes(const TestBatch& batch) {
  std::string out;
  for (const TestRecord& record : batch.records) {
    std::string body(1, '\0');
    PutZigzag(body, record.timestamp_ms - batch.base_timestamp_ms);
    PutZigzag(body, record.offset - batch.base_offset);
    PutNullable(body, record.key);
    PutNullable(body, record.value);
    PutZigzag(body, record.headers);
    for (int i = 0; i < record.headers; ++i) {
      PutNullable(body, "name");
      PutNullable(body, std::nullopt);
    }
    PutZigzag(out, static_cast<int64_t>(body.size()));
    out += body;
  }
  return out;
}

inline std::string BatchBytes(const TestBatch& batch) {
  const int64_t last = batch.last_offset.value_or(
      batch.records.empty() ? batch.base_offset : batch.records.back().offset);
  std::string checked;
  PutBigEndian(checked, batch.attributes);
  PutBigEndian(checked, static_cast<int32_t>(last - batch.base_offset));
  PutBigEndian(checked, batch.base_timestamp_ms);
  PutBigEndian(checked, batch.max_timestamp_ms);
  PutBigEndian(checked, batch.producer_id);
  PutBigEndian(checked, int16_t{0});
  PutBigEndian(checked, int32_t{0});
  PutBigEndian(checked, batch.record_count.value_or(static_cast<int32_t>(batch.records.size())));
  checked += batch.packed.value_or(RecordBytes(batch));
  std::string out;
  PutBigEndian(out, batch.base_offset);
  PutBigEndian(out, static_cast<int32_t>(checked.size() + 9));
  PutBigEndian(out, batch.leader_epoch);
  out.push_back(2);
  PutBigEndian(out, static_cast<int32_t>(Crc32c(checked)));
  return out + checked;
}

inline constexpr int16_t kTestTransactional = 0x10;
inline constexpr int16_t kTestControl = 0x20;

// The marker at the end of a transaction.
inline std::string MarkerBytes(int64_t offset, int64_t producer_id, bool commit) {
  std::string key;
  PutBigEndian(key, int16_t{0});
  PutBigEndian(key, static_cast<int16_t>(commit ? 1 : 0));
  return BatchBytes({.base_offset = offset,
                     .records = {{.offset = offset, .key = key, .value = std::string(6, '\0')}},
                     .attributes = kTestTransactional | kTestControl,
                     .producer_id = producer_id});
}

}  // namespace millrace
