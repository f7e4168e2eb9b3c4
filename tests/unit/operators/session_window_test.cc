// Session windows: known answers, and random rows against a reference that merges intervals.
#include <algorithm>
#include <map>
#include <numeric>
#include <random>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "tests/unit/operators/operator_harness.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr int64_t kGapMs = 100;

OperatorHarness::Job Sessions() {
  return {.columns = {"k STRING", "v BIGINT", "ts TIMESTAMP(3)"},
          .node =
              "window_aggregate: {window: {kind: session, time: ts, size: 100ms}, keys: [k], "
              "aggregates: [count(*) AS n, sum(v) AS s, max(v) AS hi]}",
          .before =
              "  - uid: time\n    inputs: [in]\n"
              "    watermark: {time: ts, out_of_orderness: 0s}\n",
          .input = "time"};
}

// The same with aggregates that need the sets of values.
OperatorHarness::Job SessionsOfSets() {
  OperatorHarness::Job job = Sessions();
  job.node =
      "window_aggregate: {window: {kind: session, time: ts, size: 100ms}, keys: [k], "
      "aggregates: [count(*) AS n, count(DISTINCT v) AS d, sum(DISTINCT v) AS s, "
      "max(CAST(v AS STRING)) FILTER (WHERE v < 50) AS hi]}";
  return job;
}

class SessionWindowTest : public ::testing::TestWithParam<HarnessMode> {};
INSTANTIATE_TEST_SUITE_P(Modes, SessionWindowTest, ::testing::ValuesIn(kAllModes),
                         [](const auto& info) { return ModeName(info.param); });

TEST_P(SessionWindowTest, ARowBetweenTwoSessionsMergesThem) {
  OperatorHarness op(Sessions(), GetParam());
  op.Push({{"a", "1", "1000"}, {"a", "2", "1150"}, {"b", "5", "1000"}});
  op.Push({{"a", "3", "1080"}});
  op.Watermark(1099);
  EXPECT_THAT(op.TakeMain(), IsEmpty());
  op.Watermark(1249);
  EXPECT_THAT(op.TakeMain(), ElementsAre("1000 | 1100 | b | 1 | 5 | 5"));
  op.Watermark(1250);
  EXPECT_THAT(op.TakeMain(), ElementsAre("1000 | 1250 | a | 3 | 6 | 3"));
}

TEST_P(SessionWindowTest, AnOpenSessionTakesARowBehindTheWatermark) {
  OperatorHarness op(Sessions(), GetParam());
  op.Push({{"a", "1", "1000"}});
  op.Watermark(1050);
  op.Push({{"a", "2", "940"}, {"b", "2", "940"}});
  EXPECT_THAT(op.TakeLate(), ElementsAre("b | 2 | 940"));
  EXPECT_EQ(op.rows_late(), 1u);
  op.End();
  EXPECT_THAT(op.TakeMain(), ElementsAre("940 | 1100 | a | 2 | 3 | 2"));
}

TEST_P(SessionWindowTest, MergedSessionsCountAValueOnce) {
  OperatorHarness op(SessionsOfSets(), GetParam());
  op.Push({{"a", "7", "1000"}, {"a", "7", "1150"}, {"a", "60", "1150"}, {"a", "9", "900"}});
  op.Push({{"a", "10", "1075"}});  // Merges both; the first had grown at its front.
  op.Push({{"b", "60", "1000"}, {"b", "NULL", "1010"}, {"c", "NULL", "1000"}});
  op.End();
  EXPECT_THAT(op.TakeMain(), ElementsAre("1000 | 1100 | c | 1 | 0 | NULL | NULL",
                                         "1000 | 1110 | b | 2 | 1 | 60 | NULL",
                                         "900 | 1250 | a | 5 | 4 | 86 | 9"));
}

// A key's next session begins with an empty set, also at the time at which a former one began.
TEST_P(SessionWindowTest, AClosedSessionLeavesNoValues) {
  OperatorHarness op(SessionsOfSets(), GetParam());
  op.Push({{"a", "1", "1000"}});
  op.Watermark(1100);
  EXPECT_THAT(op.TakeMain(), ElementsAre("1000 | 1100 | a | 1 | 1 | 1 | 1"));
  op.Push({{"a", "2", "1150"}});
  op.Push({{"a", "3", "1060"}});
  op.End();
  EXPECT_THAT(op.TakeMain(), ElementsAre("1060 | 1250 | a | 2 | 2 | 5 | 3"));
}

