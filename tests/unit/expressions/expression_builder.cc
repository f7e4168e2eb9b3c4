#include "tests/unit/expressions/expression_builder.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

v1::Expr Typed(DataType type) {
  v1::Expr expr;
  type.ToProto(expr.mutable_type());
  return expr;
}

v1::Expr FromText(std::string_view text, DataType type) {
  const absl::StatusOr<Datum> value = Interpret(Cast(Str(text), type), RowsOnly(1), 0);
  EXPECT_TRUE(value.ok()) << text;
  return value.ok() ? IntLiteral(type, value->int_value) : NullLiteral(type);
}

}  // namespace

DataType TypeOf(const v1::Expr& expr) { return DataType::FromProto(expr.type()); }

v1::Expr NullLiteral(DataType type) {
  v1::Expr expr = Typed(type);
  expr.mutable_literal()->set_is_null(true);
  return expr;
}

v1::Expr BoolLiteral(bool value) {
  v1::Expr expr = Typed(TypeKind::kBool);
  expr.mutable_literal()->set_bool_value(value);
  return expr;
}

v1::Expr IntLiteral(DataType type, int64_t value) {
  v1::Expr expr = Typed(type);
  expr.mutable_literal()->set_int_value(value);
  return expr;
}

v1::Expr Float(double value) {
  v1::Expr expr = Typed(TypeKind::kFloat64);
  expr.mutable_literal()->set_float_value(value);
  return expr;
}

v1::Expr Str(std::string_view value) {
  v1::Expr expr = Typed(TypeKind::kString);
  expr.mutable_literal()->set_string_value(std::string(value));
  return expr;
}

v1::Expr Bytes(std::string_view value) {
  v1::Expr expr = Typed(TypeKind::kBytes);
  expr.mutable_literal()->set_bytes_value(std::string(value));
  return expr;
}

v1::Expr DecimalLiteral(DataType type, Int128 unscaled) {
  v1::Expr expr = Typed(type);
  expr.mutable_literal()->set_decimal_value(DecimalText(unscaled, type.scale()));
  return expr;
}

v1::Expr Date(std::string_view text) { return FromText(text, TypeKind::kDate); }
v1::Expr Timestamp(std::string_view text) { return FromText(text, TypeKind::kTimestamp); }
v1::Expr Interval(std::string_view text) { return FromText(text, TypeKind::kInterval); }

v1::Expr Ref(uint32_t id, DataType type) {
  v1::Expr expr = Typed(type);
  expr.set_field_id(id);
  return expr;
}

v1::Expr Call(std::string_view name, std::vector<v1::Expr> arguments) {
  std::vector<std::optional<DataType>> types;
  for (const v1::Expr& argument : arguments) types.push_back(TypeOf(argument));
  const absl::StatusOr<ResolvedFunction> function = ResolveFunction(name, types);
  if (!function.ok()) {
    ADD_FAILURE() << function.status();
    return NullLiteral(TypeKind::kBool);
  }
  v1::Expr expr = Typed(function->result);
  expr.mutable_call()->set_function(function->name);
  expr.mutable_call()->set_function_version(function->version);
  for (size_t i = 0; i < arguments.size(); ++i) {
    const DataType wanted = function->argument_types[i];
    *expr.mutable_call()->add_arguments() =
        wanted == *types[i] ? std::move(arguments[i]) : Cast(std::move(arguments[i]), wanted);
  }
  return expr;
}

v1::Expr Cast(v1::Expr input, DataType type) {
  v1::Expr expr = Typed(type);
  *expr.mutable_cast()->mutable_input() = std::move(input);
  return expr;
}

v1::Expr TryCast(v1::Expr input, DataType type) {
  v1::Expr expr = Cast(std::move(input), type);
  expr.mutable_cast()->set_try_cast(true);
  return expr;
}

v1::Expr Case(std::vector<v1::Expr> parts) {
  v1::Expr expr = Typed(TypeOf(parts[1]));
  v1::Case& body = *expr.mutable_case_when();
  for (size_t i = 0; i + 1 < parts.size(); i += 2) {
    *body.add_when() = parts[i];
    *body.add_then() = parts[i + 1];
  }
  if (parts.size() % 2 == 1) *body.mutable_otherwise() = parts.back();
  return expr;
}

std::string DatumText(const Datum& datum) {
  ColumnBuilder builder(datum.type, 1);
  if (datum.is_null) {
    builder.AppendNull();
  } else if (datum.type == TypeKind::kBool) {
    builder.AppendBool(datum.bool_value);
  } else if (datum.type == TypeKind::kFloat64) {
    builder.AppendFloat64(datum.float_value);
  } else if (datum.type == TypeKind::kDecimal) {
    builder.AppendDecimal(datum.decimal_value);
  } else if (IsVariableWidth(datum.type)) {
    builder.AppendString(datum.string_value);
  } else if (FixedWidth(datum.type) == 4) {
    builder.AppendInt32(static_cast<int32_t>(datum.int_value));
  } else {
    builder.AppendInt64(datum.int_value);
  }
  return ValueText(builder.Finish(), 0);
}

Batch RowsOnly(int64_t rows) { return Batch(Schema::Make({}), rows, {}); }

}  // namespace millrace
