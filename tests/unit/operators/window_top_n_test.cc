// Top-N per window: order, NULLs, ties and ranks, and random rows against a sort.
#include <algorithm>
#include <map>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "tests/unit/operators/operator_harness.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;

// The operator reads window_start, window_end, k, v of a window aggregate.
OperatorHarness::Job Top(const std::string& body) {
  return {.columns = {"k STRING", "v BIGINT", "ts TIMESTAMP(3)"},
          .node = "window_top_n: {" + body + "}",
          .before =
              "  - uid: time\n    inputs: [in]\n"
              "    watermark: {time: ts, out_of_orderness: 0s}\n"
              "  - uid: win\n    inputs: [time]\n"
              "    window_aggregate: {window: {kind: tumble, time: ts, size: 10s}, "
              "keys: [k], aggregates: [max(v) AS v]}\n",
          .input = "win"};
}

class WindowTopNTest : public ::testing::TestWithParam<HarnessMode> {};
INSTANTIATE_TEST_SUITE_P(Modes, WindowTopNTest, ::testing::ValuesIn(kAllModes),
                         [](const auto& info) { return ModeName(info.param); });

TEST_P(WindowTopNTest, TheBestOfEachWindowWithRank) {
  OperatorHarness op(Top("order: [v DESC], limit: 2, rank_name: r"), GetParam());
  op.Push({{"0", "10000", "a", "5"}, {"0", "10000", "b", "7"}, {"10000", "20000", "a", "1"}});
  op.Push({{"0", "10000", "c", "6"}, {"0", "10000", "d", "1"}});
  op.Watermark(10000);
  EXPECT_THAT(op.TakeMain(), ElementsAre("0 | 10000 | b | 7 | 1", "0 | 10000 | c | 6 | 2"));
  op.Push({{"0", "10000", "e", "9"}});
  EXPECT_THAT(op.TakeLate(), ElementsAre("0 | 10000 | e | 9"));
  op.End();
  EXPECT_THAT(op.TakeMain(), ElementsAre("10000 | 20000 | a | 1 | 1"));
}

TEST_P(WindowTopNTest, AClosedWindowLeavesNoState) {
  OperatorHarness op(Top("order: [v DESC], limit: 2"), GetParam());
  uint64_t rows_most = 0;
  for (int64_t window = 0; window < 50; ++window) {
    const std::string start = absl::StrCat(window * 10'000),
                      end = absl::StrCat((window + 1) * 10'000);
    for (int row = 0; row < 5; ++row) {
      op.Push({{start, end, absl::StrCat("k", window, "-", row), absl::StrCat(row)}});
    }
    op.Watermark(window * 10'000 + 5'000);
    rows_most = std::max(rows_most, op.StateRows({"rows"}));
  }
  EXPECT_LE(rows_most, 2u * 2u);  // Of the window that is open and the one that has just closed.
  op.End();
  EXPECT_EQ(op.TakeMain().size(), 100u);
  EXPECT_EQ(op.StateRows({"rows"}), 0u);
}

TEST_P(WindowTopNTest, NullsComeFirstWhenDescendingAndLastWhenAscending) {
  OperatorHarness descending(Top("order: [v DESC], limit: 1"), GetParam());
  descending.Push({{"0", "10000", "a", "5"}, {"0", "10000", "b", "NULL"}});
  descending.End();
  EXPECT_THAT(descending.TakeMain(), ElementsAre("0 | 10000 | b | NULL"));
  OperatorHarness ascending(Top("order: [v], limit: 1"), GetParam());
  ascending.Push({{"0", "10000", "b", "NULL"}, {"0", "10000", "a", "5"}});
  ascending.End();
  EXPECT_THAT(ascending.TakeMain(), ElementsAre("0 | 10000 | a | 5"));
}

TEST_P(WindowTopNTest, TiesOfTheLastRowStayWhenAsked) {
  OperatorHarness op(Top("order: [v DESC], limit: 2, with_ties: true, rank_name: r"), GetParam());
  op.Push({{"0", "10000", "a", "9"}, {"0", "10000", "b", "5"}, {"0", "10000", "c", "4"}});
  op.Push({{"0", "10000", "d", "5"}, {"0", "10000", "e", "5"}});
  op.End();
  EXPECT_THAT(op.TakeMain(), ElementsAre("0 | 10000 | a | 9 | 1", "0 | 10000 | b | 5 | 2",
                                         "0 | 10000 | d | 5 | 2", "0 | 10000 | e | 5 | 2"));
}

TEST_P(WindowTopNTest, OfDenseRanksValuesAreCounted) {
  OperatorHarness op(Top("order: [v DESC], limit: 2, with_ties: true, dense: true, rank_name: r"),
                     GetParam());
  op.Push({{"0", "10000", "a", "9"}, {"0", "10000", "b", "9"}, {"0", "10000", "c", "4"}});
  op.Push({{"0", "10000", "d", "5"}, {"0", "10000", "e", "5"}});
  op.End();
  EXPECT_THAT(op.TakeMain(), ElementsAre("0 | 10000 | a | 9 | 1", "0 | 10000 | b | 9 | 1",
                                         "0 | 10000 | d | 5 | 2", "0 | 10000 | e | 5 | 2"));
}

TEST_P(WindowTopNTest, RandomRowsAgreeWithASort) {
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    std::mt19937_64 random(seed);
    OperatorHarness op(Top("partition: [k], order: [v DESC, window_start], limit: 3"), GetParam());
    // (end, k) -> (-v, start), all different.
    std::map<std::pair<int64_t, std::string>, std::vector<std::pair<int64_t, int64_t>>> groups;
    std::vector<std::string> want;
    int64_t watermark = 0;
    int64_t serial = 0;
    for (int step = 0; step < 30; ++step) {
      std::vector<TextRow> batch;
      for (uint64_t i = random() % 30; i > 0; --i) {
        const int64_t end = (watermark / 10000 + 1 + static_cast<int64_t>(random() % 3)) * 10000;
        const std::string key = absl::StrCat("k", random() % 5);
        const auto value = static_cast<int64_t>(random() % 50);
        batch.push_back({absl::StrCat(++serial), absl::StrCat(end), key, absl::StrCat(value)});
        groups[{end, key}].emplace_back(-value, serial);
      }
      op.Push(batch);
      if (random() % 3 != 0) continue;
      watermark += static_cast<int64_t>(random() % 15000);
      op.Watermark(watermark);
      want.clear();
      for (auto it = groups.begin(); it != groups.end() && it->first.first <= watermark;) {
        std::sort(it->second.begin(), it->second.end());
        for (size_t i = 0; i < std::min<size_t>(3, it->second.size()); ++i) {
          want.push_back(absl::StrCat(it->second[i].second, " | ", it->first.first, " | ",
                                      it->first.second, " | ", -it->second[i].first));
        }
        it = groups.erase(it);
      }
      std::sort(want.begin(), want.end());
      ASSERT_EQ(op.TakeMain(), want) << "step " << step;
    }
  }
}

}  // namespace
}  // namespace millrace
