#include "coordinator/placement.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

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
  uint64_t tasks_of_chain = 0;
};

}  // namespace

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
  std::vector<v1::Task> placed;
  for (const v1::Chain& chain : chains) {
    for (Candidate& candidate : candidates) candidate.tasks_of_chain = 0;
    for (uint32_t index = 0; index < chain.parallelism(); ++index) {
      const auto stays = home.find({chain.id(), index});
      const auto together = worker_of_index.find(index);
      const auto rank = [&](const Candidate& c) {
        const bool at_home = stays != home.end() && stays->second == c.worker.worker_id;
        const bool with_index =
            together != worker_of_index.end() && together->second == c.worker.worker_id;
        return std::tuple(Load{c.tasks_of_chain + 1, c.worker.cores}, !at_home, !with_index,
                          Load{c.worker.tasks + uint64_t{1}, c.worker.cores});
      };
      Candidate& best = *std::min_element(
          candidates.begin(), candidates.end(),
          [&](const Candidate& a, const Candidate& b) { return rank(a) < rank(b); });
      ++best.tasks_of_chain;
      ++best.worker.tasks;
      worker_of_index.try_emplace(index, best.worker.worker_id);
      const KeyGroupRange range = KeyGroupsOfTask(index, chain.parallelism(), max_parallelism);
      v1::Task& task = placed.emplace_back();
      task.mutable_key()->set_chain(chain.id());
      task.mutable_key()->set_index(index);
      task.set_key_group_first(range.first);
      task.set_key_group_last(range.last);
      task.set_worker_id(best.worker.worker_id);
      task.set_data_address(best.worker.data_address);
    }
  }
  return placed;
}

}  // namespace millrace
