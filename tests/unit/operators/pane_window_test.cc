// Tumbling, hopping and cumulating windows: known answers, and random rows against a reference that
// keeps all rows and counts each window anew. Every test runs in all modes of the harness.
#include <algorithm>
#include <map>
#include <optional>
#include <random>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "tests/unit/operators/operator_harness.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

OperatorHarness::Job Job(const std::string& window, const std::string& aggregates,
                         const std::string& keys = "[k]", const std::string& value = "v BIGINT") {
  return {.columns = {"k STRING", value, "ts TIMESTAMP(3)"},
          .node = "window_aggregate: {window: " + window + ", keys: " + keys +
                  ", aggregates: " + aggregates + "}",
          .before =
              "  - uid: time\n    inputs: [in]\n"
              "    watermark: {time: ts, out_of_orderness: 0s}\n",
          .input = "time"};
}

class PaneWindowTest : public ::testing::TestWithParam<HarnessMode> {};
INSTANTIATE_TEST_SUITE_P(Modes, PaneWindowTest, ::testing::ValuesIn(kAllModes),
                         [](const auto& info) { return ModeName(info.param); });

TEST_P(PaneWindowTest, TumblesAndIgnoresNulls) {
  OperatorHarness op(Job("{kind: tumble, time: ts, size: 10s}",
                         "[count(*) AS n, count(v) AS c, sum(v) AS s, min(v) AS lo, max(v) AS hi, "
                         "avg(v) AS mean]"),
                     GetParam());
  op.Push({{"a", "1", "1000"}, {"a", "NULL", "9999"}, {"b", "NULL", "5000"}, {"a", "4", "10000"}});
  op.Push({{"NULL", "7", "0"}, {"a", "2", "0"}});
  op.Watermark(9999);
  EXPECT_THAT(op.TakeMain(), IsEmpty());
  op.Watermark(10000);
  EXPECT_THAT(op.TakeMain(), ElementsAre("0 | 10000 | NULL | 1 | 1 | 7 | 7 | 7 | 7",
                                         "0 | 10000 | a | 3 | 2 | 3 | 1 | 2 | 1",
                                         "0 | 10000 | b | 1 | 0 | NULL | NULL | NULL | NULL"));
  op.End();
  EXPECT_THAT(op.TakeMain(), ElementsAre("10000 | 20000 | a | 1 | 1 | 4 | 4 | 4 | 4"));
}

TEST_P(PaneWindowTest, ALateRowGoesToTheLateOutputAndIsCounted) {
  OperatorHarness op(Job("{kind: tumble, time: ts, size: 10s}", "[count(*) AS n]"), GetParam());
  op.Push({{"a", "1", "5000"}});
  op.Watermark(10000);
  EXPECT_THAT(op.TakeMain(), ElementsAre("0 | 10000 | a | 1"));
  op.Push({{"a", "2", "9999"}, {"b", "3", "10000"}});
  EXPECT_THAT(op.TakeLate(), ElementsAre("a | 2 | 9999"));
  EXPECT_EQ(op.rows_late(), 1u);
  op.End();
  EXPECT_THAT(op.TakeMain(), ElementsAre("10000 | 20000 | b | 1"));
}

TEST_P(PaneWindowTest, ARowBehindAReadWindowCountsInTheLaterOnes) {
  OperatorHarness op(Job("{kind: hop, time: ts, size: 10s, slide: 5s}", "[count(*) AS n]"),
                     GetParam());
  op.Push({{"a", "1", "6000"}});
  op.Watermark(10000);
  EXPECT_THAT(op.TakeMain(), ElementsAre("0 | 10000 | a | 1"));
  op.Push({{"a", "1", "7000"}});
  EXPECT_THAT(op.TakeLate(), IsEmpty());
  op.End();
  EXPECT_THAT(op.TakeMain(), ElementsAre("5000 | 15000 | a | 2"));
}

TEST_P(PaneWindowTest, DistinctAndFilter) {
  OperatorHarness op(
      Job("{kind: cumulate, time: ts, size: 10s, slide: 5s}",
          "[count(DISTINCT v) AS d, count(*) FILTER (WHERE v > 2) AS big, max(k) AS m]", "[]"),
      GetParam());
  op.Push({{"x", "1", "0"}, {"y", "3", "1000"}, {"x", "3", "2000"}});
  op.Push({{"z", "NULL", "6000"}, {"x", "1", "7000"}, {"x", "5", "8000"}});
  op.End();
  EXPECT_THAT(op.TakeMain(), ElementsAre("0 | 10000 | 3 | 3 | z", "0 | 5000 | 2 | 2 | y"));
}

TEST_P(PaneWindowTest, ASumOutOfRangeIsADeadLetter) {
  OperatorHarness op(Job("{kind: tumble, time: ts, size: 10s}", "[sum(v) AS s]"), GetParam());
  op.Push({{"a", "9223372036854775807", "0"}, {"b", "1", "0"}});
  op.Push({{"a", "1", "0"}});
  op.End();
  EXPECT_THAT(op.TakeMain(), ElementsAre("0 | 10000 | b | 1"));
  EXPECT_EQ(op.rows_dead_lettered(), 1u);
  EXPECT_THAT(op.TakeDeadLetters(), ElementsAre(HasSubstr("MR4005")));
}

