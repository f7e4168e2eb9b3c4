#include "operators/connectors/postgres/pg_values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace millrace {
namespace {

// The value as `ValueText` shows it; "refused" for what is not one.
std::string Read(DataType kind, std::string_view text) {
  PgValueReader reader;
  ColumnBuilder column(kind);
  if (!reader.Append(text, column)) {
    EXPECT_EQ(column.length(), 0);
    return "refused";
  }
  EXPECT_EQ(column.length(), 1);
  return ValueText(column.Finish(), 0);
}

// What would be written for a value that was read from `text`.
std::string Again(DataType kind, std::string_view text) {
  PgValueReader reader;
  ColumnBuilder column(kind);
  EXPECT_TRUE(reader.Append(text, column)) << text;
  return PgText(column.Finish(), 0).value_or("NULL");
}

TEST(PgValuesTest, ReadsWhatTheServerWrites) {
  EXPECT_EQ(Read(TypeKind::kBool, "t"), "TRUE");
  EXPECT_EQ(Read(TypeKind::kInt32, "-2147483648"), "-2147483648");
  EXPECT_EQ(Read(TypeKind::kInt64, "9223372036854775807"), "9223372036854775807");
  EXPECT_EQ(Read(TypeKind::kString, ""), "''");
  EXPECT_EQ(Again(TypeKind::kFloat64, "0.1"), "0.1");
  EXPECT_EQ(Again(TypeKind::kFloat64, "5e-324"), "5e-324");
  EXPECT_EQ(Again(TypeKind::kFloat64, "-Infinity"), "-Infinity");
  EXPECT_EQ(Again(TypeKind::kFloat64, "NaN"), "NaN");
  EXPECT_EQ(Again(DataType::Decimal(10, 2), "-12.5"), "-12.50");
  EXPECT_EQ(Again(DataType::Decimal(30, 10), "12345678901234567890.0123456789"),
            "12345678901234567890.0123456789");
  EXPECT_EQ(Again(DataType::Decimal(38, 38), "0.1"), "0.1" + std::string(37, '0'));
  EXPECT_EQ(Again(TypeKind::kBytes, "\\x00ff5c"), "\\x00ff5c");
  EXPECT_EQ(Again(TypeKind::kDate, "2024-02-29"), "2024-02-29");
  EXPECT_EQ(Again(TypeKind::kTimestamp, "2024-02-29 23:59:59.123456"),
            "2024-02-29 23:59:59.123456");
  EXPECT_EQ(Again(TypeKind::kTimestamp, "2024-02-29 23:59:59+00"), "2024-02-29 23:59:59.000");
}

TEST(PgValuesTest, RefusesWhatHasNoValueHere) {
  EXPECT_EQ(Read(TypeKind::kBool, "true"), "refused");
  EXPECT_EQ(Read(TypeKind::kInt32, "2147483648"), "refused");
  EXPECT_EQ(Read(TypeKind::kInt64, "9223372036854775808"), "refused");
  EXPECT_EQ(Read(TypeKind::kInt64, "1.5"), "refused");
  EXPECT_EQ(Read(TypeKind::kInt64, "NaN"), "refused");
  EXPECT_EQ(Read(TypeKind::kInt64, ""), "refused");
  EXPECT_EQ(Read(DataType::Decimal(4, 2), "100"), "refused");
  EXPECT_EQ(Read(DataType::Decimal(4, 2), "NaN"), "refused");
  EXPECT_EQ(Read(TypeKind::kFloat64, "nan?"), "refused");
  EXPECT_EQ(Read(TypeKind::kFloat64, "1e999"), "refused");
  EXPECT_EQ(Read(TypeKind::kBytes, "\\x0"), "refused");
  EXPECT_EQ(Read(TypeKind::kBytes, "escaped"), "refused");
  for (const char* date : {"infinity", "-infinity", "0044-03-15 BC", "12024-01-01", ""}) {
    EXPECT_EQ(Read(TypeKind::kDate, date), "refused") << date;
    EXPECT_EQ(Read(TypeKind::kTimestamp, date), "refused") << date;
  }
  EXPECT_EQ(Read(TypeKind::kTimestamp, "0044-03-15 00:00:00 BC"), "refused");
  EXPECT_EQ(Read(TypeKind::kTimestamp, "12024-01-01 00:00:00"), "refused");
  EXPECT_EQ(Read(TypeKind::kTimestamp, "2024-01-01 00:00:00+01"), "refused");
}

TEST(PgValuesTest, IntervalsHaveAFixedLengthOrAreRefused) {
  const auto us = [](std::string_view text) { return Again(TypeKind::kInterval, text); };
  EXPECT_EQ(us("PT0S"), "0 microseconds");
  EXPECT_EQ(us("PT-1.5S"), "-1500000 microseconds");
  EXPECT_EQ(us("PT0.000001S"), "1 microseconds");
  EXPECT_EQ(us("PT-0.5S"), "-500000 microseconds");
  EXPECT_EQ(us("P-3DT4H5M6.789S"), "-244493211000 microseconds");
  EXPECT_EQ(us("PT100H"), "360000000000 microseconds");
  for (const char* bad :
       {"", "P", "PT", "P1", "P1Y", "P1M", "P1Y2DT3S", "PT1D", "P1H", "PT1.S", "PT1.1234567S",
        "P1DT", "PT9223372036854775807S", "P99999999999999D", "1 day", "PT1.5M", "PT--1S"}) {
    EXPECT_EQ(Read(TypeKind::kInterval, bad), "refused") << bad;
  }
}

TEST(PgValuesTest, WritesYearsThatOtherFormatsDoNotHave) {
  const auto text = [](DataType kind, int64_t value) {
    ColumnBuilder column(kind);
    kind == TypeKind::kDate ? column.AppendInt32(static_cast<int32_t>(value))
                            : column.AppendInt64(value);
    return *PgText(column.Finish(), 0);
  };
  EXPECT_EQ(text(TypeKind::kDate, 2932897), "10000-01-01");
  EXPECT_EQ(text(TypeKind::kDate, -719163), "0001-12-31 BC");
  EXPECT_EQ(text(TypeKind::kTimestamp, 2932897LL * 86'400'000'000 + 1),
            "10000-01-01 00:00:00.000001");
  EXPECT_EQ(text(TypeKind::kTimestamp, -719163LL * 86'400'000'000 - 1),
            "0001-12-30 23:59:59.999999 BC");
}

TEST(PgValuesTest, TypesThatWouldLoseDigitsAreNotWritten) {
  EXPECT_TRUE(CanWritePgType(701, TypeKind::kFloat64));
  EXPECT_TRUE(CanWritePgType(20, TypeKind::kInt32));
  EXPECT_TRUE(CanWritePgType(25, TypeKind::kTimestamp));
  EXPECT_FALSE(CanWritePgType(701, TypeKind::kInt64));
  EXPECT_FALSE(CanWritePgType(20, TypeKind::kFloat64));
  EXPECT_FALSE(CanReadPgType(20, TypeKind::kInt32));
  EXPECT_FALSE(CanReadPgType(20, TypeKind::kFloat64));
  EXPECT_TRUE(CanReadPgType(1700, TypeKind::kDecimal));
  EXPECT_TRUE(CanWritePgType(1700, TypeKind::kDecimal));
  EXPECT_FALSE(CanWritePgType(701, TypeKind::kDecimal));
  EXPECT_FALSE(CanReadPgType(701, TypeKind::kDecimal));
  EXPECT_TRUE(CanReadPgType(3802, TypeKind::kString));  // jsonb
}

TEST(PgValuesTest, ArrayElementsAreQuoted) {
  std::string array;
  AppendPgArrayElement("a\"b\\c,{}", array);
  array += ",";
  AppendPgArrayElement(std::nullopt, array);
  array += ",";
  AppendPgArrayElement("NULL", array);
  EXPECT_EQ(array, R"("a\"b\\c,{}",NULL,"NULL")");
}

TEST(PgValuesTest, SplitsRowsOfCopy) {
  std::vector<PgField> fields;
  ASSERT_TRUE(SplitCopyRow("1\t\\N\t\ta\\tb\\nc\\\\d\\b\\f\\r\\v", 4, fields));
  EXPECT_EQ(fields[0].text, "1");
  EXPECT_TRUE(fields[1].is_null);
  EXPECT_FALSE(fields[2].is_null);
  EXPECT_EQ(fields[2].text, "");
  EXPECT_EQ(fields[3].text, "a\tb\nc\\d\b\f\r\v");
  EXPECT_FALSE(SplitCopyRow("1\t2", 3, fields));
  EXPECT_FALSE(SplitCopyRow("1\t2\t3\t4", 3, fields));
  EXPECT_FALSE(SplitCopyRow("a\\", 1, fields));
  EXPECT_FALSE(SplitCopyRow("a\\N", 1, fields));
  EXPECT_FALSE(SplitCopyRow("\\Na", 1, fields));
}

}  // namespace
}  // namespace millrace
