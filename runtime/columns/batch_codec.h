// Batches as bytes, for the exchange between workers, in-flight segments and row state.
//
// Format: a head (rows, split, flags, per column: buffer lengths and null count), then the buffers,
// the kinds of the rows first where there are any, each padded to 8 bytes. Little endian. The
// schema is known to both ends and not repeated; the number and types of columns are checked.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/columns/batch.h"

namespace millrace {

struct EncodedBatch {
  std::string head;
  std::vector<BufferPtr> body;  // The batch's own buffers: nothing is copied.
};

EncodedBatch EncodeBatch(const Batch& batch);
// `frame` holds head and body in one piece from `offset` on; the columns borrow its bytes. Every
// length and offset is checked against the frame and against int32 order; kDataLoss otherwise.
absl::StatusOr<Batch> DecodeBatch(const SchemaPtr& schema, const BufferPtr& frame, size_t offset);

}  // namespace millrace
