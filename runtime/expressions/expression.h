// A bound expression: a typed proto Expr compiled to vectorised kernels over the columns of one
// schema. NULL semantics are SQL's (three-valued logic; functions are strict unless documented).
//
// Threading: an Expression belongs to one task thread; it keeps scratch memory between batches.
// Errors: a row that cannot be evaluated (division by zero, overflow, a failed CAST) does not end
// the job: it is reported in `RowErrors`, its value is NULL, and the operator sends the row to the
// dead-letter output.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/columns/batch.h"

namespace millrace {

namespace v1 {
class Expr;
}

// Rows of the current batch that could not be evaluated, ascending, each once.
struct RowErrors {
  struct Entry {
    int32_t row;
    std::string message;  // "division by zero", "cannot cast 'abc' to BIGINT", ...
  };
  std::vector<Entry> entries;
  bool empty() const { return entries.empty(); }
};

class Expression {
 public:
  virtual ~Expression() = default;
  virtual DataType type() const = 0;
  // Evaluates all rows. `errors` is appended to; only rows whose result really needs the failing
  // part fail (CASE, AND, OR, COALESCE guard their operands row by row).
  virtual absl::StatusOr<Column> Evaluate(const Batch& batch, RowErrors& errors) = 0;
};

// Binds `expr` (typed: Expr.type set on every node, no `sql`) to the columns of `schema`.
// kInvalidArgument: untyped, unknown field id or function, wrong types.
absl::StatusOr<std::unique_ptr<Expression>> BindExpression(const v1::Expr& expr,
                                                           const Schema& schema);

// The reference interpreter: one row at a time, written for clarity, sharing no kernel with the
// above. Used by differential tests and to fold constants at submit. kOutOfRange: the row cannot be
// evaluated (what Evaluate reports in RowErrors); any other error: the expression is malformed.
struct Datum {
  DataType type = TypeKind::kInt64;
  bool is_null = true;
  bool bool_value = false;
  int64_t int_value = 0;  // All integers, dates, timestamps, intervals.
  double float_value = 0;
  Int128 decimal_value = 0;  // Unscaled.
  std::string string_value;
};
absl::StatusOr<Datum> Interpret(const v1::Expr& expr, const Batch& batch, int64_t row);

// The type that is set on `expr`. kInvalidArgument: none, or a DECIMAL with impossible digits.
absl::StatusOr<DataType> TypeOfExpr(const v1::Expr& expr);

// Field ids that `expr` reads, sorted, each once; for projection push-down.
std::vector<uint32_t> ReferencedFields(const v1::Expr& expr);

}  // namespace millrace
