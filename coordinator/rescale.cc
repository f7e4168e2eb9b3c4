#include "coordinator/rescale.h"

#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "coordinator/chain_planner.h"

namespace millrace {

absl::StatusOr<v1::JobGraph> WithParallelism(v1::JobGraph compiled, uint32_t parallelism) {
  const uint32_t max =
      compiled.max_parallelism() == 0 ? kMaxParallelismDefault : compiled.max_parallelism();
  if (parallelism == 0 || parallelism > max) {
    return absl::InvalidArgumentError(absl::StrCat(
        "parallelism ", parallelism, " is not between 1 and max_parallelism, which is ", max));
  }
  compiled.set_parallelism(parallelism);
  std::map<std::string, uint32_t> tasks;
  for (const v1::Node& node : compiled.nodes()) {
    tasks[node.uid()] = node.parallelism() == 0 ? parallelism : node.parallelism();
  }
  for (v1::Edge& edge : *compiled.mutable_edges()) {
    if (edge.has_forward() && tasks[edge.from()] != tasks[edge.to()]) edge.clear_forward();
  }
  return compiled;
}

}  // namespace millrace
