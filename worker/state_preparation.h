// State of the tasks that this worker is to get, restored while those before them still run: when a
// job goes on with another parallelism, another graph or other workers, only what the last epoch
// has changed is left to be read. A cache: a task for which nothing fits restores as ever.
//
// Threading: Advance on an io thread; Take when it has returned, on the worker's loop. One at a
//            time.
// Ownership: whoever holds it; what it hands out is the taker's.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "millrace/v1/worker_service.pb.h"
#include "runtime/base/ids.h"
#include "runtime/state/open_state_store.h"
#include "runtime/task/task.h"

namespace millrace {

struct WorkerParts;

class StatePreparation {
 public:
  // `cold_folder`: private to it.
  StatePreparation(std::shared_ptr<WorkerParts> parts, std::string cold_folder);

  // Restores what `message` names for tasks on this worker, or what it has more than before, one
  // node after the other: the running tasks need the threads and the disk, too. Blocks. An error
  // leaves what was restored until then.
  absl::Status Advance(const v1::PrepareState& message);

  // What there is for a task with these nodes.
  PreparedState Take(const v1::Chain& chain, KeyGroupRange key_groups);

 private:
  absl::Status AdvanceNode(CheckpointStorage& storage, const v1::PrepareState& message,
                           const v1::Chain& chain, const v1::Task& task, const v1::Node& node);

  const std::shared_ptr<WorkerParts> parts_;
  const std::string cold_folder_;
  std::map<std::pair<std::string, KeyGroupRange>, std::unique_ptr<StateRestore>> restores_;
};

}  // namespace millrace
