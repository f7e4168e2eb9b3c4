// A job for the simulator whose right answer is known: a source that counts, tumbling windows by
// key, and a target that checks every commit.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "coordinator/coordinator.h"
#include "runtime/task/node_factory.h"
#include "tests/simulation/sim_env.h"

namespace millrace {

// The external system that the job writes to: slots with markers and fencing, like a transactional
// topic. Outlives every crash.
class SimTarget {
 public:
  explicit SimTarget(SimRandom& random) : random_(random) {}

  // The owner of `generation` takes the slot; kAborted when a newer one has it.
  absl::Status Fence(uint32_t slot, uint64_t generation);
  // Makes rows and marker visible, all or nothing; the answer may be lost (kUnavailable).
  absl::Status Commit(uint32_t slot, uint64_t generation, uint64_t epoch,
                      const std::vector<std::string>& rows);
  uint64_t marker(uint32_t slot) const;

  const std::map<std::string, int>& rows() const { return rows_; }
  uint64_t commits() const { return commits_; }

 private:
  SimRandom& random_;
  struct Slot {
    uint64_t generation = 0;
    uint64_t marker = 0;
  };
  std::map<uint32_t, Slot> slots_;
  std::map<std::string, int> rows_;  // How often each row is visible.
  uint64_t commits_ = 0;
};

struct SimJob {
  int splits = 4;
  int64_t rows_per_split = 3000;
  int keys = 7;
  // Puts an operator between wm and win that asks an imaginary server about every row: answers come
  // in any order, and some are asked for again.
  bool asks = false;
  uint32_t alignment_timeout_ms = 0;  // See v1::Settings.

  // The compiled graph: src -> wm -> (by key) win -> sink.
  v1::JobGraph Graph() const;
  // The same under another name of `win`, which takes its state over. A `broken` one cannot open
  // its sink.
  v1::JobGraph NewVersion(bool renamed, bool broken) const;
  // Every row that must be visible exactly once in the end.
  std::map<std::string, int> Expected() const;
  int64_t KeyOf(int split, int64_t row) const { return (row * 31 + split) % keys; }
  int64_t TimeUs(int split, int64_t row) const;
};

std::unique_ptr<NodeFactory> MakeSimNodes(const SimJob& job, SimTarget& target, SimWorld& world);

}  // namespace millrace
