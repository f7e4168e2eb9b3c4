#include "sql/source_positions.h"

#include <gtest/gtest.h>

#include "sql/graph_loader.h"

namespace millrace {
namespace {

TEST(SourcePositionsTest, CharactersOfTextsAreFoundInTheFile) {
  const LoadedGraph loaded = LoadGraph(
      "nodes:\n"
      "  - uid: a\n"
      "    filter: {predicate: price > 1}\n"
      "  - uid: b\n"
      "    filter:\n"
      "      predicate: \"price > 1\"\n"
      "  - uid: c\n"
      "    filter:\n"
      "      predicate: |\n"
      "        price >\n"
      "        1\n"
      "  - uid: d\n"
      "    filter: {predicate: \"price > ${x:-1}\"}\n",
      {});
  EXPECT_TRUE(loaded.diagnostics.empty());
  const auto find = [&](int node, int64_t offset) {
    const TextPosition at =
        loaded.positions.Find("nodes[" + std::to_string(node) + "].filter.predicate",
                              loaded.graph.nodes(node).filter().predicate().sql(), offset);
    return std::to_string(at.line) + ":" + std::to_string(at.column);
  };
  EXPECT_EQ(find(0, 6), "3:31");
  EXPECT_EQ(find(1, 6), "6:25");
  EXPECT_EQ(find(2, 6), "10:15");
  EXPECT_EQ(find(2, 8), "11:9");
  // Behind a variable only the value as a whole has a place.
  EXPECT_EQ(find(3, 6), "13:25");
}

TEST(SourcePositionsTest, TheNearestThingAroundIsFound) {
  SourcePositions positions;
  positions.Add("", {.begin = {1, 1}});
  positions.Add("nodes[2]", {.begin = {7, 5}});
  EXPECT_EQ(positions.Find("nodes[2].filter.predicate").line, 7u);
  EXPECT_EQ(positions.Find("edges[0]").line, 1u);
  EXPECT_EQ(SourcePositions().Find("nodes[2]").line, 0u);
}

}  // namespace
}  // namespace millrace
