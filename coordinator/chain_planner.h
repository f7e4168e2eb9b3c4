// From a compiled graph to chains: which nodes run as plain calls on one thread, and where channels
// cut. Pure functions; the same graph and number give the same plan on every machine.
//
// The rules:
//   1. Every node gets a parallelism: its own, else the graph's, else `cores`; never more than
//   there
//      are key groups.
//   2. Every edge gets a routing, if it has none: hash by the keys of a keyed node; else forward
//      between equal parallelism; else rebalance.
//   3. A node joins the chain of its only input when that edge is forward, both ends have the same
//      parallelism, and it has no other input edge. A chain so is a tree: one head that reads from
//      channels (or is a source), every other node called by exactly one node of the same chain.
//   4. Chains are numbered by the position of their heads in topological order; nodes within a
//   chain
//      stand in topological order. Order of the graph's lists breaks ties.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "millrace/v1/graph.pb.h"
#include "millrace/v1/worker_service.pb.h"

namespace millrace {

inline constexpr uint32_t kMaxParallelismDefault = 256;
inline constexpr uint32_t kMaxParallelismLimit = 32768;

struct ChainPlan {
  v1::JobGraph graph;  // With every parallelism, routing and frozen number filled in.
  std::vector<v1::Chain> chains;
};

// `cores`: tasks per node where the graph leaves it open; at least 1. kInvalidArgument: an edge of
// an unknown node, a cycle, two nodes of one uid, a forward edge between different parallelism, a
// number of key groups that is no power of two.
absl::StatusOr<ChainPlan> PlanChains(const v1::JobGraph& graph, uint32_t cores);

// For people: one line per chain, one per channel.
std::string ExplainChains(const ChainPlan& plan);

}  // namespace millrace
