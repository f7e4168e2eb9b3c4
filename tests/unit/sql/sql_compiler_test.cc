#include "sql/query/sql_compiler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "sql/diagnostics.h"
#include "sql/explain.h"
#include "tests/unit/sql/golden_cases.h"

namespace millrace {
namespace {

// One line in front of every case, so that its own text begins at line 2.
constexpr char kTables[] =
    "CREATE TABLE bid (auction BIGINT, bidder BIGINT, price INT, note STRING, ts TIMESTAMP(3), "
    "WATERMARK FOR ts AS ts - INTERVAL '4' SECOND) WITH ('connector' = 'kafka', 'topic' = 'b', "
    "'properties.bootstrap.servers' = 'h:1', 'format' = 'json'); "
    "CREATE TABLE item (id BIGINT, name STRING, seller ROW<id BIGINT, city STRING>, "
    "at TIMESTAMP(3), WATERMARK FOR at AS at) WITH ('connector' = 'kafka', 'topic' = 'i', "
    "'properties.bootstrap.servers' = 'h:1', 'format' = 'json'); "
    "CREATE TABLE out (a BIGINT, b BIGINT) WITH ('connector' = 'blackhole');\n";

std::string CompileAndPrint(const GoldenCase& one) {
  const CompiledGraph compiled = CompileSql(kTables + one.input, {{"limit", "3"}});
  std::string text;
  for (const v1::Diagnostic& diagnostic : compiled.diagnostics) text += DiagnosticText(diagnostic);
  return text + (compiled.has_errors() ? "" : ExplainGraph(compiled.graph));
}

TEST(SqlCompilerTest, PlansQueries) { CheckGoldenFile("queries.test", &CompileAndPrint, 16); }
TEST(SqlCompilerTest, ReportsWhatIsWrong) {
  CheckGoldenFile("query_problems.test", &CompileAndPrint, 45);
}

TEST(SqlCompilerTest, CompilingAgainChangesNothing) {
  for (const std::string script :
       {"INSERT INTO out SELECT b.auction, count(*) FROM bid b JOIN item i ON b.auction = i.id "
        "WHERE b.ts BETWEEN i.at AND i.at + INTERVAL '5' SECOND GROUP BY b.auction;",
        "CREATE TABLE side (id BIGINT, n BIGINT) WITH ('connector' = 'file', 'path' = '/s', "
        "'format' = 'csv');"
        "CREATE VIEW v AS SELECT b.auction, s.n, PROCTIME() AS p FROM bid b "
        "JOIN side FOR SYSTEM_TIME AS OF PROCTIME() AS s ON b.auction = s.id;"
        "INSERT INTO out SELECT auction, sum(n) FROM TABLE(TUMBLE(TABLE v, DESCRIPTOR(p), "
        "INTERVAL '1' SECOND)) GROUP BY auction, window_start, window_end;",
        "INSERT INTO out SELECT b.auction, i.id FROM "
        "TABLE(HOP(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' SECOND, INTERVAL '2' SECOND)) b "
        "JOIN item FOR SYSTEM_TIME AS OF b.ts AS i ON b.auction = i.id;"}) {
    const CompiledGraph once = CompileSql(kTables + script, {});
    ASSERT_FALSE(once.has_errors()) << script << once.diagnostics[0].message();
    const CompiledGraph again = CompileGraph(once.graph);
    EXPECT_FALSE(again.has_errors()) << script;
    EXPECT_EQ(again.graph.DebugString(), once.graph.DebugString());
  }
}

TEST(SqlCompilerTest, TellsSqlFromYaml) {
  EXPECT_TRUE(LooksLikeSql("-- a comment\nselect 1"));
  EXPECT_TRUE(LooksLikeSql("CREATE TABLE t (a INT) WITH ('connector' = 'print');"));
  EXPECT_TRUE(LooksLikeSql("SET 'pipeline.name' = 'x';"));
  EXPECT_FALSE(LooksLikeSql("name: job\nnodes: []"));
  EXPECT_FALSE(LooksLikeSql("set: 1\nnodes: []"));
  EXPECT_FALSE(LooksLikeSql(""));
}

TEST(SqlCompilerTest, LimitsTheText) {
  std::string deep = "SELECT auction FROM bid";
  for (int i = 0; i < 60; ++i) deep = "SELECT auction FROM (" + deep + ")";
  const CompiledGraph nested = CompileSql(kTables + deep, {});
  ASSERT_TRUE(nested.has_errors());
  EXPECT_EQ(nested.diagnostics[0].code(), "MR1208");
  const CompiledGraph large = CompileSql(std::string(2 << 20, ' '), {});
  ASSERT_TRUE(large.has_errors());
  EXPECT_EQ(large.diagnostics[0].code(), "MR1208");
}

}  // namespace
}  // namespace millrace
