// CAST and TRY_CAST.
#include <cmath>
#include <limits>

#include <simdjson.h>
#include "runtime/columns/json_text.h"
#include "runtime/expressions/text.h"
#include "runtime/expressions/text_values.h"
#include "runtime/expressions/value.h"

namespace millrace::expressions {
namespace {

constexpr size_t kMessageTextMax = 64;

// What a value that cannot be converted becomes.
struct CastFailure {
  DataType to;
  bool try_cast;

  RowOutcome operator()(std::string_view text, std::string& error) const {
    if (try_cast) return RowOutcome::kNull;
    error = Text("cannot cast '", text.substr(0, kMessageTextMax),
                 text.size() > kMessageTextMax ? "…" : "", "' to ", TypeText(to));
    return RowOutcome::kError;
  }
};

template <typename T>
T Read(const Argument& from, int64_t row) {
  if constexpr (std::is_same_v<T, double>) return from.Float(row);
  if constexpr (std::is_same_v<T, int32_t>) return from.Int32(row);
  if constexpr (std::is_same_v<T, int64_t>) return from.Int(row);
  if constexpr (std::is_same_v<T, bool>) return from.Bool(row);
}

std::string_view NumberText(std::integral auto value, char* buffer) {
  return {buffer, static_cast<size_t>(PrintInt64(value, buffer) - buffer)};
}
std::string_view NumberText(double value, char* buffer) {
  return {buffer, static_cast<size_t>(PrintDouble(value, buffer) - buffer)};
}

// False: out of range, or not a number.
template <typename To, typename From>
bool ConvertNumber(From from, To& to) {
  if constexpr (std::is_same_v<From, double> && std::is_integral_v<To>) {
    const double whole = std::trunc(from);
    const double limit = -static_cast<double>(std::numeric_limits<To>::min());
    if (!(whole >= -limit && whole < limit)) return false;
    to = static_cast<To>(whole);
    return true;
  } else {
    to = static_cast<To>(from);
    return static_cast<From>(to) == from || std::is_same_v<To, double>;
  }
}

template <typename From, typename To>
BoundKernel NumberCast(CastFailure fail, bool can_fail) {
  return {[fail](const KernelInput& in) {
            const Argument from(in.arguments[0]);
            return FixedLoop<To>(in, fail.to, [&](int64_t row, To& out, std::string& error) {
              const From value = Read<From>(from, row);
              if (ConvertNumber(value, out)) return RowOutcome::kValue;
              out = To{};
              char text[kValueTextMax];
              return fail(NumberText(value, text), error);
            });
          },
          can_fail};
}

// Numbers that widen, and booleans: no row can fail, so that NULL rows are computed too.
template <typename From, typename To>
BoundKernel WideningCast(DataType to) {
  return {[to](const KernelInput& in) -> Value {
    if (AnyNullScalar(in.arguments)) return NullScalar(to);
    FixedWriter<To> writer(in.rows);
    const From* from = in.arguments[0].column.values<From>();
    for (int64_t row = 0; row < in.rows; ++row) writer.values()[row] = static_cast<To>(from[row]);
    return writer.Finish(to, in.rows, IntersectValidity(in.arguments, in.rows));
  }};
}

template <typename To>
BoundKernel FromBool(DataType to) {
  return {[to](const KernelInput& in) {
    const Argument from(in.arguments[0]);
    return FixedLoop<To>(in, to, [&](int64_t row, To& out, std::string&) {
      out = static_cast<To>(from.Bool(row) ? 1 : 0);
      return RowOutcome::kValue;
    });
  }};
}

template <typename From>
BoundKernel ToBool() {
  return {[](const KernelInput& in) {
    const Argument from(in.arguments[0]);
    return BoolLoop(in, [&](int64_t row, bool& out, std::string&) {
      out = Read<From>(from, row) != 0;
      return RowOutcome::kValue;
    });
  }};
}

// Text to a fixed-width type by `parse(text, T& out)`.
template <typename T, typename Parse>
BoundKernel FromText(CastFailure fail, Parse parse) {
  return {[fail, parse](const KernelInput& in) {
            const Argument from(in.arguments[0]);
            return FixedLoop<T>(in, fail.to, [&](int64_t row, T& out, std::string& error) {
              if (parse(from.Text(row), out)) return RowOutcome::kValue;
              out = T{};
              return fail(from.Text(row), error);
            });
          },
          !fail.try_cast};
}

bool ParseInt32(std::string_view text, int32_t& out) {
  int64_t wide = 0;
  if (!ParseInt64(text, wide)) return false;
  out = static_cast<int32_t>(wide);
  return out == wide;
}

BoundKernel TextCast(CastFailure fail) {
  switch (fail.to) {
    case TypeKind::kBool:
      return {[fail](const KernelInput& in) {
                const Argument from(in.arguments[0]);
                return BoolLoop(in, [&](int64_t row, bool& out, std::string& error) {
                  if (ParseBool(from.Text(row), out)) return RowOutcome::kValue;
                  return fail(from.Text(row), error);
                });
              },
              !fail.try_cast};
    case TypeKind::kInt32:
      return FromText<int32_t>(fail, ParseInt32);
    case TypeKind::kInt64:
      return FromText<int64_t>(fail, ParseInt64);
    case TypeKind::kFloat64:
      return FromText<double>(fail, ParseDouble);
    case TypeKind::kDate:
      return FromText<int32_t>(fail, ParseDate);
    case TypeKind::kTimestamp:
      return FromText<int64_t>(fail, ParseTimestamp);
    default:
      return FromText<int64_t>(fail, ParseInterval);
  }
}

// A fixed-width type to text by `print(row, char* out)`.
template <typename Print>
Value PrintRows(const KernelInput& in, Print print) {
  return StringLoop(in, TypeKind::kString, [&](int64_t row, StringWriter& writer, std::string&) {
    char text[kValueTextMax];
    writer.Append({text, static_cast<size_t>(print(row, text) - text)});
    return RowOutcome::kValue;
  });
}

// As JSON.
Value ArrayToText(const KernelInput& in) {
  const Column& arrays = in.arguments[0].column;
  JsonPrinter printer(JsonPrinter::Timestamps::kSql);
  std::string json;
  return StringLoop(in, TypeKind::kString, [&](int64_t row, StringWriter& writer, std::string&) {
    json.clear();
    printer.Append(arrays, in.arguments[0].scalar ? 0 : row, json);
    writer.Append(json);
    return RowOutcome::kValue;
  });
}

Value RunToText(const KernelInput& in) {
  const Argument from(in.arguments[0]);
  switch (in.arguments[0].column.type()) {
    case TypeKind::kBool:
      return PrintRows(in, [&](int64_t row, char* out) {
        const std::string_view text = from.Bool(row) ? "TRUE" : "FALSE";
        return std::copy(text.begin(), text.end(), out);
      });
    case TypeKind::kInt32:
      return PrintRows(in, [&](int64_t row, char* o) { return PrintInt64(from.Int32(row), o); });
    case TypeKind::kInt64:
      return PrintRows(in, [&](int64_t row, char* o) { return PrintInt64(from.Int(row), o); });
    case TypeKind::kFloat64:
      return PrintRows(in, [&](int64_t row, char* o) { return PrintDouble(from.Float(row), o); });
    case TypeKind::kDecimal: {
      const int scale = in.arguments[0].column.type().scale();
      return PrintRows(
          in, [&](int64_t row, char* o) { return PrintDecimal(from.Unscaled(row), scale, o); });
    }
    case TypeKind::kDate:
      return PrintRows(in, [&](int64_t row, char* o) { return PrintDate(from.Int32(row), o); });
    case TypeKind::kTimestamp:
      return PrintRows(in, [&](int64_t row, char* o) { return PrintTimestamp(from.Int(row), o); });
    default:
      return PrintRows(in, [&](int64_t row, char* o) { return PrintInterval(from.Int(row), o); });
  }
}

// The same buffers under another type.
BoundKernel Relabel(DataType to) {
  return {[to](const KernelInput& in) -> Value {
    const Column& c = in.arguments[0].column;
    return {Column(to, c.length(), c.null_count(), c.validity_buffer(), c.values_buffer(),
                   c.offsets_buffer()),
            in.arguments[0].scalar};
  }};
}

BoundKernel BytesToText(CastFailure fail) {
  return {[fail](const KernelInput& in) {
            const Argument from(in.arguments[0]);
            return StringLoop(in, TypeKind::kString,
                              [&](int64_t row, StringWriter& writer, std::string& error) {
                                const std::string_view bytes = from.Text(row);
                                if (simdjson::validate_utf8(bytes.data(), bytes.size())) {
                                  writer.Append(bytes);
                                  return RowOutcome::kValue;
                                }
                                if (fail.try_cast) return RowOutcome::kNull;
                                error = "cannot cast bytes that are not UTF-8 to STRING";
                                return RowOutcome::kError;
                              });
          },
          true};
}

BoundKernel DateToTimestamp(CastFailure fail) {
  return {[fail](const KernelInput& in) {
            const Argument from(in.arguments[0]);
            return FixedLoop<int64_t>(
                in, fail.to, [&](int64_t row, int64_t& out, std::string& error) {
                  const int64_t days = from.Int32(row);
                  if (!__builtin_mul_overflow(days, kDayUs, &out)) return RowOutcome::kValue;
                  out = 0;
                  char text[kValueTextMax];
                  return fail({text, static_cast<size_t>(PrintDate(days, text) - text)}, error);
                });
          },
          !fail.try_cast};
}

BoundKernel TimestampToDate() {
  return {[](const KernelInput& in) -> Value {
    if (AnyNullScalar(in.arguments)) return NullScalar(TypeKind::kDate);
    FixedWriter<int32_t> writer(in.rows);
    const auto* from = in.arguments[0].column.values<int64_t>();
    for (int64_t row = 0; row < in.rows; ++row) {
      writer.values()[row] = static_cast<int32_t>(FloorDiv(from[row], kDayUs));
    }
    return writer.Finish(TypeKind::kDate, in.rows, IntersectValidity(in.arguments, in.rows));
  }};
}

// Anything to a decimal by `convert(row)`, which gives nothing where the value does not fit, and
// `text(row)` of the value that did not.
template <typename Convert, typename TextOf>
Value ToDecimal(const KernelInput& in, CastFailure fail, Convert convert, TextOf text) {
  return FixedLoop<Decimal>(in, fail.to, [&](int64_t row, Decimal& out, std::string& error) {
    const std::optional<Int128> value = convert(row);
    if (value) [[likely]] {
      out = Decimal(*value);
      return RowOutcome::kValue;
    }
    char buffer[kValueTextMax];
    return fail(text(row, buffer), error);
  });
}

std::string_view NumberText(Int128 unscaled, int scale, char* buffer) {
  return {buffer, static_cast<size_t>(PrintDecimal(unscaled, scale, buffer) - buffer)};
}

BoundKernel CastToDecimal(DataType from_type, CastFailure fail) {
  const DataType to = fail.to;
  const auto kernel = [from_type, to, fail](const KernelInput& in) {
    const Argument from(in.arguments[0]);
    const auto whole = [&](auto read) {
      return ToDecimal(
          in, fail, [&](int64_t row) { return Rescale(read(row), 0, to); },
          [&](int64_t row, char* buffer) { return NumberText(int64_t{read(row)}, buffer); });
    };
    switch (from_type) {
      case TypeKind::kBool:
        return whole([&](int64_t row) { return from.Bool(row) ? 1 : 0; });
      case TypeKind::kInt32:
        return whole([&](int64_t row) { return from.Int32(row); });
      case TypeKind::kInt64:
        return whole([&](int64_t row) { return from.Int(row); });
      case TypeKind::kFloat64:
        return ToDecimal(
            in, fail, [&](int64_t row) { return DecimalFromDouble(from.Float(row), to); },
            [&](int64_t row, char* buffer) { return NumberText(from.Float(row), buffer); });
      case TypeKind::kDecimal: {
        const int scale = from_type.scale();
        return ToDecimal(
            in, fail, [&](int64_t row) { return Rescale(from.Unscaled(row), scale, to); },
            [&](int64_t row, char* buffer) {
              return NumberText(from.Unscaled(row), scale, buffer);
            });
      }
      default:
        return ToDecimal(
            in, fail, [&](int64_t row) { return ParseDecimal(StripSpaces(from.Text(row)), to); },
            [&](int64_t row, char*) { return from.Text(row); });
    }
  };
  return {kernel, !fail.try_cast};
}

template <typename To>
BoundKernel DecimalToInteger(int scale, CastFailure fail) {
  return {[scale, fail](const KernelInput& in) {
            const Argument from(in.arguments[0]);
            const Int128 unit = PowerOfTen(scale);
            return FixedLoop<To>(in, fail.to, [&](int64_t row, To& out, std::string& error) {
              const Int128 whole = from.Unscaled(row) / unit;  // Towards zero, as in Flink SQL.
              out = static_cast<To>(whole);
              if (out == whole) [[likely]]
                return RowOutcome::kValue;
              out = To{};
              char buffer[kValueTextMax];
              return fail(NumberText(from.Unscaled(row), scale, buffer), error);
            });
          },
          !fail.try_cast};
}

BoundKernel CastFromDecimal(int scale, CastFailure fail) {
  switch (fail.to) {
    case TypeKind::kBool:
      return {[](const KernelInput& in) {
        const Argument from(in.arguments[0]);
        return BoolLoop(in, [&](int64_t row, bool& out, std::string&) {
          out = from.Unscaled(row) != 0;
          return RowOutcome::kValue;
        });
      }};
    case TypeKind::kInt32:
      return DecimalToInteger<int32_t>(scale, fail);
    case TypeKind::kInt64:
      return DecimalToInteger<int64_t>(scale, fail);
    default:
      return {[scale](const KernelInput& in) {
        const Argument from(in.arguments[0]);
        return FixedLoop<double>(in, TypeKind::kFloat64,
                                 [&](int64_t row, double& out, std::string&) {
                                   out = DecimalToDouble(from.Unscaled(row), scale);
                                   return RowOutcome::kValue;
                                 });
      }};
  }
}

BoundKernel CastFromBool(DataType to) {
  if (to == TypeKind::kInt32) return FromBool<int32_t>(to);
  return to == TypeKind::kInt64 ? FromBool<int64_t>(to) : FromBool<double>(to);
}

template <typename From>
BoundKernel CastFromNumber(CastFailure fail) {
  const bool can_fail = !fail.try_cast;
  switch (fail.to) {
    case TypeKind::kBool:
      return ToBool<From>();
    case TypeKind::kInt32:
      return NumberCast<From, int32_t>(fail, can_fail);
    case TypeKind::kInt64:
      if constexpr (std::is_same_v<From, int32_t>) return WideningCast<From, int64_t>(fail.to);
      return NumberCast<From, int64_t>(fail, can_fail);
    default:
      return WideningCast<From, double>(fail.to);
  }
}

}  // namespace

BoundKernel MakeCastKernel(DataType from, DataType to, bool try_cast) {
  const CastFailure fail{to, try_cast};
  if (from == TypeKind::kArray) return {ArrayToText, true};
  if (from == TypeKind::kBytes) return BytesToText(fail);
  if (to == TypeKind::kString) return {RunToText, true};
  if (to == TypeKind::kDecimal) return CastToDecimal(from, fail);
  if (from == TypeKind::kDecimal) return CastFromDecimal(from.scale(), fail);
  if (from == TypeKind::kString) return to == TypeKind::kBytes ? Relabel(to) : TextCast(fail);
  switch (from) {
    case TypeKind::kBool:
      return CastFromBool(to);
    case TypeKind::kInt32:
      return CastFromNumber<int32_t>(fail);
    case TypeKind::kInt64:
      return CastFromNumber<int64_t>(fail);
    case TypeKind::kFloat64:
      return CastFromNumber<double>(fail);
    case TypeKind::kDate:
      return DateToTimestamp(fail);
    default:
      return TimestampToDate();
  }
}

}  // namespace millrace::expressions
