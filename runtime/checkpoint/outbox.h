// The outbox of one sink slot: its encoded output of an epoch as one checksummed segment, so that
// the output of an epoch is part of its checkpoint and can be committed by any process, any time
// later (docs/architecture.md, "Epochs").
//
// Records are opaque bytes to the outbox; a sink frames what it needs in them.
// Threading: Append and Seal on the task thread; ReadOutbox on an io thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/base/ids.h"

namespace millrace {

namespace v1 {
class CommitToken;
class Segment;
}  // namespace v1

class CheckpointStorage;

// Segment files written by the task thread into the page cache in large blocks; the fsync that
// makes them durable happens on the io pool, before the epoch is acknowledged.
class Outbox {
 public:
  virtual ~Outbox() = default;
  virtual absl::Status Append(std::string_view record) = 0;
  // Ends the epoch: returns a token with uid, slot, epoch and the segment (none when nothing was
  // appended). `payload` is left to the sink.
  virtual absl::StatusOr<v1::CommitToken> Seal(Epoch epoch) = 0;
  // Calls `record` for each record of the token's segments, in order, verifying checksums first;
  // kDataLoss names the segment. Stops at the first error.
  virtual absl::Status Read(const v1::CommitToken& token,
                            const std::function<absl::Status(std::string_view)>& record) = 0;
};

}  // namespace millrace
