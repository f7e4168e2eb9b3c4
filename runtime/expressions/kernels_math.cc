// Rounding, roots, logarithms.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "runtime/expressions/value.h"

namespace millrace::expressions {
namespace {

template <double (*F)(double)>
BoundKernel FloatFunction() {
  return {[](const KernelInput& in) -> Value {
    if (AnyNullScalar(in.arguments)) return NullScalar(TypeKind::kFloat64);
    FixedWriter<double> writer(in.rows);
    const double* from = in.arguments[0].column.values<double>();
    for (int64_t row = 0; row < in.rows; ++row) writer.values()[row] = F(from[row]);
    return writer.Finish(TypeKind::kFloat64, in.rows, IntersectValidity(in.arguments, in.rows));
  }};
}

double SignOf(double x) { return x > 0 ? 1 : x < 0 ? -1 : x; }
// Library functions may be overloaded; these have one address.
double Ceil(double x) { return std::ceil(x); }
double Floor(double x) { return std::floor(x); }
double Round(double x) { return std::round(x); }
double Truncate(double x) { return std::trunc(x); }
double Sqrt(double x) { return std::sqrt(x); }
double Exp(double x) { return std::exp(x); }
double Ln(double x) { return std::log(x); }
double Log10(double x) { return std::log10(x); }
double Log2(double x) { return std::log2(x); }
double Cotangent(double x) { return 1 / std::tan(x); }
double Degrees(double x) { return x * (180 / std::numbers::pi); }
double Radians(double x) { return x * (std::numbers::pi / 180); }

BoundKernel Identity() {
  return {[](const KernelInput& in) { return in.arguments[0]; }};
}

template <typename T>
BoundKernel IntegerSign(DataType type) {
  return {[type](const KernelInput& in) {
    const Argument x(in.arguments[0]);
    return FixedLoop<T>(in, type, [&](int64_t row, T& out, std::string&) {
      const int64_t value = sizeof(T) == 4 ? x.Int32(row) : x.Int(row);
      out = static_cast<T>(value > 0 ? 1 : value < 0 ? -1 : 0);
      return RowOutcome::kValue;
    });
  }};
}

BoundKernel Power() {
  return {[](const KernelInput& in) {
    const Argument x(in.arguments[0]), y(in.arguments[1]);
    return FixedLoop<double>(in, TypeKind::kFloat64, [&](int64_t row, double& out, std::string&) {
      out = std::pow(x.Float(row), y.Float(row));
      return RowOutcome::kValue;
    });
  }};
}

// Digits beyond these change no double.
constexpr int64_t kDigitsMax = 308;

// Rounds (half away from zero) or cuts to `digits` after the point.
double ToDigits(double x, int64_t digits, bool cut) {
  digits = std::clamp(digits, -kDigitsMax, kDigitsMax);
  const double scale = std::pow(10.0, static_cast<double>(digits < 0 ? -digits : digits));
  const double scaled = digits < 0 ? x / scale : x * scale;
  if (!std::isfinite(scaled)) return x;
  const double whole = cut ? std::trunc(scaled) : std::round(scaled);
  return digits < 0 ? whole * scale : whole / scale;
}

// The same for integers: only digits before the point can change. True = overflow.
bool ToDigits(int64_t x, int64_t digits, bool cut, int64_t& out) {
  out = x;
  if (digits >= 0) return false;
  out = 0;
  if (digits < -19) return false;
  __int128 scale = 1;
  for (int64_t i = digits; i < 0; ++i) scale *= 10;
  const __int128 rest = x % scale;
  __int128 whole = x - rest;
  if (!cut && 2 * (rest < 0 ? -rest : rest) >= scale) whole += rest < 0 ? -scale : scale;
  out = static_cast<int64_t>(whole);
  return whole != out;
}

template <typename T>
BoundKernel DigitsOf(DataType type, bool cut) {
  return {
      [type, cut](const KernelInput& in) {
        const Argument x(in.arguments[0]), digits(in.arguments[1]);
        return FixedLoop<T>(in, type, [&](int64_t row, T& out, std::string& error) {
          if constexpr (std::is_same_v<T, double>) {
            out = ToDigits(x.Float(row), digits.Int(row), cut);
            return RowOutcome::kValue;
          } else {
            int64_t whole = 0;
            const int64_t value = sizeof(T) == 4 ? x.Int32(row) : x.Int(row);
            if (!ToDigits(value, digits.Int(row), cut, whole) && whole == static_cast<T>(whole)) {
              out = static_cast<T>(whole);
              return RowOutcome::kValue;
            }
            error = "integer out of range";
            return RowOutcome::kError;
          }
        });
      },
      type != TypeKind::kFloat64};
}

BoundKernel MakeDigits(const KernelRequest& request, bool cut) {
  switch (request.result) {
    case TypeKind::kInt32:
      return DigitsOf<int32_t>(request.result, cut);
    case TypeKind::kInt64:
      return DigitsOf<int64_t>(request.result, cut);
    default:
      return DigitsOf<double>(request.result, cut);
  }
}

// Whole numbers of integers are themselves.
template <double (*F)(double)>
BoundKernel WholeNumber(const KernelRequest& request) {
  return request.result == TypeKind::kFloat64 ? FloatFunction<F>() : Identity();
}

}  // namespace

absl::StatusOr<BoundKernel> MakeMathKernel(const KernelRequest& request) {
  const std::string_view name = request.name;
  const bool digits = request.types.size() == 2;
  if (name == "ceil") return WholeNumber<Ceil>(request);
  if (name == "floor") return WholeNumber<Floor>(request);
  if (name == "round") return digits ? MakeDigits(request, false) : WholeNumber<Round>(request);
  if (name == "truncate") {
    return digits ? MakeDigits(request, true) : WholeNumber<Truncate>(request);
  }
  if (name == "sqrt") return FloatFunction<Sqrt>();
  if (name == "exp") return FloatFunction<Exp>();
  if (name == "ln") return FloatFunction<Ln>();
  if (name == "log10") return FloatFunction<Log10>();
  if (name == "log2") return FloatFunction<Log2>();
  if (name == "cot") return FloatFunction<Cotangent>();
  if (name == "degrees") return FloatFunction<Degrees>();
  if (name == "radians") return FloatFunction<Radians>();
  if (name == "power") return Power();
  if (name == "sign") {
    if (request.result == TypeKind::kFloat64) return FloatFunction<SignOf>();
    if (request.result == TypeKind::kInt32) return IntegerSign<int32_t>(request.result);
    return IntegerSign<int64_t>(request.result);
  }
  return BoundKernel{};
}

}  // namespace millrace::expressions
