// The outbox in checkpoint storage. Seal gives an epoch's token at once; the bytes become durable
// by the work that TakeWork returns, which must have run before the epoch is acknowledged.
//
// Threading: all methods on the task thread; Read and the work on io threads.
// Ownership: the task owns it; storage outlives it and the work.
// Errors:    kResourceExhausted when the disk is full, kDataLoss for a damaged segment.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/checkpoint/outbox.h"
#include "runtime/checkpoint/segment_file.h"
#include "runtime/checkpoint/segment_name.h"

namespace millrace {

struct SegmentOutboxOptions {
  CheckpointStorage& storage;  // Outlives the outbox and its work.
  std::string uid;
  uint32_t slot = 0;
  std::string name_prefix;  // Of segment names; see SegmentOwner.
};

class SegmentOutbox final : public Outbox {
 public:
  explicit SegmentOutbox(SegmentOutboxOptions options);
  ~SegmentOutbox() override;

  absl::Status Append(std::string_view record) override;
  absl::StatusOr<v1::CommitToken> Seal(Epoch epoch) override;
  absl::Status Read(const v1::CommitToken& token,
                    const std::function<absl::Status(std::string_view)>& record) override;

  // Makes the segments of all sealed tokens durable that are not yet, and returns those. One at a
  // time: it must have run, or have been dropped, before the next Seal. What a dropped one has not
  // done is left to the next.
  SegmentWork TakeWork();

 private:
  struct Sealed;

  CheckpointStorage& storage_;
  const SegmentOwner owner_;
  const uint32_t slot_;
  std::unique_ptr<SegmentWriter> open_;          // Of the running epoch; null while it is empty.
  std::vector<std::shared_ptr<Sealed>> sealed_;  // Perhaps not durable yet.
  uint64_t sequence_ = 0;
  Epoch last_sealed_;
};

}  // namespace millrace
