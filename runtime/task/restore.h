// What one task takes over from a checkpoint: pure functions over the manifest.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/v1/checkpoint.pb.h"
#include "millrace/v1/graph.pb.h"
#include "runtime/base/ids.h"
#include "runtime/task/source.h"

namespace millrace {

// The task of a chain that reads a split: every worker computes the same owner.
uint32_t OwnerOfSplit(std::string_view split_id, uint32_t parallelism);

// The share of task `index` of `parallelism` in the state of one node.
struct RestoredNode {
  bool found = false;                   // Some task of the checkpoint had the node.
  std::vector<v1::Segment> state;       // Overlapping `key_groups`; base first per former owner.
  std::vector<Split> splits;            // That this task owns.
  std::vector<v1::CommitToken> tokens;  // Pending commits, by slot, then epoch.
  // Overlapping `key_groups`; by watermark, those of one task in their order.
  std::vector<v1::InFlightRows> in_flight;
  EventTime watermark = EventTime::Min();
  uint64_t rows_in = 0;
  uint64_t rows_out = 0;
  uint64_t rows_late = 0;
  uint64_t rows_dead_lettered = 0;
  uint64_t rows_skipped = 0;
  uint64_t truncates_out = 0;
};

// What the checkpoint says that the node kept, under its uid or a former one; null: nothing.
const v1::StateLayout* FormerLayout(const v1::Manifest& manifest, const v1::Node& node);

// Looks under the node's uid, then under its former uids. An empty manifest (fresh start) gives an
// empty share.
RestoredNode RestoreNode(const v1::Manifest& manifest, const v1::Node& node,
                         KeyGroupRange key_groups, uint32_t index, uint32_t parallelism);

}  // namespace millrace
