// Exact decimal numbers (SQL DECIMAL): values of columns, and their texts.
//
// A value is an integer, the `unscaled` one; its column's type says how many of its digits stand
// behind the point: 1250 of DECIMAL(6, 2) is 12.50. Where digits are dropped, rounding is half away
// from zero, as in Flink SQL and PostgreSQL.
// Threading: pure functions.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/columns/types.h"

namespace millrace {

using Int128 = __int128;

// A value in a column: two's complement, the lower half first (Arrow's decimal128 on little-endian
// machines). Columns are aligned to 8 bytes only, so that a bare Int128 must not stand in them.
class Decimal {
 public:
  constexpr Decimal() = default;
  constexpr explicit Decimal(Int128 unscaled)
      : low_(static_cast<uint64_t>(unscaled)), high_(static_cast<int64_t>(unscaled >> 64)) {}
  constexpr Int128 unscaled() const {
    return static_cast<Int128>(static_cast<unsigned __int128>(high_) << 64 | low_);
  }

  // Of two values of one scale.
  friend constexpr bool operator==(const Decimal&, const Decimal&) = default;
  friend constexpr std::strong_ordering operator<=>(const Decimal& a, const Decimal& b) {
    return a.high_ != b.high_ ? a.high_ <=> b.high_ : a.low_ <=> b.low_;
  }

 private:
  uint64_t low_ = 0;
  int64_t high_ = 0;
};
static_assert(sizeof(Decimal) == FixedWidth(TypeKind::kDecimal) && alignof(Decimal) == 8);

// 10^exponent; exponent 0 to 38.
Int128 PowerOfTen(int exponent);
// Whether the number has at most `precision` digits.
bool FitsPrecision(Int128 unscaled, int precision);
// The number of scale `from_scale` as a value of `to`; nothing when it does not fit.
std::optional<Int128> Rescale(Int128 unscaled, int from_scale, DataType to);

// Reads "-12.5", ".5", "1e3"; no spaces. Nothing: malformed, or out of range for `type`.
std::optional<Int128> ParseDecimal(std::string_view text, DataType type);
// Writes all digits behind the point ("12.50"); returns the end. At most kDecimalTextMax bytes.
constexpr int kDecimalTextMax = 42;
char* PrintDecimal(Int128 unscaled, int scale, char* out);
std::string DecimalText(Int128 unscaled, int scale);

// The nearest double.
double DecimalToDouble(Int128 unscaled, int scale);
// The shortest decimal text of the double, rounded to the type. Nothing: out of range, or not a
// number.
std::optional<Int128> DecimalFromDouble(double value, DataType type);

}  // namespace millrace