// New keys all the time, each silent after its session: over 50 times the gap nothing gathers.
TEST_P(SessionWindowTest, StateOfKeysThatFallSilentIsFreed) {
  OperatorHarness op(SessionsOfSets(), GetParam());
  uint64_t rows_after_two = 0, rows_most = 0;
  for (int step = 0; step < 250; ++step) {
    const std::string time = absl::StrCat(step * 20);
    op.Push({{absl::StrCat("k", step), "1", time}, {absl::StrCat("k", step), "2", time}});
    op.Watermark(step * 20);
    const uint64_t rows = op.StateRows({"sessions", "ends", "values"});
    if (step == 10) rows_after_two = rows;
    rows_most = std::max(rows_most, rows);
  }
  EXPECT_GT(rows_after_two, 0u);
  EXPECT_LE(rows_most, rows_after_two);
  op.End();
  EXPECT_EQ(op.TakeMain().size(), 250u);
  EXPECT_EQ(op.StateRows({"sessions", "ends", "values"}), 0u);
}

class Reference {
 public:
  struct Session {
    int64_t start, end;
    std::vector<int64_t> values;
  };

  // False: late.
  bool Add(const std::string& key, int64_t value, int64_t ts) {
    Session merged{ts, ts + kGapMs, {value}};
    std::vector<Session> others;
    std::vector<Session>& sessions = sessions_[key];
    for (const Session& s : sessions) {
      // Sessions that only touch merge, too.
      if (s.start > ts + kGapMs || s.end < ts) {
        others.push_back(s);
        continue;
      }
      merged.start = std::min(merged.start, s.start);
      merged.end = std::max(merged.end, s.end);
      merged.values.insert(merged.values.end(), s.values.begin(), s.values.end());
    }
    if (merged.end <= watermark_) return false;
    others.push_back(merged);
    sessions = std::move(others);
    return true;
  }

  // `aggregates` makes the line of a session's values.
  std::vector<std::string> AdvanceTo(int64_t watermark,
                                     std::string (*aggregates)(const std::vector<int64_t>&)) {
    watermark_ = watermark;
    std::vector<std::string> lines;
    for (auto& [key, sessions] : sessions_) {
      std::erase_if(sessions, [&, &key = key](const Session& s) {
        if (s.end > watermark) return false;
        lines.push_back(
            absl::StrCat(s.start, " | ", s.end, " | ", key, " | ", aggregates(s.values)));
        return true;
      });
    }
    std::sort(lines.begin(), lines.end());
    return lines;
  }

 private:
  int64_t watermark_ = INT64_MIN;
  std::map<std::string, std::vector<Session>> sessions_;
};

std::string CountSumMax(const std::vector<int64_t>& values) {
  return absl::StrCat(values.size(), " | ", std::accumulate(values.begin(), values.end(), 0), " | ",
                      *std::max_element(values.begin(), values.end()));
}

std::string OfSets(const std::vector<int64_t>& values) {
  const std::set<int64_t> set(values.begin(), values.end());
  std::string high = "NULL";
  for (const int64_t value : set) {
    if (value < 50 && (high == "NULL" || absl::StrCat(value) > high)) high = absl::StrCat(value);
  }
  return absl::StrCat(values.size(), " | ", set.size(), " | ",
                      std::accumulate(set.begin(), set.end(), 0), " | ", high);
}

void CheckRandomRows(const OperatorHarness::Job& job, HarnessMode mode,
                     std::string (*aggregates)(const std::vector<int64_t>&)) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    std::mt19937_64 random(seed);
    OperatorHarness op(job, mode);
    Reference reference;
    int64_t now = 0;
    for (int step = 0; step < 40; ++step) {
      std::vector<TextRow> batch;
      std::vector<std::string> late;
      for (uint64_t i = random() % 12; i > 0; --i) {
        const std::string key = absl::StrCat("k", random() % 6);
        const auto value = static_cast<int64_t>(random() % 100);
        const int64_t ts = now + static_cast<int64_t>(random() % 600) - 400;
        batch.push_back({key, absl::StrCat(value), absl::StrCat(ts)});
        if (!reference.Add(key, value, ts)) late.push_back(absl::StrJoin(batch.back(), " | "));
      }
      op.Push(batch);
      std::sort(late.begin(), late.end());
      ASSERT_EQ(op.TakeLate(), late) << "step " << step;
      now += static_cast<int64_t>(random() % 150);
      if (random() % 2 == 0) {
        op.Watermark(now - 200);
        ASSERT_EQ(op.TakeMain(), reference.AdvanceTo(now - 200, aggregates)) << "step " << step;
      }
    }
    op.End();
    ASSERT_EQ(op.TakeMain(), reference.AdvanceTo(INT64_MAX, aggregates));
  }
}

TEST_P(SessionWindowTest, RandomRowsAgreeWithTheReference) {
  CheckRandomRows(Sessions(), GetParam(), &CountSumMax);
}

TEST_P(SessionWindowTest, RandomSetsAgreeWithTheReference) {
  CheckRandomRows(SessionsOfSets(), GetParam(), &OfSets);
}

}  // namespace
}  // namespace millrace
