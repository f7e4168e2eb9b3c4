// Aggregates of the rows before each row, against a loop over all of them.
#include <algorithm>
#include <optional>
#include <random>
#include <set>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "tests/unit/operators/operator_harness.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

OperatorHarness::Job Job(const std::string& frame,
                         const std::string& aggregates = "[count(*) AS n, sum(v) AS s]") {
  return {.columns = {"k STRING", "v BIGINT", "t TIMESTAMP(3)"},
          .node = absl::StrCat("over_aggregate: {partition: [k], time: t, ", frame,
                               ", aggregates: ", aggregates, "}"),
          .before = "  - {uid: timed, inputs: [in], watermark: {time: t}}\n",
          .input = "timed"};
}

class OverAggregateTest : public ::testing::TestWithParam<HarnessMode> {};
INSTANTIATE_TEST_SUITE_P(Modes, OverAggregateTest, ::testing::ValuesIn(kAllModes),
                         [](const auto& info) { return ModeName(info.param); });

TEST_P(OverAggregateTest, GivesARowWhenTheWatermarkIsPastIt) {
  OperatorHarness op(Job("frame: frame_rows, preceding: 1"), GetParam());
  op.Push({{"a", "1", "30"}, {"a", "2", "10"}, {"b", "5", "20"}, {"NULL", "7", "10"}});
  op.Watermark(10);
  EXPECT_THAT(op.TakeMain(), IsEmpty());
  op.Push({{"a", "4", "20"}});
  op.Watermark(21);
  EXPECT_THAT(op.TakeMain(), ElementsAre("NULL | 7 | 10 | 1 | 7", "a | 2 | 10 | 1 | 2",
                                         "a | 4 | 20 | 2 | 6", "b | 5 | 20 | 1 | 5"));
  op.Push({{"a", "8", "20"}, {"a", "NULL", "31"}});
  EXPECT_THAT(op.TakeLate(), ElementsAre("a | 8 | 20"));
  EXPECT_EQ(op.rows_late(), 1u);
  op.End();
  EXPECT_THAT(op.TakeMain(), ElementsAre("a | 1 | 30 | 2 | 5", "a | NULL | 31 | 2 | 1"));
}

TEST_P(OverAggregateTest, RowsOfOneTimeAreInTheRangeOfEachOther) {
  OperatorHarness op(Job("preceding: 10"), GetParam());
  op.Push({{"a", "1", "10"}, {"a", "2", "20"}, {"a", "2", "20"}, {"a", "4", "21"}});
  op.End();
  EXPECT_THAT(op.TakeMain(), ElementsAre("a | 1 | 10 | 1 | 1", "a | 2 | 20 | 3 | 5",
                                         "a | 2 | 20 | 3 | 5", "a | 4 | 21 | 3 | 8"));
}

TEST_P(OverAggregateTest, ASumOutOfRangeIsADeadLetter) {
  OperatorHarness op(Job("frame: frame_rows, preceding: 1"), GetParam());
  op.Push({{"a", "9223372036854775807", "1"}, {"a", "1", "2"}, {"a", "2", "3"}});
  op.End();
  EXPECT_THAT(op.TakeMain(), ElementsAre("a | 2 | 3 | 2 | 3",
                                         "a | 9223372036854775807 | 1 | 1 | 9223372036854775807"));
  EXPECT_EQ(op.rows_dead_lettered(), 1u);
}

struct Row {
  std::string key;
  std::optional<int64_t> value;
  int64_t time;
};

