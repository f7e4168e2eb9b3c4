// Rows with the version of a key that held at their time, against a search through all versions.
#include <map>
#include <random>
#include <set>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "tests/unit/operators/operator_harness.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

OperatorHarness::Job Job(const std::string& kind, bool changes, const std::string& more = "") {
  OperatorHarness::Job job = {
      .columns = {"a BIGINT", "n BIGINT", "t TIMESTAMP(3)"},
      .node =
          absl::StrCat("temporal_join: {kind: ", kind,
                       ", left_keys: [a], right_keys: [c], left_time: t, right_time: u", more, "}"),
      .before =
          "  - uid: other\n"
          "    source: {connector: kafka, format: csv,\n"
          "             options: {topic: o, properties.bootstrap.servers: \"h:1\"}}\n"
          "    schema: [c BIGINT, v STRING, u TIMESTAMP(3)]\n"
          "  - {uid: left, inputs: [in], watermark: {time: t}}\n"
          "  - {uid: timed, inputs: [other], watermark: {time: u}}\n",
      .input = "left",
      .right = "timed"};
  if (!changes) return job;
  job.before += "  - {uid: right, inputs: [timed], normalize: {key: [c]}}\n";
  job.right = "right";
  return job;
}

class TemporalJoinTest : public ::testing::TestWithParam<HarnessMode> {};
INSTANTIATE_TEST_SUITE_P(Modes, TemporalJoinTest, ::testing::ValuesIn(kAllModes),
                         [](const auto& info) { return ModeName(info.param); });

TEST_P(TemporalJoinTest, GivesARowWhenTheWatermarkIsPastIt) {
  OperatorHarness op(Job("inner", false), GetParam());
  op.Push({{"1", "10", "100"}, {"1", "11", "200"}, {"2", "12", "100"}});
  op.Push({{"1", "old", "50"}, {"1", "new", "200"}, {"1", "soon", "300"}}, 1);
  EXPECT_THAT(op.TakeMain(), IsEmpty());
  op.Watermark(100);  // Another version of this time may come.
  EXPECT_THAT(op.TakeMain(), IsEmpty());
  op.Push({{"1", "newer", "100"}}, 1);
  op.Watermark(101);
  EXPECT_THAT(op.TakeMain(), ElementsAre("1 | 10 | 100 | 1 | newer | 100"));
  op.End();
  EXPECT_THAT(op.TakeMain(), ElementsAre("1 | 11 | 200 | 1 | new | 200"));
}

TEST_P(TemporalJoinTest, RowsWithoutAVersionStayInALeftJoin) {
  OperatorHarness op(Job("left", false, ", condition: v <> 'bad'"), GetParam());
  op.Push({{"1", "10", "100"}, {"2", "11", "100"}, {"NULL", "12", "100"}, {"3", "13", "5"}});
  op.Push({{"1", "good", "1"}, {"2", "bad", "1"}, {"NULL", "good", "1"}, {"3", "late", "6"}}, 1);
  op.End();
  EXPECT_THAT(
      op.TakeMain(),
      ElementsAre("1 | 10 | 100 | 1 | good | 1", "2 | 11 | 100 | NULL | NULL | NULL",
                  "3 | 13 | 5 | NULL | NULL | NULL", "NULL | 12 | 100 | NULL | NULL | NULL"));
}

TEST_P(TemporalJoinTest, ALateRowGoesToTheLateOutput) {
  OperatorHarness op(Job("left", false), GetParam());
  op.Watermark(100);
  op.Push({{"1", "10", "99"}, {"1", "10", "100"}});
  EXPECT_THAT(op.TakeLate(), ElementsAre("1 | 10 | 99"));
  op.Push({{"1", "v", "98"}}, 1);  // It still holds.
  EXPECT_EQ(op.rows_late(), 2u);
  op.End();
  EXPECT_THAT(op.TakeMain(), ElementsAre("1 | 10 | 100 | 1 | v | 98"));
}

