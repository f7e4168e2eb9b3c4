// Formats: bytes of messages to columns, and columns to bytes.
//
// Threading: a Decoder or Encoder belongs to one task thread; it keeps scratch memory.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/columns/batch.h"

namespace millrace {

namespace v1 {
class Schema;
}
using FormatOptions = std::map<std::string, std::string, std::less<>>;

// One message of a source. The bytes are readable up to `value_padding` bytes after their end, so
// that a parser may read whole words.
struct Message {
  std::string_view value;
  bool is_null = false;  // A Kafka tombstone.
};
inline constexpr size_t kMessagePadding = 64;

// A message that did not become a row.
struct NoRow {
  size_t index;       // In the span given to Decode.
  std::string code;   // Stable: "MR3101" …; empty: it has no row to give, and is not bad.
  std::string error;  // "field 'price': expected BIGINT, found \"abc\" at byte 17"
  bool is_bad() const { return !code.empty(); }
};

// Of those, how many are not bad: they have no row by what they mean.
inline uint64_t CountSkipped(const std::vector<NoRow>& none) {
  return static_cast<uint64_t>(
      std::count_if(none.begin(), none.end(), [](const NoRow& one) { return !one.is_bad(); }));
}

class Decoder {
 public:
  virtual ~Decoder() = default;
  // The messages that follow come from this split; for formats that tell where a change stands.
  virtual void BeginSplit(std::string_view /*split_id*/) {}
  // Appends one row per good message to the columns of `out` (all columns of the decoder's schema,
  // in order; `out` may have more columns after them, which the caller fills), with its kind, and
  // reports the others in `none`, ascending. A message is a whole row or none, never half a row.
  virtual void Decode(std::span<const Message> messages, BatchBuilder& out,
                      std::vector<NoRow>& none) = 0;
};

// Rows as bytes: row i is bytes[offsets[i], offsets[i + 1]).
struct EncodedRows {
  std::string bytes;
  std::vector<uint32_t> offsets;
  void Clear() {
    bytes.clear();
    offsets.assign(1, 0);
  }
  size_t rows() const { return offsets.empty() ? 0 : offsets.size() - 1; }
  std::string_view row(size_t i) const {
    return std::string_view(bytes).substr(offsets[i], offsets[i + 1] - offsets[i]);
  }
};

class Encoder {
 public:
  virtual ~Encoder() = default;
  // Replaces the content of `out` by all rows of `batch`.
  virtual absl::Status Encode(const Batch& batch, EncodedRows& out) = 0;
};

// What rows a decoder makes.
struct DecodedTable {
  SchemaPtr schema;  // The columns to fill (projection already applied).
  // For formats of changes: the columns of the key, and the place of every column in the batches
  // that the source emits (empty: the same).
  std::vector<int> key = {};
  std::vector<int> places = {};
};

// One line each in all_formats.cc.
struct Format {
  std::string_view name;
  // kInvalidArgument: bad options. Null: the format cannot be read, or cannot be written.
  absl::StatusOr<std::unique_ptr<Decoder>> (*make_decoder)(const DecodedTable& table,
                                                           const FormatOptions& options) = nullptr;
  absl::StatusOr<std::unique_ptr<Encoder>> (*make_encoder)(const SchemaPtr& schema,
                                                           const FormatOptions& options) = nullptr;
  // Messages are lines of a file (json, csv, raw), so that the file connector can split them.
  bool line_delimited = true;
};

std::span<const Format> AllFormats();
absl::StatusOr<const Format*> FindFormat(std::string_view name);

}  // namespace millrace
