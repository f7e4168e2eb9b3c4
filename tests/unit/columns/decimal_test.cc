#include "runtime/columns/decimal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "runtime/columns/batch.h"

namespace millrace {
namespace {

using testing::Optional;

// The text of what was read, or "none".
std::string Read(std::string_view text, int precision, int scale) {
  const auto value = ParseDecimal(text, DataType::Decimal(precision, scale));
  return value ? DecimalText(*value, scale) : "none";
}

TEST(DecimalTest, ReadsAndPrintsAllDigitsOfItsScale) {
  EXPECT_EQ(Read("12.5", 6, 2), "12.50");
  EXPECT_EQ(Read("-0.05", 6, 2), "-0.05");
  EXPECT_EQ(Read("+7", 6, 2), "7.00");
  EXPECT_EQ(Read(".5", 6, 2), "0.50");
  EXPECT_EQ(Read("5.", 6, 2), "5.00");
  EXPECT_EQ(Read("000123", 3, 0), "123");
  EXPECT_EQ(Read("-0", 3, 0), "0");
  EXPECT_EQ(Read("1.25e2", 6, 2), "125.00");
  EXPECT_EQ(Read("125E-4", 6, 4), "0.0125");
  EXPECT_EQ(Read("1e+3", 4, 0), "1000");
  const std::string nines(38, '9');
  EXPECT_EQ(Read(nines, 38, 0), nines);
  EXPECT_EQ(Read("-0." + nines, 38, 38), "-0." + nines);
  EXPECT_EQ(Read(std::string(1000, '0') + "1", 1, 0), "1");
}

TEST(DecimalTest, RoundsHalfAwayFromZero) {
  EXPECT_EQ(Read("0.005", 6, 2), "0.01");
  EXPECT_EQ(Read("-0.005", 6, 2), "-0.01");
  EXPECT_EQ(Read("0.00499999999999999999999999999999999999999999999", 6, 2), "0.00");
  EXPECT_EQ(Read("0.5", 1, 0), "1");
  EXPECT_EQ(Read("0.05", 1, 0), "0");
  EXPECT_EQ(Read("9.99", 3, 1), "10.0");
  EXPECT_EQ(Read("9.99", 2, 1), "none");
  EXPECT_EQ(Read("4e-3", 6, 2), "0.00");
  EXPECT_EQ(Read("5e-3", 6, 2), "0.01");
  EXPECT_EQ(Read("1e-999999999999999999999", 6, 2), "0.00");
}

TEST(DecimalTest, RefusesWhatIsNoNumberOrDoesNotFit) {
  for (const char* text : {"", "-", ".", "e5", "1e", "1e+", "1e-", "1e+-5", "1 ", " 1", "1.2.3",
                           "0x1", "NaN", "Infinity", "1,5", "--1", "1e5x"}) {
    EXPECT_EQ(Read(text, 38, 10), "none") << text;
  }
  EXPECT_EQ(Read("1000", 3, 0), "none");
  EXPECT_EQ(Read("999.5", 3, 0), "none");
  EXPECT_EQ(Read("1e38", 38, 0), "none");
  EXPECT_EQ(Read("1e999999999999999999999", 38, 0), "none");
  EXPECT_EQ(Read("0e999999999999999999999", 38, 0), "0");
  EXPECT_EQ(Read("1" + std::string(38, '0'), 38, 0), "none");
}

TEST(DecimalTest, RescalesExactlyOrNotAtAll) {
  EXPECT_THAT(Rescale(125, 2, DataType::Decimal(6, 1)), Optional(Int128{13}));
  EXPECT_THAT(Rescale(-125, 2, DataType::Decimal(6, 1)), Optional(Int128{-13}));
  EXPECT_THAT(Rescale(124, 2, DataType::Decimal(6, 1)), Optional(Int128{12}));
  EXPECT_THAT(Rescale(1, 0, DataType::Decimal(38, 37)), Optional(PowerOfTen(37)));
  EXPECT_EQ(Rescale(10, 0, DataType::Decimal(38, 37)), std::nullopt);
  EXPECT_EQ(Rescale(PowerOfTen(20), 0, DataType::Decimal(38, 20)), std::nullopt);
  const Int128 greatest = PowerOfTen(37) * 10 - 1;
  EXPECT_THAT(Rescale(greatest, 38, DataType::Decimal(38, 0)), Optional(Int128{1}));
}

TEST(DecimalTest, MeetsDoublesAtTheNearestOne) {
  EXPECT_EQ(DecimalToDouble(1, 1), 0.1);
  EXPECT_EQ(DecimalToDouble(PowerOfTen(37), 38), 0.1);
  EXPECT_EQ(DecimalToDouble(PowerOfTen(38) - 1, 0), 1e38);
  EXPECT_EQ(DecimalToDouble(-123456789, 4), -12345.6789);
  const auto money = DataType::Decimal(10, 2);
  EXPECT_THAT(DecimalFromDouble(1.005, money), Optional(Int128{101}));  // As it is written.
  EXPECT_THAT(DecimalFromDouble(1e-300, money), Optional(Int128{0}));
  EXPECT_EQ(DecimalFromDouble(1e9, money), std::nullopt);
  EXPECT_EQ(DecimalFromDouble(std::nan(""), money), std::nullopt);
  EXPECT_EQ(DecimalFromDouble(-INFINITY, money), std::nullopt);
}

TEST(DecimalTest, PrintedNumbersReadBack) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 20'000; ++i) {
    const int precision = 1 + static_cast<int>(random() % 38);
    const int scale = static_cast<int>(random() % static_cast<uint64_t>(precision + 1));
    Int128 value =
        Int128{static_cast<int64_t>(random())} * (Int128{1} << 62) + static_cast<int64_t>(random());
    value %= PowerOfTen(precision);
    const std::string text = DecimalText(value, scale);
    ASSERT_THAT(ParseDecimal(text, DataType::Decimal(precision, scale)), Optional(value)) << text;
    ASSERT_TRUE(Decimal(value).unscaled() == value) << text;
    const Int128 other = value + static_cast<int64_t>(random() % 3) - 1;
    ASSERT_EQ(Decimal(value) < Decimal(other), value < other);
  }
}

TEST(DecimalTest, ColumnsHoldThem) {
  const auto type = DataType::Decimal(30, 3);
  ColumnBuilder builder(type);
  builder.AppendDecimal(-1);
  builder.AppendNull();
  builder.AppendDecimal(PowerOfTen(29));
  const Column column = builder.Finish();
  EXPECT_EQ(column.type(), type);
  EXPECT_NE(column.type(), DataType::Decimal(30, 2));
  EXPECT_EQ(TypeText(column.type()), "DECIMAL(30, 3)");
  EXPECT_EQ(ValueText(column, 0), "-0.001");
  EXPECT_EQ(ValueText(column, 1), "NULL");
  EXPECT_EQ(ValueText(column, 2), "100000000000000000000000000.000");
}

}  // namespace
}  // namespace millrace
