// Exact changes out of upserts and captured changes.
#include <map>
#include <random>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "tests/unit/operators/operator_harness.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const OperatorHarness::Job kUpserts = {.columns = {"id BIGINT", "name STRING", "price DOUBLE"},
                                       .node = "normalize: {key: [id]}"};

// As a capturing source has them. A position is a split of one letter, seven spaces, and letters.
const OperatorHarness::Job kCaptured = {.columns = {"id BIGINT", "name STRING", "big STRING"},
                                        .node = "normalize: {key: [id]}",
                                        .captured = true};
std::string At(char split, const std::string& position) {
  return absl::StrCat(std::string(1, split), "       ", position);
}

class NormalizeTest : public ::testing::TestWithParam<HarnessMode> {};
INSTANTIATE_TEST_SUITE_P(Modes, NormalizeTest, ::testing::ValuesIn(kAllModes),
                         [](const auto& info) { return ModeName(info.param); });

TEST_P(NormalizeTest, ANewVersionHasOtherColumns) {
  OperatorHarness::Job wider = kUpserts;
  wider.columns = {"id BIGINT", "price DOUBLE", "note STRING", "name STRING"};
  OperatorHarness op(kUpserts, GetParam());
  op.Push({{"1", "a", "1.5"}, {"2", "b", "NULL"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+I | 1 | a | 1.5", "+I | 2 | b | NULL"));
  op.Upgrade(wider);
  op.Push({{"1", "1.5", "NULL", "a"}, {"2", "2.5", "n", "b"}});
  EXPECT_EQ(op.rows_unchanged(), 1u);
  EXPECT_THAT(op.TakeMain(), ElementsAre("+U | 2 | 2.5 | n | b", "-U | 2 | NULL | NULL | b"));
}

TEST_P(NormalizeTest, UpdatesTakeTheLastRowBackWhole) {
  OperatorHarness op(kUpserts, GetParam());
  op.Push({{"1", "a", "1.5"}, {"2", "b", "NULL"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+I | 1 | a | 1.5", "+I | 2 | b | NULL"));
  op.Push({{"+U", "1", "c", "2"}, {"-D", "2", "NULL", "NULL"}});
  EXPECT_THAT(op.TakeMain(),
              ElementsAre("+U | 1 | c | 2", "-D | 2 | b | NULL", "-U | 1 | a | 1.5"));
  op.Push({{"+I", "2", "again", "0"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+I | 2 | again | 0"));
}

TEST_P(NormalizeTest, ChangesOfOneRowInOneBatchStayInOrder) {
  OperatorHarness op(kUpserts, GetParam());
  op.Push({{"+I", "1", "a", "1"},
           {"+U", "1", "b", "2"},
           {"-D", "1", "NULL", "NULL"},
           {"+I", "1", "c", "3"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+I | 1 | a | 1", "+I | 1 | c | 3", "+U | 1 | b | 2",
                                         "-D | 1 | b | 2", "-U | 1 | a | 1"));
}

TEST_P(NormalizeTest, WhatChangesNothingIsCountedAndDropped) {
  OperatorHarness op(kUpserts, GetParam());
  op.Push({{"1", "a", "1"}});
  (void)op.TakeMain();
  op.Push({{"+U", "1", "a", "1"}, {"-D", "7", "NULL", "NULL"}, {"-U", "1", "x", "9"}});
  EXPECT_THAT(op.TakeMain(), IsEmpty());
  EXPECT_EQ(op.rows_unchanged(), 2u);
}

TEST_P(NormalizeTest, ARowWithoutAKeyIsADeadLetter) {
  OperatorHarness op(kUpserts, GetParam());
  op.Push({{"NULL", "a", "1"}, {"3", "b", "2"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+I | 3 | b | 2"));
  EXPECT_EQ(op.TakeDeadLetters().size(), 1u);
  EXPECT_EQ(op.rows_dead_lettered(), 1u);
}

TEST_P(NormalizeTest, RepeatedChangesOfASplitAreDropped) {
  OperatorHarness op(kCaptured, GetParam());
  op.Push({{"1", "a", "x", At('p', "a"), "NULL"}, {"1", "b", "x", At('p', "b"), "NULL"}});
  op.Push({{"-D", "1", "NULL", "NULL", At('p', "c"), "NULL"}});
  (void)op.TakeMain();
  // The connector was restarted and tells all again, then goes on.
  op.Push({{"1", "a", "x", At('p', "a"), "NULL"},
           {"1", "b", "x", At('p', "b"), "NULL"},
           {"-D", "1", "NULL", "NULL", At('p', "c"), "NULL"}});
  EXPECT_THAT(op.TakeMain(), IsEmpty());
  EXPECT_EQ(op.rows_unchanged(), 3u);
  op.Push({{"1", "d", "x", At('p', "d"), "NULL"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+I | 1 | d | x"));
}

TEST_P(NormalizeTest, PositionsOfOtherSplitsAndRowsWithoutOneDoNotMatter) {
  OperatorHarness op(kCaptured, GetParam());
  op.Push({{"1", "a", "x", At('p', "z"), "NULL"}});
  op.Push({{"1", "b", "x", At('q', "a"), "NULL"}, {"1", "c", "x", "NULL", "NULL"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+I | 1 | a | x", "+U | 1 | b | x", "+U | 1 | c | x",
                                         "-U | 1 | a | x", "-U | 1 | b | x"));
}

TEST_P(NormalizeTest, ValuesThatDidNotChangeAreFilledIn) {
  OperatorHarness op(kCaptured, GetParam());
  op.Push({{"1", "a", "a long text", "NULL", "NULL"}});
  (void)op.TakeMain();
  const std::string third(1, '\4');  // Bit 2.
  op.Push({{"+U", "1", "b", "?", "NULL", third}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+U | 1 | b | a long text", "-U | 1 | a | a long text"));
  op.Push({{"+U", "9", "b", "?", "NULL", third}});
  EXPECT_THAT(op.TakeMain(), IsEmpty());
  EXPECT_EQ(op.TakeDeadLetters().size(), 1u) << "no row has the value";
}

TEST_P(NormalizeTest, TruncateDeletesEveryRow) {
  OperatorHarness op(kUpserts, GetParam());
  std::vector<TextRow> rows;
  for (int i = 0; i < 40; ++i) rows.push_back({absl::StrCat(i), "a", "1"});
  op.Push(rows);
  (void)op.TakeMain();
  op.Push({{"truncate", "NULL", "NULL", "NULL"}, {"+I", "5", "new", "1"}});
  const std::vector<std::string> out = op.TakeMain();
  EXPECT_EQ(out.size(), 41u);
  EXPECT_EQ(out[0], "+I | 5 | new | 1");
  EXPECT_EQ(out[1].substr(0, 2), "-D");
  op.Push({{
      "-D",
      "7",
      "NULL",
      "NULL",
  }});
  EXPECT_THAT(op.TakeMain(), IsEmpty());
}

TEST_P(NormalizeTest, ARepeatedTruncateLeavesTheRowsThatCameBehindIt) {
  OperatorHarness op(kCaptured, GetParam());
  const TextRow first = {"1", "a", "x", At('p', "a"), "NULL"};
  const TextRow truncate = {"truncate", "NULL", "NULL", "NULL", At('p', "b"), "NULL"};
  const TextRow second = {"1", "b", "x", At('p', "c"), "NULL"};
  op.Push({first, truncate, second});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+I | 1 | a | x", "+I | 1 | b | x", "-D | 1 | a | x"));
  op.Push({first, truncate, second});
  EXPECT_THAT(op.TakeMain(), IsEmpty());
  op.Push({{"2", "c", "x", At('p', "d"), "NULL"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+I | 2 | c | x"));
}

TEST_P(NormalizeTest, RandomUpsertsGiveTheTable) {
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    OperatorHarness op(kUpserts, GetParam());
    std::map<std::string, std::string> table, seen;
    for (int step = 0; step < 30; ++step) {
      std::vector<TextRow> rows;
      for (uint64_t n = random() % 20; n > 0; --n) {
        const std::string key = absl::StrCat(random() % 12);
        if (random() % 3 == 0) {
          rows.push_back({"-D", key, "NULL", "NULL"});
          table.erase(key);
        } else {
          const std::string name = absl::StrCat("n", random() % 4);
          rows.push_back({"+U", key, name, "1"});
          table[key] = absl::StrCat(name, " | 1");
        }
      }
      op.Push(rows);
      // Lines are sorted: what is taken back must have been there, or come in the same step.
      std::map<std::string, int> balance;
      for (const auto& [key, row] : seen) balance[absl::StrCat(key, " | ", row)] += 1;
      for (const std::string& line : op.TakeMain()) {
        balance[line.substr(5)] += line[0] == '+' ? 1 : -1;
      }
      seen.clear();
      for (const auto& [line, count] : balance) {
        ASSERT_TRUE(count == 0 || count == 1) << line;
        const size_t bar = line.find(" | ");
        if (count == 1) seen[line.substr(0, bar)] = line.substr(bar + 3);
      }
      ASSERT_EQ(seen, table) << "step " << step;
    }
  }
}

}  // namespace
}  // namespace millrace
