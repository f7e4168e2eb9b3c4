// The reference interpreter's parts. Private to runtime/expressions. Pure functions of one row; an
// error of the row is kOutOfRange. It is written to be read, not to be fast, and must not use
// anything of value.h, text_values.h or time_pattern.h: it is what those are tested against.
#pragma once

#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/expressions/expression.h"

namespace millrace::expressions::reference {

struct CallInput {
  const std::vector<Datum>& arguments;
  DataType result;

  const Datum& operator[](size_t i) const { return arguments[i]; }
  size_t size() const { return arguments.size(); }
};

using Function = absl::StatusOr<Datum> (*)(const CallInput&);

// Null: no such function. Strict functions are called only without NULL arguments.
struct FunctionRow {
  Function call = nullptr;
  bool strict = true;
};
// Arithmetic of calls with a DECIMAL argument.
FunctionRow FindDecimalFunction(std::string_view name);
FunctionRow FindNumberFunction(std::string_view name);
FunctionRow FindTextFunction(std::string_view name);
FunctionRow FindEncodingFunction(std::string_view name);
FunctionRow FindArrayFunction(std::string_view name);
FunctionRow FindJsonFunction(std::string_view name);
FunctionRow FindTimeFunction(std::string_view name);

// `from` is not NULL. A failed conversion is kOutOfRange.
absl::StatusOr<Datum> Convert(const Datum& from, DataType to);
// Of two values of one type, not NULL. Unordered doubles: none of the three holds.
bool IsEqual(const Datum& a, const Datum& b);
bool IsLess(const Datum& a, const Datum& b);

absl::StatusOr<Datum> ColumnValue(const Column& column, int64_t row);
Datum Null(DataType type);
Datum Bool(bool value);
Datum Int(DataType type, int64_t value);
Datum Float(double value);
Datum Text(DataType type, std::string value);
// A STRING; of more than 16 MiB, an error of the row.
absl::StatusOr<Datum> Str(std::string text);
Datum DecimalOf(DataType type, Int128 unscaled);
absl::Status RowError(std::string message);
// As Int, or an error when `value` does not fit the type.
absl::StatusOr<Datum> Checked(DataType type, __int128 value);

// As JSON.
absl::StatusOr<Datum> ArrayAsText(const Datum& array);
// Casts to and from DECIMAL. `from` is not NULL; a failed conversion is kOutOfRange.
absl::StatusOr<Datum> ConvertDecimal(const Datum& from, DataType to);
absl::StatusOr<Datum> DecimalFromText(std::string_view text, DataType to);

// Result NULL on malformed text.
Datum ParseTimestampText(std::string_view text);

}  // namespace millrace::expressions::reference
