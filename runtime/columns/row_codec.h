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
  // Ids and types of the columns are part of the fingerprint; names are not.
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

}  // namespace millrace
