#include "sql/sql_text.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

SqlText Prepare(std::string_view text) {
  SqlText out;
  SqlProblem problem;
  EXPECT_TRUE(PrepareSqlText(text, &out, &problem)) << problem.message;
  EXPECT_EQ(out.text.size(), text.size());
  return out;
}

TEST(SqlTextTest, CommentsBecomeBlankAndOffsetsStay) {
  EXPECT_EQ(Prepare("a /* b /* c */ d */ + -- e\n1").text, "a                   +     \n1");
  EXPECT_EQ(Prepare("'--' + '/*'").text, "'--' + '/*'");
}

TEST(SqlTextTest, BackQuotesBecomeQuotes) {
  EXPECT_EQ(Prepare("`dateTime` > '`'").text, "\"dateTime\" > '`'");
}

TEST(SqlTextTest, TryCastIsNoted) {
  const SqlText text = Prepare("1 + try_cast(a AS INT) + CAST(b AS INT)");
  EXPECT_EQ(text.text, "1 +     cast(a AS INT) + CAST(b AS INT)");
  ASSERT_EQ(text.try_casts.size(), 1u);
  EXPECT_EQ(text.try_casts[0], 8u);
}

TEST(SqlTextTest, AnAliasIsTheLastWord) {
  size_t end = 0;
  std::string name;
  EXPECT_TRUE(SplitAlias(Prepare("a + 1 AS `Two Words`"), &end, &name));
  EXPECT_EQ(end, 6u);
  EXPECT_EQ(name, "Two Words");
  EXPECT_FALSE(SplitAlias(Prepare("CAST(a AS INT)"), &end, &name));
  EXPECT_FALSE(SplitAlias(Prepare("a"), &end, &name));
}

TEST(SqlTextTest, TextThatDoesNotEndIsRefused) {
  for (const char* text : {"'abc", "\"abc", "`abc", "/* abc", "E'abc\\'", "a $1", "$$x$$"}) {
    SCOPED_TRACE(text);
    SqlText out;
    SqlProblem problem;
    EXPECT_FALSE(PrepareSqlText(text, &out, &problem));
    EXPECT_EQ(problem.code, "MR1201");
  }
}

}  // namespace
}  // namespace millrace
