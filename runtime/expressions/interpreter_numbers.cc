// Reference meanings: comparison, arithmetic, mathematics.
#include <cmath>
#include <limits>
#include <map>
#include <numbers>

#include "runtime/expressions/interpreter.h"

namespace millrace::expressions::reference {
namespace {

using Result = absl::StatusOr<Datum>;
using In = CallInput;

constexpr __int128 kDayUs = __int128{86'400'000'000};

bool IsFloat(const In& in) { return in.result == TypeKind::kFloat64; }

// A date as the moment it begins at.
absl::StatusOr<__int128> Moment(const Datum& datum) {
  if (datum.type != TypeKind::kDate) return __int128{datum.int_value};
  const __int128 us = datum.int_value * kDayUs;
  if (const Result fits = Checked(TypeKind::kTimestamp, us); !fits.ok()) return fits.status();
  return us;
}

Result Sum(const In& in, int sign) {
  if (IsFloat(in)) return Float(in[0].float_value + sign * in[1].float_value);
  if (in.result == TypeKind::kTimestamp) {
    const auto a = Moment(in[0]), b = Moment(in[1]);
    if (!a.ok()) return a.status();
    if (!b.ok()) return b.status();
    return Checked(in.result, *a + sign * *b);
  }
  return Checked(in.result, __int128{in[0].int_value} + sign * __int128{in[1].int_value});
}

Result RoundedInterval(double us) {
  const long double rounded = std::rint(us);
  if (std::isnan(rounded) || rounded < -9223372036854775808.0L ||
      rounded > 9223372036854775807.0L) {
    return RowError("INTERVAL out of range");
  }
  return Int(TypeKind::kInterval, static_cast<int64_t>(rounded));
}

Result Multiply(const In& in) {
  if (IsFloat(in)) return Float(in[0].float_value * in[1].float_value);
  const bool left = in[0].type == TypeKind::kFloat64, right = in[1].type == TypeKind::kFloat64;
  if (left) return RoundedInterval(in[0].float_value * static_cast<double>(in[1].int_value));
  if (right) return RoundedInterval(static_cast<double>(in[0].int_value) * in[1].float_value);
  return Checked(in.result, __int128{in[0].int_value} * in[1].int_value);
}

Result Divide(const In& in) {
  if (IsFloat(in)) return Float(in[0].float_value / in[1].float_value);
  if (in[1].type == TypeKind::kFloat64) {
    return RoundedInterval(static_cast<double>(in[0].int_value) / in[1].float_value);
  }
  if (in[1].int_value == 0) return RowError("division by zero");
  return Checked(in.result, __int128{in[0].int_value} / in[1].int_value);
}

Result Modulo(const In& in) {
  if (IsFloat(in)) return Float(std::fmod(in[0].float_value, in[1].float_value));
  if (in[1].int_value == 0) return RowError("division by zero");
  return Checked(in.result, __int128{in[0].int_value} % in[1].int_value);
}

Result Absolute(const In& in) {
  if (IsFloat(in)) return Float(std::abs(in[0].float_value));
  const __int128 value = in[0].int_value;
  return Checked(in.result, value < 0 ? -value : value);
}

Result Sign(const In& in) {
  if (IsFloat(in)) {
    const double x = in[0].float_value;
    if (std::isnan(x) || x == 0) return in[0];
    return Float(std::signbit(x) ? -1 : 1);
  }
  return Int(in.result, (in[0].int_value > 0) - (in[0].int_value < 0));
}

// ROUND and TRUNCATE, with or without a number of digits.
Result ToDigits(const In& in, bool cut) {
  const int64_t digits = in.size() == 2 ? in[1].int_value : 0;
  if (!IsFloat(in)) {
    if (digits >= 0) return in[0];
    if (digits < -30) return Int(in.result, 0);
    __int128 unit = 1;
    for (int64_t i = 0; i < -digits; ++i) unit *= 10;
    const __int128 value = in[0].int_value;
    const __int128 magnitude = value < 0 ? -value : value;
    const __int128 rounded = (magnitude + (cut ? 0 : unit / 2)) / unit * unit;
    return Checked(in.result, value < 0 ? -rounded : rounded);
  }
  const double x = in[0].float_value;
  if (in.size() == 1) return Float(cut ? std::trunc(x) : std::round(x));
  const auto clamped = static_cast<double>(std::min<int64_t>(308, std::max<int64_t>(-308, digits)));
  const double unit = std::pow(10.0, std::abs(clamped));
  const double scaled = digits < 0 ? x / unit : x * unit;
  if (std::isnan(scaled) || std::isinf(scaled)) return in[0];
  const double whole = cut ? std::trunc(scaled) : std::round(scaled);
  return Float(digits < 0 ? whole * unit : whole / unit);
}

// As Arrow's logb: a base or x of zero or less has no logarithm, but for x = 0.
Result Logarithm(const In& in) {
  const double base = in[0].float_value, x = in[1].float_value;
  if (x == 0) return Float(base <= 0 ? std::nan("") : -std::numeric_limits<double>::infinity());
  return Float(x < 0 ? std::nan("") : std::log(x) / std::log(base));
}

Result Shift(const In& in, bool left) {
  const int64_t value = in[0].int_value, bits = in[1].int_value & 63;
  const int64_t shifted =
      left ? static_cast<int64_t>(static_cast<uint64_t>(value) << bits) : value >> bits;
  return Int(in.result, shifted);
}

template <double (*F)(double)>
Result Apply(const In& in) {
  return IsFloat(in) ? Float(F(in[0].float_value)) : in[0];
}

Result NotDistinct(const In& in) {
  if (in[0].is_null || in[1].is_null) return Bool(in[0].is_null && in[1].is_null);
  return Bool(IsEqual(in[0], in[1]));
}

Result IsIn(const In& in) {
  if (in[0].is_null) return Null(TypeKind::kBool);
  bool saw_null = false;
  for (size_t i = 1; i < in.size(); ++i) {
    if (in[i].is_null) {
      saw_null = true;
    } else if (IsEqual(in[0], in[i])) {
      return Bool(true);
    }
  }
  return saw_null ? Null(TypeKind::kBool) : Bool(false);
}

Result Cotangent(const In& in) { return Float(1 / std::tan(in[0].float_value)); }

Result Nullif(const In& in) {
  const bool equal = !in[0].is_null && !in[1].is_null && IsEqual(in[0], in[1]);
  return equal ? Null(in.result) : in[0];
}

Result Greatest(const In& in) {
  Datum best = in[0];
  for (const Datum& other : in.arguments) {
    if (IsLess(best, other)) best = other;
  }
  return best;
}

Result Least(const In& in) {
  Datum best = in[0];
  for (const Datum& other : in.arguments) {
    if (IsLess(other, best)) best = other;
  }
  return best;
}

const std::map<std::string_view, FunctionRow>& Functions() {
  static const auto* functions = new std::map<std::string_view, FunctionRow>{
      {"eq", {[](const In& in) -> Result { return Bool(IsEqual(in[0], in[1])); }}},
      {"ne", {[](const In& in) -> Result { return Bool(!IsEqual(in[0], in[1])); }}},
      {"lt", {[](const In& in) -> Result { return Bool(IsLess(in[0], in[1])); }}},
      {"gt", {[](const In& in) -> Result { return Bool(IsLess(in[1], in[0])); }}},
      {"le", {[](const In& in) -> Result {
         return Bool(IsLess(in[0], in[1]) || IsEqual(in[0], in[1]));
       }}},
      {"ge", {[](const In& in) -> Result {
         return Bool(IsLess(in[1], in[0]) || IsEqual(in[0], in[1]));
       }}},
      {"not", {[](const In& in) -> Result { return Bool(!in[0].bool_value); }}},
      {"is_null", {[](const In& in) -> Result { return Bool(in[0].is_null); }, false}},
      {"is_not_null", {[](const In& in) -> Result { return Bool(!in[0].is_null); }, false}},
      {"is_true",
       {[](const In& in) -> Result { return Bool(!in[0].is_null && in[0].bool_value); }, false}},
      {"is_not_true",
       {[](const In& in) -> Result { return Bool(in[0].is_null || !in[0].bool_value); }, false}},
      {"is_false",
       {[](const In& in) -> Result { return Bool(!in[0].is_null && !in[0].bool_value); }, false}},
      {"is_not_false",
       {[](const In& in) -> Result { return Bool(in[0].is_null || in[0].bool_value); }, false}},
      {"is_not_distinct_from", {NotDistinct, false}},
      {"is_distinct_from",
       {[](const In& in) -> Result { return Bool(!NotDistinct(in)->bool_value); }, false}},
      {"in", {IsIn, false}},
      {"nullif", {Nullif, false}},
      {"greatest", {Greatest}},
      {"least", {Least}},
      {"add", {[](const In& in) { return Sum(in, 1); }}},
      {"subtract", {[](const In& in) { return Sum(in, -1); }}},
      {"multiply", {Multiply}},
      {"divide", {Divide}},
      {"modulo", {Modulo}},
      {"negate", {[](const In& in) -> Result {
         if (IsFloat(in)) return Float(-in[0].float_value);
         return Checked(in.result, -__int128{in[0].int_value});
       }}},
      {"abs", {Absolute}},
      {"sign", {Sign}},
      {"ceil", {Apply<std::ceil>}},
      {"floor", {Apply<std::floor>}},
      {"sqrt", {Apply<std::sqrt>}},
      {"exp", {Apply<std::exp>}},
      {"ln", {Apply<std::log>}},
      {"log2", {Apply<std::log2>}},
      {"log10", {Apply<std::log10>}},
      {"power", {[](const In& in) -> Result {
         return Float(std::pow(in[0].float_value, in[1].float_value));
       }}},
      {"log", {Logarithm}},
      {"sin", {Apply<std::sin>}},
      {"cos", {Apply<std::cos>}},
      {"tan", {Apply<std::tan>}},
      {"cot", {Cotangent}},
      {"degrees", {[](const In& in) -> Result {
         return Float(in[0].float_value * (180 / std::numbers::pi));
       }}},
      {"radians", {[](const In& in) -> Result {
         return Float(in[0].float_value * (std::numbers::pi / 180));
       }}},
      {"asin", {Apply<std::asin>}},
      {"acos", {Apply<std::acos>}},
      {"atan", {Apply<std::atan>}},
      {"atan2", {[](const In& in) -> Result {
         return Float(std::atan2(in[0].float_value, in[1].float_value));
       }}},
      {"sinh", {Apply<std::sinh>}},
      {"cosh", {Apply<std::cosh>}},
      {"tanh", {Apply<std::tanh>}},
      {"bitand",
       {[](const In& in) -> Result { return Int(in.result, in[0].int_value & in[1].int_value); }}},
      {"bitor",
       {[](const In& in) -> Result { return Int(in.result, in[0].int_value | in[1].int_value); }}},
      {"bitxor",
       {[](const In& in) -> Result { return Int(in.result, in[0].int_value ^ in[1].int_value); }}},
      {"bitnot", {[](const In& in) -> Result { return Int(in.result, ~in[0].int_value); }}},
      {"shift_left", {[](const In& in) { return Shift(in, true); }}},
      {"shift_right", {[](const In& in) { return Shift(in, false); }}},
      {"round", {[](const In& in) { return ToDigits(in, false); }}},
      {"truncate", {[](const In& in) { return ToDigits(in, true); }}},
  };
  return *functions;
}

}  // namespace

FunctionRow FindNumberFunction(std::string_view name) {
  const auto found = Functions().find(name);
  return found == Functions().end() ? FunctionRow{} : found->second;
}

}  // namespace millrace::expressions::reference
