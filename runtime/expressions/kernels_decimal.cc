// + - * / %, unary operators and rounding of exact decimals.
#include "runtime/expressions/decimal_math.h"
#include "runtime/expressions/value.h"

namespace millrace::expressions {
namespace {

constexpr const char* kOverflow = "decimal out of range";

using BinaryMath = std::optional<Int128> (*)(ScaledNumber, ScaledNumber, int);

BoundKernel Binary(const KernelRequest& request, BinaryMath math, bool divides) {
  const int left_scale = request.types[0].scale(), right_scale = request.types[1].scale();
  const DataType result = request.result;
  return {
      [=](const KernelInput& in) {
        const Argument left(in.arguments[0]), right(in.arguments[1]);
        return FixedLoop<Decimal>(in, result, [&](int64_t row, Decimal& out, std::string& error) {
          const Int128 divisor = right.Unscaled(row);
          const auto value =
              math({left.Unscaled(row), left_scale}, {divisor, right_scale}, result.scale());
          if (value && FitsPrecision(*value, result.precision())) [[likely]] {
            out = Decimal(*value);
            return RowOutcome::kValue;
          }
          error = divides && divisor == 0 ? "division by zero" : kOverflow;
          return RowOutcome::kError;
        });
      },
      true};
}

// Of one value, which never needs more than 128 bits; `f(unscaled)`.
template <typename F>
BoundKernel Unary(DataType result, bool can_fail, F f) {
  return {[result, f](const KernelInput& in) {
            const Argument from(in.arguments[0]);
            return FixedLoop<Decimal>(in, result,
                                      [&](int64_t row, Decimal& out, std::string& error) {
                                        const Int128 value = f(from.Unscaled(row));
                                        if (FitsPrecision(value, result.precision())) [[likely]] {
                                          out = Decimal(value);
                                          return RowOutcome::kValue;
                                        }
                                        error = kOverflow;
                                        return RowOutcome::kError;
                                      });
          },
          can_fail};
}

BoundKernel Sign() {
  return {[](const KernelInput& in) {
    const Argument from(in.arguments[0]);
    return FixedLoop<int32_t>(in, TypeKind::kInt32, [&](int64_t row, int32_t& out, std::string&) {
      const Int128 value = from.Unscaled(row);
      out = (value > 0) - (value < 0);
      return RowOutcome::kValue;
    });
  }};
}

// To a whole number: towards zero, then one step on where `steps(value, rest)`.
template <typename Steps>
BoundKernel Whole(const KernelRequest& request, Steps steps) {
  const Int128 unit = PowerOfTen(request.types[0].scale());
  return Unary(request.result, true, [unit, steps](Int128 value) {
    const Int128 rest = value % unit;
    return value / unit + (steps(rest, unit) ? (rest < 0 ? -1 : 1) : 0);
  });
}

bool IsHalf(Int128 rest, Int128 unit) { return (rest < 0 ? -rest : rest) >= unit - unit / 2; }

// ROUND and TRUNCATE to the digits of the second argument; the scale stays.
BoundKernel ToDigits(const KernelRequest& request, bool cut) {
  const DataType result = request.result;
  return {[result, cut](const KernelInput& in) {
            const Argument from(in.arguments[0]), digits(in.arguments[1]);
            return FixedLoop<Decimal>(
                in, result, [&](int64_t row, Decimal& out, std::string& error) {
                  const Int128 value =
                      KeepDigits({from.Unscaled(row), result.scale()}, digits.Int(row), cut);
                  if (FitsPrecision(value, result.precision())) {
                    out = Decimal(value);
                    return RowOutcome::kValue;
                  }
                  error = kOverflow;
                  return RowOutcome::kError;
                });
          },
          true};
}

}  // namespace

absl::StatusOr<BoundKernel> MakeDecimalKernel(const KernelRequest& request) {
  if (request.types.empty() || request.types[0] != TypeKind::kDecimal) return BoundKernel{};
  const std::string_view name = request.name;
  if (name == "add") return Binary(request, AddDecimals, false);
  if (name == "subtract") {
    constexpr auto kSubtract = [](ScaledNumber a, ScaledNumber b, int scale) {
      return AddDecimals(a, {-b.unscaled, b.scale}, scale);
    };
    return Binary(request, kSubtract, false);
  }
  if (name == "multiply") return Binary(request, MultiplyDecimals, false);
  if (name == "divide") return Binary(request, DivideDecimals, true);
  if (name == "modulo") return Binary(request, DecimalRemainder, true);
  if (name == "negate") return Unary(request.result, false, [](Int128 value) { return -value; });
  if (name == "abs") {
    return Unary(request.result, false, [](Int128 value) { return value < 0 ? -value : value; });
  }
  if (name == "sign") return Sign();
  if (name == "ceil") return Whole(request, [](Int128 rest, Int128) { return rest > 0; });
  if (name == "floor") return Whole(request, [](Int128 rest, Int128) { return rest < 0; });
  if (name == "round" && request.types.size() == 1) return Whole(request, IsHalf);
  if (name == "truncate" && request.types.size() == 1) {
    return Whole(request, [](Int128, Int128) { return false; });
  }
  if (name == "round") return ToDigits(request, false);
  if (name == "truncate") return ToDigits(request, true);
  return BoundKernel{};
}

}  // namespace millrace::expressions
