// SQL text of an expression → typed proto Expr over the columns of a schema: names become field
// ids, functions are resolved, implicit casts inserted.
//
// Columns: a quoted name matches exactly; an unquoted one as it is written, else ignoring case when
// just one column fits.
// Literals: whole numbers are INT or BIGINT by size, other numbers DOUBLE; 'text' becomes a
// TIMESTAMP or DATE where it is compared with one.
//
// Threading: pure functions.
// Errors:    SqlProblem, false returned; the output is unspecified then.
#pragma once

#include <string_view>

#include "sql/sql_problem.h"

namespace millrace {

namespace v1 {
class Aggregate;
class Expr;
class Schema;
class Type;
}  // namespace v1

// Nesting of the typed tree. Twice this many messages stay within protobuf's limit of 100.
inline constexpr int kExprDepthMax = 40;

bool BindExpressionText(std::string_view text, const v1::Schema& schema, v1::Expr* out,
                        SqlProblem* problem);

// "count(*)", "sum(price) FILTER (WHERE price > 10)", "count(DISTINCT bidder)": fills function,
// argument, distinct, filter and type.
bool BindAggregateText(std::string_view text, const v1::Schema& schema, v1::Aggregate* out,
                       SqlProblem* problem);

// The result type of an aggregate over a typed argument (null: COUNT(*)), as in Flink: COUNT and
// SUM of integers are BIGINT, AVG, MIN and MAX have the argument's type.
bool AggregateType(std::string_view function, const v1::Expr* argument, v1::Type* out,
                   SqlProblem* problem);

// Checks a typed tree that somebody else has built: fields exist with their type, functions accept
// their arguments, every node has its right type.
bool CheckTypedExpression(const v1::Expr& expr, const v1::Schema& schema, SqlProblem* problem);

// The column that `name` means, by the rules above; -1 and `problem` when there is none.
int FindColumn(const v1::Schema& schema, std::string_view name, bool quoted, SqlProblem* problem);

}  // namespace millrace
