#include "runtime/expressions/functions.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "runtime/expressions/function_table.h"

namespace millrace {
namespace {

using Types = std::vector<std::optional<DataType>>;

constexpr DataType kInt32 = TypeKind::kInt32, kInt64 = TypeKind::kInt64,
                   kFloat64 = TypeKind::kFloat64, kString = TypeKind::kString,
                   kDate = TypeKind::kDate, kTimestamp = TypeKind::kTimestamp,
                   kInterval = TypeKind::kInterval;

TEST(FunctionsTest, NumbersBecomeTheirCommonType) {
  const auto sum = ResolveFunction("add", Types{kInt32, kFloat64});
  ASSERT_TRUE(sum.ok());
  EXPECT_EQ(sum->argument_types, (std::vector<DataType>{kFloat64, kFloat64}));
  EXPECT_EQ(sum->result, kFloat64);
  EXPECT_EQ(ResolveFunction("multiply", Types{kInt32, kInt32})->result, kInt32);
}

TEST(FunctionsTest, TheCheapestSignatureWins) {
  EXPECT_EQ(ResolveFunction("subtract", Types{kDate, kDate})->result, kInt64);
  EXPECT_EQ(ResolveFunction("subtract", Types{kTimestamp, kDate})->result, kInterval);
  EXPECT_EQ(ResolveFunction("subtract", Types{kTimestamp, kInterval})->result, kTimestamp);
  EXPECT_EQ(ResolveFunction("add", Types{kDate, kInt32})->result, kDate);
}

TEST(FunctionsTest, UntypedNullsTakeTheTypeOfTheOthers) {
  const auto equal = ResolveFunction("eq", Types{std::nullopt, kString});
  ASSERT_TRUE(equal.ok());
  EXPECT_EQ(equal->argument_types[0], kString);
  EXPECT_TRUE(ResolveFunction("coalesce", Types{std::nullopt, std::nullopt}).ok());
}

TEST(FunctionsTest, AliasesAndCaseResolveToOneName) {
  EXPECT_EQ(ResolveFunction("MOD", Types{kInt64, kInt64})->name, "modulo");
  EXPECT_EQ(ResolveFunction("length", Types{kString})->name, "char_length");
}

TEST(FunctionsTest, MessagesHelp) {
  EXPECT_EQ(ResolveFunction("substrin", Types{kString}).status().message(),
            "unknown function 'substrin'; the nearest is 'substring'");
  EXPECT_EQ(ResolveFunction("substrin", Types{}).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ResolveFunction("left", Types{kString}).status().message(),
            "function 'left' does not accept (STRING); it accepts (STRING, BIGINT) → STRING");
}

TEST(FunctionsTest, CommonTypesAndImplicitCastsAgree) {
  EXPECT_EQ(*CommonType(kInt32, kFloat64), kFloat64);
  EXPECT_EQ(*CommonType(kTimestamp, kDate), kTimestamp);
  EXPECT_FALSE(CommonType(kString, kInt64).ok());
  EXPECT_FALSE(CanCastImplicitly(kInt64, kInt32));
  EXPECT_TRUE(CanCast(kInt64, kInt32));
  EXPECT_FALSE(CanCast(kInterval, kInt64));
}

TEST(FunctionsTest, TheTableIsSortedAndComplete) {
  const auto all = expressions::AllFunctions();
  EXPECT_TRUE(std::is_sorted(all.begin(), all.end(),
                             [](const auto& a, const auto& b) { return a.name < b.name; }));
  for (const expressions::FunctionEntry& entry : all) {
    EXPECT_NE(entry.alias_of.empty(), entry.signatures.empty()) << entry.name;
    EXPECT_EQ(ResolveFunction(entry.name, Types(12)).status().code() == absl::StatusCode::kNotFound,
              false);
  }
}

// A bar within a cell ends it even in code.
std::string Cell(std::string_view text) {
  std::string cell;
  for (const char c : text) {
    if (c == '|') cell += '\\';
    cell += c;
  }
  return cell;
}

std::string DocumentedTable() {
  std::ostringstream table;
  table << "| function | signatures | meaning |\n|---|---|---|\n";
  for (const expressions::FunctionEntry& entry : expressions::AllFunctions()) {
    table << "| `" << entry.name << "` | ";
    if (!entry.alias_of.empty()) {
      table << " | Same as `" << entry.alias_of << "`. |\n";
      continue;
    }
    bool first = true;
    for (const std::string_view signature : expressions::SplitSignatures(entry.signatures)) {
      table << (first ? "" : "<br>") << expressions::SignatureText(signature);
      first = false;
    }
    table << " | " << Cell(entry.note) << " |\n";
  }
  return table.str();
}

// MILLRACE_WRITE_DOCS=1 rewrites the table.
TEST(FunctionsTest, TheDocumentedTableIsThatOfTheRegistry) {
  const std::string path = MILLRACE_SOURCE_DIR "/docs/functions.md";
  std::ifstream file(path);
  ASSERT_TRUE(file.good()) << path;
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const size_t begin = text.find("| function | signatures");
  ASSERT_NE(begin, std::string::npos);
  if (std::getenv("MILLRACE_WRITE_DOCS") != nullptr) {
    std::ofstream(path) << text.substr(0, begin) << DocumentedTable();
    return;
  }
  EXPECT_EQ(text.substr(begin), DocumentedTable())
      << "run this test with MILLRACE_WRITE_DOCS=1 and review docs/functions.md";
}

}  // namespace
}  // namespace millrace
