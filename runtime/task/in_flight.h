// Rows that the barrier of an epoch has overtaken. Where a checkpoint would wait too long for the
// rows before its barriers, a task makes its cut while they still wait in its channels, and they
// become segments of the epoch: rows of keyed edges only, since whoever restores them must find
// their owner by their key.
//
// Invariants, of an epoch that has such rows:
//  - They were sent in the epoch and had not come to an operator: the state of the epoch has none
//    of them, `rows_in` does not count them, and sent = received + in flight, exactly.
//  - A restore delivers them before anything that comes from a channel, in the order of their
//    channel; at any parallelism, each to the owner of its key, once.
//  - The watermark of the node is then that of the cut, so that no row is late which was not, or
//    on time which was late. Watermarks that were overtaken are not kept: each sender tells its own
//    when it starts, which is the newest before its barrier.
//
// Threading: pure functions, and reading and writing that block (io threads).
// Errors:    kDataLoss for a damaged segment; kFailedPrecondition, MR5302, for rows that the node
//            cannot take because its inputs have other columns or keys now.
#pragma once

#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "millrace/v1/checkpoint.pb.h"
#include "runtime/base/ids.h"
#include "runtime/columns/batch.h"

namespace millrace {

class CheckpointStorage;

// How rows come to an input of a task's first node, and whose they are.
struct KeyedInput {
  int input = 0;
  std::vector<int> key_columns;
  SchemaPtr columns;
};

struct InFlight {
  EventTime watermark;
  // With the index of their KeyedInput.
  std::deque<std::pair<size_t, Batch>> batches = {};
  bool is_reached = false;  // Of a restore: the watermark has been passed on.
};

// More than this per task and epoch, in batch bytes, is not kept: the epoch stays aligned there.
inline constexpr size_t kInFlightBytesMax = 32 << 20;

// All but the segment.
v1::InFlightRows DescribeInFlight(const InFlight& rows, const std::vector<KeyedInput>& inputs);

// `identity`: name, uid, key groups, epoch of the segment to be.
absl::StatusOr<v1::Segment> WriteInFlight(CheckpointStorage& storage, const v1::Segment& identity,
                                          const InFlight& rows);

// The share of `key_groups`.
absl::StatusOr<InFlight> ReadInFlight(CheckpointStorage& storage, const v1::InFlightRows& rows,
                                      const std::vector<KeyedInput>& inputs,
                                      KeyGroupRange key_groups, uint32_t max_parallelism);

}  // namespace millrace
