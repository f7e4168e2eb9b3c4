#include "runtime/task/tailed_rows.h"

#include <gmock/gmock.h>

namespace millrace {
namespace {

using testing::ElementsAre;

TEST(TailedRowsTest, ValuesAreTextsWithoutQuotes) {
  const SchemaPtr schema = Schema::Make({{.id = 1, .name = "n", .type = TypeKind::kInt64},
                                         {.id = 2, .name = "s", .type = TypeKind::kString},
                                         {.id = 3, .name = "t", .type = TypeKind::kTimestamp},
                                         {.id = 4, .name = "d", .type = TypeKind::kFloat64},
                                         {.id = 5, .name = "b", .type = TypeKind::kBool},
                                         {.id = 6, .name = "m", .type = DataType::Decimal(5, 2)},
                                         {.id = 7, .name = "x", .type = TypeKind::kBytes}});
  BatchBuilder builder(schema);
  builder.column(0).AppendInt64(INT64_MAX);
  builder.column(1).AppendString("\"quoted\"\n");
  builder.column(2).AppendInt64(1'000);
  builder.column(3).AppendFloat64(0.5);
  builder.column(4).AppendBool(true);
  builder.column(5).AppendDecimal(-1234);
  builder.column(6).AppendString(std::string_view("\0\xff", 2));
  builder.SetKind(RowKind::kUpdateAfter);
  for (int i = 0; i < schema->size(); ++i) builder.column(i).AppendNull();
  builder.SetKind(RowKind::kDelete);
  const Batch batch = builder.Finish();
  v1::TailedRows rows;
  AppendTailedRows(batch, 0, 2, rows);
  ASSERT_EQ(rows.rows_size(), 2);
  EXPECT_EQ(rows.rows(0).op(), "+U");
  EXPECT_THAT(rows.rows(0).values(),
              ElementsAre("9223372036854775807", "\"quoted\"\n", "1970-01-01 00:00:00.001", "0.5",
                          "true", "-12.34", std::string("\0\xff", 2)));
  EXPECT_TRUE(rows.rows(0).nulls().empty());
  EXPECT_EQ(rows.rows(1).op(), "-D");
  EXPECT_THAT(rows.rows(1).nulls(), ElementsAre(0, 1, 2, 3, 4, 5, 6));
  v1::TailedRows second;
  AppendTailedRows(batch, 1, 2, second);
  EXPECT_EQ(second.rows_size(), 1);
}

}  // namespace
}  // namespace millrace
