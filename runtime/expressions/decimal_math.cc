#include "runtime/expressions/decimal_math.h"

#include <algorithm>
#include <array>

namespace millrace::expressions {
namespace {

using Unsigned = unsigned __int128;

constexpr int kDigitsMax = DataType::kPrecisionMax;

Unsigned Magnitude(Int128 value) {
  return value < 0 ? -static_cast<Unsigned>(value) : static_cast<Unsigned>(value);
}

std::optional<Int128> Checked(Int128 value) {
  return FitsPrecision(value, kDigitsMax) ? std::optional(value) : std::nullopt;
}

// Up to 256 bits without a sign; the least significant part first.
class Wide {
 public:
  static Wide Product(Unsigned a, Unsigned b) {
    Wide product;
    for (size_t i = 0; i < 2; ++i) {
      uint64_t carry = 0;
      for (size_t j = 0; j < 2; ++j) {
        const Unsigned sum = Unsigned{Half(a, i)} * Half(b, j) + product.parts_[i + j] + carry;
        product.parts_[i + j] = static_cast<uint64_t>(sum);
        carry = static_cast<uint64_t>(sum >> 64);
      }
      product.parts_[i + 2] = carry;
    }
    return product;
  }

  friend bool operator<(const Wide& a, const Wide& b) {
    return std::lexicographical_compare(a.parts_.rbegin(), a.parts_.rend(), b.parts_.rbegin(),
                                        b.parts_.rend());
  }
  Wide Plus(const Wide& other) const {
    Wide sum;
    uint64_t carry = 0;
    for (size_t i = 0; i < parts_.size(); ++i) {
      const Unsigned part = Unsigned{parts_[i]} + other.parts_[i] + carry;
      sum.parts_[i] = static_cast<uint64_t>(part);
      carry = static_cast<uint64_t>(part >> 64);
    }
    return sum;
  }
  // `other` is not greater.
  Wide Minus(const Wide& other) const {
    Wide difference;
    uint64_t borrow = 0;
    for (size_t i = 0; i < parts_.size(); ++i) {
      const Unsigned taken = Unsigned{other.parts_[i]} + borrow;
      borrow = parts_[i] < taken ? 1 : 0;
      difference.parts_[i] = static_cast<uint64_t>(Unsigned{parts_[i]} - taken);
    }
    return difference;
  }

  // Without the last `digits`; rounded half up.
  Wide DropDigits(int digits) const {
    if (digits == 0) return *this;
    Wide value = *this;
    // The digit that decides is the last one that goes.
    for (int left = digits - 1; left > 0;) {
      const int step = std::min(left, 18);
      value.DivideBy(static_cast<uint64_t>(PowerOfTen(step)));
      left -= step;
    }
    const uint64_t last = value.DivideBy(10);
    return last < 5 ? value : value.Plus(Product(1, 1));
  }

  std::optional<Int128> Signed(bool negative) const {
    if (parts_[2] != 0 || parts_[3] != 0 || parts_[1] >> 63 != 0) return std::nullopt;
    const auto value = static_cast<Int128>(Unsigned{parts_[1]} << 64 | parts_[0]);
    return Checked(negative ? -value : value);
  }

 private:
  static uint64_t Half(Unsigned value, size_t i) {
    return static_cast<uint64_t>(value >> (64 * i));
  }

  // Returns the remainder.
  uint64_t DivideBy(uint64_t divisor) {
    Unsigned rest = 0;
    for (size_t i = parts_.size(); i-- > 0;) {
      rest = rest << 64 | parts_[i];
      parts_[i] = static_cast<uint64_t>(rest / divisor);
      rest %= divisor;
    }
    return static_cast<uint64_t>(rest);
  }

