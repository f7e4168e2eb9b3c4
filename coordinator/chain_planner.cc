#include "coordinator/chain_planner.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <map>
#include <optional>
#include <queue>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/base/status_macros.h"
#include "sql/node_kinds.h"

namespace millrace {
namespace {

using NodeIndex = std::map<std::string, int, std::less<>>;

absl::Status FreezeNumbers(v1::JobGraph& graph, uint32_t cores) {
  if (graph.max_parallelism() == 0) graph.set_max_parallelism(kMaxParallelismDefault);
  if (!std::has_single_bit(graph.max_parallelism()) ||
      graph.max_parallelism() > kMaxParallelismLimit) {
    return absl::InvalidArgumentError(absl::StrCat("max_parallelism must be a power of two up to ",
                                                   kMaxParallelismLimit, ", not ",
                                                   graph.max_parallelism()));
  }
  if (graph.settings().key_hash() == 0) graph.mutable_settings()->set_key_hash(1);
  if (graph.parallelism() == 0) graph.set_parallelism(std::max(cores, 1u));
  graph.set_parallelism(std::min(graph.parallelism(), graph.max_parallelism()));
  for (v1::Node& node : *graph.mutable_nodes()) {
    if (node.parallelism() == 0) node.set_parallelism(graph.parallelism());
    node.set_parallelism(std::min(node.parallelism(), graph.max_parallelism()));
  }
  return absl::OkStatus();
}

absl::StatusOr<NodeIndex> IndexNodes(const v1::JobGraph& graph) {
  NodeIndex index;
  for (int i = 0; i < graph.nodes_size(); ++i) {
    if (!index.emplace(graph.nodes(i).uid(), i).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("two nodes have the uid ", graph.nodes(i).uid()));
    }
  }
  for (const v1::Edge& edge : graph.edges()) {
    for (const std::string& uid : {edge.from(), edge.to()}) {
      if (!index.contains(uid)) {
        return absl::InvalidArgumentError(absl::StrCat("an edge names an unknown node: ", uid));
      }
    }
  }
  return index;
}

void RouteByNeed(const v1::Node& from, const v1::Node& to, v1::Edge& edge) {
  if (std::optional<v1::Fields> keys = KeysOf(to, edge.to_input())) {
    *edge.mutable_hash()->mutable_keys() = *std::move(keys);
  } else if (from.parallelism() == to.parallelism()) {
    edge.mutable_forward();
  } else {
    edge.mutable_rebalance();
  }
}

absl::Status RouteEdges(const NodeIndex& index, v1::JobGraph& graph) {
  for (v1::Edge& edge : *graph.mutable_edges()) {
    const v1::Node& from = graph.nodes(index.at(edge.from()));
    const v1::Node& to = graph.nodes(index.at(edge.to()));
    if (edge.routing_case() == v1::Edge::ROUTING_NOT_SET) RouteByNeed(from, to, edge);
    if (edge.has_forward() && from.parallelism() != to.parallelism()) {
      return absl::InvalidArgumentError(
          absl::StrCat("a forward edge needs equal parallelism: ", from.uid(), " has ",
                       from.parallelism(), ", ", to.uid(), " has ", to.parallelism()));
    }
  }
  return absl::OkStatus();
}

// Kahn's algorithm; of the nodes that are free the first of the list comes first.
absl::StatusOr<std::vector<int>> TopologicalOrder(const v1::JobGraph& graph,
                                                  const NodeIndex& index) {
  std::vector<int> inputs_left(graph.nodes_size(), 0);
  std::vector<std::vector<int>> receivers(graph.nodes_size());
  for (const v1::Edge& edge : graph.edges()) {
    ++inputs_left[index.at(edge.to())];
    receivers[index.at(edge.from())].push_back(index.at(edge.to()));
  }
  std::priority_queue<int, std::vector<int>, std::greater<>> free;
  for (int i = 0; i < graph.nodes_size(); ++i) {
    if (inputs_left[i] == 0) free.push(i);
  }
  std::vector<int> order;
  while (!free.empty()) {
    const int node = free.top();
    free.pop();
    order.push_back(node);
    for (int receiver : receivers[node]) {
      if (--inputs_left[receiver] == 0) free.push(receiver);
    }
  }
  if (order.size() == static_cast<size_t>(graph.nodes_size())) return order;
  for (int i = 0; i < graph.nodes_size(); ++i) {
    if (inputs_left[i] > 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("the graph has a cycle through node ", graph.nodes(i).uid()));
    }
  }
  return absl::InternalError("topological order is incomplete");
}

// The node whose chain `node` joins, or -1 when it begins one.
int ChainParent(const v1::JobGraph& graph, const NodeIndex& index, const std::string& uid) {
  const v1::Edge* only = nullptr;
  for (const v1::Edge& edge : graph.edges()) {
    if (edge.to() != uid) continue;
    if (only != nullptr) return -1;
    only = &edge;
  }
  return only != nullptr && only->has_forward() ? index.at(only->from()) : -1;
}

const char* RoutingName(const v1::Edge& edge) {
  switch (edge.routing_case()) {
    case v1::Edge::kForward:
      return "forward";
    case v1::Edge::kHash:
      return "hash";
    case v1::Edge::kBroadcast:
      return "broadcast";
    case v1::Edge::kRebalance:
      return "rebalance";
    case v1::Edge::kSingle:
      return "single";
    case v1::Edge::ROUTING_NOT_SET:
      return "by need";
  }
  return "by need";
}

}  // namespace

absl::StatusOr<ChainPlan> PlanChains(const v1::JobGraph& graph, uint32_t cores) {
  ChainPlan plan{.graph = graph, .chains = {}};
  MILLRACE_RETURN_IF_ERROR(FreezeNumbers(plan.graph, cores));
  MILLRACE_ASSIGN_OR_RETURN(const NodeIndex index, IndexNodes(plan.graph));
  MILLRACE_RETURN_IF_ERROR(RouteEdges(index, plan.graph));
  MILLRACE_ASSIGN_OR_RETURN(const std::vector<int> order, TopologicalOrder(plan.graph, index));
  std::vector<size_t> chain_of(order.size());
  for (int node : order) {
    const std::string& uid = plan.graph.nodes(node).uid();
    const int parent = ChainParent(plan.graph, index, uid);
    if (parent < 0) {
      chain_of[node] = plan.chains.size();
      v1::Chain& chain = plan.chains.emplace_back();
      chain.set_id(static_cast<uint32_t>(plan.chains.size() - 1));
      chain.set_parallelism(plan.graph.nodes(node).parallelism());
    } else {
      chain_of[node] = chain_of[parent];
    }
    plan.chains[chain_of[node]].add_uids(uid);
  }
  return plan;
}

std::string ExplainChains(const ChainPlan& plan) {
  std::string text = "Physical plan\n";
  std::map<std::string, uint32_t, std::less<>> chain_of;
  for (const v1::Chain& chain : plan.chains) {
    absl::StrAppend(&text, "  chain ", chain.id(), " x", chain.parallelism(), ": ");
    for (int i = 0; i < chain.uids_size(); ++i) {
      absl::StrAppend(&text, i == 0 ? "" : " -> ", chain.uids(i));
      chain_of[chain.uids(i)] = chain.id();
    }
    text += "\n";
  }
  for (const v1::Edge& edge : plan.graph.edges()) {
    if (chain_of[edge.from()] == chain_of[edge.to()]) continue;
    absl::StrAppend(&text, "  channel ", edge.from(), " -> ", edge.to(), ": ", RoutingName(edge),
                    "\n");
  }
  return text;
}

}  // namespace millrace
