// Filter and projection on batches: selection, NULL conditions, rows whose expression fails.
#include "gmock/gmock.h"
#include "tests/unit/operators/operator_harness.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

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

}  // namespace
}  // namespace millrace
