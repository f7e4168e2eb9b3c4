// Typed expressions for tests, as the SQL binder would make them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "millrace/v1/graph.pb.h"
#include "runtime/columns/batch.h"
#include "runtime/expressions/expression.h"
#include "runtime/expressions/functions.h"

namespace millrace {

v1::Expr NullLiteral(DataType type);
v1::Expr BoolLiteral(bool value);
// INT32, INT64, DATE, TIMESTAMP or INTERVAL.
v1::Expr IntLiteral(DataType type, int64_t value);
inline v1::Expr Int(int64_t value) { return IntLiteral(TypeKind::kInt64, value); }
inline v1::Expr Int32(int64_t value) { return IntLiteral(TypeKind::kInt32, value); }
v1::Expr Float(double value);
v1::Expr Str(std::string_view value);
v1::Expr Bytes(std::string_view value);
v1::Expr DecimalLiteral(DataType type, Int128 unscaled);
// Folded from text by the interpreter: "2024-02-29", "2024-02-29 12:00:00", "+1 02:00:00".
v1::Expr Date(std::string_view text);
v1::Expr Timestamp(std::string_view text);
v1::Expr Interval(std::string_view text);
v1::Expr Ref(uint32_t id, DataType type);
// Resolves the function and casts arguments where it must. The test fails if it does not resolve.
v1::Expr Call(std::string_view name, std::vector<v1::Expr> arguments);
v1::Expr Cast(v1::Expr input, DataType type);
v1::Expr TryCast(v1::Expr input, DataType type);
// when, then, when, then, ..., otherwise (only if the count is odd).
v1::Expr Case(std::vector<v1::Expr> parts);

DataType TypeOf(const v1::Expr& expr);
// As ValueText of a column that holds the datum.
std::string DatumText(const Datum& datum);
// A batch without columns.
Batch RowsOnly(int64_t rows);

}  // namespace millrace
