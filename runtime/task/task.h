// A Task runs one chain of operators for a range of key groups. It owns all control: barriers and
// their alignment, the minimum of watermarks, idleness, back-pressure, snapshots, commits.
// Operators, sources and sinks only compute.
//
// Threading: Open on an io thread, before the rest. Start, RunOnce and the destructor's caller: see
//            each. Trigger and Complete from any thread (they post letters). TaskListener methods
//            are called from the task's thread or an io thread.
// Ownership: closures on the io pool hold a reference to the task, so that an upload or a commit
// that
//            outlasts the attempt finds what it uses; the last of them destroys it.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "millrace/v1/checkpoint.pb.h"
#include "millrace/v1/graph.pb.h"
#include "millrace/v1/worker_service.pb.h"
#include "runtime/base/env.h"
#include "runtime/base/ids.h"
#include "runtime/base/mailbox.h"
#include "runtime/exchange/router.h"
#include "runtime/state/open_state_store.h"
#include "runtime/task/counters.h"
#include "runtime/task/emitter.h"
#include "runtime/task/in_flight.h"
#include "runtime/task/node_factory.h"
#include "runtime/task/split_watermarks.h"

namespace millrace {

class CheckpointStorage;
class MemoryBudget;
class S3Access;

// What one task reports upwards. Must outlive every task.
class TaskListener {
 public:
  virtual ~TaskListener() = default;
  // All splits of the task's bounded source have been read.
  virtual void OnExhausted(TaskId task) = 0;
  // Called once; the task does nothing more. `uid` is empty when no operator is to blame.
  virtual void OnFailed(TaskId task, std::string_view uid, const absl::Status& status) = 0;
  struct EpochTimes {
    int64_t align_ns = 0;
    int64_t sync_ns = 0;
    int64_t async_ns = 0;
  };
  virtual void OnSnapshot(TaskId task, Epoch epoch, v1::TaskSnapshot snapshot,
                          EpochTimes times) = 0;
  virtual void OnCommitted(TaskId task, Epoch epoch) = 0;
  // Rows that a node with a tap has emitted, or, a sink, was given; and how many it has not shown
  // since the last call.
  virtual void OnRows(TaskId, std::string_view /*uid*/, const Batch&, uint64_t /*left_out*/) {}
  // See SinkContext::deliver. Io threads.
  virtual std::shared_ptr<RowDelivery> DeliverRows(TaskId, std::string_view uid,
                                                   v1::TailedRows rows);
  // The answer to PrepareModel.
  virtual void OnModelPrepared(TaskId, Epoch, const absl::Status&) {}
};

struct TaskOptions {
  Env env;
  const NodeFactory& factory;
  const v1::JobGraph& graph;  // Compiled.
  const v1::Chain& chain;
  const v1::Manifest& restore;  // Empty on a fresh start.
  // Of the nodes of the graph that keep state, to be compared with those of `restore`.
  const google::protobuf::RepeatedPtrField<v1::StateLayout>& layouts;
  CheckpointStorage& storage;
  MemoryBudget& budget;
  TaskListener& listener;
  std::function<void()> wake;              // Wakes the task's thread.
  std::shared_ptr<const void> keep_alive;  // Whoever owns the references above.
  std::string job_id;
  Generation generation;
  uint64_t attempt = 0;
  TaskId id;
  KeyGroupRange key_groups;
  std::string cold_folder;  // Private to this task and attempt; empty: cold rows in memory.
  bool interactive = false;
  std::shared_ptr<S3Access> s3;  // Of connectors, to object stores. Null: there is none.
};

// A channel into the chain's first node.
struct TaskInput {
  int input = 0;  // Which input of the node.
  TaskId from;
  // Of a keyed edge: where its rows have their keys. Barriers may overtake rows of such edges only.
  std::optional<std::vector<int>> key_columns = {};
  std::unique_ptr<ChannelReceiver> receiver;
};

// An edge that leaves the chain.
struct TaskOutput {
  std::string uid;
  OutputPort port = OutputPort::kMain;
  std::unique_ptr<Router> router;
  std::vector<TaskId> receivers;  // By sender of the router.
};

// What a task waits for, for those who ask why a job does not move.
struct TaskCondition {
  enum class WaitsFor {
    kNothing,
    kInput,
    kCredit,    // Of `receiver`.
    kSnapshot,  // The one before is still being written.
    kAnswers,   // Of an asynchronous operator's server.
    kCommit,    // Too many complete epochs wait for the target to take them.
  };
  WaitsFor waits_for = WaitsFor::kNothing;
  int64_t waits_ns = 0;  // kCredit and those behind it: for how long.
  TaskId receiver;
  // A barrier has come on some inputs; `missing` is a sender whose barrier has not. 0 = none.
  uint64_t aligning_epoch = 0;
  int64_t align_ns = 0;
  TaskId missing;
  int64_t snapshot_ns = 0;  // The snapshot that is being written; 0 = none.
  int64_t commit_ns = 0;    // The commit that is under way; 0 = none.
};

// State that was restored ahead, by the uid of its node.
using PreparedState = std::map<std::string, std::unique_ptr<StateRestore>>;

class Task : public std::enable_shared_from_this<Task> {
 public:
  static std::shared_ptr<Task> Make(TaskOptions options, std::vector<TaskInput> inputs);
  ~Task();
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

