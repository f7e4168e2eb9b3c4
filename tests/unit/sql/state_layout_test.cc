// What a change of a script means for the state of its nodes: cases of two versions, the first one
// before a line "=>".
#include "sql/state_layout.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "absl/strings/str_join.h"
#include "runtime/base/text.h"
#include "runtime/checkpoint/layout_comparison.h"
#include "sql/query/sql_compiler.h"
#include "tests/unit/sql/golden_cases.h"

namespace millrace {
namespace {

constexpr char kTables[] =
    "CREATE TABLE bid (auction BIGINT, bidder BIGINT, price INT, note STRING, ts TIMESTAMP(3), "
    "WATERMARK FOR ts AS ts - INTERVAL '4' SECOND) WITH ('connector' = 'kafka', 'topic' = 'b', "
    "'properties.bootstrap.servers' = 'h:1', 'format' = 'json');\n"
    "CREATE TABLE item (id BIGINT NOT NULL, name STRING, seller BIGINT, cost DECIMAL(10, 2), "
    "ts TIMESTAMP(3), WATERMARK FOR ts AS ts, PRIMARY KEY (id) NOT ENFORCED) WITH "
    "('connector' = 'upsert-kafka', 'topic' = 'i', 'properties.bootstrap.servers' = 'h:1', "
    "'key.format' = 'json', 'value.format' = 'json');\n"
    "CREATE TABLE out (a BIGINT, b BIGINT) WITH ('connector' = 'blackhole');\n";

// `text` may declare tables of its own: with "-- alone" in front nothing is put before it.
std::map<std::string, v1::StateLayout> Layouts(const std::string& text, std::string& problems) {
  const bool alone = text.find("-- alone") != std::string::npos;
  const CompiledGraph compiled = CompileSql(alone ? text : kTables + text, {});
  if (compiled.has_errors()) problems += compiled.diagnostics[0].message() + "\n";
  std::map<std::string, v1::StateLayout> layouts;
  if (compiled.has_errors()) return layouts;
  for (v1::StateLayout& layout : StateLayoutsOf(compiled.graph)) {
    layouts[layout.uid()] = layout;
  }
  return layouts;
}

std::string Compare(const GoldenCase& one) {
  const size_t arrow = one.input.find("=>\n");
  if (arrow == std::string::npos) return "no =>\n";
  std::string text;
  const auto before = Layouts(one.input.substr(0, arrow), text);
  const auto after = Layouts(one.input.substr(arrow + 3), text);
  for (const auto& [uid, layout] : after) {
    const auto former = before.find(uid);
    if (former == before.end()) {
      text += Concat(uid, ": new\n");
      continue;
    }
    const LayoutComparison comparison = CompareLayouts(former->second, layout);
    const std::string_view results[] = {"same", "convertible", "other"};
    text += Concat(uid, ": ", results[static_cast<int>(comparison.result)], "\n");
    for (const std::string& difference : comparison.differences) text += "  " + difference + "\n";
    if (!comparison.new_columns.empty()) {
      text += "  NULL in kept rows: " + absl::StrJoin(comparison.new_columns, ", ") + "\n";
    }
  }
  for (const auto& [uid, layout] : before) {
    if (!after.contains(uid)) text += Concat(uid, ": gone\n");
  }
  return text;
}

TEST(StateLayoutTest, ComparesVersionsOfAScript) {
  CheckGoldenFile("state_layouts.test", &Compare, 30);
}

}  // namespace
}  // namespace millrace
