// Filter and projection on batches: selection, NULL conditions, rows whose expression fails.
#include "gmock/gmock.h"
#include "tests/unit/operators/operator_harness.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

OperatorHarness::Job Job(const std::string& node) {
  return {.columns = {"k STRING", "v BIGINT", "ts TIMESTAMP(3)"}, .node = node};
}

class RelationalTest : public ::testing::TestWithParam<HarnessMode> {};
INSTANTIATE_TEST_SUITE_P(Modes, RelationalTest, ::testing::ValuesIn(kAllModes),
                         [](const auto& info) { return ModeName(info.param); });

TEST_P(RelationalTest, AFilterKeepsTrueOnly) {
  OperatorHarness op(Job("filter: {predicate: \"v > 2\"}"), GetParam());
  op.Push({{"a", "1", "0"}, {"b", "3", "0"}, {"c", "NULL", "0"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("b | 3 | 0"));
  op.Push({{"d", "2", "0"}});
  EXPECT_THAT(op.TakeMain(), IsEmpty());
  EXPECT_EQ(op.rows_dead_lettered(), 0u);
}

TEST_P(RelationalTest, ARowWhoseConditionFailsIsADeadLetter) {
  OperatorHarness op(Job("filter: {predicate: \"10 / v > 2\"}"), GetParam());
  op.Push({{"a", "1", "0"}, {"b", "0", "0"}, {"c", "100", "0"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("a | 1 | 0"));
  EXPECT_THAT(op.TakeDeadLetters(), ElementsAre(HasSubstr("zero")));
  EXPECT_EQ(op.rows_dead_lettered(), 1u);
}

TEST_P(RelationalTest, AProjectionComputesAndRenames) {
  OperatorHarness op(Job("project: {columns: [UPPER(k) AS key, v * 2 AS twice, ts]}"), GetParam());
  op.Push({{"a", "1", "5"}, {"NULL", "NULL", "6"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("A | 2 | 5", "NULL | NULL | 6"));
}

TEST_P(RelationalTest, AnOverflowIsADeadLetterAndTheOthersGoOn) {
  OperatorHarness op(Job("project: {columns: [v + 1 AS next, CAST(k AS BIGINT) AS n]}"),
                     GetParam());
  op.Push({{"1", "9223372036854775807", "0"}, {"2", "5", "0"}, {"x", "5", "0"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("6 | 2"));
  EXPECT_EQ(op.rows_dead_lettered(), 2u);
  EXPECT_THAT(op.TakeDeadLetters(), testing::SizeIs(2));
}

TEST_P(RelationalTest, RowsAreStampedByTheClock) {
  OperatorHarness op(Job("processing_time: {name: at}"), GetParam());
  op.Wait(1000);
  op.Push({{"a", "1", "5"}, {"b", "NULL", "6"}});
  op.Wait(2500);
  op.Push({{"c", "3", "7"}});
  EXPECT_THAT(op.TakeMain(),
              ElementsAre("a | 1 | 5 | 1000", "b | NULL | 6 | 1000", "c | 3 | 7 | 3500"));
}

TEST_P(RelationalTest, AStampReplacesAColumnAndIsNotBeforeTheRestoredWatermark) {
  OperatorHarness op(Job("processing_time: {name: ts, gives_watermark: true}"), GetParam());
  op.Wait(1000);
  op.Push({{"a", "1", "5"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("a | 1 | 1000"));
  op.Watermark(4000);  // Of another machine, whose clock is ahead.
  op.Push({{"b", "2", "6"}});
  const bool restored =
      GetParam() == HarnessMode::kRestored || GetParam() == HarnessMode::kRescaled;
  EXPECT_THAT(op.TakeMain(), ElementsAre(restored ? "b | 2 | 4000" : "b | 2 | 1000"));
}

OperatorHarness::Job Orders(const std::string& node) {
  return {.columns = {"id BIGINT", "tags ARRAY<STRING>", "items ARRAY<ROW<sku STRING, n INT>>"},
          .node = node};
}

TEST_P(RelationalTest, UnnestGivesARowPerElement) {
  OperatorHarness op(Orders("unnest: {array: tags, names: [tag]}"), GetParam());
  op.Push({{"1", "a;NULL;b", "x,1"}, {"2", "", "NULL"}, {"3", "NULL", ""}, {"4", "c", "NULL"}});
  EXPECT_THAT(op.TakeMain(), UnorderedElementsAre("1 | ['a', NULL, 'b'] | [('x', 1)] | a",
                                                  "1 | ['a', NULL, 'b'] | [('x', 1)] | NULL",
                                                  "1 | ['a', NULL, 'b'] | [('x', 1)] | b",
                                                  "4 | ['c'] | NULL | c"));
}

TEST_P(RelationalTest, UnnestOfRowsGivesTheirColumnsAndThePlace) {
  OperatorHarness op(Orders("unnest: {array: items, ordinality_name: place, outer: true}"),
                     GetParam());
  op.Push({{"1", "NULL", "x,1;NULL;y,NULL"}, {"2", "NULL", ""}});
  EXPECT_THAT(op.TakeMain(),
              UnorderedElementsAre("1 | NULL | [('x', 1), NULL, ('y', NULL)] | x | 1 | 1",
                                   "1 | NULL | [('x', 1), NULL, ('y', NULL)] | NULL | NULL | 2",
                                   "1 | NULL | [('x', 1), NULL, ('y', NULL)] | y | NULL | 3",
                                   "2 | NULL | [] | NULL | NULL | NULL"));
}

// How many elements a row has changes: they are taken back, and new ones come.
TEST_P(RelationalTest, UnnestTakesElementsBackWithTheirRow) {
  OperatorHarness op(Orders("unnest: {array: tags, names: [tag]}"), GetParam());
  op.Push({{"+I", "1", "a;b", "NULL"},
           {"-U", "1", "a;b", "NULL"},
           {"+U", "1", "c", "NULL"},
           {"-D", "1", "c", "NULL"}});
  EXPECT_THAT(op.TakeMain(), UnorderedElementsAre(
                                 "+I | 1 | ['a', 'b'] | NULL | a", "+I | 1 | ['a', 'b'] | NULL | b",
                                 "-D | 1 | ['a', 'b'] | NULL | a", "-D | 1 | ['a', 'b'] | NULL | b",
                                 "+I | 1 | ['c'] | NULL | c", "-D | 1 | ['c'] | NULL | c"));
}

TEST_P(RelationalTest, UnnestSplitsLargeOutputs) {
  OperatorHarness op(Orders("unnest: {array: tags, names: [tag], ordinality_name: at}"),
                     GetParam());
  std::string many;
  for (int i = 0; i < 10'000; ++i) many += "t;";
  op.Push({{"1", many, "NULL"}, {"2", "u", "NULL"}});
  const std::vector<std::string> rows = op.TakeMain();
  ASSERT_THAT(rows, testing::SizeIs(10'001));
  EXPECT_THAT(rows, testing::Contains(testing::EndsWith("t | 10000")));
  EXPECT_THAT(rows, testing::Contains(testing::EndsWith("u | 1")));
}

}  // namespace
}  // namespace millrace
