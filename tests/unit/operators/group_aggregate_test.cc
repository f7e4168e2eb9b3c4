// Results of groups under inserts and retractions, against a computation over what is left.
#include <algorithm>
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

OperatorHarness::Job Inserts(const std::string& body) {
  return {.columns = {"k STRING", "v BIGINT", "f DOUBLE", "s STRING"},
          .node = "group_aggregate: {" + body + "}"};
}
// The input is that of a node whose rows are taken back.
OperatorHarness::Job Changes(const std::string& body) {
  return {.columns = {"id BIGINT", "k STRING", "v BIGINT", "f DOUBLE", "s STRING"},
          .node = "group_aggregate: {" + body + "}",
          .before = "  - {uid: norm, inputs: [in], normalize: {key: [id]}}\n",
          .input = "norm"};
}

class GroupAggregateTest : public ::testing::TestWithParam<HarnessMode> {};
INSTANTIATE_TEST_SUITE_P(Modes, GroupAggregateTest, ::testing::ValuesIn(kAllModes),
                         [](const auto& info) { return ModeName(info.param); });

TEST_P(GroupAggregateTest, ABatchChangesAGroupOnce) {
  OperatorHarness op(
      Inserts("keys: [k], aggregates: [count(*) AS n, sum(v) AS total, min(v) AS lo, "
              "max(s) AS hi]"),
      GetParam());
  op.Push({{"a", "1", "0", "x"}, {"a", "5", "0", "z"}, {"b", "NULL", "0", "NULL"}});
  EXPECT_THAT(op.TakeMain(),
              ElementsAre("+I | a | 2 | 6 | 1 | z", "+I | b | 1 | NULL | NULL | NULL"));
  op.Push({{"a", "-3", "0", "y"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+U | a | 3 | 3 | -3 | z", "-U | a | 2 | 6 | 1 | z"));
}

TEST_P(GroupAggregateTest, ResultsThatStayAreNotEmitted) {
  OperatorHarness op(Inserts("keys: [k], aggregates: [max(v) AS hi]"), GetParam());
  op.Push({{"a", "5", "0", "x"}});
  (void)op.TakeMain();
  op.Push({{"a", "4", "0", "x"}});
  EXPECT_THAT(op.TakeMain(), IsEmpty());
}

TEST_P(GroupAggregateTest, AGroupWithoutRowsIsDeleted) {
  OperatorHarness op(Changes("keys: [k], aggregates: [count(*) AS n, max(v) AS hi]"), GetParam());
  op.Push({{"+I", "1", "a", "5", "0", "x"}, {"+I", "2", "a", "7", "0", "x"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+I | a | 2 | 7"));
  op.Push({{"-D", "2", "a", "7", "0", "x"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+U | a | 1 | 5", "-U | a | 2 | 7"));
  op.Push({{"-U", "1", "a", "5", "0", "x"}, {"+U", "1", "b", "5", "0", "x"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+I | b | 1 | 5", "-D | a | 1 | 5"));
}

TEST_P(GroupAggregateTest, WithoutKeysTheEmptyResultStays) {
  OperatorHarness op(Changes("aggregates: [count(*) AS n, sum(v) AS total]"), GetParam());
  op.Push({{"+I", "1", "a", "5", "0", "x"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+I | 1 | 5"));
  op.Push({{"-D", "1", "a", "5", "0", "x"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+U | 0 | NULL", "-U | 1 | 5"));
  op.Push({{"+I", "1", "a", "6", "0", "x"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+U | 1 | 6", "-U | 0 | NULL"));
}

TEST_P(GroupAggregateTest, ARowThatWasNeverThereIsADeadLetter) {
  OperatorHarness op(Changes("keys: [k], aggregates: [count(*) AS n]"), GetParam());
  op.Push({{"-D", "1", "a", "5", "0", "x"}});
  EXPECT_THAT(op.TakeMain(), IsEmpty());
  EXPECT_EQ(op.TakeDeadLetters().size(), 1u);
}

TEST_P(GroupAggregateTest, NotANumberAndInfinityLeaveNoTrace) {
  OperatorHarness op(Changes("keys: [k], aggregates: [sum(f) AS total]"), GetParam());
  op.Push({{"+I", "1", "a", "0", "0.1", "x"},
           {"+I", "2", "a", "0", "1e300", "x"},
           {"+I", "3", "a", "0", "nan", "x"},
           {"+I", "4", "a", "0", "inf", "x"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+I | a | nan"));
  op.Push({{"-D", "3", "a", "0", "nan", "x"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+U | a | inf", "-U | a | nan"));
  op.Push({{"-D", "4", "a", "0", "inf", "x"}, {"-D", "2", "a", "0", "1e300", "x"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+U | a | 0.1", "-U | a | inf"));
}

TEST_P(GroupAggregateTest, ASumOutOfRangeIsADeadLetterUntilItFitsAgain) {
  OperatorHarness op(Changes("keys: [k], aggregates: [sum(v) AS total]"), GetParam());
  op.Push({{"+I", "1", "a", "9223372036854775807", "0", "x"}});
  (void)op.TakeMain();
  op.Push({{"+I", "2", "a", "1", "0", "x"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("-D | a | 9223372036854775807"));
  EXPECT_EQ(op.TakeDeadLetters().size(), 1u);
  op.Push({{"-D", "1", "a", "9223372036854775807", "0", "x"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+I | a | 1"));
}

// What is in the table after the changes `lines`, on top of `table`; every row that is taken back
// must have been there.
void Apply(const std::vector<std::string>& lines, std::set<std::string>& table) {
  std::map<std::string, int> balance;
  for (const std::string& row : table) ++balance[row];
  for (const std::string& line : lines) balance[line.substr(5)] += line[0] == '+' ? 1 : -1;
  table.clear();
  for (const auto& [row, count] : balance) {
    ASSERT_TRUE(count == 0 || count == 1) << row;
    if (count == 1) table.insert(row);
  }
}

TEST_P(GroupAggregateTest, RandomChangesAgreeWithWhatIsLeft) {
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    std::mt19937_64 random(seed);
    OperatorHarness op(
        Changes("keys: [k], aggregates: [count(*) AS n, count(v) AS nv, sum(v) AS t, "
                "min(v) AS lo, max(v) AS hi, count(DISTINCT v) AS d, "
                "sum(DISTINCT v) AS td, max(s) AS hs, "
                "count(*) FILTER (WHERE v > 5) AS big]"),
        GetParam());
    std::map<int, TextRow> rows;  // By id.
    std::set<std::string> table;
    for (int step = 0; step < 25; ++step) {
      std::vector<TextRow> batch;
      for (uint64_t n = random() % 25; n > 0; --n) {
        const int id = static_cast<int>(random() % 15);
        const auto old = rows.find(id);
        TextRow now = {"+I",
                       absl::StrCat(id),
                       absl::StrCat("k", random() % 4),
                       random() % 5 == 0 ? "NULL" : absl::StrCat(random() % 10),
                       "0",
                       absl::StrCat("s", random() % 30)};
        if (old != rows.end()) {
          old->second[0] = "-D";
          batch.push_back(old->second);
          rows.erase(old);
          if (random() % 2 == 0) continue;
        }
        batch.push_back(now);
        rows[id] = now;
      }
      op.Push(batch);
      ASSERT_NO_FATAL_FAILURE(Apply(op.TakeMain(), table));
      struct Group {
        int rows = 0, values = 0, big = 0;
        int64_t total = 0;
        std::set<int64_t> distinct;
        std::string text;
      };
      std::map<std::string, Group> groups;
      for (const auto& [id, row] : rows) {
        Group& group = groups[row[2]];
        ++group.rows;
        group.text = std::max(group.text, row[5]);
        if (row[3] == "NULL") continue;
        const int64_t value = std::stoll(row[3]);
        ++group.values;
        group.total += value;
        group.big += value > 5;
        group.distinct.insert(value);
      }
      std::set<std::string> want;
      for (const auto& [key, g] : groups) {
        const auto number = [&](int64_t value) {
          return g.values == 0 ? std::string("NULL") : absl::StrCat(value);
        };
        int64_t distinct_total = 0;
        for (const int64_t value : g.distinct) distinct_total += value;
        want.insert(absl::StrCat(key, " | ", g.rows, " | ", g.values, " | ", number(g.total), " | ",
                                 number(g.distinct.empty() ? 0 : *g.distinct.begin()), " | ",
                                 number(g.distinct.empty() ? 0 : *g.distinct.rbegin()), " | ",
                                 g.distinct.size(), " | ", number(distinct_total), " | ", g.text,
                                 " | ", g.big));
      }
      ASSERT_EQ(table, want) << "step " << step;
    }
  }
}

// State TTL: a group is forgotten when no row has touched it for that long; what it has emitted
// stays, and its next row begins anew.
TEST_P(GroupAggregateTest, GroupsThatAreUnusedAreForgotten) {
  OperatorHarness::Job job = Changes("keys: [k], aggregates: [count(*) AS n, max(v) AS hi]");
  job.node = "state_ttl_ms: 1600\n    " + job.node;
  OperatorHarness op(job, GetParam());
  op.Push({{"+I", "1", "a", "5", "0", "x"}, {"+I", "2", "b", "6", "0", "x"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+I | a | 1 | 5", "+I | b | 1 | 6"));
  op.Wait(1000);
  op.Push({{"+I", "3", "a", "7", "0", "x"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+U | a | 2 | 7", "-U | a | 1 | 5"));
  op.Wait(1000);  // 2 s for b, 1 s for a.
  op.Push({{"+I", "4", "c", "1", "0", "x"}});
  op.Push({{"+I", "5", "a", "4", "0", "x"}, {"+I", "6", "b", "4", "0", "x"}});
  EXPECT_THAT(op.TakeMain(),
              ElementsAre("+I | b | 1 | 4", "+I | c | 1 | 1", "+U | a | 3 | 7", "-U | a | 2 | 7"));
  op.Wait(2000);
  op.Push({{"-D", "1", "a", "5", "0", "x"}});
  EXPECT_THAT(op.TakeMain(), IsEmpty());
  EXPECT_EQ(op.rows_dead_lettered(), 1u);  // Of the state of rows that are gone, nothing is known.
}

// Keys come and never again, for fifty times their time to live: the state stays as it is.
TEST_P(GroupAggregateTest, StateOfGroupsThatComeAndGoStaysFlat) {
  OperatorHarness::Job job =
      Changes("keys: [k], aggregates: [count(DISTINCT v) AS n, min(s) AS s]");
  job.node = "state_ttl_ms: 1600\n    " + job.node;
  OperatorHarness op(job, GetParam());
  uint64_t rows_after_two = 0, rows_most = 0;
  for (int step = 0; step < 500; ++step) {
    const std::string id = absl::StrCat(step);
    op.Push({{"+I", id, "k" + id, id, "0", "x"}});
    op.Wait(160);
    if (step == 20) rows_after_two = op.StateRows({"groups", "values", "ttl", "ttl_ends"});
    if (step > 20)
      rows_most = std::max(rows_most, op.StateRows({"groups", "values", "ttl", "ttl_ends"}));
  }
  EXPECT_GT(rows_after_two, 0u);
  EXPECT_LE(rows_most, rows_after_two + rows_after_two / 2);
}

}  // namespace
}  // namespace millrace
