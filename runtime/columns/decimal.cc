#include "runtime/columns/decimal.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace millrace {
namespace {

constexpr std::array<Int128, DataType::kPrecisionMax + 1> kPowers = [] {
  std::array<Int128, DataType::kPrecisionMax + 1> powers{};
  Int128 power = 1;
  for (Int128& one : powers) {
    one = power;
    if (&one != &powers.back()) power *= 10;
  }
  return powers;
}();

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// "12.50e-3" taken apart.
struct NumberText {
  bool negative = false;
  std::string_view whole, fraction;
  int64_t exponent = 0;

  // The digits without their point.
  int64_t size() const { return static_cast<int64_t>(whole.size() + fraction.size()); }
  int digit(int64_t i) const {
    const auto at = static_cast<size_t>(i);
    return (at < whole.size() ? whole[at] : fraction[at - whole.size()]) - '0';
  }
};

std::string_view TakeDigits(std::string_view& text) {
  size_t end = 0;
  while (end < text.size() && IsDigit(text[end])) ++end;
  const std::string_view digits = text.substr(0, end);
  text.remove_prefix(end);
  return digits;
}

std::optional<NumberText> TakeApart(std::string_view text) {
  // Far beyond what 38 digits can hold, and far from overflow.
  constexpr int64_t kExponentMax = 1'000'000;
  NumberText parts;
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    parts.negative = text[0] == '-';
    text.remove_prefix(1);
  }
  parts.whole = TakeDigits(text);
  if (!text.empty() && text[0] == '.') {
    text.remove_prefix(1);
    parts.fraction = TakeDigits(text);
  }
  if (parts.size() == 0) return std::nullopt;
  if (!text.empty() && (text[0] == 'e' || text[0] == 'E')) {
    text.remove_prefix(1);
    if (!text.empty() && text[0] == '+' && text.size() > 1 && IsDigit(text[1])) {
      text.remove_prefix(1);
    }
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), parts.exponent);
    if (error == std::errc::invalid_argument) return std::nullopt;
    if (error == std::errc::result_out_of_range) {
      parts.exponent = text[0] == '-' ? -kExponentMax : kExponentMax;
    }
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    parts.exponent = std::clamp(parts.exponent, -kExponentMax, kExponentMax);
  }
  if (!text.empty()) return std::nullopt;
  return parts;
}

}  // namespace

Int128 PowerOfTen(int exponent) { return kPowers[static_cast<size_t>(exponent)]; }

bool FitsPrecision(Int128 unscaled, int precision) {
  const Int128 limit = PowerOfTen(precision);
  return unscaled < limit && unscaled > -limit;
}

std::optional<Int128> Rescale(Int128 unscaled, int from_scale, DataType to) {
  const int digits = to.scale() - from_scale;
  Int128 value = unscaled;
  if (digits > 0) {
    if (__builtin_mul_overflow(value, PowerOfTen(digits), &value)) return std::nullopt;
  } else if (digits < 0) {
    const Int128 unit = PowerOfTen(-digits);
    const Int128 rest = value % unit;
    value /= unit;
    // Not 2 * rest, which may overflow.
    if ((rest < 0 ? -rest : rest) >= unit - unit / 2) value += unscaled < 0 ? -1 : 1;
  }
  if (!FitsPrecision(value, to.precision())) return std::nullopt;
  return value;
}

std::optional<Int128> ParseDecimal(std::string_view text, DataType type) {
  const std::optional<NumberText> parts = TakeApart(text);
  if (!parts) return std::nullopt;
  // The first digits that count, up to the last place of the type; may lie before or behind the
  // digits that there are.
  const int64_t kept = static_cast<int64_t>(parts->whole.size()) + parts->exponent + type.scale();
  Int128 value = 0;
  const auto append = [&value](int digit) {
    if (value >= PowerOfTen(DataType::kPrecisionMax - 1)) return false;
    value = value * 10 + digit;
    return true;
  };
  for (int64_t i = 0; i < std::min(kept, parts->size()); ++i) {
    if (!append(parts->digit(i))) return std::nullopt;
  }
  if (kept >= 0 && kept < parts->size() && parts->digit(kept) >= 5) ++value;
  for (int64_t i = parts->size(); i < kept && value != 0; ++i) {
    if (!append(0)) return std::nullopt;
  }
  if (!FitsPrecision(value, type.precision())) return std::nullopt;
  return parts->negative ? -value : value;
}

char* PrintDecimal(Int128 unscaled, int scale, char* out) {
  auto rest = static_cast<unsigned __int128>(unscaled);
  if (unscaled < 0) {
    *out++ = '-';
    rest = -rest;
  }
  char reversed[kDecimalTextMax];
  int count = 0;
  // Halves of 64 bits: a division of 128 bits per digit would be slow.
  while (rest > 0 || count <= scale) {
    constexpr uint64_t kChunk = 10'000'000'000'000'000'000ULL;  // 10^19.
    auto chunk = static_cast<uint64_t>(rest % kChunk);
    rest /= kChunk;
    for (int i = 0; i < 19 && (rest > 0 || chunk > 0 || count <= scale); ++i, chunk /= 10) {
      reversed[count++] = static_cast<char>('0' + chunk % 10);
    }
  }
  while (count > 0) {
    *out++ = reversed[--count];
    if (count == scale && scale > 0) *out++ = '.';
  }
  return out;
}

std::string DecimalText(Int128 unscaled, int scale) {
  char text[kDecimalTextMax];
  return {text, PrintDecimal(unscaled, scale, text)};
}

double DecimalToDouble(Int128 unscaled, int scale) {
  // Both exact as doubles: the division rounds once.
  constexpr Int128 kExactMax = Int128{1} << 53;
  constexpr int kExactPowerMax = 22;
  if (unscaled > -kExactMax && unscaled < kExactMax && scale <= kExactPowerMax) {
    return static_cast<double>(static_cast<int64_t>(unscaled)) /
           static_cast<double>(PowerOfTen(scale));
  }
  char text[kDecimalTextMax];
  double value = 0;
  std::from_chars(text, PrintDecimal(unscaled, scale, text), value);
  return value;
}

std::optional<Int128> DecimalFromDouble(double value, DataType type) {
  if (!std::isfinite(value)) return std::nullopt;
  char text[32];
  const char* end =
      std::to_chars(text, text + sizeof(text), value, std::chars_format::scientific).ptr;
  return ParseDecimal({text, static_cast<size_t>(end - text)}, type);
}

}  // namespace millrace
