// The first rows of partitions under inserts and retractions, against a sort of what is left.
#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "tests/unit/operators/operator_harness.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

OperatorHarness::Job Inserts(const std::string& body) {
  return {.columns = {"k STRING", "v BIGINT"}, .node = "top_n: {" + body + "}"};
}
OperatorHarness::Job Changes(const std::string& body) {
  return {.columns = {"id BIGINT", "k STRING", "v BIGINT"},
          .node = "top_n: {" + body + "}",
          .before = "  - {uid: norm, inputs: [in], normalize: {key: [id]}}\n",
          .input = "norm"};
}

class TopNTest : public ::testing::TestWithParam<HarnessMode> {};
INSTANTIATE_TEST_SUITE_P(Modes, TopNTest, ::testing::ValuesIn(kAllModes),
                         [](const auto& info) { return ModeName(info.param); });

TEST_P(TopNTest, KeepsTheFirstRows) {
  OperatorHarness op(Inserts("partition: [k], order: [v DESC], limit: 2"), GetParam());
  op.Push({{"a", "1"}, {"a", "3"}, {"b", "5"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+I | a | 1", "+I | a | 3", "+I | b | 5"));
  op.Push({{"a", "2"}, {"a", "0"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+I | a | 2", "-D | a | 1"));
  op.Push({{"a", "1"}});
  EXPECT_THAT(op.TakeMain(), IsEmpty());
}

TEST_P(TopNTest, TheLastRowOfAKeyReplacesTheOneBefore) {
  OperatorHarness op(Inserts("partition: [k], order: [v DESC], limit: 1"), GetParam());
  op.Push({{"a", "1"}});
  (void)op.TakeMain();
  op.Push({{"a", "4"}, {"a", "2"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+U | a | 4", "-U | a | 1"));
}

TEST_P(TopNTest, NumbersShift) {
  OperatorHarness op(Inserts("partition: [k], order: [v], limit: 2, rank_name: rn"), GetParam());
  op.Push({{"a", "5"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+I | a | 5 | 1"));
  op.Push({{"a", "4"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+I | a | 5 | 2", "+U | a | 4 | 1", "-U | a | 5 | 1"));
}

TEST_P(TopNTest, RowsThatTieHaveOneRank) {
  OperatorHarness op(Inserts("partition: [k], order: [v], limit: 2, with_ties: true, rank_name: r"),
                     GetParam());
  op.Push({{"a", "5"}, {"a", "5"}, {"a", "7"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+I | a | 5 | 1", "+I | a | 5 | 1"));
  op.Push({{"a", "4"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+I | a | 4 | 1", "+U | a | 5 | 2", "+U | a | 5 | 2",
                                         "-U | a | 5 | 1", "-U | a | 5 | 1"));
  op.Push({{"a", "4"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+I | a | 4 | 1", "-D | a | 5 | 2", "-D | a | 5 | 2"));
}

TEST_P(TopNTest, OfDenseRanksValuesAreCounted) {
  OperatorHarness op(
      Inserts("partition: [k], order: [v], limit: 2, with_ties: true, dense: true, rank_name: r"),
      GetParam());
  op.Push({{"a", "5"}, {"a", "5"}, {"a", "7"}, {"a", "9"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+I | a | 5 | 1", "+I | a | 5 | 1", "+I | a | 7 | 2"));
  op.Push({{"a", "6"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+I | a | 6 | 2", "-D | a | 7 | 2"));
}

TEST_P(TopNTest, NullsStandWhereTheOrderSays) {
  OperatorHarness first(Inserts("order: [v NULLS FIRST], limit: 1"), GetParam());
  first.Push({{"a", "1"}, {"b", "NULL"}});
  EXPECT_THAT(first.TakeMain(), ElementsAre("+I | b | NULL"));
  OperatorHarness last(Inserts("order: [v], limit: 1"), GetParam());
  last.Push({{"a", "1"}, {"b", "NULL"}});
  EXPECT_THAT(last.TakeMain(), ElementsAre("+I | a | 1"));
}

TEST_P(TopNTest, ARowThatWasNeverThereCannotBeTakenBack) {
  OperatorHarness op(Changes("order: [v], limit: 1"), GetParam());
  op.Push({{"-D", "1", "a", "5"}});
  EXPECT_THAT(op.TakeMain(), IsEmpty());
  EXPECT_EQ(op.rows_dead_lettered(), 1);
}

// State TTL: a partition is forgotten when no row has touched it for that long.
TEST_P(TopNTest, PartitionsThatAreUnusedAreForgotten) {
  OperatorHarness::Job job = Inserts("partition: [k], order: [v DESC], limit: 1");
  job.node = "state_ttl_ms: 1600\n    " + job.node;
  OperatorHarness op(job, GetParam());
  op.Push({{"a", "5"}});
  op.Wait(1000);
  op.Push({{"a", "4"}});  // Changes nothing, but is a use.
  op.Wait(1000);
  op.Push({{"a", "4"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+I | a | 5"));
  op.Wait(2000);
  op.Push({{"b", "1"}});
  op.Push({{"a", "4"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+I | a | 4", "+I | b | 1"));
  uint64_t rows_most = 0;
  for (int step = 0; step < 500; ++step) {
    op.Push({{absl::StrCat("k", step), "1"}});
    op.Wait(160);
    rows_most = std::max(rows_most, op.StateRows({"rows", "ttl", "ttl_ends"}));
  }
  EXPECT_LE(rows_most, 3u * 16u);  // Row, use and end of those of the last 12 steps, or so.
}

// Also rows that are the same, and more of them at once than there are numbers.
TEST_P(TopNTest, InsertsAddUpToTheBatchAnswer) {
  struct Case {
    int limit;
    bool ties, dense, shown;
  };
  for (const auto& [limit, ties, dense, shown] :
       {Case{1, false, false, false}, Case{3, false, false, false}, Case{3, false, false, true},
        Case{3, true, false, true}, Case{2, true, true, true}, Case{2, true, true, false}}) {
    SCOPED_TRACE(absl::StrCat(limit, ties, dense, shown));
    std::string body = absl::StrCat("partition: [k], order: [v DESC], limit: ", limit);
    if (ties) body += ", with_ties: true";
    if (dense) body += ", dense: true";
    if (shown) body += ", rank_name: r";
    OperatorHarness op(Inserts(body), GetParam());
    std::mt19937 random(13);
    std::map<std::string, std::vector<int>> all;  // Descending.
    std::map<std::string, int> table;
    for (int step = 0; step < 60; ++step) {
      std::vector<TextRow> rows;
      for (uint64_t i = 1 + random() % 8; i > 0; --i) {
        const std::string key(1, "abc"[random() % 3]);
        const int value = 10 + step / 6 + static_cast<int>(random() % 5);
        rows.push_back({key, absl::StrCat(value)});
        all[key].push_back(value);
        std::sort(all[key].rbegin(), all[key].rend());
      }
      op.Push(rows);
      for (const std::string& line : op.TakeMain()) {
        table[line.substr(5)] += line[0] == '+' ? 1 : -1;
      }
      std::map<std::string, int> expected;
      std::set<std::string> kept;
      for (const auto& [key, values] : all) {
        int number = 0;
        for (size_t i = 0; i < values.size(); ++i) {
          const bool same = i > 0 && values[i] == values[i - 1];
          if (!ties || (!same && !dense)) {
            number = static_cast<int>(i) + 1;
          } else if (!same) {
            ++number;
          }
          if (number > limit) break;
          const std::string row = absl::StrCat(key, " | ", values[i]);
          kept.insert(row);
          ++expected[absl::StrCat(row, shown ? absl::StrCat(" | ", number) : "")];
        }
      }
      std::erase_if(table, [](const auto& one) { return one.second == 0; });
      ASSERT_EQ(table, expected) << "step " << step;
      ASSERT_EQ(op.StateRows({"rows"}), kept.size()) << "step " << step;
    }
  }
}

TEST_P(TopNTest, ChangesAddUpToTheBatchAnswer) {
  OperatorHarness op(Changes("partition: [k], order: [v DESC, id], limit: 3, rank_name: rn"),
                     GetParam());
  std::mt19937 random(11);
  std::set<TextRow> all;
  std::map<std::string, int> table;
  for (int step = 0; step < 80; ++step) {
    std::vector<TextRow> rows;
    for (int i = 0; i < 5; ++i) {
      if (!all.empty() && random() % 3 == 0) {
        auto it = all.begin();
        std::advance(it, random() % all.size());
        rows.push_back({"-D", (*it)[0], (*it)[1], (*it)[2]});
        all.erase(it);
        continue;
      }
      const TextRow row = {absl::StrCat(step * 5 + i), std::string(1, "abc"[random() % 3]),
                           absl::StrCat(random() % 4)};
      rows.push_back({"+I", row[0], row[1], row[2]});
      all.insert(row);
    }
    op.Push(rows);
    for (const std::string& line : op.TakeMain()) {
      table[line.substr(5)] += line[0] == '+' ? 1 : -1;
    }
  }
  const auto number = [](const std::string& text) {
    int64_t value = 0;
    EXPECT_TRUE(absl::SimpleAtoi(text, &value));
    return value;
  };
  std::map<std::string, std::vector<std::pair<int64_t, int64_t>>> groups;
  for (const TextRow& row : all) groups[row[1]].emplace_back(-number(row[2]), number(row[0]));
  std::map<std::string, int> expected;
  for (auto& [key, rows] : groups) {
    std::sort(rows.begin(), rows.end());
    for (size_t i = 0; i < std::min<size_t>(rows.size(), 3); ++i) {
      ++expected[absl::StrCat(rows[i].second, " | ", key, " | ", -rows[i].first, " | ", i + 1)];
    }
  }
  std::erase_if(table, [](const auto& one) { return one.second == 0; });
  EXPECT_EQ(table, expected);
  EXPECT_GT(expected.size(), 3);
}

TEST_P(TopNTest, RanksOfChangesAddUpToTheBatchAnswer) {
  for (const auto& [dense, shown] : {std::pair(false, true), {true, true}, {true, false}}) {
    std::string body = "partition: [k], order: [v DESC], limit: 2, with_ties: true";
    if (dense) body += ", dense: true";
    if (shown) body += ", rank_name: r";
    OperatorHarness op(Changes(body), GetParam());
    std::mt19937 random(12);
    std::set<TextRow> all;
    std::map<std::string, int> table;
    for (int step = 0; step < 60; ++step) {
      std::vector<TextRow> rows;
      for (int i = 0; i < 4; ++i) {
        if (!all.empty() && random() % 3 == 0) {
          auto it = all.begin();
          std::advance(it, random() % all.size());
          rows.push_back({"-D", (*it)[0], (*it)[1], (*it)[2]});
          all.erase(it);
          continue;
        }
        const TextRow row = {absl::StrCat(step * 4 + i), std::string(1, "ab"[random() % 2]),
                             absl::StrCat(random() % 6)};
        rows.push_back({"+I", row[0], row[1], row[2]});
        all.insert(row);
      }
      op.Push(rows);
      for (const std::string& line : op.TakeMain()) {
        table[line.substr(5)] += line[0] == '+' ? 1 : -1;
      }
      std::map<std::string, int> expected;
      for (const TextRow& row : all) {
        std::set<std::string> values;
        int before = 0;
        for (const TextRow& other : all) {
          if (other[1] != row[1] || other[2] <= row[2]) continue;
          values.insert(other[2]);
          ++before;
        }
        const int rank = 1 + (dense ? static_cast<int>(values.size()) : before);
        if (rank > 2) continue;
        ++expected[absl::StrCat(row[0], " | ", row[1], " | ", row[2],
                                shown ? absl::StrCat(" | ", rank) : "")];
      }
      std::erase_if(table, [](const auto& one) { return one.second == 0; });
      ASSERT_EQ(table, expected) << step << dense << shown;
    }
  }
}

}  // namespace
}  // namespace millrace