TEST_P(PaneWindowTest, ASumMayLeaveTheRangeOnItsWay) {
  OperatorHarness op(Job("{kind: tumble, time: ts, size: 10s}", "[sum(v) AS s]"), GetParam());
  op.Push({{"a", "9223372036854775807", "0"}, {"a", "5", "0"}});
  op.Push({{"a", "-6", "0"}});
  op.End();
  EXPECT_THAT(op.TakeMain(), ElementsAre("0 | 10000 | a | 9223372036854775806"));
}

TEST_P(PaneWindowTest, TimesBefore1970FallIntoTheirWindow) {
  OperatorHarness op(Job("{kind: tumble, time: ts, size: 10s, offset_ms: 3000}", "[count(*) AS n]"),
                     GetParam());
  op.Push({{"a", "1", "-1"}, {"a", "1", "-7000"}, {"a", "1", "-7001"}, {"a", "1", "3000"}});
  op.End();
  EXPECT_THAT(op.TakeMain(), ElementsAre("-17000 | -7000 | a | 1", "-7000 | 3000 | a | 2",
                                         "3000 | 13000 | a | 1"));
}

TEST_P(PaneWindowTest, MoreGroupsThanOneOutputBatch) {
  OperatorHarness op(Job("{kind: tumble, time: ts, size: 10s}", "[count(*) AS n]"), GetParam());
  constexpr int kGroups = 10'000;
  std::vector<TextRow> rows;
  for (int i = 0; i < kGroups; ++i) rows.push_back({absl::StrCat("key", i), "1", "0"});
  op.Push(rows);
  op.Push(rows);
  op.End();
  const std::vector<std::string> out = op.TakeMain();
  EXPECT_EQ(out.size(), static_cast<size_t>(kGroups));
  for (const std::string& line : out) EXPECT_TRUE(line.ends_with(" | 2")) << line;
}

// ---- against the reference ----

struct Shape {
  const char* name;
  int64_t size_ms;
  int64_t slide_ms;
  int64_t offset_ms;
};

std::string WindowYaml(const Shape& shape) {
  const std::string slide =
      std::string(shape.name) == "tumble" ? "" : absl::StrCat(", slide: ", shape.slide_ms, "ms");
  return absl::StrCat("{kind: ", shape.name, ", time: ts, size: ", shape.size_ms, "ms", slide,
                      ", offset_ms: ", shape.offset_ms, "}");
}

struct Row {
  std::string k;
  std::optional<int64_t> v;
  int64_t ts;
};

class Reference {
 public:
  explicit Reference(const Shape& shape) : shape_(shape) {}

  std::vector<std::pair<int64_t, int64_t>> WindowsOf(int64_t ts) const {
    const auto floor_to = [&](int64_t t, int64_t step) {
      const int64_t shifted = t - shape_.offset_ms;
      return (shifted >= 0 ? shifted / step : -((-shifted + step - 1) / step)) * step +
             shape_.offset_ms;
    };
    std::vector<std::pair<int64_t, int64_t>> windows;
    const std::string kind = shape_.name;
    if (kind == "cumulate") {
      const int64_t base = floor_to(ts, shape_.size_ms);
      for (int64_t end = base + shape_.slide_ms; end <= base + shape_.size_ms;
           end += shape_.slide_ms) {
        if (end > ts) windows.emplace_back(base, end);
      }
      return windows;
    }
    const int64_t slide = kind == "tumble" ? shape_.size_ms : shape_.slide_ms;
    for (int64_t start = floor_to(ts, slide); start + shape_.size_ms > ts; start -= slide) {
      windows.emplace_back(start, start + shape_.size_ms);
    }
    return windows;
  }

  // False: late.
  bool Add(const Row& row) {
    bool counted = false;
    for (const auto& window : WindowsOf(row.ts)) {
      if (window.second <= watermark_) continue;
      rows_[window][row.k].push_back(row.v);
      counted = true;
    }
    return counted;
  }

  std::vector<std::string> AdvanceTo(int64_t watermark) {
    watermark_ = watermark;
    std::vector<std::string> lines;
    for (auto it = rows_.begin(); it != rows_.end();) {
      if (it->first.second > watermark) {
        ++it;
        continue;
      }
      for (const auto& [key, values] : it->second) {
        lines.push_back(absl::StrCat(it->first.first, " | ", it->first.second, " | ", key, " | ",
                                     Aggregates(values)));
      }
      it = rows_.erase(it);
    }
    std::sort(lines.begin(), lines.end());
    return lines;
  }

