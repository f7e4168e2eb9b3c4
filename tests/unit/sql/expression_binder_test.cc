#include "sql/expression_binder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "millrace/v1/graph.pb.h"
#include "runtime/columns/types.h"
#include "runtime/expressions/expression.h"
#include "sql/column_text.h"
#include "sql/expression_text.h"
#include "sql/sql_text.h"
#include "sql/type_names.h"
#include "tests/unit/sql/golden_cases.h"

namespace millrace {
namespace {

using testing::HasSubstr;

v1::Schema Bids() {
  v1::Schema schema;
  for (const char* column : {"auction BIGINT NOT NULL", "price BIGINT", "small INT", "ratio DOUBLE",
                             "channel STRING", "dateTime TIMESTAMP(3)", "day DATE", "ok BOOLEAN",
                             "raw BYTES", "gap INTERVAL", "Twin INT", "TWIN INT"}) {
    SqlProblem problem;
    v1::Field& field = *schema.add_fields();
    EXPECT_TRUE(ParseColumnText(column, &field, &problem)) << column << problem.message;
    field.set_id(static_cast<uint32_t>(schema.fields_size()));
  }
  return schema;
}

std::string ProblemText(const SqlProblem& problem) {
  std::string text =
      problem.code + " at " + std::to_string(problem.offset) + ": " + problem.message;
  if (!problem.hint.empty()) text += "\n  hint: " + problem.hint;
  return text + "\n";
}

std::string BindAndPrint(const GoldenCase& one) {
  const v1::Schema schema = Bids();
  std::string text = one.input;
  text.pop_back();
  v1::Expr expr;
  SqlProblem problem;
  if (!BindExpressionText(text, schema, &expr, &problem)) return ProblemText(problem);
  SqlProblem check;
  EXPECT_TRUE(CheckTypedExpression(expr, schema, &check)) << check.message;
  return ExpressionText(expr, schema) + " : " + TypeText(expr.type()) + "\n";
}

std::string BindAggregateAndPrint(const GoldenCase& one) {
  const v1::Schema schema = Bids();
  std::string text = one.input;
  text.pop_back();
  v1::Aggregate aggregate;
  SqlProblem problem;
  if (!BindAggregateText(text, schema, &aggregate, &problem)) return ProblemText(problem);
  return AggregateText(aggregate, schema) + " : " + TypeText(aggregate.type()) + "\n";
}

TEST(ExpressionBinderTest, BindsExpressions) {
  CheckGoldenFile("expressions.test", &BindAndPrint, 60);
}

// Binder and engine agree: whatever is bound here, a worker can run.
TEST(ExpressionBinderTest, TheEngineAcceptsWhatIsBound) {
  const v1::Schema schema = Bids();
  const SchemaPtr columns = Schema::FromProto(schema);
  CheckGoldenFile(
      "expressions.test",
      [&](const GoldenCase& one) {
        v1::Expr expr;
        SqlProblem problem;
        EXPECT_TRUE(BindExpressionText(one.input, schema, &expr, &problem)) << problem.message;
        const auto bound = BindExpression(expr, *columns);
        EXPECT_TRUE(bound.ok()) << one.input << bound.status();
        if (bound.ok()) {
          EXPECT_TRUE((*bound)->type() == DataType::FromProto(expr.type())) << one.input;
        }
        return one.expected;
      },
      60);
}

TEST(ExpressionBinderTest, ReportsProblemsOfExpressions) {
  CheckGoldenFile("expression_problems.test", &BindAndPrint, 40);
}

TEST(ExpressionBinderTest, BindsAggregates) {
  CheckGoldenFile("aggregates.test", &BindAggregateAndPrint, 12);
}

SqlProblem ProblemOf(const std::string& text) {
  v1::Expr expr;
  SqlProblem problem;
  EXPECT_FALSE(BindExpressionText(text, Bids(), &expr, &problem)) << text.substr(0, 80);
  return problem;
}

TEST(ExpressionBinderTest, LongTextIsRefusedBeforeItIsParsed) {
  EXPECT_EQ(ProblemOf(std::string(70'000, ' ') + "1").code, "MR1208");
}

TEST(ExpressionBinderTest, DeepTextIsRefusedBeforeItIsParsed) {
  EXPECT_EQ(ProblemOf(std::string(30'000, '(') + "1" + std::string(30'000, ')')).code, "MR1208");
  std::string sum = "1";
  for (int i = 0; i < 30'000; ++i) sum += "+1";
  EXPECT_EQ(ProblemOf(sum).code, "MR1208");
}

TEST(ExpressionBinderTest, DeepTreesAreRefusedThoughTheirTextIsShort) {
  std::string sum = "price";
  for (int i = 0; i < 60; ++i) sum += " + price";
  EXPECT_EQ(ProblemOf(sum).code, "MR1208");
}

TEST(ExpressionBinderTest, LongListsAndChainsOfAndAreNotDeep) {
  std::string in = "price IN (0";
  std::string conjunction = "price > 0";
  std::string text = "channel";
  for (int i = 0; i < 500; ++i) in += "," + std::to_string(i);
  for (int i = 0; i < 300; ++i) conjunction += " AND price > 0";
  for (int i = 0; i < 300; ++i) text += " || channel";
  for (const std::string& sql : {in + ")", conjunction, text}) {
    v1::Expr expr;
    SqlProblem problem;
    EXPECT_TRUE(BindExpressionText(sql, Bids(), &expr, &problem)) << problem.message;
  }
}

TEST(ExpressionBinderTest, TheDeepestExpressionSurvivesTheWire) {
  std::string sum = "price";
  for (int i = 0; i < kExprDepthMax - 1; ++i) sum += " + price";
  v1::JobGraph graph;
  v1::Aggregate& aggregate = *graph.add_nodes()->mutable_window_aggregate()->add_aggregates();
  SqlProblem problem;
  ASSERT_TRUE(BindExpressionText(sum, Bids(), aggregate.mutable_argument(), &problem))
      << problem.message;
  v1::JobGraph read;
  EXPECT_TRUE(read.ParseFromString(graph.SerializeAsString()));
}

TEST(ExpressionBinderTest, BytesThatAreNoTextAreRefused) {
  EXPECT_THAT(ProblemOf("channel = '\xff'").message, HasSubstr("UTF-8"));
  EXPECT_THAT(ProblemOf(std::string("1 + \0 2", 7)).message, HasSubstr("zero byte"));
}

}  // namespace
}  // namespace millrace
