// One row of each key under inserts and retractions, against what is left of a list of all rows.
#include <algorithm>
#include <list>
#include <map>
#include <random>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "tests/unit/operators/operator_harness.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

OperatorHarness::Job Inserts(const std::string& keep) {
  return {.columns = {"k STRING", "v BIGINT"},
          .node = "resolve_conflicts: {key: [k], keep: " + keep + "}"};
}
OperatorHarness::Job Changes(const std::string& keep) {
  return {.columns = {"id BIGINT", "k STRING", "v BIGINT"},
          .node = "resolve_conflicts: {key: [k], keep: " + keep + "}",
          .before = "  - {uid: norm, inputs: [in], normalize: {key: [id]}}\n",
          .input = "norm"};
}

class ResolveConflictsTest : public ::testing::TestWithParam<HarnessMode> {};
INSTANTIATE_TEST_SUITE_P(Modes, ResolveConflictsTest, ::testing::ValuesIn(kAllModes),
                         [](const auto& info) { return ModeName(info.param); });

TEST_P(ResolveConflictsTest, TheOneBeforeStandsInForTheLast) {
  OperatorHarness op(Changes("keep_last"), GetParam());
  op.Push({{"+I", "1", "a", "10"}});
  op.Push({{"+I", "2", "a", "20"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+I | 1 | a | 10", "+U | 2 | a | 20", "-U | 1 | a | 10"));
  op.Push({{"-D", "1", "a", "10"}});
  EXPECT_THAT(op.TakeMain(), IsEmpty());
  op.Push({{"+I", "3", "a", "30"}, {"-D", "3", "a", "30"}});
  EXPECT_THAT(op.TakeMain(), IsEmpty());
  op.Push({{"+I", "4", "a", "40"}});
  (void)op.TakeMain();
  op.Push({{"-D", "4", "a", "40"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+U | 2 | a | 20", "-U | 4 | a | 40"));
  op.Push({{"-D", "2", "a", "20"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("-D | 2 | a | 20"));
  EXPECT_EQ(op.StateRows({"rows", "places", "ends"}), 0u);
}

TEST_P(ResolveConflictsTest, WhoChangesLastIsTheLast) {
  OperatorHarness op(Changes("keep_last"), GetParam());
  op.Push({{"+I", "1", "a", "10"}, {"+I", "2", "a", "20"}});
  (void)op.TakeMain();
  op.Push({{"-U", "1", "a", "10"}, {"+U", "1", "a", "11"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+U | 1 | a | 11", "-U | 2 | a | 20"));
}

TEST_P(ResolveConflictsTest, WhoWasFirstStaysSoWhenItChanges) {
  OperatorHarness op(Changes("keep_first"), GetParam());
  op.Push({{"+I", "1", "a", "10"}, {"+I", "2", "a", "20"}, {"+I", "3", "b", "5"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+I | 1 | a | 10", "+I | 3 | b | 5"));
  op.Push({{"-U", "2", "a", "20"}, {"+U", "2", "a", "21"}});
  EXPECT_THAT(op.TakeMain(), IsEmpty());
  op.Push({{"-U", "1", "a", "10"}, {"+U", "1", "a", "11"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+U | 1 | a | 11", "-U | 1 | a | 10"));
  op.Push({{"-D", "1", "a", "11"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+U | 2 | a | 21", "-U | 1 | a | 11"));
}

TEST_P(ResolveConflictsTest, OfInsertsOneRowIsKept) {
  OperatorHarness first(Inserts("keep_first"), GetParam());
  first.Push({{"a", "1"}, {"a", "2"}});
  first.Push({{"a", "3"}, {"b", "1"}});
  EXPECT_THAT(first.TakeMain(), ElementsAre("+I | a | 1", "+I | b | 1"));
  EXPECT_EQ(first.StateRows({"rows", "places"}), 2u);
  OperatorHarness last(Inserts("keep_last"), GetParam());
  last.Push({{"a", "1"}, {"a", "2"}});
  last.Push({{"a", "3"}, {"b", "1"}});
  EXPECT_THAT(last.TakeMain(), ElementsAre("+I | a | 2", "+I | b | 1", "+U | a | 3", "-U | a | 2"));
  EXPECT_EQ(last.StateRows({"rows", "places"}), 2u);
}

TEST_P(ResolveConflictsTest, StateOfRowsThatComeAndGoStaysFlat) {
  OperatorHarness op(Changes("keep_last"), GetParam());
  uint64_t rows_most = 0;
  for (int step = 0; step < 100; ++step) {
    const std::string id = absl::StrCat(step), key = absl::StrCat("k", step);
    op.Push({{"+I", id, key, "1"}, {"+I", absl::StrCat(step + 1000), key, "2"}});
    rows_most = std::max(rows_most, op.StateRows({"rows", "places", "ends"}));
    op.Push({{"-D", id, key, "1"}, {"-D", absl::StrCat(step + 1000), key, "2"}});
    EXPECT_EQ(op.StateRows({"rows", "places", "ends"}), 0u);
  }
  EXPECT_LE(rows_most, 6u);
}

TEST_P(ResolveConflictsTest, ARowThatWasNeverThereCannotBeTakenBack) {
  OperatorHarness op(Changes("keep_last"), GetParam());
  op.Push({{"+I", "1", "a", "5"}});
  (void)op.TakeMain();
  op.Push({{"-D", "1", "a", "6"}});
  EXPECT_THAT(op.TakeMain(), IsEmpty());
  EXPECT_EQ(op.rows_dead_lettered(), 1);
}

TEST_P(ResolveConflictsTest, EqualRowsAreToldApart) {
  OperatorHarness::Job job = Changes("keep_last");
  job.before += "  - {uid: some, inputs: [norm], project: {columns: [k, v]}}\n";
  job.input = "some";
  OperatorHarness op(job, GetParam());
  op.Push({{"+I", "a", "1"}, {"+I", "a", "2"}, {"+I", "a", "1"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+I | a | 1"));
  op.Push({{"-D", "a", "1"}});  // The other one is still the last.
  EXPECT_THAT(op.TakeMain(), IsEmpty());
  op.Push({{"-D", "a", "1"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+U | a | 2", "-U | a | 1"));
}

struct Row {
  std::string id, key, value;
};

TEST_P(ResolveConflictsTest, ChangesAddUpToTheBatchAnswer) {
  for (const bool keeps_first : {false, true}) {
    // All rows of a step come in one batch: what leaves a key and what comes to it stand side by
    // side.
    OperatorHarness op(Changes(keeps_first ? "keep_first" : "keep_last"), GetParam());
    std::mt19937 random(7);
    std::list<Row> all;  // In the order in which they came.
    std::map<std::string, int> table;
    for (int step = 0; step < 150; ++step) {
      std::vector<TextRow> rows;
      for (int i = 0; i < 4; ++i) {
        const std::string key(1, "abc"[random() % 3]), value = absl::StrCat(random() % 5);
        if (all.empty() || random() % 3 == 0) {
          all.push_back({absl::StrCat(step * 4 + i), key, value});
          rows.push_back({"+I", all.back().id, key, value});
          continue;
        }
        auto it = all.begin();
        std::advance(it, random() % all.size());
        const bool is_update = random() % 3 == 0;
        rows.push_back({is_update ? "-U" : "-D", it->id, it->key, it->value});
        if (!is_update) {
          all.erase(it);
          continue;
        }
        // An update that moves the row to another key is a new row there.
        const bool moves = it->key != key;
        rows.push_back({"+U", it->id, key, value});
        const Row changed{it->id, key, value};
        if (keeps_first && !moves) {
          *it = changed;
        } else {
          all.erase(it);
          all.push_back(changed);
        }
      }
      op.Push(rows);
      for (const std::string& line : op.TakeMain()) {
        table[line.substr(5)] += line[0] == '+' ? 1 : -1;
      }
      std::map<std::string, const Row*> given;
      for (const Row& row : all) {
        if (keeps_first) {
          given.try_emplace(row.key, &row);
        } else {
          given[row.key] = &row;
        }
      }
      std::map<std::string, int> expected;
      for (const auto& [key, row] : given) {
        ++expected[absl::StrCat(row->id, " | ", key, " | ", row->value)];
      }
      std::erase_if(table, [](const auto& one) { return one.second == 0; });
      ASSERT_EQ(table, expected) << step;
    }
    EXPECT_EQ(op.rows_dead_lettered(), 0);
  }
}

// A conflict that is over when the barrier comes is none: a row has moved from one key to another.
TEST(ResolveConflictsErrorTest, TwoRowsAtABarrierEndTheJob) {
  OperatorHarness op(Changes("keep_only"), HarnessMode::kStraight);
  op.Push({{"+I", "1", "a", "10"}, {"+I", "2", "a", "20"}, {"-D", "1", "a", "10"}});
  EXPECT_TRUE(op.TrySnapshot().ok());
  EXPECT_THAT(op.TakeMain(), ElementsAre("+I | 2 | a | 20"));
  op.Push({{"+I", "3", "a", "20"}});
  EXPECT_THAT(std::string(op.TrySnapshot().message()),
              HasSubstr("MR5401: two rows have one key of the sink, and ON CONFLICT says DO ERROR: "
                        "(id=2, k='a', v=20) and (id=3, k='a', v=20)"));
}

TEST(ResolveConflictsErrorTest, TheSameRowTwiceIsNoConflict) {
  OperatorHarness op(Inserts("keep_only"), HarnessMode::kStraight);
  op.Push({{"a", "1"}, {"a", "1"}});
  op.Push({{"a", "1"}});
  EXPECT_TRUE(op.TrySnapshot().ok());
  op.Push({{"a", "2"}});
  EXPECT_THAT(std::string(op.TrySnapshot().message()), HasSubstr("(k='a', v=1) and (k='a', v=2)"));
}

}  // namespace
}  // namespace millrace
