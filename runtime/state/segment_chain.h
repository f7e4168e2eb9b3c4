// The segments that make up one owner's state, oldest first, and the work that makes the newest
// ones durable. When the deltas outgrow the base, the work merges all segments into a new base: a
// sorted merge of files on the io thread, which needs neither the tables nor the cold store.
//
// Threading: the task thread, while no work is under way; the work runs on one io thread.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/base/ids.h"
#include "runtime/checkpoint/segment_file.h"
#include "runtime/checkpoint/segment_name.h"
#include "runtime/state/frozen_delta.h"

namespace millrace {

class CheckpointStorage;

class SegmentChain {
 public:
  struct Limits {
    // A new base is written when there are more deltas than this and they outgrow the base ...
    size_t deltas_min = 8;
    // ... or when there are more than this, whatever their size.
    size_t deltas_max = 200;
  };

  SegmentChain(CheckpointStorage& storage, SegmentOwner owner, KeyGroupRange key_groups,
               Limits limits);
  ~SegmentChain();

  // A restored segment; its reference is narrowed to the task's key groups.
  void AddRestored(const v1::Segment& segment);
  absl::StatusOr<std::unique_ptr<SegmentWriter>> BeginRun(Epoch epoch);
  // Rows evicted before they were in any segment; sorted.
  absl::Status AddRun(std::unique_ptr<SegmentWriter> run);
  void AddDelta(Epoch epoch, std::unique_ptr<FrozenDelta> delta);

  // Makes everything added so far durable; returns all references. It may be dropped: the next work
  // does what it has not done. Without `may_merge` no base is written.
  SegmentWork TakeWork(Epoch epoch, bool may_merge);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// Merges `segments` (oldest first, each limited to the key groups of its reference) into `base`:
// the newest version of each row that was not dropped or deleted. Memory: a block per segment.
absl::Status MergeSegments(CheckpointStorage& storage, const std::vector<v1::Segment>& segments,
                           SegmentWriter& base);

}  // namespace millrace
