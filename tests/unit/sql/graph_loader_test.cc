#include "sql/graph_loader.h"

#include <gtest/gtest.h>

#include <string>

namespace millrace {
namespace {

std::string CodesOf(const LoadedGraph& loaded) {
  std::string codes;
  for (const v1::Diagnostic& one : loaded.diagnostics) codes += one.code() + " ";
  return codes;
}

TEST(GraphLoaderTest, ShorthandsAndMessagesGiveTheSameGraph) {
  const LoadedGraph brief = LoadGraph(R"(
nodes:
  - uid: a
    inputs: [b.late]
    project: [x, y + 1 AS z]
  - uid: b
    window_aggregate:
      window: {kind: hop, time: t, size: 10s, slide: 500ms, offset: -1s}
      keys: k
      aggregates: sum(v) AS s
)",
                                      {});
  const LoadedGraph full = LoadGraph(R"(
nodes:
  - uid: a
    project:
      columns:
        - {expr: {sql: x}}
        - {name: z, expr: {sql: "y + 1 "}}
  - uid: b
    windowAggregate:
      window: {kind: KIND_HOP, time: {names: [t]}, sizeMs: 10000, slideMs: 500, offset_ms: -1000}
      keys: {names: [k]}
      aggregates: [{name: s, sql: "sum(v) "}]
edges:
  - {from: b, output: OUTPUT_PORT_LATE, to: a}
)",
                                     {});
  EXPECT_EQ(CodesOf(brief), "");
  EXPECT_EQ(CodesOf(full), "");
  EXPECT_EQ(brief.graph.DebugString(), full.graph.DebugString());
}

TEST(GraphLoaderTest, VariablesAreReplacedInValues) {
  const LoadedGraph loaded =
      LoadGraph("name: ${a}-${b:-two}-${c:-}-$${d}\nparallelism: ${n}\n", {{"a", "1"}, {"n", "4"}});
  EXPECT_EQ(CodesOf(loaded), "");
  EXPECT_EQ(loaded.graph.name(), "1-two--${d}");
  EXPECT_EQ(loaded.graph.parallelism(), 4u);
}

TEST(GraphLoaderTest, AliasesThatGrowWithoutEndAreStopped) {
  std::string nodes = "name: a\nnodes:\n";
  nodes += "  - {uid: a, former_uids: &f [a, b, c, d, e, f, g, h, i, j]}\n";
  for (int i = 0; i < 20'000; ++i) nodes += "  - {uid: a, former_uids: *f}\n";
  EXPECT_EQ(CodesOf(LoadGraph(nodes, {})), "MR1006 ");
}

TEST(GraphLoaderTest, DeepAndLongTextIsRefused) {
  EXPECT_EQ(CodesOf(LoadGraph("nodes: " + std::string(100'000, '['), {})), "MR1001 ");
  EXPECT_EQ(CodesOf(LoadGraph("nodes: " + std::string(100'000, '{'), {})), "MR1001 ");
  EXPECT_EQ(CodesOf(LoadGraph(std::string(kGraphTextBytesMax + 1, '#'), {})), "MR1006 ");
}

}  // namespace
}  // namespace millrace
