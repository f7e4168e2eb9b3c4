// Arithmetic of exact decimals whose intermediate results may need more than 128 bits. Private to
// runtime/expressions.
//
// Operands are unscaled, at most 38 digits, with their scales; results have the scale that the type
// rules give (functions.cc) and are rounded half away from zero. Nothing: more than 38 digits, or
// division by zero.
// Threading: pure functions.
#pragma once

#include <optional>

#include "runtime/columns/decimal.h"

namespace millrace::expressions {

struct ScaledNumber {
  Int128 unscaled;
  int scale;
};

std::optional<Int128> AddDecimals(ScaledNumber a, ScaledNumber b, int scale);
std::optional<Int128> MultiplyDecimals(ScaledNumber a, ScaledNumber b, int scale);
std::optional<Int128> DivideDecimals(ScaledNumber a, ScaledNumber b, int scale);
// The remainder has the sign of `a`.
std::optional<Int128> DecimalRemainder(ScaledNumber a, ScaledNumber b, int scale);
// `unscaled` cut, or rounded, to `digits` behind the point (negative: before it); same scale.
Int128 KeepDigits(ScaledNumber a, int64_t digits, bool cut);

}  // namespace millrace::expressions