 private:
  static std::string Aggregates(const std::vector<std::optional<int64_t>>& values) {
    std::set<int64_t> distinct;
    int64_t count = 0;
    int64_t sum = 0;
    int64_t large = 0;
    for (const auto& v : values) {
      if (!v) continue;
      distinct.insert(*v);
      ++count;
      sum += *v;
      large += *v > 0;
    }
    const std::string numbers =
        count == 0 ? "NULL | NULL | NULL"
                   : absl::StrCat(sum, " | ", *distinct.begin(), " | ", *distinct.rbegin());
    return absl::StrCat(values.size(), " | ", numbers, " | ", distinct.size(), " | ", large);
  }

  const Shape shape_;
  int64_t watermark_ = INT64_MIN;
  std::map<std::pair<int64_t, int64_t>, std::map<std::string, std::vector<std::optional<int64_t>>>>
      rows_;
};

TEST_P(PaneWindowTest, RandomRowsAgreeWithTheReference) {
  constexpr Shape kShapes[] = {{"tumble", 1000, 0, 0},       {"tumble", 7, 0, 3},
                               {"hop", 1000, 200, 0},        {"hop", 1000, 300, -50},
                               {"cumulate", 1200, 400, 100}, {"hop", 500, 500, 0}};
  int evictions = 0;
  for (const Shape& shape : kShapes) {
    for (uint64_t seed = 1; seed <= 4; ++seed) {
      SCOPED_TRACE(absl::StrCat(WindowYaml(shape), " seed ", seed));
      std::mt19937_64 random(seed);
      OperatorHarness op(
          Job(WindowYaml(shape),
              "[count(*) AS n, sum(v) AS s, min(v) AS lo, max(v) AS hi, count(DISTINCT v) AS d, "
              "count(*) FILTER (WHERE v > 0) AS big]"),
          GetParam());
      Reference reference(shape);
      int64_t now = -2000;
      uint64_t late = 0;
      for (int step = 0; step < 30; ++step) {
        std::vector<TextRow> batch;
        std::vector<std::string> late_lines;
        for (uint64_t i = random() % 40; i > 0; --i) {
          Row row{.k = absl::StrCat("k", random() % 9),
                  .v = static_cast<int64_t>(random() % 21) - 10,
                  .ts = now + static_cast<int64_t>(random() % 1600) - 800};
          if (random() % 8 == 0) row.v.reset();
          batch.push_back({row.k, row.v ? absl::StrCat(*row.v) : "NULL", absl::StrCat(row.ts)});
          if (!reference.Add(row)) late_lines.push_back(absl::StrJoin(batch.back(), " | "));
        }
        op.Push(batch);
        late += late_lines.size();
        std::sort(late_lines.begin(), late_lines.end());
        ASSERT_EQ(op.TakeLate(), late_lines) << "step " << step;
        now += static_cast<int64_t>(random() % 300);
        if (random() % 2 == 0) {
          op.Watermark(now - 400);
          ASSERT_EQ(op.TakeMain(), reference.AdvanceTo(now - 400)) << "step " << step;
        }
      }
      op.End();
      ASSERT_EQ(op.TakeMain(), reference.AdvanceTo(INT64_MAX));
      EXPECT_EQ(op.rows_late(), late);
      evictions += op.evictions();
    }
  }
  if (GetParam() == HarnessMode::kSmallMemory) {
    EXPECT_GT(evictions, 0);
  }
}

OperatorHarness::Job Assigned(const std::string& window) {
  OperatorHarness::Job job = Job(window, "[count(*) AS n]");
  job.node = absl::StrCat("assign_windows: {window: ", window, "}");
  return job;
}

TEST_P(PaneWindowTest, AssignsEachRowTheWindowsThatAreOpen) {
  OperatorHarness op(Assigned("{kind: hop, time: ts, size: 10s, slide: 5s}"), GetParam());
  op.Push({{"a", "1", "6000"}});
  EXPECT_THAT(op.TakeMain(),
              ElementsAre("a | 1 | 6000 | 0 | 10000", "a | 1 | 6000 | 5000 | 15000"));
  op.Watermark(10000);
  op.Push({{"b", "2", "7000"}, {"c", "3", "4000"}, {"NULL", "NULL", "12000"}});
  EXPECT_THAT(op.TakeMain(),
              ElementsAre("NULL | NULL | 12000 | 10000 | 20000",
                          "NULL | NULL | 12000 | 5000 | 15000", "b | 2 | 7000 | 5000 | 15000"));
  EXPECT_THAT(op.TakeLate(), ElementsAre("c | 3 | 4000"));
  EXPECT_EQ(op.rows_late(), 1u);
}

TEST_P(PaneWindowTest, AssignsCumulatingWindowsOfAnOffset) {
  OperatorHarness op(Assigned("{kind: cumulate, time: ts, size: 6s, slide: 2s, offset: 1s}"),
                     GetParam());
  op.Push({{"a", "1", "3500"}});
  EXPECT_THAT(op.TakeMain(),
              ElementsAre("a | 1 | 3500 | 1000 | 5000", "a | 1 | 3500 | 1000 | 7000"));
}

}  // namespace
}  // namespace millrace
