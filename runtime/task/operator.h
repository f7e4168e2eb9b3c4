// An Operator turns the input batches of one partition of one job step into output batches. It is
// sequential code: it never blocks, locks, starts a thread or reads a clock that it was not given.
//
// Threading: the owning Task calls every method, one at a time (runtime/task/task.h).
// Ownership: the Task owns the operator; the operator borrows its context, which outlives it.
// Errors:    a non-OK status ends the task; runtime/base/status.h says what then. A bad row is no
//            error: it goes to the dead-letter output and is counted.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
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
class Model;
class Node;
class StateLayout;
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
  // What the node keeps; null where nobody knows. `former_layout`: of the version that wrote the
  // restored state, when that has other columns in the rows that it keeps: Open converts them.
  const v1::StateLayout* layout = nullptr;
  const v1::StateLayout* former_layout = nullptr;
  OperatorCounters& counters;
  Clock& clock;
  // Set only for nodes that follow a source in its chain; see split_watermarks.h.
  SplitWatermarks* split_watermarks = nullptr;
  // The graph of the node, for what belongs to the whole job: its models.
  const v1::JobGraph* graph = nullptr;
  // For files that Open reads; nothing else may block.
  Disk* disk = nullptr;
  // For asynchronous operators: timers and chance; and what makes the task call Collect soon.
  // `wake` may be called from any thread, also when the task is gone.
  Env* env = nullptr;
  std::function<void()> wake = {};
  // For lines of the job's log (field "job").
  std::string job_id = {};
};

enum class Progress { kDone, kAgain };

// How far an asynchronous operator is.
struct Settled {
  // Most operators: they have emitted all they make of a row when Process returns. The task does
  // not ask them again.
  bool synchronous = false;
  // Of the rows given to Process since Open, in their order: how many come before the first that
  // is still under way. A row is settled once all that is made of it has been emitted.
  uint64_t rows = 0;
  // Too much is under way: the task takes no more input until this is false again.
  bool full = false;
};

// What an operator with a model lets the task change while rows go by.
//
// Threading: the task thread, but for Load.
class ModelHolder {
 public:
  // A model that is loaded and not yet used.
  class Loaded {
   public:
    virtual ~Loaded() = default;
  };
  virtual ~ModelHolder() = default;
  // The model in use; its proto is what the snapshot of an epoch says.
  virtual const v1::Model& model() const = 0;
  // Reads and loads `model`, which must fit the node. Any thread; blocks.
  virtual absl::StatusOr<std::unique_ptr<Loaded>> Load(const v1::Model& model) const = 0;
  // Used from the cut of `epoch` on, by FlushState of exactly that epoch.
  virtual void UseFrom(Epoch epoch, std::unique_ptr<Loaded> loaded) = 0;
};

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

  // Operators that give event time by the clock: the present. It never goes back, and no row that
  // is emitted from here on is before it. The task asks at every step and passes it on from this
  // operator; watermarks of the input end here, but for the one of the end.
  virtual std::optional<EventTime> OwnWatermark() { return std::nullopt; }

  // Moves whatever the operator still caches into the state store, which the task then snapshots as
  // `epoch`.
  virtual absl::Status FlushState(Epoch) { return absl::OkStatus(); }

  // For asynchronous operators: those with rows under way outside the task (requests in flight,
  // rows that wait for a batch to fill). Emits what has arrived, at the latest when it is called
  // with room in `out`, and begins what is due by now. With `all`, it sends what waits for more
  // rows, too, because a barrier or the end of the input waits; the task calls again, with every
  // `wake`, until all is settled.
  //
  // Answers come on foreign threads, perhaps after the operator is gone. They enter by a Mailbox
  // that the operator shares with its callbacks, made with the context's `wake`, whose letters
  // Collect runs: a letter may name the operator, a callback may not. Timers do the same.
  //
  // What the task makes of it: a watermark stays before the operator until the rows before it are
  // settled, while later rows come in; so it never passes a row, but a row may pass it. At a
  // barrier no more rows come in until all are settled, so no snapshot has anything in flight. The
  // task never waits: it sleeps until woken, and other tasks run.
  virtual absl::StatusOr<Settled> Collect(bool /*all*/, Emitter&) {
    return Settled{.synchronous = true};
  }

  // Null: the operator has no model.
  virtual ModelHolder* model_holder() { return nullptr; }
};

// Sends rows `errors` of `batch` (rows of one node's input) to the dead-letter output of node
// `uid`, counts them, and returns the other rows. `code` is stable ("MR2101").
Batch DeadLetterRows(std::string_view uid, std::string_view code, const Batch& batch,
                     const struct RowErrors& errors, OperatorCounters& counters, Clock& clock,
                     Emitter& out);

}  // namespace millrace
