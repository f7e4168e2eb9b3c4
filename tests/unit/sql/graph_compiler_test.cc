#include "sql/graph_compiler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "sql/diagnostics.h"
#include "sql/explain.h"
#include "sql/query/sql_compiler.h"
#include "tests/unit/sql/golden_cases.h"

namespace millrace {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

std::string DiagnosticsText(const std::vector<v1::Diagnostic>& diagnostics) {
  std::string text;
  for (const v1::Diagnostic& one : diagnostics) text += DiagnosticText(one);
  return text;
}

std::string CompileAndPrint(const GoldenCase& one) {
  const CompiledGraph compiled =
      CompileYaml(one.input, {{"brokers", "localhost:9092"}, {"empty", ""}});
  return DiagnosticsText(compiled.diagnostics) +
         (compiled.has_errors() ? "" : ExplainGraph(compiled.graph));
}

TEST(GraphCompilerTest, ReportsWhatIsWrongWithTheShape) {
  CheckGoldenFile("structure.test", &CompileAndPrint, 18);
}
TEST(GraphCompilerTest, ReportsWhatIsWrongWithTheYaml) {
  CheckGoldenFile("yaml.test", &CompileAndPrint, 18);
}
TEST(GraphCompilerTest, ReportsWhatIsWrongWithConnectors) {
  CheckGoldenFile("connectors.test", &CompileAndPrint, 12);
}
TEST(GraphCompilerTest, ReportsWhatIsWrongWithModelsAndInference) {
  CheckGoldenFile("inference.test", &CompileAndPrint, 25);
}
TEST(GraphCompilerTest, ReportsWhatIsWrongWithWindowsAndColumns) {
  CheckGoldenFile("operators.test", &CompileAndPrint, 20);
}
TEST(GraphCompilerTest, ReportsWhatIsWrongWithChanges) {
  CheckGoldenFile("changelog.test", &CompileAndPrint, 9);
}
TEST(GraphCompilerTest, CompilesGraphs) { CheckGoldenFile("compiled.test", &CompileAndPrint, 8); }

constexpr char kHotItems[] = R"(
name: hot
nodes:
  - uid: bids
    source: {connector: nexmark}
    schema: [event_type INT, "auction BIGINT FROM 'bid.auction'", dateTime TIMESTAMP(3),
             extra STRING, later AS dateTime + INTERVAL '1' HOUR]
  - {uid: time, inputs: [bids], watermark: {time: dateTime, out_of_orderness: 4s}}
  - uid: count
    inputs: [time]
    window_aggregate:
      window: {kind: hop, time: dateTime, size: 10s, slide: 2s}
      keys: [auction]
      aggregates: [count(*) AS num, count(DISTINCT event_type) AS kinds, max(later) AS latest]
  - {uid: top, inputs: [count], window_top_n: {order: [num DESC], limit: 1}}
  - {uid: out, inputs: [top], sink: {connector: print}}
)";

TEST(GraphCompilerTest, CompilingACompiledGraphChangesNothing) {
  const CompiledGraph once = CompileYaml(kHotItems, {});
  ASSERT_FALSE(once.has_errors()) << DiagnosticsText(once.diagnostics);
  const CompiledGraph twice = CompileGraph(once.graph);
  EXPECT_THAT(DiagnosticsText(twice.diagnostics), IsEmpty());
  EXPECT_EQ(twice.graph.DebugString(), once.graph.DebugString());
}

TEST(GraphCompilerTest, TheSameTextGivesTheSameGraph) {
  EXPECT_EQ(CompileYaml(kHotItems, {}).graph.DebugString(),
            CompileYaml(kHotItems, {}).graph.DebugString());
}

TEST(GraphCompilerTest, NoTextIsLeftToParse) {
  const std::string text = CompileYaml(kHotItems, {}).graph.DebugString();
  EXPECT_THAT(text, testing::Not(HasSubstr("sql:")));
  EXPECT_THAT(text, testing::Not(HasSubstr("names:")));
}

TEST(GraphCompilerTest, AddingAColumnAtTheEndKeepsTheIdsOfTheOthers) {
  const CompiledGraph before = CompileYaml(kHotItems, {});
  v1::JobGraph changed = LoadGraph(kHotItems, {}).graph;
  v1::Field& field = *changed.mutable_nodes(0)->mutable_schema()->add_fields();
  field.set_name("bidder");
  field.set_path("bid.bidder");
  field.mutable_type()->set_kind(v1::Type::KIND_INT64);
  const CompiledGraph after = CompileGraph(changed);
  ASSERT_FALSE(after.has_errors()) << DiagnosticsText(after.diagnostics);
  EXPECT_EQ(after.graph.nodes(0).schema().DebugString(),
            before.graph.nodes(0).schema().DebugString());
}

TEST(GraphCompilerTest, ATypedExpressionWithAWrongTypeIsRefused) {
  v1::JobGraph graph = CompileYaml(kHotItems, {}).graph;
  for (v1::Node& node : *graph.mutable_nodes()) {
    if (!node.has_project()) continue;
    for (v1::NamedExpr& column : *node.mutable_project()->mutable_columns()) {
      if (column.expr().has_call()) column.mutable_expr()->mutable_call()->set_function("upper");
    }
  }
  const CompiledGraph compiled = CompileGraph(graph);
  EXPECT_TRUE(compiled.has_errors());
  EXPECT_THAT(DiagnosticsText(compiled.diagnostics), HasSubstr("MR1206"));
}

TEST(GraphCompilerTest, GraphsThatComeAsMessagesHavePositionsWithinTheirText) {
  v1::JobGraph graph = LoadGraph(kHotItems, {}).graph;
  graph.mutable_nodes(2)->mutable_window_aggregate()->mutable_aggregates(0)->set_sql(
      "count(*) FILTER (WHERE\n  pricee > 1)");
  const CompiledGraph compiled = CompileGraph(graph);
  ASSERT_EQ(compiled.diagnostics.size(), 1u);
  EXPECT_EQ(compiled.diagnostics[0].line(), 2u);
  EXPECT_EQ(compiled.diagnostics[0].column(), 3u);
}

class ExamplesTest : public testing::TestWithParam<const char*> {};

TEST_P(ExamplesTest, Compiles) {
  CheckGoldenFile(
      std::string("example_") + GetParam() + ".test",
      [](const GoldenCase& one) {
        const std::string path = std::string(MILLRACE_SOURCE_DIR) + "/examples/" + one.name;
        std::string text;
        FILE* file = std::fopen(path.c_str(), "r");
        if (file == nullptr) return "cannot open " + one.name + "\n";
        char buffer[4096];
        for (size_t n; (n = std::fread(buffer, 1, sizeof(buffer), file)) > 0;) {
          text.append(buffer, n);
        }
        std::fclose(file);
        const Variables variables = {{"brokers", "localhost:9092"},
                                     {"input", "/in"},
                                     {"output", "/out"},
                                     {"host", "db"},
                                     {"user", "me"},
                                     {"database", "shop"}};
        const CompiledGraph compiled =
            path.ends_with(".sql") ? CompileSql(text, variables) : CompileYaml(text, variables);
        return DiagnosticsText(compiled.diagnostics) + ExplainGraph(compiled.graph);
      },
      1);
}

INSTANTIATE_TEST_SUITE_P(All, ExamplesTest,
                         testing::Values("hot_items", "hot_items_embedded", "filter_project",
                                         "sessions", "late_and_dead_letters", "customer_totals",
                                         "fraud_scoring", "debezium", "postgres_cdc",
                                         "upsert_topics", "hot_items_sql", "python_functions"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace millrace
