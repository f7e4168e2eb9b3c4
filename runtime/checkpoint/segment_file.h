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

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/checkpoint/storage.h"

namespace millrace {

namespace v1 {
class Segment;
}

class SegmentWriter {
 public:
  // `identity`: name, kind, uid, key groups, epoch of the segment to be.
  static absl::StatusOr<std::unique_ptr<SegmentWriter>> Create(CheckpointStorage& storage,
                                                               const v1::Segment& identity);
  virtual ~SegmentWriter() = default;
  virtual absl::Status Append(std::string_view record) = 0;
  virtual uint64_t records() const = 0;
  // Footer, durable, named. Fills in bytes, rows and crc32c.
  virtual absl::StatusOr<v1::Segment> Publish() = 0;
};

// Verifies name, owner, length and checksum (kDataLoss names segment and fault), then calls `record`
// for each record in order. The bytes live only during the call.
absl::Status ReadSegment(CheckpointStorage& storage, const v1::Segment& segment,
                         const std::function<absl::Status(std::string_view)>& record);

// CRC32C (Castagnoli), hardware where there is one. `crc` = result over the bytes before.
uint32_t Crc32c(std::string_view bytes, uint32_t crc = 0);

}  // namespace millrace