  // Makes the nodes, restores their state (what is `prepared` of it, the less), finishes the
  // pending commits of the restored epoch. Blocks.
  absl::Status Open(PreparedState prepared = {});
  // Called once, after Open and before the first RunOnce, when every task of the attempt is open.
  void Start(std::vector<TaskOutput> outputs);

  enum class Step {
    kProgress,  // Call again at once.
    kIdle,      // Nothing to do until woken.
    kBlocked,   // Waits for credit or for a snapshot in progress.
  };
  // One bounded piece of work. Task thread.
  Step RunOnce();
  // Any thread, after Open; parts of it may be of different moments.
  TaskCondition condition() const;
  // No RunOnce follows. Task thread, or any when there is none.
  void Stop();

  enum class AfterEpoch {
    kGoOn,
    kHold,   // Sources give no more rows: the attempt ends with the epoch.
    kDrain,  // The input ends before the barrier: the watermark goes to the end of time.
  };
  // Sources: begin `epoch` with a barrier. Others: when they have not made its cut after
  // `alignment_timeout`, its barriers may overtake rows of keyed edges (task_overtaking.cc); zero
  // means never. Any thread.
  void TriggerEpoch(Epoch epoch, AfterEpoch after, absl::Duration alignment_timeout);
  // See StateStore::KeepSegments; of all nodes. Any thread.
  void KeepSegments(bool keep);
  // Loads `model` on an io thread for every operator that has one of its name, to be used from the
  // cut of `epoch` on; the listener is told. Any thread.
  void PrepareModel(Epoch epoch, const v1::Model& model);
  // Shows the listener rows that node `uid` emits, at most so many per second; 0 = none. Any
  // thread.
  void SetTap(std::string_view uid, uint32_t rows_per_second_max);
  // The epoch record of `epoch` exists: commit. Any thread.
  void CompleteEpoch(Epoch epoch);

  const TaskOptions& options() const { return options_; }
  bool has_source() const { return has_source_; }
  bool blocking() const;
  // A source without a wake-up of its own must be polled even when idle.
  absl::Duration idle_poll_interval() const;

  // For metrics and heartbeats; any thread, after Open.
  struct NodeView {
    std::string uid;
    const OperatorCounters* counters;
    const TaskCounter* watermark_us;  // Two's complement.
    bool is_source;
    bool is_sink;
  };
  std::vector<NodeView> Views() const;
  TaskCounter& busy_ns() { return busy_ns_; }
  TaskCounter& idle_ns() { return idle_ns_; }
  TaskCounter& blocked_ns() { return blocked_ns_; }
  TaskCounter& stalls() { return stalls_; }  // Long steps; the runner counts.
  size_t letters_waiting() const { return mailbox_.size(); }
  // Letters that were run, and the time for which they waited.
  uint64_t letters() const { return letters_.value(); }
  uint64_t letters_wait_ns() const { return letters_wait_ns_.value(); }
  uint64_t state_bytes() const { return state_bytes_.value(); }
  uint64_t queued_bytes() const { return queued_bytes_.value(); }
  // Since the source last had rows; 0 before it has been polled.
  int64_t source_idle_ns() const;
  const SplitCounts& splits() const { return split_counts_; }
  // How far the most advanced split is ahead of the one that holds the watermark, both active.
  uint64_t watermark_drift_us() const { return watermark_drift_us_.value(); }

 private:
  struct Node;
  class NodeEmitter;
  struct Channel;

  Task(TaskOptions options, std::vector<TaskInput> inputs);

  void Post(Mailbox::Letter letter);
  absl::Status MakeNodes();
  absl::Status OpenNode(Node& node, PreparedState& prepared);
  absl::Status CompareLayout(Node& node) const;
  std::string SegmentPrefix() const;
  // `fresh`: no task has read the source before.
  absl::Status OpenSource(Node& node, std::vector<Split> restored, bool fresh);
  absl::Status OpenSink(Node& node, std::vector<v1::CommitToken> pending);
  void ScheduleDiscovery();
  void AddDiscoveredSplits(std::vector<Split> discovered);

