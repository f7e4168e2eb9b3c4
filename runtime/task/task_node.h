// The parts of a Task: its nodes and its input channels. Private to runtime/task.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/checkpoint/segment_outbox.h"
#include "runtime/expressions/expression.h"
#include "runtime/state/state_store.h"
#include "runtime/task/node_tap.h"
#include "runtime/task/operator.h"
#include "runtime/task/state_metrics.h"
#include "runtime/task/task.h"

namespace millrace {

// So many complete epochs may wait while an earlier one is committed, before the task takes no more
// rows: a target that is slower than the source must not fill the disk with outboxes. They need
// nothing of this task any more, so waiting for them ends.
inline constexpr size_t kCommitsWaitingMax = 2;

// One node of the chain in this task: exactly one of source, op and sink is set.
struct Task::Node {
  // A consumer of one of the node's outputs within the chain.
  struct Child {
    OutputPort port;
    size_t node;
    int input;
  };

  const v1::Node* proto = nullptr;
  std::string uid;
  size_t position = 0;
  std::vector<Child> children;
  std::vector<TaskOutput> outputs;
  std::vector<bool> reaches;  // reaches[i]: node i is this node or behind it in the chain.

  SchemaPtr schema;
  OperatorCounters counters;
  TaskCounter watermark_us;
  EventTime watermark = EventTime::Min();
  std::unique_ptr<NodeEmitter> emitter;
  std::unique_ptr<NodeTap> tap;  // While somebody looks on.

  // Asynchronous operators: rows given to it and settled since Open, and the watermarks that wait
  // for the first `rows` of them, oldest first.
  struct HeldWatermark {
    EventTime watermark;
    uint64_t rows;
  };
  uint64_t rows_restored = 0;
  Settled settled;
  std::deque<HeldWatermark> held;
  // A latency mark that waits likewise; further ones are dropped meanwhile.
  struct {
    int64_t read_us = 0;  // 0: none.
    uint64_t rows = 0;
  } held_mark;
  uint64_t rows_given() const { return counters.rows_in.value() - rows_restored; }

  // Operators that give event time themselves, and the nodes behind them.
  bool gives_time = false;
  bool is_behind_clock = false;

  // Contexts outlive what borrows them: declared first, destroyed last.
  std::unique_ptr<StateStore> state;
  std::unique_ptr<StateMetrics> state_metrics;
  std::unique_ptr<SegmentOutbox> outbox;
  const v1::StateLayout* layout = nullptr;         // See OperatorContext.
  const v1::StateLayout* former_layout = nullptr;  // Likewise.
  std::unique_ptr<OperatorContext> operator_context;
  std::unique_ptr<SourceContext> source_context;
  std::unique_ptr<SinkContext> sink_context;
  std::unique_ptr<SplitDiscovery> discovery;
  std::unique_ptr<Source> source;
  std::unique_ptr<Operator> op;
  std::unique_ptr<Sink> sink;

  // Sinks: sealed epochs that are not yet committed, oldest first.
  std::vector<v1::CommitToken> pending;
  // Sinks: latency marks whose epoch is not yet committed; epoch 0 has not been prepared either.
  struct LatencyMark {
    Epoch epoch;
    int64_t read_us;
  };
  std::vector<LatencyMark> marks;
  OperatorMetrics::Histogram* latency = nullptr;
  // Sources: positions of snapshots that are not yet complete.
  std::vector<std::pair<Epoch, std::vector<Split>>> snapshots;
};

class Task::NodeEmitter : public Emitter {
 public:
  NodeEmitter(Task& task, Node& node) : task_(task), node_(node) {}

  void Emit(OutputPort port, Batch batch) override;
  bool full() const override { return !task_.HasCredit(); }

 private:
  Task& task_;
  Node& node_;
};

struct Task::Channel {
  int input = 0;
  TaskId from;
  std::unique_ptr<ChannelReceiver> receiver;
  std::optional<std::vector<int>> key_columns;  // See TaskInput.
  size_t keyed_input = 0;                       // Its index in keyed_inputs_, if it has them.
  // Taken from the receiver by looking ahead for a barrier, and not yet credited.
  std::deque<ChannelItem> ahead;
  EventTime watermark = EventTime::Min();
  EventTime before_end = EventTime::Min();  // The newest watermark but that of the end.
  bool idle = false;
  bool at_barrier = false;  // Delivers nothing until the barrier has come everywhere.
  Epoch barrier;
};

// The durable part of a snapshot: runs on an io thread.
struct SnapshotJob {
  v1::TaskSnapshot snapshot;
  struct Part {
    int node;  // Index in snapshot.nodes().
    std::function<absl::StatusOr<std::vector<v1::Segment>>()> write;
    // Of what is written. Outbox segments are already named in their token.
    v1::Segment::Kind kind = v1::Segment::KIND_OUTBOX;
    int in_flight = 0;  // KIND_IN_FLIGHT: index in the node's in_flight().
  };
  std::vector<Part> parts;
};

}  // namespace millrace
