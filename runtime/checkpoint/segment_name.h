// Names of segments. They contain owner, epoch, generation and attempt, so that no two processes
// ever write the same name (exactly-once, rule 9).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/base/ids.h"

namespace millrace {

// Who writes a segment: a node in one task of one attempt.
struct SegmentOwner {
  std::string uid;
  // Unique per generation, attempt and task; characters of a storage name: "g3-a1-c2-t0".
  std::string prefix;
};

// "g3-a1-c2-t0.window-1.delta.e17.n0": a valid name in checkpoint storage for any uid. `kind` is a
// v1::Segment::Kind; `sequence` tells apart segments of one owner, kind and epoch.
std::string SegmentName(const SegmentOwner& owner, int kind, Epoch epoch, uint64_t sequence);

// The epoch that wrote the state segment of this name; none: not a name of a state segment.
std::optional<Epoch> EpochOfStateSegment(std::string_view name);

}  // namespace millrace
