#include "coordinator/chain_planner.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct NodeSpec {
  std::string uid;
  std::string kind;  // source, sink, filter, window, top.
  uint32_t parallelism = 0;
};

v1::JobGraph Graph(const std::vector<NodeSpec>& nodes,
                   const std::vector<std::pair<std::string, std::string>>& edges) {
  v1::JobGraph graph;
  graph.set_format(1);
  for (const NodeSpec& spec : nodes) {
    v1::Node& node = *graph.add_nodes();
    node.set_uid(spec.uid);
    node.set_parallelism(spec.parallelism);
    if (spec.kind == "source") node.mutable_source();
    if (spec.kind == "sink") node.mutable_sink();
    if (spec.kind == "filter") node.mutable_filter();
    if (spec.kind == "window") node.mutable_window_aggregate()->mutable_keys()->add_ids(7);
    if (spec.kind == "top") node.mutable_window_top_n()->mutable_window_end()->add_ids(9);
  }
  for (const auto& [from, to] : edges) {
    v1::Edge& edge = *graph.add_edges();
    edge.set_from(from);
    edge.set_to(to);
  }
  return graph;
}

std::vector<std::string> Uids(const v1::Chain& chain) {
  return {chain.uids().begin(), chain.uids().end()};
}

TEST(ChainPlannerTest, CutsOnlyBeforeTheKeyedNode) {
  const auto plan =
      PlanChains(Graph({{"in", "source"}, {"keep", "filter"}, {"count", "window"}, {"out", "sink"}},
                       {{"in", "keep"}, {"keep", "count"}, {"count", "out"}}),
                 4);
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_EQ(plan->chains.size(), 2u);
  EXPECT_THAT(Uids(plan->chains[0]), ElementsAre("in", "keep"));
  EXPECT_THAT(Uids(plan->chains[1]), ElementsAre("count", "out"));
  EXPECT_EQ(plan->chains[1].parallelism(), 4u);
  EXPECT_TRUE(plan->graph.edges(0).has_forward());
  EXPECT_THAT(plan->graph.edges(1).hash().keys().ids(), ElementsAre(7));
  EXPECT_EQ(plan->graph.max_parallelism(), kMaxParallelismDefault);
}

TEST(ChainPlannerTest, AChainIsATreeAndAUnionBeginsANewOne) {
  const auto plan = PlanChains(
      Graph(
          {{"a", "source"}, {"b", "source"}, {"left", "sink"}, {"right", "filter"}, {"u", "sink"}},
          {{"a", "left"}, {"a", "right"}, {"right", "u"}, {"b", "u"}}),
      2);
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_EQ(plan->chains.size(), 3u);
  EXPECT_THAT(Uids(plan->chains[0]), ElementsAre("a", "left", "right"));
  EXPECT_THAT(Uids(plan->chains[1]), ElementsAre("b"));
  EXPECT_THAT(Uids(plan->chains[2]), ElementsAre("u"));
}

TEST(ChainPlannerTest, DifferentParallelismCutsAndRebalances) {
  const auto plan =
      PlanChains(Graph({{"in", "source", 1}, {"out", "sink", 3}}, {{"in", "out"}}), 8);
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_EQ(plan->chains.size(), 2u);
  EXPECT_TRUE(plan->graph.edges(0).has_rebalance());
  EXPECT_EQ(plan->chains[0].parallelism(), 1u);
  EXPECT_EQ(plan->chains[1].parallelism(), 3u);
}

TEST(ChainPlannerTest, TopNIsRoutedByWindowAndPartition) {
  v1::JobGraph graph = Graph({{"in", "source"}, {"top", "top"}}, {{"in", "top"}});
  EXPECT_THAT(PlanChains(graph, 2)->graph.edges(0).hash().keys().ids(), ElementsAre(9));
  graph.mutable_nodes(1)->mutable_window_top_n()->mutable_partition()->add_ids(3);
  EXPECT_THAT(PlanChains(graph, 2)->graph.edges(0).hash().keys().ids(), ElementsAre(9, 3));
}

TEST(ChainPlannerTest, AGivenRoutingIsKeptAndPlanningTwiceChangesNothing) {
  v1::JobGraph graph = Graph({{"in", "source"}, {"out", "sink"}}, {{"in", "out"}});
  graph.mutable_edges(0)->mutable_single();
  const auto plan = PlanChains(graph, 2);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->chains.size(), 2u);
  const auto again = PlanChains(plan->graph, 99);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->graph.SerializeAsString(), plan->graph.SerializeAsString());
  EXPECT_EQ(again->chains.size(), plan->chains.size());
}

TEST(ChainPlannerTest, ParallelismNeverExceedsTheKeyGroups) {
  v1::JobGraph graph = Graph({{"in", "source", 100}}, {});
  graph.set_max_parallelism(8);
  EXPECT_EQ(PlanChains(graph, 1)->chains[0].parallelism(), 8u);
}

TEST(ChainPlannerTest, BadGraphsAreRefusedWithTheReason) {
  struct Case {
    std::string name;
    v1::JobGraph graph;
    std::string message;
  };
  v1::JobGraph groups = Graph({{"in", "source"}}, {});
  groups.set_max_parallelism(100);
  v1::JobGraph forward = Graph({{"in", "source", 1}, {"out", "sink", 2}}, {{"in", "out"}});
  forward.mutable_edges(0)->mutable_forward();
  const std::vector<Case> cases = {
      {"cycle",
       Graph({{"in", "source"}, {"a", "filter"}, {"b", "filter"}},
             {{"in", "a"}, {"a", "b"}, {"b", "a"}}),
       "cycle through node a"},
      {"unknown", Graph({{"in", "source"}}, {{"in", "nowhere"}}), "unknown node: nowhere"},
      {"duplicate", Graph({{"in", "source"}, {"in", "sink"}}, {}), "two nodes have the uid in"},
      {"groups", groups, "power of two"},
      {"forward", forward, "equal parallelism"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const auto plan = PlanChains(c.graph, 2);
    EXPECT_TRUE(absl::IsInvalidArgument(plan.status()));
    EXPECT_THAT(std::string(plan.status().message()), HasSubstr(c.message));
  }
}

}  // namespace
}  // namespace millrace
