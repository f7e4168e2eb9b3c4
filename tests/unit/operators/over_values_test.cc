// Values of rows before and behind, and numbers, against a loop over all rows.
#include <algorithm>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "tests/unit/operators/operator_harness.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

OperatorHarness::Job Job(const std::string& values, const std::string& frame = "") {
  return {.columns = {"k STRING", "v BIGINT", "t TIMESTAMP(3)"},
          .node = absl::StrCat("over_values: {partition: [k], time: t, ", frame, "values: [",
                               values, "]}"),
          .before = "  - {uid: timed, inputs: [in], watermark: {time: t}}\n",
          .input = "timed"};
}

class OverValuesTest : public ::testing::TestWithParam<HarnessMode> {};
INSTANTIATE_TEST_SUITE_P(Modes, OverValuesTest, ::testing::ValuesIn(kAllModes),
                         [](const auto& info) { return ModeName(info.param); });

TEST_P(OverValuesTest, LagIsTheRowBefore) {
  OperatorHarness op(Job("{function: lag, column: v}"), GetParam());
  op.Push({{"a", "1", "30"}, {"a", "2", "10"}, {"b", "5", "20"}, {"NULL", "7", "10"}});
  op.Watermark(10);
  EXPECT_THAT(op.TakeMain(), IsEmpty());
  op.Watermark(21);
  EXPECT_THAT(op.TakeMain(),
              ElementsAre("NULL | 7 | 10 | NULL", "a | 2 | 10 | NULL", "b | 5 | 20 | NULL"));
  op.Push({{"a", "8", "20"}, {"a", "NULL", "31"}, {"a", "9", "32"}});
  EXPECT_THAT(op.TakeLate(), ElementsAre("a | 8 | 20"));
  op.End();
  EXPECT_THAT(op.TakeMain(),
              ElementsAre("a | 1 | 30 | 2", "a | 9 | 32 | NULL", "a | NULL | 31 | 1"));
}

TEST_P(OverValuesTest, LeadWaitsForTheRowBehindOrTheEnd) {
  OperatorHarness op(Job("{function: lead, column: v, fallback: {names: [v]}}"), GetParam());
  op.Push({{"a", "1", "10"}, {"b", "5", "10"}});
  op.Watermark(20);
  EXPECT_THAT(op.TakeMain(), IsEmpty());
  // It is not there before the watermark is past it: another one may come between.
  op.Push({{"a", "2", "30"}});
  op.Push({{"a", "3", "25"}});
  EXPECT_THAT(op.TakeMain(), IsEmpty());
  op.Watermark(26);
  EXPECT_THAT(op.TakeMain(), ElementsAre("a | 1 | 10 | 3"));
  op.End();
  EXPECT_THAT(op.TakeMain(), ElementsAre("a | 2 | 30 | 2", "a | 3 | 25 | 2", "b | 5 | 10 | 5"));
}

TEST_P(OverValuesTest, RowsOfOneTimeHaveOneRank) {
  OperatorHarness op(Job("{function: row_number}, {function: rank}, {function: dense_rank}, "
                         "{function: last_value, column: v}"),
                     GetParam());
  op.Push({{"a", "1", "10"}, {"a", "2", "10"}, {"a", "3", "20"}});
  op.Watermark(15);
  EXPECT_THAT(op.TakeMain(),
              ElementsAre("a | 1 | 10 | 1 | 1 | 1 | 2", "a | 2 | 10 | 2 | 1 | 1 | 2"));
  op.Push({{"a", "3", "20"}, {"a", "NULL", "30"}});
  op.End();
  EXPECT_THAT(op.TakeMain(), ElementsAre("a | 3 | 20 | 3 | 3 | 2 | 3", "a | 3 | 20 | 4 | 3 | 2 | 3",
                                         "a | NULL | 30 | 5 | 5 | 3 | 3"));
}

struct Row {
  std::string key;
  std::optional<int64_t> value;
  int64_t time;
};

std::string Text(std::optional<int64_t> value) { return value ? absl::StrCat(*value) : "NULL"; }

