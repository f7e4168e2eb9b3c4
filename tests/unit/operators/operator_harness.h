// Runs one operator as tasks would, in one of five modes that must all give the same answer:
// straight; snapshot and restore after every step; the same at another parallelism each time; a
// memory budget that evicts all the time; an output that is full after every batch.
//
// The node is written as in a job file; its input is the node `in`, whose columns the test names.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "millrace/v1/graph.pb.h"
#include "runtime/base/mailbox.h"
#include "runtime/columns/batch.h"
#include "runtime/task/counters.h"
#include "runtime/task/emitter.h"
#include "runtime/task/operator.h"
#include "tests/unit/state/state_test_env.h"

namespace millrace {

enum class HarnessMode { kStraight, kRestored, kRescaled, kSmallMemory, kFullOutput };
inline constexpr HarnessMode kAllModes[] = {HarnessMode::kStraight, HarnessMode::kRestored,
                                            HarnessMode::kRescaled, HarnessMode::kSmallMemory,
                                            HarnessMode::kFullOutput};
std::string ModeName(HarnessMode mode);

// Values as text; "NULL" is NULL. TIMESTAMP columns take milliseconds, arrays "a;b", those of rows
// "a,1;b,2". One value more than there
// are columns: the first one is the kind of the row ("+I", "-U", "+U", "-D", "truncate").
using TextRow = std::vector<std::string>;

class OperatorHarness {
 public:
  // `columns`: as in a schema ("k STRING"). `node`: YAML of the node without uid and inputs.
  // `before`: nodes between `in` and the operator, as whole YAML list items; `input` is the one
  // that the operator reads. The test fails when the job does not compile.
  struct Job {
    std::vector<std::string> columns;
    std::string node;
    std::string before;
    std::string input = "in";
    // The node that is input 1 of a join.
    std::string right = {};
    // The rows have the columns of captured changes, `$sequence` and `$unavailable`, at their end.
    bool captured = false;
    // The models of the graph, as whole YAML list items, and files by path.
    std::string models = {};
    std::map<std::string, std::string> files = {};
    // The operator has threads of its own, which are waited for.
    bool has_threads = false;
  };
  // `make`: makes the operator, instead of the table of operators; given what it talks to.
  using MakeIt = std::function<std::unique_ptr<Operator>()>;
  OperatorHarness(const Job& job, HarnessMode mode, MakeIt make = nullptr);
  ~OperatorHarness();

  // Each is a step: afterwards the mode does what it does.
  void Push(const std::vector<TextRow>& rows, int input = 0);
  void Watermark(int64_t ms);
  // Moves the clock; no step.
  void Wait(int64_t ms) { env_.now += absl::Milliseconds(ms); }
  void End();
  // A new version of the operator and what is before it goes on with the state. The test fails when
  // the state would have to be given up. No step.
  void Upgrade(const Job& job);
  // Of a barrier: what the operator says. No step.
  absl::Status TrySnapshot();
  // The next timer of the operator goes off; no step. False: there is none.
  bool RunTimer() { return env_.RunTimer(); }

  // What came out since the last call, as lines "a | b | NULL", sorted; timestamps in ms. Rows of a
  // changelog begin with their kind: "+I | a | b".
  std::vector<std::string> TakeMain() { return Take(OutputPort::kMain); }
  std::vector<std::string> TakeLate() { return Take(OutputPort::kLate); }
  std::vector<std::string> TakeDeadLetters() { return Take(OutputPort::kDeadLetter); }
  uint64_t rows_late() const { return counters_.rows_late.value(); }
  uint64_t rows_unchanged() const { return counters_.rows_unchanged.value(); }
  double metric(const std::string& name) const;  // The sum over its labels.
  uint64_t rows_dead_lettered() const { return counters_.rows_dead_lettered.value(); }
  // Rows in the keyed tables with these names, in memory and cold, of all tasks.
  uint64_t StateRows(const std::vector<std::string>& tables) const;
  // How often cold rows existed after a step.
  int evictions() const { return evictions_; }

 private:
  struct Instance;
  class Collector;

  std::vector<std::string> Take(OutputPort port);
  void Open(uint32_t parallelism, const std::vector<v1::Segment>& restore);
  void Load(const Job& job);
  std::vector<v1::Segment> Snapshot();
  void AfterStep();
  // All rows that an asynchronous operator has under way; its timers run.
  void BringOut(Instance& instance);
  void Deliver(EventTime watermark);
  void AddInput(const std::string& uid, bool captured);
  Batch ToBatch(const std::vector<TextRow>& rows, const SchemaPtr& schema) const;

  const HarnessMode mode_;
  const MakeIt make_;
  StateTestEnv env_;
  v1::JobGraph graph_;
  const v1::Node* node_ = nullptr;
  std::vector<SchemaPtr> input_schemas_;
  SchemaPtr output_schema_;
  std::vector<std::vector<int>> key_columns_;  // Of each input.
  v1::StateLayout layout_;
  std::optional<v1::StateLayout> former_layout_;  // While a new version opens.

  std::unique_ptr<CheckpointStorage> storage_;
  MemoryBudget budget_;
  OperatorCounters counters_;
  bool has_threads_ = false;
  Waker waker_;  // Of threads of operators.
  std::atomic<bool> is_woken_{false};
  std::vector<std::unique_ptr<Instance>> instances_;
  std::map<OutputPort, std::vector<std::string>> out_;
  EventTime watermark_ = EventTime::Min();
  uint64_t epoch_ = 0;
  int generation_ = 0;
  int evictions_ = 0;
};

}  // namespace millrace