// Ordered by time; rows of one time as the operator orders them does not matter to RANGE, and the
// times of a partition differ for ROWS.
TEST_P(OverAggregateTest, AddsUpToTheBatchAnswer) {
  for (const auto& [frame, by_rows, preceding] :
       {std::tuple<std::string, bool, int64_t>{"frame: frame_rows, preceding: 3", true, 3},
        {"frame: frame_rows", true, 1 << 20},
        {"preceding: 25", false, 25},
        {"preceding: 0", false, 0},
        {"frame: frame_range", false, 1 << 20}}) {
    OperatorHarness op(Job(frame,
                           "[count(*) AS n, sum(v) AS s, min(v) AS lo, max(v) AS hi, "
                           "count(DISTINCT v) AS d, sum(v) FILTER (WHERE v > 3) AS big]"),
                       GetParam());
    std::mt19937 random(3);
    std::vector<Row> rows;
    std::set<std::pair<std::string, int64_t>> taken;
    std::multiset<std::string> found, expected;
    int64_t watermark = 0;
    const auto take = [&] {
      for (std::string& line : op.TakeMain()) found.insert(std::move(line));
    };
    for (int step = 0; step < 150; ++step) {
      Row row{.key = std::string(1, static_cast<char>('a' + random() % 3)),
              .value = random() % 8 == 0
                           ? std::nullopt
                           : std::optional<int64_t>(static_cast<int64_t>(random() % 7)),
              .time = watermark + static_cast<int64_t>(random() % 40)};
      if (taken.emplace(row.key, row.time).second || !by_rows) {
        op.Push({{row.key, row.value ? absl::StrCat(*row.value) : "NULL", absl::StrCat(row.time)}});
        rows.push_back(std::move(row));
      }
      if (random() % 3 == 0) op.Watermark(watermark += static_cast<int64_t>(random() % 25));
      take();
    }
    op.End();
    take();
    for (const Row& row : rows) {
      std::vector<const Row*> before;
      for (const Row& one : rows) {
        if (one.key != row.key || one.time > row.time) continue;
        if (by_rows || one.time >= row.time - preceding) before.push_back(&one);
      }
      std::sort(before.begin(), before.end(),
                [](const Row* a, const Row* b) { return a->time > b->time; });
      if (by_rows && before.size() > static_cast<size_t>(preceding) + 1) {
        before.resize(static_cast<size_t>(preceding) + 1);
      }
      std::multiset<int64_t> values, big;
      for (const Row* one : before) {
        if (one->value) values.insert(*one->value);
        if (one->value && *one->value > 3) big.insert(*one->value);
      }
      const auto sum = [](const std::multiset<int64_t>& of) -> std::string {
        int64_t total = 0;
        for (const int64_t value : of) total += value;
        return of.empty() ? "NULL" : absl::StrCat(total);
      };
      expected.insert(absl::StrCat(row.key, " | ", row.value ? absl::StrCat(*row.value) : "NULL",
                                   " | ", row.time, " | ", before.size(), " | ", sum(values), " | ",
                                   values.empty() ? "NULL" : absl::StrCat(*values.begin()), " | ",
                                   values.empty() ? "NULL" : absl::StrCat(*values.rbegin()), " | ",
                                   std::set<int64_t>(values.begin(), values.end()).size(), " | ",
                                   sum(big)));
    }
    EXPECT_EQ(found, expected) << frame;
    EXPECT_EQ(op.rows_late(), 0u);
  }
}

TEST_P(OverAggregateTest, StateOfARangeStaysFlat) {
  OperatorHarness op(Job("preceding: 1000"), GetParam());
  uint64_t rows_after_two = 0, rows_most = 0;
  for (int step = 0; step < 500; ++step) {
    op.Push({{absl::StrCat(step % 50 == 0 ? step : 0), "1", absl::StrCat(step * 100)}});
    op.Watermark(step * 100);
    const uint64_t rows = op.StateRows({"rows", "row_ends", "totals", "values"});
    if (step == 25) rows_after_two = rows;
    if (step > 25) rows_most = std::max(rows_most, rows);
  }
  EXPECT_GT(rows_after_two, 0u);
  EXPECT_LE(rows_most, rows_after_two + 4);
  op.Watermark(1'000'000);
  EXPECT_EQ(op.StateRows({"rows", "row_ends", "totals", "values"}), 0u);
}

TEST_P(OverAggregateTest, OfRowsTheLastOnesStay) {
  OperatorHarness op(Job("frame: frame_rows, preceding: 3"), GetParam());
  for (int step = 0; step < 100; ++step) {
    op.Push({{"a", "1", absl::StrCat(step)}, {"a", "1", absl::StrCat(step)}});
    op.Watermark(step);
  }
  op.End();
  EXPECT_EQ(op.TakeMain().size(), 200u);
  EXPECT_LE(op.StateRows({"rows", "row_ends"}), 3u);
}

}  // namespace
}  // namespace millrace
