// Opens the state store of one operator in one task.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "millrace/v1/checkpoint.pb.h"
#include "runtime/base/ids.h"
#include "runtime/state/segment_chain.h"
#include "runtime/state/state_store.h"

namespace millrace {

class CheckpointStorage;
struct Env;
class MemoryBudget;
class SegmentedStateStore;

struct StateStoreOptions {
  std::string uid;  // The operator's.
  KeyGroupRange key_groups;
  uint32_t max_parallelism = 256;
  // Outlive the store and its work.
  CheckpointStorage& storage;
  Env& env;
  MemoryBudget& budget;
  // The cold store's folder, wiped when it is first used. Empty: cold rows are kept in memory, for
  // simulation.
  std::string cold_folder;
  // Of segment names; see SegmentOwner.
  std::string name_prefix;
  // NodeSnapshot.state of every former task whose key groups overlap, each list in its order, one
  // list after the other. Rows of other key groups are skipped.
  std::vector<v1::Segment> restore;
  SegmentChain::Limits limits;
};

// State that is restored before it is used, while an earlier owner still changes it.
// Threading: any, one at a time. Ownership: what the options refer to outlives it.
class StateRestore {
 public:
  // Of `options`, those of the state itself are used: neither storage nor prefix nor segments.
  explicit StateRestore(StateStoreOptions options);
  ~StateRestore();

  // Applies those segments of `restore` (see StateStoreOptions) that have not been applied yet.
  // Blocks. False: those that have been are not part of it any more, or come in another order, so
  // all were applied anew. After an error none is.
  absl::StatusOr<bool> Advance(CheckpointStorage& storage, const std::vector<v1::Segment>& restore);

 private:
  friend absl::StatusOr<std::unique_ptr<StateStore>> OpenStateStore(StateStoreOptions,
                                                                    std::unique_ptr<StateRestore>);

  const StateStoreOptions options_;
  std::unique_ptr<SegmentedStateStore> store_;  // Null: nothing is applied.
};

// Restores before it returns: blocks as long as reading all segments takes, or those that
// `prepared` has not applied; null: nothing is prepared. What is of another state is not used.
// Errors: kDataLoss names the damaged segment.
absl::StatusOr<std::unique_ptr<StateStore>> OpenStateStore(
    StateStoreOptions options, std::unique_ptr<StateRestore> prepared = nullptr);

}  // namespace millrace
