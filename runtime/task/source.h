// A Source reads splits of an external system into batches. It has no thread, no loop and no
// control messages; the task polls it.
//
// Threading: the owning Task calls every method, one at a time.
// Ownership: the Task owns the source; the context outlives it.
// Errors:    as for Operator. A bad record is not an error: it goes to OutputPort::kDeadLetter and
//            is counted.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/base/env.h"
#include "runtime/base/ids.h"
#include "runtime/columns/batch.h"
#include "runtime/task/emitter.h"

namespace millrace {

namespace v1 {
class Node;
}
struct OperatorCounters;

// A part of a source with a position.
struct Split {
  std::string id;                          // Stable: "topic/partition", a path, "generator/3".
  std::string position;                    // The connector's own bytes: where to go on.
  EventTime watermark = EventTime::Min();  // Kept by the task; sources hand it through.
  bool finished = false;
};

struct SourceContext {
  const v1::Node& node;
  SchemaPtr schema;  // Columns to produce: already reduced to those that the job needs.
  OperatorCounters& counters;
  Env& env;
  uint32_t task_index = 0;
  uint32_t parallelism = 1;
  int64_t batch_rows_max = 4096;
  // Wakes the task: for clients that learn of data on a thread of their own. Any thread.
  std::function<void()> wake;
};

enum class PollResult {
  kEmitted,  // Poll again at once.
  kIdle,     // Nothing now; the task may sleep until woken, or for a few milliseconds.
  kEnd,      // Bounded, and every split is finished.
};

class Source {
 public:
  virtual ~Source() = default;
  // Starts reading `splits` at the positions they carry: a fresh start, a recovery and a rescale
  // are the same call. Split i of this list is `Batch::split` i. May block.
  virtual absl::Status Open(SourceContext& context, std::vector<Split> splits) = 0;
  // Further splits, found while running; numbered on from the last one. May block.
  virtual absl::Status AddSplits(std::vector<Split> splits) = 0;
  // Emits what has arrived, at most a few batches, without waiting. A batch holds rows of one
  // split.
  virtual absl::StatusOr<PollResult> Poll(Emitter& out) = 0;
  // The positions right after the last row emitted, in the order of Open and AddSplits.
  virtual std::vector<Split> Positions() const = 0;
  // The epoch with these positions is complete: tell the external system, if it wants to know
  // (group offsets, replication slots). Best effort, must not block.
  virtual void OnEpochCompleted(const std::vector<Split>& /*positions*/) {}
};

// Lists the splits of a source, each with its start position as numbers ("latest" is resolved
// here). Called on an io thread, at the first start and then every `discovery interval`; splits
// whose id is already known are ignored by the task. `first` tells a fresh start of the job
// (start-up mode applies) from later discovery (new splits begin at their beginning).
class SplitDiscovery {
 public:
  virtual ~SplitDiscovery() = default;
  virtual absl::StatusOr<std::vector<Split>> Discover(bool first) = 0;
  // How often to look for new splits; zero = never.
  virtual absl::Duration interval() const { return absl::ZeroDuration(); }
};

}  // namespace millrace
