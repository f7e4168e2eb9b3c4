#include "operators/connectors/redis/redis_values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace millrace {
namespace {

// As SQL text; nothing: refused.
std::string Read(DataType type, std::string_view text) {
  RedisValueReader reader;
  ColumnBuilder column(type);
  if (!reader.Append(text, column)) return column.length() == 0 ? "" : "half a value";
  return ValueText(column.Finish(), 0);
}

TEST(RedisValuesTest, FieldsBecomeValues) {
  EXPECT_EQ(Read(TypeKind::kBool, "1"), Read(TypeKind::kBool, "TRUE"));
  EXPECT_EQ(Read(TypeKind::kBool, "0"), Read(TypeKind::kBool, "false"));
  EXPECT_EQ(Read(TypeKind::kInt32, "-2147483648"), "-2147483648");
  EXPECT_EQ(Read(TypeKind::kInt64, "9223372036854775807"), "9223372036854775807");
  EXPECT_EQ(Read(DataType::Decimal(6, 2), "1.5"), "1.50");
  EXPECT_EQ(Read(TypeKind::kString, ""), "''");
  EXPECT_EQ(Read(TypeKind::kDate, "2024-02-29"), "DATE '2024-02-29'");
  EXPECT_EQ(Read(TypeKind::kTimestamp, "2024-02-29 01:02:03"),
            Read(TypeKind::kTimestamp, "2024-02-29T01:02:03Z"));
}

TEST(RedisValuesTest, OtherTextsAreRefused) {
  EXPECT_EQ(Read(TypeKind::kBool, "yes"), "");
  EXPECT_EQ(Read(TypeKind::kInt32, "2147483648"), "");
  EXPECT_EQ(Read(TypeKind::kInt64, "1.0"), "");
  EXPECT_EQ(Read(TypeKind::kInt64, ""), "");
  EXPECT_EQ(Read(TypeKind::kFloat64, "1,5"), "");
  EXPECT_EQ(Read(DataType::Decimal(3, 2), "10"), "");
  EXPECT_EQ(Read(TypeKind::kString, "\xff"), "");
  EXPECT_EQ(Read(TypeKind::kDate, "2023-02-29"), "");
  EXPECT_EQ(Read(TypeKind::kTimestamp, "yesterday"), "");
}

TEST(RedisValuesTest, ValuesNameKeys) {
  const auto text = [](ColumnBuilder& column) {
    std::string out;
    AppendRedisKeyText(column.Finish(), 0, out);
    return out;
  };
  ColumnBuilder number(TypeKind::kInt64), words(TypeKind::kString), day(TypeKind::kDate),
      truth(TypeKind::kBool);
  number.AppendInt64(-7);
  EXPECT_EQ(text(number), "-7");
  words.AppendString("a b");
  EXPECT_EQ(text(words), "a b");
  day.AppendInt32(19'782);
  EXPECT_EQ(text(day), "2024-02-29");
  truth.AppendBool(true);
  EXPECT_EQ(text(truth), "true");
}

}  // namespace
}  // namespace millrace
