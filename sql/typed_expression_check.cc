#include <algorithm>
#include <optional>
#include <vector>

#include "millrace/v1/graph.pb.h"
#include "runtime/base/text.h"
#include "runtime/columns/decimal.h"
#include "runtime/expressions/expression.h"
#include "runtime/expressions/functions.h"
#include "sql/expression_binder.h"
#include "sql/sql_functions.h"
#include "sql/type_names.h"

namespace millrace {
namespace {

bool Fail(SqlProblem* problem, std::string code, std::string message) {
  *problem = {std::move(code), std::move(message), "", -1};
  return false;
}

DataType TypeOf(const v1::Expr& expr) { return DataType::FromProto(expr.type()); }

bool CheckLiteral(const v1::Expr& expr, SqlProblem* problem) {
  using Value = v1::Literal::ValueCase;
  const DataType kind = TypeOf(expr);
  Value expected = Value::kIntValue;
  if (kind == TypeKind::kBool) expected = Value::kBoolValue;
  if (kind == TypeKind::kFloat64) expected = Value::kFloatValue;
  if (kind == TypeKind::kString) expected = Value::kStringValue;
  if (kind == TypeKind::kBytes) expected = Value::kBytesValue;
  if (kind == TypeKind::kDecimal) expected = Value::kDecimalValue;
  const Value given = expr.literal().value_case();
  const bool readable =
      given != Value::kDecimalValue || ParseDecimal(expr.literal().decimal_value(), kind);
  if (readable && (given == Value::kIsNull || given == expected)) return true;
  return Fail(problem, "MR1206", Concat("the value of a literal is not a ", TypeText(expr.type())));
}

bool CheckField(const v1::Expr& expr, const v1::Schema& schema, SqlProblem* problem) {
  for (const v1::Field& field : schema.fields()) {
    if (field.id() != expr.field_id()) continue;
    if (SameType(field.type(), expr.type())) return true;
    return Fail(problem, "MR1206",
                Concat("column '", field.name(), "' is ", TypeText(field.type()), ", not ",
                       TypeText(expr.type())));
  }
  return Fail(problem, "MR1203", Concat("no column has the id ", expr.field_id()));
}

bool Check(const v1::Expr& expr, const v1::Schema& schema, int depth, SqlProblem* problem);

bool CheckCall(const v1::Expr& expr, const v1::Schema& schema, int depth, SqlProblem* problem) {
  std::vector<std::optional<DataType>> types;
  for (const v1::Expr& argument : expr.call().arguments()) {
    if (!Check(argument, schema, depth + 1, problem)) return false;
    types.emplace_back(TypeOf(argument));
  }
  const std::string_view name = expr.call().function();
  if (name.starts_with(kPythonPrefix)) {
    *problem = {"MR1605",
                Concat("function '", name.substr(kPythonPrefix.size()),
                       "' is one in Python, and cannot stand here"),
                "compute it in a subquery or view in FROM, and name its column here", -1};
    return false;
  }
  const auto resolved = ResolveFunction(expr.call().function(), types);
  if (!resolved.ok()) {
    const bool unknown = resolved.status().code() == absl::StatusCode::kNotFound;
    return Fail(problem, unknown ? "MR1205" : "MR1206", std::string(MessageOf(resolved.status())));
  }
  bool same = resolved->result == TypeOf(expr) && resolved->name == expr.call().function() &&
              resolved->version == expr.call().function_version();
  for (size_t i = 0; i < types.size(); ++i) same &= resolved->argument_types[i] == *types[i];
  if (same) return true;
  return Fail(problem, "MR1206",
              Concat("the call of ", expr.call().function(), " is not typed as the registry says"));
}

bool CheckCase(const v1::Expr& expr, const v1::Schema& schema, int depth, SqlProblem* problem) {
  const v1::Case& body = expr.case_when();
  if (body.when_size() == 0 || body.when_size() != body.then_size()) {
    return Fail(problem, "MR1206", "CASE needs as many results as conditions");
  }
  for (const v1::Expr& when : body.when()) {
    if (!Check(when, schema, depth + 1, problem)) return false;
    if (TypeOf(when) != TypeKind::kBool) {
      return Fail(problem, "MR1206", "a condition of CASE is not BOOLEAN");
    }
  }
  std::vector<const v1::Expr*> results;
  for (const v1::Expr& then : body.then()) results.push_back(&then);
  if (body.has_otherwise()) results.push_back(&body.otherwise());
  for (const v1::Expr* result : results) {
    if (!Check(*result, schema, depth + 1, problem)) return false;
    if (!SameType(result->type(), expr.type())) {
      return Fail(problem, "MR1206", "the results of CASE have different types");
    }
  }
  return true;
}

bool Check(const v1::Expr& expr, const v1::Schema& schema, int depth, SqlProblem* problem) {
  if (depth > kExprDepthMax) {
    return Fail(problem, "MR1208", Concat("the expression is nested deeper than ", kExprDepthMax));
  }
  if (!TypeOfExpr(expr).ok()) {
    return Fail(problem, "MR1206", "a node of the expression has no type");
  }
  switch (expr.kind_case()) {
    case v1::Expr::kLiteral:
      return CheckLiteral(expr, problem);
    case v1::Expr::kFieldId:
      return CheckField(expr, schema, problem);
    case v1::Expr::kCall:
      return CheckCall(expr, schema, depth, problem);
    case v1::Expr::kCaseWhen:
      return CheckCase(expr, schema, depth, problem);
    case v1::Expr::kCast:
      if (!Check(expr.cast().input(), schema, depth + 1, problem)) return false;
      if (CanCast(TypeOf(expr.cast().input()), TypeOf(expr))) return true;
      return Fail(problem, "MR1206",
                  Concat("cannot cast ", TypeText(expr.cast().input().type()), " to ",
                         TypeText(expr.type())));
    default:
      return Fail(problem, "MR1201", "SQL text cannot stand within a typed expression");
  }
}

}  // namespace

bool CheckTypedExpression(const v1::Expr& expr, const v1::Schema& schema, SqlProblem* problem) {
  return Check(expr, schema, 1, problem);
}

}  // namespace millrace
