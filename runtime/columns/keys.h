// Keys: the canonical, order-preserving encoding of key columns, their hash and key group.
//
// Encoding, per column: 0x00 for NULL; else 0x01 and: BOOL 1 byte; integers, DATE, TIMESTAMP,
// INTERVAL big endian with the sign bit flipped; FLOAT64 big endian, sign-magnitude order, -0.0 as
// 0.0, one NaN above all numbers; DECIMAL as a 128-bit integer, unscaled; STRING and BYTES with
// 0x00 escaped as 0x00 0xFF and ended by 0x00 0x00; ARRAY as the bytes that it is. memcmp order of
// encodings = order of the tuples, NULL first. The encoding, the hash (XXH64, seed 0, over the
// encoding) and the key group (hash mod max_parallelism) are frozen: golden tests pin them, because
// state and placement depend on them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "runtime/columns/batch.h"

namespace millrace {

// The keys of one batch; reused from batch to batch, so that nothing is allocated per row.
struct EncodedKeys {
  std::string bytes;
  std::vector<uint32_t> offsets;  // rows + 1.
  std::vector<uint64_t> hashes;

  int64_t rows() const { return static_cast<int64_t>(hashes.size()); }
  std::string_view key(int64_t row) const {
    const auto i = static_cast<size_t>(row);
    return std::string_view(bytes).substr(offsets[i], offsets[i + 1] - offsets[i]);
  }
};

// Encodes and hashes the columns `columns` of every row of `batch` into `out` (cleared first).
// No columns: every row has the empty key.
void EncodeKeys(const Batch& batch, std::span<const int> columns, EncodedKeys& out);

uint64_t HashKey(std::string_view encoded_key);

// `max_parallelism` is a power of two, as validation sees to.
inline uint32_t KeyGroupOf(uint64_t hash, uint32_t max_parallelism) {
  return static_cast<uint32_t>(hash & (max_parallelism - 1));
}

// Decodes one encoded tuple and appends each value to the builder of its column; the inverse of
// EncodeKeys. Consumes from the front of `bytes`; kDataLoss when they are malformed.
absl::Status DecodeKey(std::string_view& bytes, std::span<ColumnBuilder* const> columns);

// One value alone: appended, and taken off the front; false: the bytes are malformed.
void AppendKeyValue(const Column& column, int64_t row, std::string& out);
bool SkipKeyValue(DataType type, std::string_view& bytes);
void AppendKeyNull(std::string& out);

// Order-preserving encoding of a single int64 (8 bytes), without the NULL tag.
void AppendOrderedInt64(int64_t value, std::string& out);
int64_t ReadOrderedInt64(std::string_view bytes);

// Columns of `left` compared with `right` row by row in SQL order; used by sorts.
// NULL handling is the caller's: both must be not NULL.
int CompareValues(const Column& left, int64_t left_row, const Column& right, int64_t right_row);

}  // namespace millrace
