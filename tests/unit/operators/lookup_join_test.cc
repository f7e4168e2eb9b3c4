// Rows with those of a table outside. The test is the table, and says how it answers.
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "operators/joins/joins.h"
#include "operators/joins/lookup_cache.h"
#include "tests/unit/operators/operator_harness.h"

namespace millrace {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

// Outlives the operators that ask it, as a real table does.
struct Server {
  std::multimap<int64_t, std::string> rows;
  std::vector<std::vector<int64_t>> questions;
  int failures = 0;  // Of the next questions.
  std::set<int64_t> unreadable;
};

class FakeTable : public LookupTable {
 public:
  explicit FakeTable(Server& server) : server_(server) {}
  absl::Status Open(SchemaPtr, std::vector<int>, const Env&) override { return absl::OkStatus(); }
  bool finds_by_key() const override { return true; }
  absl::Status Find(const Batch& wanted, BatchBuilder& out, RowErrors& bad) override {
    std::vector<int64_t>& question = server_.questions.emplace_back();
    for (int64_t row = 0; row < wanted.rows(); ++row) {
      question.push_back(wanted.column(0).values<int64_t>()[row]);
    }
    if (server_.failures-- > 0) return absl::UnavailableError("away");
    for (size_t i = 0; i < question.size(); ++i) {
      if (server_.unreadable.contains(question[i])) {
        bad.entries.push_back({static_cast<int32_t>(i), "no number"});
      }
    }
    for (const int64_t key : question) {
      for (auto [at, end] = server_.rows.equal_range(key); at != end; ++at) Append(*at, out);
    }
    return absl::OkStatus();
  }
  absl::Status ReadAll(int64_t, BatchBuilder& out) override {
    for (const auto& row : server_.rows) Append(row, out);
    out.column(0).AppendNull();  // Equal to nothing.
    out.column(1).AppendString("no key");
    return absl::OkStatus();
  }

