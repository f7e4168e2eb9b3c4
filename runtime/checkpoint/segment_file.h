// The envelope of every segment: magic "MRSG", format version, kind, owner uid, key-group range,
// epoch, then length-prefixed records, then a footer with record count and CRC32C of everything
// before it. Verified completely before the first record is used.
//
// Threading: one thread at a time per object.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/checkpoint/storage.h"

namespace millrace {

namespace v1 {
class Segment;
}

// Work for an io thread that makes segments durable; call at most once. Who made it says which
// segments it returns.
using SegmentWork = absl::AnyInvocable<absl::StatusOr<std::vector<v1::Segment>>() &&>;

// Longest record that is written and read.
inline constexpr size_t kSegmentRecordBytesMax = 64 << 20;

// Create, Append and Finish go to the page cache in large blocks; Publish blocks.
class SegmentWriter {
 public:
  // `identity`: name, kind, uid, key groups, epoch of the segment to be.
  static absl::StatusOr<std::unique_ptr<SegmentWriter>> Create(CheckpointStorage& storage,
                                                               const v1::Segment& identity);
  virtual ~SegmentWriter() = default;
  virtual absl::Status Append(std::string_view record) = 0;
  virtual uint64_t records() const = 0;
  // Bytes so far, buffered ones included.
  virtual uint64_t bytes() const = 0;
  // Appends the footer, without making it durable; only Publish may follow. Fills in bytes, rows
  // and crc32c.
  virtual absl::StatusOr<v1::Segment> Finish() = 0;
  // Finish if that is still to do; then durable and named.
  virtual absl::StatusOr<v1::Segment> Publish() = 0;
};

// Reads one segment record by record. Memory: one block of 128 KiB, or the longest record.
class SegmentReader {
 public:
  // Verifies name, owner, length and checksum of the whole file; kDataLoss names segment and fault.
  // `segment` may name fewer key groups than the file has: its reader keeps to those.
  static absl::StatusOr<std::unique_ptr<SegmentReader>> Open(CheckpointStorage& storage,
                                                             const v1::Segment& segment);
  virtual ~SegmentReader() = default;
  // False at the end. The record lives until the next call.
  virtual absl::StatusOr<bool> Next(std::string_view* record) = 0;
};

// Verifies name, owner, length and checksum (kDataLoss names segment and fault), then calls
// `record` for each record in order. The bytes live only during the call.
absl::Status ReadSegment(CheckpointStorage& storage, const v1::Segment& segment,
                         const std::function<absl::Status(std::string_view)>& record);

// CRC32C (Castagnoli), hardware where there is one. `crc` = result over the bytes before.
uint32_t Crc32c(std::string_view bytes, uint32_t crc = 0);

}  // namespace millrace
