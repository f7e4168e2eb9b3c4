// + - * / % and unary operators over numbers, times and intervals.
#include <cmath>
#include <limits>
#include <type_traits>

#include "runtime/expressions/value.h"

namespace millrace::expressions {
namespace {

constexpr int64_t kDayUs = int64_t{86'400} * 1'000'000;

// An operation writes its result and returns true when it failed; the result is then unspecified.
// Loops run over NULL rows too: what lies under a NULL may fail without consequence, but must not
// trap.
struct Add {
  template <typename T>
  bool operator()(T a, T b, T& out) const {
    return __builtin_add_overflow(a, b, &out);
  }
  bool operator()(double a, double b, double& out) const {
    out = a + b;
    return false;
  }
};

struct Subtract {
  template <typename T>
  bool operator()(T a, T b, T& out) const {
    return __builtin_sub_overflow(a, b, &out);
  }
  bool operator()(double a, double b, double& out) const {
    out = a - b;
    return false;
  }
};

struct Multiply {
  template <typename T>
  bool operator()(T a, T b, T& out) const {
    return __builtin_mul_overflow(a, b, &out);
  }
  bool operator()(double a, double b, double& out) const {
    out = a * b;
    return false;
  }
};

struct Divide {
  template <typename T>
  bool operator()(T a, T b, T& out) const {
    const bool bad = b == 0 || (b == -1 && a == std::numeric_limits<T>::min());
    out = a / (bad ? T{1} : b);
    return bad;
  }
  bool operator()(double a, double b, double& out) const {
    out = a / b;
    return false;
  }
};

struct Modulo {
  template <typename T>
  bool operator()(T a, T b, T& out) const {
    out = b == 0 || b == -1 ? 0 : a % b;
    return b == 0;
  }
  bool operator()(double a, double b, double& out) const {
    out = std::fmod(a, b);
    return false;
  }
};

// By a literal divisor that is neither 0 nor -1.
struct DivideBySafe {
  template <typename T>
  bool operator()(T a, T b, T& out) const {
    out = a / b;
    return false;
  }
};
struct ModuloBySafe {
  template <typename T>
  bool operator()(T a, T b, T& out) const {
    out = a % b;
    return false;
  }
};

// An interval times or by a double, rounded to the nearest microsecond, ties to even.
bool ScaledInterval(double us, int64_t& out) {
  const double rounded = std::nearbyint(us);
  if (!(rounded >= -9223372036854775808.0 && rounded < 9223372036854775808.0)) {
    out = 0;
    return true;
  }
  out = static_cast<int64_t>(rounded);
  return false;
}

struct ScaleUp {
  bool operator()(int64_t a, double b, int64_t& out) const {
    return ScaledInterval(static_cast<double>(a) * b, out);
  }
};
struct ScaleDown {
  bool operator()(int64_t a, double b, int64_t& out) const {
    return ScaledInterval(static_cast<double>(a) / b, out);
  }
};

// DATE ± INTERVAL.
template <bool kMinus>
struct ShiftDate {
  bool operator()(int32_t days, int64_t us, int64_t& out) const {
    int64_t day_us = 0;
    if (__builtin_mul_overflow(int64_t{days}, kDayUs, &day_us)) return true;
    return kMinus ? __builtin_sub_overflow(day_us, us, &out)
                  : __builtin_add_overflow(day_us, us, &out);
  }
};
// DATE ± days.
template <bool kMinus>
struct ShiftDays {
  bool operator()(int32_t days, int64_t by, int32_t& out) const {
    return kMinus ? __builtin_sub_overflow(days, by, &out) : __builtin_add_overflow(days, by, &out);
  }
};
struct DaysBetween {
  bool operator()(int32_t a, int32_t b, int64_t& out) const {
    out = int64_t{a} - b;
    return false;
  }
};

// As in PostgreSQL, only the last six bits of the distance count.
struct ShiftLeft {
  bool operator()(int64_t a, int64_t bits, int64_t& out) const {
    out = static_cast<int64_t>(static_cast<uint64_t>(a) << (bits & 63));
    return false;
  }
};
struct ShiftRight {
  bool operator()(int64_t a, int64_t bits, int64_t& out) const {
    out = a >> (bits & 63);
    return false;
  }
};

template <typename Op>
struct Swapped {
  template <typename A, typename B, typename Out>
  bool operator()(A a, B b, Out& out) const {
    return Op()(b, a, out);
  }
};

// The rows that failed, found again: the fast loop only knows that there are some.
template <typename Fails>
Validity ReportFailures(const KernelInput& in, Validity validity, const char* message,
                        Fails fails) {
  RowFailures failures(in.errors);
  for (int64_t row = 0; row < in.rows; ++row) {
    if (validity.IsValid(row) && fails(row)) failures.Error(row, message);
  }
  return failures.Apply(std::move(validity), in.rows);
}

template <typename Out, typename A, typename B, typename Op>
Value RunBinary(const KernelInput& in, DataType result, const char* message) {
  if (AnyNullScalar(in.arguments)) return NullScalar(result);
  Validity validity = IntersectValidity(in.arguments, in.rows);
  FixedWriter<Out> writer(in.rows);
  Out* out = writer.values();
  const auto loop = [&](auto a, auto b) {
    bool failed = false;
    for (int64_t row = 0; row < in.rows; ++row) failed |= Op()(A{a[row]}, B{b[row]}, out[row]);
    if (!failed) return;
    validity = ReportFailures(in, std::move(validity), message, [&](int64_t row) {
      Out ignored;
      return Op()(A{a[row]}, B{b[row]}, ignored);
    });
  };
  // Two scalars come with one row: both may be read as columns.
  const bool both = in.arguments[0].scalar && in.arguments[1].scalar;
  const Column& left = in.arguments[0].column;
  const Column& right = in.arguments[1].column;
  if (!both && in.arguments[0].scalar) {
    loop(ScalarOperand<A>{left.values<A>()[0]}, ColumnOperand<B>{right.values<B>()});
  } else if (!both && in.arguments[1].scalar) {
    loop(ColumnOperand<A>{left.values<A>()}, ScalarOperand<B>{right.values<B>()[0]});
  } else {
    loop(ColumnOperand<A>{left.values<A>()}, ColumnOperand<B>{right.values<B>()});
  }
  return writer.Finish(result, in.rows, std::move(validity));
}

template <typename Out, typename A, typename B, typename Op>
BoundKernel Binary(DataType result, bool can_fail, const char* message) {
  return {[result, message](const KernelInput& in) {
            return RunBinary<Out, A, B, Op>(in, result, message);
          },
          can_fail};
}

struct Negate {
  template <typename T>
  bool operator()(T a, T& out) const {
    return __builtin_sub_overflow(T{0}, a, &out);
  }
  bool operator()(double a, double& out) const {
    out = -a;
    return false;
  }
};
struct Absolute {
  template <typename T>
  bool operator()(T a, T& out) const {
    return a < 0 ? __builtin_sub_overflow(T{0}, a, &out) : (out = a, false);
  }
  bool operator()(double a, double& out) const {
    out = std::fabs(a);
    return false;
  }
};

template <typename T, typename Op>
BoundKernel Unary(DataType result, const char* message) {
  return {[result, message](const KernelInput& in) -> Value {
            if (AnyNullScalar(in.arguments)) return NullScalar(result);
            Validity validity = IntersectValidity(in.arguments, in.rows);
            FixedWriter<T> writer(in.rows);
            const T* from = in.arguments[0].column.values<T>();
            bool failed = false;
            for (int64_t row = 0; row < in.rows; ++row) {
              failed |= Op()(from[row], writer.values()[row]);
            }
            if (failed) {
              validity = ReportFailures(in, std::move(validity), message, [&](int64_t row) {
                T ignored;
                return Op()(from[row], ignored);
              });
            }
            return writer.Finish(result, in.rows, std::move(validity));
          },
          !std::is_same_v<T, double>};
}

template <typename Op>
BoundKernel UnaryOf(DataType type, const char* message) {
  if (type == TypeKind::kInt32) return Unary<int32_t, Op>(type, message);
  if (type == TypeKind::kFloat64) return Unary<double, Op>(type, message);
  return Unary<int64_t, Op>(type, message);
}

// Both operands and the result of one type.
template <typename Op>
BoundKernel Same(DataType result, const char* message) {
  switch (result) {
    case TypeKind::kInt32:
      return Binary<int32_t, int32_t, int32_t, Op>(result, true, message);
    case TypeKind::kFloat64:
      return Binary<double, double, double, Op>(result, false, message);
    default:
      return Binary<int64_t, int64_t, int64_t, Op>(result, true, message);
  }
}

template <typename Op>
BoundKernel SameSafe(DataType result) {
  if (result == TypeKind::kInt32) return Binary<int32_t, int32_t, int32_t, Op>(result, false, "");
  return Binary<int64_t, int64_t, int64_t, Op>(result, false, "");
}

bool IsSafeDivisor(const KernelRequest& request) {
  const Value* divisor = request.literals[1];
  if (divisor == nullptr || divisor->column.IsNull(0)) return false;
  if (request.types[1] == TypeKind::kFloat64) return false;
  const int64_t value = request.types[1] == TypeKind::kInt32 ? divisor->column.values<int32_t>()[0]
                                                             : divisor->column.values<int64_t>()[0];
  return value != 0 && value != -1;
}

constexpr const char* kIntegerOverflow = "integer out of range";
constexpr const char* kTimeOverflow = "timestamp or interval out of range";
constexpr const char* kDivisionByZero = "division by zero or integer out of range";

const char* OverflowMessage(DataType type) {
  return type == TypeKind::kInt32 || type == TypeKind::kInt64 ? kIntegerOverflow : kTimeOverflow;
}

// add and subtract.
template <typename Op, bool kMinus>
BoundKernel MakeSum(const KernelRequest& request) {
  const DataType a = request.types[0], b = request.types[1];
  const DataType result = request.result;
  constexpr DataType kDate = TypeKind::kDate;
  if (a == kDate && b == kDate) {
    return Binary<int64_t, int32_t, int32_t, DaysBetween>(result, false, "");
  }
  if (a == kDate && b == TypeKind::kInterval) {
    return Binary<int64_t, int32_t, int64_t, ShiftDate<kMinus>>(result, true, kTimeOverflow);
  }
  if (a == kDate) {
    return Binary<int32_t, int32_t, int64_t, ShiftDays<kMinus>>(result, true, "date out of range");
  }
  if (b == kDate && a == TypeKind::kInterval) {
    return Binary<int64_t, int64_t, int32_t, Swapped<ShiftDate<false>>>(result, true,
                                                                        kTimeOverflow);
  }
  if (b == kDate) {
    return Binary<int32_t, int64_t, int32_t, Swapped<ShiftDays<false>>>(result, true,
                                                                        "date out of range");
  }
  return Same<Op>(result, OverflowMessage(result));
}

BoundKernel MakeProduct(const KernelRequest& request) {
  if (request.result == TypeKind::kInterval) {
    if (request.types[1] == TypeKind::kFloat64) {
      return Binary<int64_t, int64_t, double, ScaleUp>(request.result, true, kTimeOverflow);
    }
    if (request.types[0] == TypeKind::kFloat64) {
      return Binary<int64_t, double, int64_t, Swapped<ScaleUp>>(request.result, true,
                                                                kTimeOverflow);
    }
  }
  return Same<Multiply>(request.result, OverflowMessage(request.result));
}

BoundKernel MakeQuotient(const KernelRequest& request) {
  if (request.result == TypeKind::kInterval && request.types[1] == TypeKind::kFloat64) {
    return Binary<int64_t, int64_t, double, ScaleDown>(request.result, true, kTimeOverflow);
  }
  if (IsSafeDivisor(request)) return SameSafe<DivideBySafe>(request.result);
  return Same<Divide>(request.result, kDivisionByZero);
}

}  // namespace

absl::StatusOr<BoundKernel> MakeArithmeticKernel(const KernelRequest& request) {
  const std::string_view name = request.name;
  if (name == "add") return MakeSum<Add, false>(request);
  if (name == "subtract") return MakeSum<Subtract, true>(request);
  if (name == "multiply") return MakeProduct(request);
  if (name == "divide") return MakeQuotient(request);
  if (name == "modulo") {
    if (IsSafeDivisor(request)) return SameSafe<ModuloBySafe>(request.result);
    return Same<Modulo>(request.result, "division by zero");
  }
  if (name == "negate") return UnaryOf<Negate>(request.result, OverflowMessage(request.result));
  if (name == "shift_left")
    return Binary<int64_t, int64_t, int64_t, ShiftLeft>(request.result, false, "");
  if (name == "shift_right")
    return Binary<int64_t, int64_t, int64_t, ShiftRight>(request.result, false, "");
  if (name == "abs") return UnaryOf<Absolute>(request.result, OverflowMessage(request.result));
  return BoundKernel{};
}

}  // namespace millrace::expressions