TEST_P(TemporalJoinTest, ADeletedRowHoldsNoMore) {
  OperatorHarness op(Job("left", true), GetParam());
  op.Push({{"+I", "1", "v", "10"}, {"-U", "1", "v", "10"}, {"+U", "1", "w", "20"}}, 1);
  op.Push({{"-D", "1", "w", "30"}}, 1);
  op.Push(
      {{"1", "1", "9"}, {"1", "2", "10"}, {"1", "3", "25"}, {"1", "3", "25"}, {"1", "4", "30"}});
  op.End();
  EXPECT_THAT(op.TakeMain(),
              ElementsAre("1 | 1 | 9 | NULL | NULL | NULL", "1 | 2 | 10 | 1 | v | 10",
                          "1 | 3 | 25 | 1 | w | 20", "1 | 3 | 25 | 1 | w | 20",
                          "1 | 4 | 30 | NULL | NULL | NULL"));
}

TEST_P(TemporalJoinTest, AddsUpToTheBatchAnswer) {
  OperatorHarness op(Job("left", false), GetParam());
  std::mt19937 random(5);
  std::multiset<std::string> expected_rows, rows;
  std::vector<std::array<int64_t, 3>> lefts;
  std::map<int64_t, std::map<int64_t, std::string>> versions;
  int64_t watermark = 0;
  for (int step = 0; step < 120; ++step) {
    const int64_t key = static_cast<int64_t>(random() % 4);
    const int64_t time = watermark + static_cast<int64_t>(random() % 60);
    if (random() % 3 == 0) {
      const std::string version = absl::StrCat("v", step);
      op.Push({{absl::StrCat(key), version, absl::StrCat(time)}}, 1);
      versions[key][time] = version;
    } else {
      op.Push({{absl::StrCat(key), absl::StrCat(step), absl::StrCat(time)}});
      lefts.push_back({key, step, time});
    }
    if (random() % 4 == 0) {
      watermark += static_cast<int64_t>(random() % 30);
      op.Watermark(watermark);
    }
    for (std::string& line : op.TakeMain()) rows.insert(std::move(line));
  }
  EXPECT_EQ(op.rows_late(), 0u);
  op.End();
  for (std::string& line : op.TakeMain()) rows.insert(std::move(line));
  int with_version = 0;
  for (const auto& [key, number, time] : lefts) {
    const auto& of_key = versions[key];
    auto held = of_key.upper_bound(time);
    std::string right = "NULL | NULL | NULL";
    if (held != of_key.begin()) {
      --held;
      ++with_version;
      right = absl::StrCat(key, " | ", held->second, " | ", held->first);
    }
    expected_rows.insert(absl::StrCat(key, " | ", number, " | ", time, " | ", right));
  }
  EXPECT_EQ(rows, expected_rows);
  EXPECT_GT(with_version, 20);
}

TEST_P(TemporalJoinTest, KeepsOneVersionPerKey) {
  OperatorHarness op(Job("inner", true), GetParam());
  for (int step = 0; step < 200; ++step) {
    const int64_t time = step * 10;
    op.Push({{step < 3 ? "+I" : "+U", absl::StrCat(step % 3), "v", absl::StrCat(time)}}, 1);
    op.Push({{absl::StrCat(step % 3), "1", absl::StrCat(time)}});
    op.Watermark(time);
    EXPECT_THAT(op.TakeMain(), testing::SizeIs(step == 0 ? 0 : 1));
    EXPECT_LE(op.StateRows({"rows", "row_ends", "versions", "version_ends"}), 8u);
  }
  op.Push({{"-D", "0", "v", "5000"}, {"-D", "1", "v", "5000"}, {"-D", "2", "v", "5000"}}, 1);
  op.Watermark(6000);
  EXPECT_EQ(op.StateRows({"rows", "row_ends", "versions", "version_ends"}), 0u);
}

}  // namespace
}  // namespace millrace