  std::array<uint64_t, 4> parts_{};
};

// 10 * rest = quotient * divisor + the new `rest`, for rest < divisor <= 10^38: bit by bit, because
// ten times 38 digits are more than 128 bits.
unsigned TimesTen(Unsigned& rest, Unsigned divisor) {
  Unsigned sum = 0;
  unsigned quotient = 0;
  for (const bool bit : {true, false, true, false}) {
    sum = 2 * sum + (bit ? rest : 0);
    quotient *= 2;
    while (sum >= divisor) {
      sum -= divisor;
      ++quotient;
    }
  }
  rest = sum;
  return quotient;
}

}  // namespace

std::optional<Int128> AddDecimals(ScaledNumber a, ScaledNumber b, int scale) {
  const int finest = std::max(a.scale, b.scale);
  const Int128 a_unit = PowerOfTen(finest - a.scale), b_unit = PowerOfTen(finest - b.scale);
  Int128 left = 0, right = 0, sum = 0;
  if (scale == finest && !__builtin_mul_overflow(a.unscaled, a_unit, &left) &&
      !__builtin_mul_overflow(b.unscaled, b_unit, &right) &&
      !__builtin_add_overflow(left, right, &sum)) [[likely]] {
    return Checked(sum);
  }
  const Wide x = Wide::Product(Magnitude(a.unscaled), static_cast<Unsigned>(a_unit));
  const Wide y = Wide::Product(Magnitude(b.unscaled), static_cast<Unsigned>(b_unit));
  const bool x_negative = a.unscaled < 0, y_negative = b.unscaled < 0;
  const int dropped = finest - scale;
  if (x_negative == y_negative) return x.Plus(y).DropDigits(dropped).Signed(x_negative);
  if (x < y) return y.Minus(x).DropDigits(dropped).Signed(y_negative);
  return x.Minus(y).DropDigits(dropped).Signed(x_negative);
}

std::optional<Int128> MultiplyDecimals(ScaledNumber a, ScaledNumber b, int scale) {
  const int dropped = a.scale + b.scale - scale;
  Int128 product = 0;
  if (dropped == 0 && !__builtin_mul_overflow(a.unscaled, b.unscaled, &product)) [[likely]] {
    return Checked(product);
  }
  return Wide::Product(Magnitude(a.unscaled), Magnitude(b.unscaled))
      .DropDigits(dropped)
      .Signed((a.unscaled < 0) != (b.unscaled < 0));
}

std::optional<Int128> DivideDecimals(ScaledNumber a, ScaledNumber b, int scale) {
  if (b.unscaled == 0) return std::nullopt;
  const Unsigned divisor = Magnitude(b.unscaled);
  Unsigned quotient = Magnitude(a.unscaled) / divisor;
  Unsigned rest = Magnitude(a.unscaled) % divisor;
  // The quotient has the scale a.scale - b.scale; the type rules never ask for less.
  const int digits = scale - (a.scale - b.scale);
  Unsigned scaled = 0, scaled_rest = 0;
  if (digits <= kDigitsMax &&
      !__builtin_mul_overflow(quotient, static_cast<Unsigned>(PowerOfTen(digits)), &scaled) &&
      !__builtin_mul_overflow(rest, static_cast<Unsigned>(PowerOfTen(digits)), &scaled_rest)) {
    quotient = scaled + scaled_rest / divisor;
    rest = scaled_rest % divisor;
  } else {
    for (int i = 0; i < digits; ++i) {
      if (quotient >= static_cast<Unsigned>(PowerOfTen(kDigitsMax - 1))) return std::nullopt;
      quotient = quotient * 10 + TimesTen(rest, divisor);
    }
  }
  if (rest >= divisor - divisor / 2) ++quotient;
  if (quotient >= static_cast<Unsigned>(PowerOfTen(kDigitsMax))) return std::nullopt;
  const auto value = static_cast<Int128>(quotient);
  return (a.unscaled < 0) != (b.unscaled < 0) ? -value : value;
}

std::optional<Int128> DecimalRemainder(ScaledNumber a, ScaledNumber b, int scale) {
  if (b.unscaled == 0) return std::nullopt;
  const int finest = std::max(a.scale, b.scale);
  Unsigned divisor = Magnitude(b.unscaled);
  Unsigned rest = Magnitude(a.unscaled);
  if (__builtin_mul_overflow(divisor, static_cast<Unsigned>(PowerOfTen(finest - b.scale)),
                             &divisor)) {
    divisor = 0;  // Greater than `a`, which has the finest scale.
  }
  if (divisor != 0) {
    rest %= divisor;
    for (int i = a.scale; i < finest; ++i) TimesTen(rest, divisor);
  }
  const auto value = static_cast<Int128>(rest);
  return Rescale(a.unscaled < 0 ? -value : value, finest, DataType::Decimal(kDigitsMax, scale));
}

Int128 KeepDigits(ScaledNumber a, int64_t digits, bool cut) {
  if (digits >= a.scale) return a.unscaled;
  if (digits < a.scale - kDigitsMax) return 0;
  const auto dropped = static_cast<int>(a.scale - digits);
  const Int128 unit = PowerOfTen(dropped);
  const Int128 rest = a.unscaled % unit;
  const Int128 whole = a.unscaled - rest;
  if (cut || (rest < 0 ? -rest : rest) < unit - unit / 2) return whole;
  return whole + (rest < 0 ? -unit : unit);
}

}  // namespace millrace::expressions
