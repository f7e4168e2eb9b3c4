// An Operator turns the input batches of one partition of one job step into output batches. It is
// sequential code: it never blocks, locks, starts a thread or reads a clock that it was not given.
//
// Threading: the owning Task calls every method, one at a time (runtime/task/task.h).
// Ownership: the Task owns the operator; the operator borrows its context, which outlives it.
// Errors:    a non-OK status ends the task; runtime/base/status.h says what then. A bad row is not
// an
//            error: it goes to the dead-letter output and is counted.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/base/env.h"
#include "runtime/base/ids.h"
#include "runtime/columns/batch.h"
#include "runtime/task/emitter.h"

namespace millrace {

namespace v1 {
class JobGraph;
class Node;
}  // namespace v1
class StateStore;
class SplitWatermarks;

// Counters of one operator in one task. Written by the task thread, read by metrics and heartbeats.
struct OperatorCounters;

// Everything an operator may use. Built by the task before Open().
struct OperatorContext {
  const v1::Node& node;  // Compiled: typed expressions, ids.
  std::vector<SchemaPtr> input_schemas;
  SchemaPtr output_schema;
  KeyGroupRange key_groups;
  uint32_t max_parallelism = 256;
  // The watermark of the restored epoch; Min() on a fresh start.
  EventTime restored_watermark = EventTime::Min();
  // Null for operators that their table entry calls stateless.
  StateStore* state = nullptr;
  OperatorCounters& counters;
  Clock& clock;
  // Set only for nodes that follow a source in its chain; see split_watermarks.h.
  SplitWatermarks* split_watermarks = nullptr;
  // The graph of the node, for what belongs to the whole job: its models.
  const v1::JobGraph* graph = nullptr;
  // For files that Open reads; nothing else may block.
  Disk* disk = nullptr;
};

enum class Progress { kDone, kAgain };

class Operator {
 public:
  virtual ~Operator() = default;

  // Called once, first, with the state of the restored epoch already in place.
  virtual absl::Status Open(OperatorContext&) { return absl::OkStatus(); }

  // Consumes all of `batch`, which came in on edge `input`. May overfill `out`: the task makes room
  // before it calls again.
  virtual absl::Status Process(int input, const Batch& batch, Emitter& out) = 0;

  // Every input has reached `watermark`. Returns kAgain when it stopped because `out.full()`; the
  // same call is then repeated before any other method. The task forwards the watermark after
  // kDone. End of input is EventTime::Max().
  virtual absl::StatusOr<Progress> OnWatermark(EventTime, Emitter&) { return Progress::kDone; }

  // Moves whatever the operator still caches into the state store, which the task then snapshots as
  // `epoch`.
  virtual absl::Status FlushState(Epoch) { return absl::OkStatus(); }
};

// Sends rows `errors` of `batch` (rows of one node's input) to the dead-letter output of node
// `uid`, counts them, and returns the other rows. `code` is stable ("MR2101").
Batch DeadLetterRows(std::string_view uid, std::string_view code, const Batch& batch,
                     const struct RowErrors& errors, OperatorCounters& counters, Clock& clock,
                     Emitter& out);

}  // namespace millrace
