#include "worker/state_preparation.h"

#include "absl/strings/str_cat.h"
#include "runtime/base/failpoint.h"
#include "runtime/base/status.h"
#include "runtime/base/status_macros.h"
#include "runtime/checkpoint/storage.h"
#include "runtime/task/graph_view.h"
#include "runtime/task/restore.h"
#include "worker/worker.h"

namespace millrace {

StatePreparation::StatePreparation(std::shared_ptr<WorkerParts> parts, std::string cold_folder)
    : parts_(std::move(parts)), cold_folder_(std::move(cold_folder)) {}

absl::Status StatePreparation::Advance(const v1::PrepareState& message) {
  MILLRACE_FAILPOINT("prepare.before_restore");
  MILLRACE_ASSIGN_OR_RETURN(const std::unique_ptr<CheckpointStorage> storage,
                            parts_->OpenStorage(message.checkpoint_uri()));
  for (const v1::Task& task : message.tasks()) {
    if (task.worker_id() != parts_->options.worker_id) continue;
    for (const v1::Chain& chain : message.chains()) {
      if (chain.id() != task.key().chain()) continue;
      for (const std::string& uid : chain.uids()) {
        const v1::Node* node = FindNode(message.graph(), uid);
        if (node == nullptr || !parts_->factory.IsStateful(*node)) continue;
        MILLRACE_RETURN_IF_ERROR(AdvanceNode(*storage, message, chain, task, *node));
      }
    }
  }
  MILLRACE_FAILPOINT("prepare.after_restore");
  return absl::OkStatus();
}

absl::Status StatePreparation::AdvanceNode(CheckpointStorage& storage,
                                           const v1::PrepareState& message, const v1::Chain& chain,
                                           const v1::Task& task, const v1::Node& node) {
  const KeyGroupRange key_groups{task.key_group_first(), task.key_group_last()};
  const std::vector<v1::Segment> segments =
      RestoreNode(message.restore(), node, key_groups, task.key().index(), chain.parallelism())
          .state;
  std::unique_ptr<StateRestore>& restore = restores_[{node.uid(), key_groups}];
  if (restore == nullptr) {
    restore = std::make_unique<StateRestore>(
        StateStoreOptions{.uid = node.uid(),
                          .key_groups = key_groups,
                          .max_parallelism = message.graph().max_parallelism(),
                          .storage = storage,
                          .env = parts_->env,
                          .budget = parts_->budget,
                          .cold_folder = absl::StrCat(cold_folder_, "/", restores_.size()),
                          .name_prefix = "",
                          .restore = {}});
  }
  return restore->Advance(storage, segments).status();
}

PreparedState StatePreparation::Take(const v1::Chain& chain, KeyGroupRange key_groups) {
  PreparedState taken;
  for (const std::string& uid : chain.uids()) {
    const auto found = restores_.find({uid, key_groups});
    if (found == restores_.end()) continue;
    taken[uid] = std::move(found->second);
    restores_.erase(found);
  }
  return taken;
}

}  // namespace millrace