 private:
  static void Append(const std::pair<const int64_t, std::string>& row, BatchBuilder& out) {
    out.column(0).AppendInt64(row.first);
    out.column(1).AppendString(row.second);
  }
  Server& server_;
};

OperatorHarness::Job Job(const std::string& kind, const std::string& options = "",
                         const std::string& more = "") {
  return {.columns = {"a BIGINT", "b STRING"},
          .node = absl::StrCat(
              "lookup_join: {kind: ", kind, ", left_keys: [a], right_keys: [k], ",
              "table: {connector: postgres, options: {hostname: h, username: u, database-name: d, "
              "table-name: t",
              options, "}}, table_schema: [k BIGINT, v STRING]", more, "}")};
}

class LookupJoinTest : public ::testing::TestWithParam<HarnessMode> {
 protected:
  OperatorHarness::MakeIt Make() {
    return [this] { return MakeLookupJoin(std::make_unique<FakeTable>(server_)); };
  }
  // Tasks that are restored, or are many, do not share what they know.
  bool is_one_task() const {
    return GetParam() != HarnessMode::kRestored && GetParam() != HarnessMode::kRescaled;
  }
  Server server_{.rows = {{1, "one"}, {2, "two"}, {2, "zwei"}}};
};
INSTANTIATE_TEST_SUITE_P(Modes, LookupJoinTest, ::testing::ValuesIn(kAllModes),
                         [](const auto& info) { return ModeName(info.param); });

TEST_P(LookupJoinTest, AsksOnceForTheKeysOfABatch) {
  OperatorHarness op(Job("inner"), GetParam(), Make());
  op.Push({{"1", "x"}, {"2", "y"}, {"1", "z"}, {"3", "n"}, {"NULL", "m"}});
  op.Watermark(1);
  EXPECT_THAT(op.TakeMain(), ElementsAre("1 | x | 1 | one", "1 | z | 1 | one", "2 | y | 2 | two",
                                         "2 | y | 2 | zwei"));
  if (!is_one_task()) return;
  EXPECT_THAT(server_.questions, ElementsAre(ElementsAre(1, 2, 3)));
}

TEST_P(LookupJoinTest, RowsWithoutAPartnerStayInALeftJoin) {
  OperatorHarness op(Job("left", "", ", condition: \"v <> 'two'\""), GetParam(), Make());
  server_.rows.emplace(4, "two");
  op.Push({{"2", "y"}, {"3", "n"}, {"4", "o"}, {"NULL", "m"}});
  op.Watermark(1);
  EXPECT_THAT(op.TakeMain(), ElementsAre("2 | y | 2 | zwei", "3 | n | NULL | NULL",
                                         "4 | o | NULL | NULL", "NULL | m | NULL | NULL"));
}

TEST_P(LookupJoinTest, RowsWhosePartnerCannotBeReadAreDeadLetters) {
  server_.unreadable = {2};
  server_.rows.erase(2);
  OperatorHarness op(Job("left", ", lookup.cache: partial"), GetParam(), Make());
  op.Push({{"2", "y"}, {"1", "x"}, {"2", "z"}, {"3", "n"}});
  op.Watermark(1);
  EXPECT_THAT(op.TakeMain(), ElementsAre("1 | x | 1 | one", "3 | n | NULL | NULL"));
  EXPECT_THAT(op.TakeDeadLetters(),
              UnorderedElementsAre(AllOf(HasSubstr("MR4110"), HasSubstr("y")),
                                   AllOf(HasSubstr("MR4110"), HasSubstr("z"))));
  server_.unreadable.clear();
  server_.rows.emplace(2, "two");
  op.Push({{"2", "again"}});
  op.Watermark(2);
  EXPECT_THAT(op.TakeMain(), ElementsAre("2 | again | 2 | two"));
}

TEST_P(LookupJoinTest, AsksAgainAfterFailures) {
  server_.failures = 3;
  OperatorHarness op(Job("inner"), GetParam(), Make());
  op.Push({{"1", "x"}});
  op.Push({{"2", "y"}});
  op.Watermark(1);
  EXPECT_THAT(op.TakeMain(), ElementsAre("1 | x | 1 | one", "2 | y | 2 | two", "2 | y | 2 | zwei"));
  EXPECT_GE(server_.questions.size(), 5u);
}

TEST_P(LookupJoinTest, WithoutACacheEveryBatchSeesTheTableAsItIs) {
  OperatorHarness op(Job("inner"), GetParam(), Make());
  op.Push({{"1", "x"}});
  op.Watermark(1);
  server_.rows = {{1, "new"}};
  op.Push({{"1", "y"}});
  op.Watermark(2);
  EXPECT_THAT(op.TakeMain(), ElementsAre("1 | x | 1 | one", "1 | y | 1 | new"));
}

TEST_P(LookupJoinTest, APartialCacheAnswersForAWhile) {
  if (!is_one_task()) GTEST_SKIP();
  OperatorHarness op(Job("inner",
                         ", lookup.cache: partial, lookup.partial-cache.expire-after-write: 1 s, "
                         "lookup.partial-cache.cache-missing-key: \"false\""),
                     GetParam(), Make());
  op.Push({{"1", "x"}, {"3", "x"}});
  op.Watermark(1);
  server_.rows = {{1, "new"}, {3, "three"}};
  op.Wait(900);
  op.Push({{"1", "y"}, {"3", "y"}});
  op.Watermark(2);
  op.Wait(100);
  op.Push({{"1", "z"}});
  op.Watermark(3);
  EXPECT_THAT(op.TakeMain(), ElementsAre("1 | x | 1 | one", "1 | y | 1 | one", "1 | z | 1 | new",
                                         "3 | y | 3 | three"));
  EXPECT_THAT(server_.questions, ElementsAre(ElementsAre(1, 3), ElementsAre(3), ElementsAre(1)));
}

TEST_P(LookupJoinTest, AWholeTableIsNotAsked) {
  OperatorHarness op(Job("left", ", lookup.cache: FULL"), GetParam(), Make());
  op.Push({{"2", "y"}, {"3", "n"}, {"NULL", "m"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("2 | y | 2 | two", "2 | y | 2 | zwei",
                                         "3 | n | NULL | NULL", "NULL | m | NULL | NULL"));
  EXPECT_THAT(server_.questions, IsEmpty());
}

TEST_P(LookupJoinTest, AWholeTableIsReadAgain) {
  if (!is_one_task()) GTEST_SKIP();  // Others begin with the table as it is.
  OperatorHarness op(
      Job("inner", ", lookup.cache: FULL, lookup.full-cache.periodic-reload.interval: 1 s"),
      GetParam(), Make());
  op.Push({{"1", "x"}});
  server_.rows = {{1, "new"}};
  op.Push({{"1", "y"}});
  op.Watermark(1);
  EXPECT_THAT(op.TakeMain(), ElementsAre("1 | x | 1 | one", "1 | y | 1 | one"));
  for (const char* row : {"newer", "newest"}) {
    server_.rows = {{1, row}};
    EXPECT_TRUE(op.RunTimer());
    op.Push({{"1", "z"}});
    op.Watermark(2);
    EXPECT_THAT(op.TakeMain(), ElementsAre(absl::StrCat("1 | z | 1 | ", row)));
  }
}

TEST(LookupCacheTest, ThoseLongestUnusedMakeRoom) {
  const auto rows = [](size_t count) {
    return std::make_shared<const std::vector<std::string>>(count, "row");
  };
  LookupCache cache({.rows_max = 5, .lives_us = 100});
  cache.Add("a", rows(2), 0);
  cache.Add("b", rows(2), 0);
  EXPECT_NE(cache.Find("a", 50), nullptr);
  cache.Add("c", rows(0), 50);
  EXPECT_EQ(cache.rows(), 5);
  cache.Add("d", rows(1), 50);
  EXPECT_EQ(cache.Find("b", 50), nullptr);
  EXPECT_NE(cache.Find("a", 99), nullptr);
  EXPECT_EQ(cache.Find("a", 100), nullptr);
  EXPECT_EQ(cache.Find("c", 149)->size(), 0u);
  cache.Add("e", rows(9), 149);  // More than there is room for.
  EXPECT_EQ(cache.Find("e", 149), nullptr);
  EXPECT_EQ(cache.rows(), 2);
}

}  // namespace
}  // namespace millrace