TEST_P(OverValuesTest, AddsUpToTheBatchAnswer) {
  for (const auto& [frame, by_rows, preceding] :
       {std::tuple<std::string, bool, int64_t>{"frame: frame_rows, preceding: 3, ", true, 3},
        {"frame: frame_rows, ", true, 1 << 20},
        {"preceding: 25, ", false, 25},
        {"", false, 1 << 20}}) {
    for (const bool with_lead : {false, true}) {
      std::string values =
          "{function: lag, column: v, offset: 2, fallback: {names: [w]}}, "
          "{function: first_value, column: v}, {function: last_value, column: v}, "
          "{function: nth_value, column: v, offset: 2}, {function: row_number}, {function: rank}, "
          "{function: dense_rank}";
      if (with_lead)
        values +=
            ", {function: lead, column: v, offset: 2}, {function: lead, column: w, name: l0, "
            "offset: 0}";
      OperatorHarness::Job job = Job(values, frame);
      job.columns.push_back("w BIGINT");
      OperatorHarness op(job, GetParam());
      std::mt19937 random(5);
      std::map<std::string, std::vector<Row>> rows;
      std::multiset<std::string> found, expected;
      int64_t watermark = 0;
      const auto take = [&] {
        for (std::string& line : op.TakeMain()) found.insert(std::move(line));
      };
      for (int step = 0; step < 120; ++step) {
        Row row{.key = std::string(1, static_cast<char>('a' + random() % 3)),
                .value = random() % 4 == 0
                             ? std::nullopt
                             : std::optional<int64_t>(static_cast<int64_t>(random() % 7)),
                .time = watermark + static_cast<int64_t>(random() % 30)};
        op.Push({{row.key, Text(row.value), absl::StrCat(row.time), "77"}});
        rows[row.key].push_back(std::move(row));
        if (random() % 3 == 0) op.Watermark(watermark += static_cast<int64_t>(random() % 20));
        take();
      }
      op.End();
      take();
      for (auto& [key, all] : rows) {
        // As the operator orders them: by time, then by the other columns, NULL first.
        std::stable_sort(all.begin(), all.end(), [](const Row& a, const Row& b) {
          return std::tuple(a.time, a.value.has_value(), a.value.value_or(0)) <
                 std::tuple(b.time, b.value.has_value(), b.value.value_or(0));
        });
        int64_t rank = 0, dense = 0;
        for (size_t i = 0; i < all.size(); ++i) {
          if (i == 0 || all[i].time != all[i - 1].time) {
            rank = static_cast<int64_t>(i) + 1;
            ++dense;
          }
          size_t high = i, low = 0;
          while (!by_rows && high + 1 < all.size() && all[high + 1].time == all[i].time) ++high;
          while (by_rows ? static_cast<int64_t>(i - low) > preceding
                         : all[low].time < all[i].time - preceding) {
            ++low;
          }
          std::optional<int64_t> first, last;
          for (size_t at = low; at <= high; ++at) {
            if (all[at].value && !first) first = all[at].value;
            if (all[at].value) last = all[at].value;
          }
          const std::string nth = low + 1 <= high ? Text(all[low + 1].value) : "NULL";
          std::string line =
              absl::StrCat(key, " | ", Text(all[i].value), " | ", all[i].time, " | 77 | ",
                           i >= 2 ? Text(all[i - 2].value) : "77", " | ", Text(first), " | ",
                           Text(last), " | ", nth, " | ", i + 1, " | ", rank, " | ", dense);
          if (with_lead) {
            absl::StrAppend(&line, " | ", i + 2 < all.size() ? Text(all[i + 2].value) : "NULL",
                            " | 77");
          }
          expected.insert(std::move(line));
        }
      }
      EXPECT_EQ(found, expected) << frame << with_lead;
      EXPECT_EQ(op.rows_late(), 0u);
    }
  }
}

TEST_P(OverValuesTest, StateOfARangeStaysFlat) {
  OperatorHarness op(Job("{function: first_value, column: v}", "preceding: 1000, "), GetParam());
  for (int step = 0; step < 200; ++step) {
    op.Push({{absl::StrCat(step % 50 == 0 ? step : 0), "1", absl::StrCat(step * 100)}});
    op.Watermark(step * 100);
    EXPECT_LE(op.StateRows({"rows", "row_ends", "totals"}), 40u);
  }
  op.Watermark(1'000'000);
  EXPECT_EQ(op.StateRows({"rows", "row_ends", "totals"}), 0u);
}

TEST_P(OverValuesTest, OfOffsetsTheLastRowsStay) {
  OperatorHarness op(Job("{function: lag, column: v, offset: 3}, {function: lead, column: v}"),
                     GetParam());
  for (int step = 0; step < 100; ++step) {
    op.Push({{"a", "1", absl::StrCat(step)}, {"a", "1", absl::StrCat(step)}});
    op.Watermark(step);
  }
  EXPECT_LE(op.StateRows({"rows"}), 5u);
  op.End();
  EXPECT_EQ(op.TakeMain().size(), 200u);
}

}  // namespace
}  // namespace millrace
