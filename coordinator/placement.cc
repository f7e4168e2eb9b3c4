#include "coordinator/placement.h"

#include <algorithm>
#include <map>
#include <utility>

#include "coordinator/chain_planner.h"
#include "runtime/base/check.h"
#include "runtime/base/ids.h"

namespace millrace {
namespace {

// How full a worker would be with one more task: compared as fractions, without rounding.
struct Load {
  uint64_t tasks;
  uint64_t cores;
  bool operator<(const Load& other) const { return tasks * other.cores < other.tasks * cores; }
  bool operator==(const Load& other) const { return tasks * other.cores == other.tasks * cores; }
};

struct Candidate {
  PlacementWorker worker;
  uint64_t quota = 0;  // Tasks of the chain at hand that it gets; then, those still to come.
};

// How many tasks of one chain each worker gets: the least loaded next, by this chain first.
void SetQuotas(uint32_t tasks, std::vector<Candidate>& candidates) {
  for (Candidate& candidate : candidates) candidate.quota = 0;
  for (uint32_t i = 0; i < tasks; ++i) {
    const auto rank = [](const Candidate& c) {
      return std::pair(Load{c.quota + 1, c.worker.cores},
                       Load{c.worker.tasks + uint64_t{1}, c.worker.cores});
    };
    Candidate& least = *std::min_element(
        candidates.begin(), candidates.end(),
        [&](const Candidate& a, const Candidate& b) { return rank(a) < rank(b); });
    ++least.quota;
    ++least.worker.tasks;
  }
}

// The worker of that id if it may still take a task.
Candidate* WithQuota(const std::string& worker_id, std::vector<Candidate>& candidates) {
  for (Candidate& candidate : candidates) {
    if (candidate.worker.worker_id == worker_id && candidate.quota > 0) return &candidate;
  }
  return nullptr;
}

// One chain's workers by index: those that stay first, then those that join their index, the rest
// in turn.
std::vector<const PlacementWorker*> PlaceChain(const v1::Chain& chain,
                                               const std::map<TaskId, std::string>& home,
                                               const std::map<uint32_t, std::string>& by_index,
                                               std::vector<Candidate>& candidates) {
  SetQuotas(chain.parallelism(), candidates);
  std::vector<const PlacementWorker*> placed(chain.parallelism(), nullptr);
  const auto take = [&](uint32_t index, Candidate* candidate) {
    if (candidate == nullptr || placed[index] != nullptr) return;
    --candidate->quota;
    placed[index] = &candidate->worker;
  };
  for (uint32_t i = 0; i < chain.parallelism(); ++i) {
    const auto stays = home.find({chain.id(), i});
    if (stays != home.end()) take(i, WithQuota(stays->second, candidates));
  }
  for (uint32_t i = 0; i < chain.parallelism(); ++i) {
    const auto together = by_index.find(i);
    if (together != by_index.end()) take(i, WithQuota(together->second, candidates));
  }
  for (uint32_t i = 0; i < chain.parallelism(); ++i) {
    take(i, &*std::max_element(
                candidates.begin(), candidates.end(),
                [](const Candidate& a, const Candidate& b) { return a.quota < b.quota; }));
  }
  return placed;
}

}  // namespace

uint32_t CoresOf(const std::vector<PlacementWorker>& workers) {
  uint64_t cores = 0;
  for (const PlacementWorker& worker : workers) cores += std::max(worker.cores, 1u);
  return static_cast<uint32_t>(std::min<uint64_t>(cores, kMaxParallelismLimit));
}

std::vector<v1::Task> PlaceTasks(const std::vector<v1::Chain>& chains, uint32_t max_parallelism,
                                 std::vector<PlacementWorker> workers,
                                 const std::vector<v1::Task>& previous) {
  MILLRACE_CHECK(!workers.empty());
  std::sort(workers.begin(), workers.end(),
            [](const auto& a, const auto& b) { return a.worker_id < b.worker_id; });
  std::vector<Candidate> candidates;
  for (PlacementWorker& worker : workers) {
    worker.cores = std::max(worker.cores, 1u);
    candidates.push_back({.worker = std::move(worker)});
  }
  std::map<TaskId, std::string> home;
  for (const v1::Task& task : previous) {
    home[{task.key().chain(), task.key().index()}] = task.worker_id();
  }
  std::map<uint32_t, std::string> worker_of_index;
  std::vector<v1::Task> tasks;
  for (const v1::Chain& chain : chains) {
    const std::vector<const PlacementWorker*> placed =
        PlaceChain(chain, home, worker_of_index, candidates);
    for (uint32_t index = 0; index < chain.parallelism(); ++index) {
      const KeyGroupRange range = KeyGroupsOfTask(index, chain.parallelism(), max_parallelism);
      worker_of_index.try_emplace(index, placed[index]->worker_id);
      v1::Task& task = tasks.emplace_back();
      task.mutable_key()->set_chain(chain.id());
      task.mutable_key()->set_index(index);
      task.set_key_group_first(range.first);
      task.set_key_group_last(range.last);
      task.set_worker_id(placed[index]->worker_id);
      task.set_data_address(placed[index]->data_address);
    }
  }
  return tasks;
}

}  // namespace millrace
