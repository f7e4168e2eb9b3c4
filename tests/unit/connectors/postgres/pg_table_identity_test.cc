#include "operators/connectors/postgres/pg_table_identity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace millrace {
namespace {

using testing::HasSubstr;

const std::vector<PgTableColumn> kColumns = {
    {"id", 20, -1}, {"price", 1700, 655366}, {"note", 1043, 14}};

TEST(PgTableIdentityTest, TheSameTableHasNotChanged) {
  const std::string identity = PgTableIdentity(16384, kColumns);
  EXPECT_EQ(identity.find(' '), std::string::npos);
  EXPECT_EQ(PgTableChange(identity, 16384, kColumns), "");
  // A column that is no longer read does not matter, nor do order and the length of a text.
  EXPECT_EQ(PgTableChange(identity, 16384, {{"note", 1043, 100}, {"id", 20, -1}}), "");
}

TEST(PgTableIdentityTest, AnotherTableIsNoticed) {
  const std::string identity = PgTableIdentity(16384, kColumns);
  EXPECT_THAT(PgTableChange(identity, 16385, kColumns), HasSubstr("made anew"));
  EXPECT_THAT(PgTableChange("", 16384, kColumns), HasSubstr("made anew"));
  EXPECT_THAT(PgTableChange("1638", 1638, kColumns), HasSubstr("made anew"));
}

TEST(PgTableIdentityTest, AnotherTypeOrPrecisionIsNoticed) {
  const std::string identity = PgTableIdentity(16384, kColumns);
  EXPECT_THAT(PgTableChange(identity, 16384, {{"id", 23, -1}}), HasSubstr("'id'"));
  EXPECT_THAT(PgTableChange(identity, 16384, {{"price", 1700, 655365}}), HasSubstr("'price'"));
  EXPECT_THAT(PgTableChange(identity, 16384, {{"other", 20, -1}}), HasSubstr("'other'"));
}

// It is kept in checkpoints.
TEST(PgTableIdentityTest, StaysWhatItWas) {
  EXPECT_EQ(PgTableIdentity(16384, {{"id", 20, -1}}), "16384:16622421045422248516");
}

}  // namespace
}  // namespace millrace