  bool HasCredit();
  size_t QueuedBytes() const;
  Step RunStep();
  Step Blocked(TaskCondition::WaitsFor why);
  void SetWait(TaskCondition::WaitsFor why);
  void ShowRows(Node& node, const Batch& batch);
  void TellLeftOut();
  Step RunSource();
  Step RunChannels();
  Step BeginEpoch();
  Step PollSource(Node& node);
  void HandleBarrier(Channel& channel, Epoch epoch);
  void EndAlignment();
  // See task_overtaking.cc.
  void FindKeyedInputs();
  absl::Status OpenInFlight(const Node& node, const std::vector<v1::InFlightRows>& rows);
  Step DeliverInFlight();
  bool IsOvertakingDue();
  Step CutWithoutCredit();
  Step Overtake();
  bool LookAhead(Channel& channel);
  std::deque<InFlight> TakeOvertaken();
  bool NextItem(Channel& channel, ChannelItem& item);
  void HandleItem(Channel& channel, ChannelItem item);
  void Deliver(size_t node, int input, const Batch& batch);
  void LookAtSplits(int64_t now_ns);
  void AdvanceInputWatermark();
  void BeginWatermark(size_t origin, EventTime watermark);
  void ContinueWatermark();
  void SendIdle();
  void PassLatencyMark(size_t origin, int64_t read_us, bool released);
  void ReleaseLatencyMark(Node& node);
  void ObserveLatency(Node& node, int64_t read_us);
  void FindAsynchronous();
  void FindTimeGivers();
  void AdvanceOwnWatermarks();
  Step RunAsynchronous();
  Step BringOut();
  bool Collect(Node& node, bool all);
  bool HoldWatermark(Node& node);
  void ReleaseWatermark(Node& node);
  EventTime PassableTo(size_t node, EventTime watermark) const;
  bool AnyUnderWay() const;
  // kIdle: the next epoch may be taken; nothing is under way, and the last one is written.
  Step PrepareEpoch();
  // Makes the cut, before the rows `in_flight`. False when the task has failed.
  bool TakeEpoch(Epoch epoch, std::deque<InFlight> in_flight = {});
  void SnapshotInFlight(Epoch epoch, std::deque<InFlight> in_flight, struct SnapshotJob& job);
  absl::Status SnapshotNode(Node& node, Epoch epoch, struct SnapshotJob& job);
  void RunCommits();
  void Commit(Epoch epoch, std::vector<std::pair<Node*, v1::CommitToken>> due);
  void Fail(std::string_view uid, const absl::Status& status);
  absl::Status EndsStatus() const;

  const TaskOptions options_;
  Env env_;  // The same as in options_, for those who want it mutable.
  Mailbox mailbox_;
  std::vector<std::unique_ptr<Node>> nodes_;  // In topological order; 0 is the head.
  std::vector<Channel> channels_;
  bool has_source_ = false;
  SplitWatermarks split_watermarks_;
  int watermark_node_ = -1;  // Position of the watermark operator behind a source.

  // Task thread, all of the rest.
  bool started_ = false;
  bool done_ = false;  // Failed or stopped.
  size_t next_channel_ = 0;
  // A watermark on its way through the chain, interrupted by back-pressure.
  struct {
    bool active = false;
    EventTime watermark;
    size_t origin = 0;
    size_t next = 0;
    bool released = false;  // `origin` is asynchronous, and held it until now.
  } pass_;
  std::vector<Node*> asynchronous_;  // In topological order.
  std::vector<Node*> time_givers_;   // Likewise.
  struct Trigger {
    Epoch epoch;
    AfterEpoch after;
    bool overtakes;
  };
  std::deque<Trigger> triggers_;  // Sources: epochs to begin.
  bool source_ended_ = false;     // No more Poll: the input is at its end.
  bool source_held_ = false;      // No more Poll: the attempt ends.
  bool exhausted_reported_ = false;
  std::vector<std::string> known_splits_;
  uint32_t steps_ = 0;
  int64_t next_mark_ns_ = 0;  // Sources: when the next latency mark is due.
  int taps_ = 0;              // Nodes that have one.
  bool idle_sent_ = false;
  bool idle_wanted_ = false;  // To be sent when no row is under way.
  int64_t blocked_since_ns_ = 0;
  int64_t align_since_ns_ = 0;
  std::vector<KeyedInput> keyed_inputs_;
  std::deque<InFlight> in_flight_;  // Restored, and not yet delivered.
  // The epoch whose barriers may overtake rows from `at_ns` on.
  struct {
    Epoch epoch;
    int64_t triggered_ns = 0;
    int64_t at_ns = 0;
  } overtaking_;
  Epoch last_epoch_;  // The last one that was cut.
  bool snapshot_running_ = false;
  std::deque<Epoch> commits_;  // Completed epochs whose commit has not begun.
  bool commit_running_ = false;

  TaskCounter busy_ns_, idle_ns_, blocked_ns_, stalls_, state_bytes_;
  TaskCounter queued_bytes_;
  TaskCounter letters_, letters_wait_ns_;
  TaskCounter source_rows_ns_;  // When the source last had rows, or was first polled.
  SplitCounts split_counts_;
  TaskCounter watermark_drift_us_;

  // See TaskCondition; times are when it began, 0 = not.
  TaskCounter waits_for_, waits_since_ns_, receiver_;
  TaskCounter aligning_epoch_, align_began_ns_, missing_;
  TaskCounter snapshot_began_ns_, commit_began_ns_;
};

}  // namespace millrace
