// Whole rows as bytes, for state that keeps them by key.
//
// Format, little endian: version (1 byte), fingerprint of the column types (4 bytes), NULL bitmap
// (LSB first, 1 = not NULL), then the values that are not NULL: fixed width as they are, BOOL one
// byte, STRING and BYTES length (4 bytes) and bytes.
// Threading: immutable; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "runtime/columns/batch.h"

namespace millrace {

class RowCodec {
 public:
  // The types of the columns are the fingerprint; which columns they are the caller must know
  // (runtime/checkpoint/layout_comparison.h).
  explicit RowCodec(SchemaPtr schema);

  // Appends the bytes of `row`: of column columns[i] of `batch` for column i of the schema.
  void Append(const Batch& batch, const std::vector<int>& columns, int64_t row,
              std::string& out) const;
  // Appends the values to the builders of `out`, whose schema is that of the codec.
  // kFailedPrecondition: the bytes are of other columns. kDataLoss: malformed; `out` may then hold
  // half a row.
  absl::Status Decode(std::string_view bytes, BatchBuilder& out) const;

 private:
  const SchemaPtr schema_;
  uint32_t fingerprint_ = 0;
};

// Rows of other columns, which a RowCodec has encoded, as rows of these.
class RowConverter {
 public:
  // `sources[i]`: the column of `from` whose values column i of `to` gets, -1: NULL. Its type is
  // the same, INT32 for INT64, or a DECIMAL of the same scale with no more digits.
  RowConverter(const Schema& from, const Schema& to, std::vector<int> sources);

  // Appends the converted row. kFailedPrecondition, kDataLoss: as RowCodec::Decode.
  absl::Status Convert(std::string_view bytes, std::string& out) const;

 private:
  const std::vector<DataType> from_, to_;
  const std::vector<int> sources_;
  const uint32_t from_fingerprint_, to_fingerprint_;
};

}  // namespace millrace
