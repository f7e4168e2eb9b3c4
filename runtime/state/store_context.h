// What the tables of one state store share with it. Internal to runtime/state.
//
// Threading: the task thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/base/ids.h"
#include "runtime/state/cold_store.h"
#include "runtime/state/frozen_delta.h"
#include "runtime/state/memory_budget.h"
#include "runtime/state/state_format.h"

namespace millrace {

// Rows leaving memory, in ascending key order: all that the cold store does not have yet go there,
// and those that no segment has yet also go to a segment of the running epoch.
class EvictionRun {
 public:
  virtual ~EvictionRun() = default;
  virtual absl::Status Add(StateOp op, std::string_view key, std::string_view value, bool to_cold,
                           bool to_segment) = 0;
  virtual absl::Status Finish() = 0;
};

class StoreContext {
 public:
  virtual ~StoreContext() = default;
  virtual absl::StatusOr<std::unique_ptr<EvictionRun>> BeginEviction(
      const TableIdentity& table) = 0;
  // Evicts when the store would be over its share of the budget with `more_bytes`. Tables may lose
  // their rows to the cold store.
  virtual absl::Status MakeRoom(uint64_t more_bytes = 0) = 0;
  virtual void Charge(int64_t bytes) = 0;
  // Null while nothing is cold.
  virtual ColdStore* cold() = 0;
  virtual uint64_t scratch_bytes_max() = 0;
  virtual MemoryBudget& budget() = 0;
  virtual KeyGroupRange key_groups() const = 0;
  virtual uint32_t max_parallelism() const = 0;
};

}  // namespace millrace
