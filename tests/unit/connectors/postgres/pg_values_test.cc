#include "operators/connectors/postgres/pg_values.h"

#include <gtest/gtest.h>

#include <vector>

namespace millrace {
namespace {

struct ValueCase {
  TypeKind type;
  const char* text;
  // As PostgreSQL would get it back; null = it cannot be read.
  const char* again;
};

TEST(PgValuesTest, ValuesComeBackAsTheyWere) {
  constexpr ValueCase kCases[] = {
      {TypeKind::kBool, "t", "t"},
      {TypeKind::kBool, "true", nullptr},
      {TypeKind::kInt32, "-2147483648", "-2147483648"},
      {TypeKind::kInt32, "2147483648", nullptr},
      {TypeKind::kInt64, "9223372036854775807", "9223372036854775807"},
      {TypeKind::kInt64, "9223372036854775808", nullptr},
      {TypeKind::kInt64, "1.5", nullptr},
      {TypeKind::kInt64, "", nullptr},
      {TypeKind::kFloat64, "0.1", "0.1"},
      {TypeKind::kFloat64, "1e+300", "1e+300"},
      {TypeKind::kFloat64, "-Infinity", "-Infinity"},
      {TypeKind::kFloat64, "NaN", "NaN"},
      {TypeKind::kFloat64, "nan?", nullptr},
      {TypeKind::kString, "a\tb\\", "a\tb\\"},
      {TypeKind::kString, "", ""},
      {TypeKind::kBytes, "\\x00ff10", "\\x00ff10"},
      {TypeKind::kBytes, "\\x0", nullptr},
      {TypeKind::kBytes, "00", nullptr},
      {TypeKind::kDate, "2026-02-28", "2026-02-28"},
      {TypeKind::kDate, "infinity", nullptr},
      {TypeKind::kDate, "0044-03-15 BC", nullptr},
      {TypeKind::kTimestamp, "2026-02-28 12:34:56.789012", "2026-02-28 12:34:56.789012"},
      {TypeKind::kTimestamp, "2026-02-28 12:34:56+00", "2026-02-28 12:34:56.000"},
      {TypeKind::kTimestamp, "infinity", nullptr},
  };
  PgValueReader reader;
  for (const ValueCase& one : kCases) {
    SCOPED_TRACE(one.text);
    ColumnBuilder builder(one.type);
    ASSERT_EQ(reader.Append(one.text, builder), one.again != nullptr);
    ASSERT_EQ(builder.length(), one.again != nullptr ? 1 : 0) << "nothing of a value that is bad";
    if (one.again == nullptr) continue;
    EXPECT_EQ(PgText(builder.Finish(), 0), one.again);
  }
  EXPECT_EQ(PgText(NullColumn(TypeKind::kInt64, 1), 0), std::nullopt);
}

TEST(PgValuesTest, TypesThatCanBeRead) {
  EXPECT_TRUE(CanReadPgType(20, TypeKind::kInt64));
  EXPECT_FALSE(CanReadPgType(20, TypeKind::kInt32)) << "bigint does not fit";
  EXPECT_TRUE(CanReadPgType(23, TypeKind::kInt64));
  EXPECT_TRUE(CanReadPgType(1700, TypeKind::kFloat64));
  EXPECT_FALSE(CanReadPgType(25, TypeKind::kInt64));
  EXPECT_TRUE(CanReadPgType(114, TypeKind::kString)) << "everything is text";
}

TEST(PgValuesTest, ElementsOfArraysAreQuoted) {
  std::string array;
  AppendPgArrayElement("a\"b\\c,{}", array);
  array.push_back(',');
  AppendPgArrayElement(std::nullopt, array);
  array.push_back(',');
  AppendPgArrayElement("NULL", array);
  EXPECT_EQ(array, "\"a\\\"b\\\\c,{}\",NULL,\"NULL\"");
}

std::vector<std::string> Split(std::string_view row, size_t columns) {
  std::vector<PgField> fields;
  if (!SplitCopyRow(row, columns, fields)) return {"malformed"};
  std::vector<std::string> texts;
  for (const PgField& field : fields) texts.push_back(field.is_null ? "(null)" : field.text);
  return texts;
}

TEST(PgValuesTest, RowsOfCopyAreTakenApart) {
  using Texts = std::vector<std::string>;
  EXPECT_EQ(Split("1\ta b\t\\N", 3), (Texts{"1", "a b", "(null)"}));
  EXPECT_EQ(Split("a\\tb\\nc\\\\d\t\t", 3), (Texts{"a\tb\nc\\d", "", ""}));
  EXPECT_EQ(Split("\\\\N", 1), (Texts{"\\N"})) << "a text, not NULL";
  EXPECT_EQ(Split("1\t2", 3), (Texts{"malformed"}));
  EXPECT_EQ(Split("1\\", 1), (Texts{"malformed"}));
  EXPECT_EQ(Split("x\\N", 1), (Texts{"malformed"}));
}

}  // namespace
}  // namespace millrace
