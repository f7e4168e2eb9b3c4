#include "runtime/expressions/interpreter.h"

#include <algorithm>
#include <limits>

#include "millrace/v1/graph.pb.h"
#include "runtime/base/status_macros.h"
#include "runtime/expressions/functions.h"
#include "runtime/expressions/text.h"

namespace millrace {
namespace expressions::reference {

Datum Null(DataType type) {
  Datum datum;
  datum.type = type;
  return datum;
}

Datum Bool(bool value) {
  Datum datum = Null(TypeKind::kBool);
  datum.is_null = false;
  datum.bool_value = value;
  return datum;
}

Datum Int(DataType type, int64_t value) {
  Datum datum = Null(type);
  datum.is_null = false;
  datum.int_value = value;
  return datum;
}

Datum Float(double value) {
  Datum datum = Null(TypeKind::kFloat64);
  datum.is_null = false;
  datum.float_value = value;
  return datum;
}

Datum Text(DataType type, std::string value) {
  Datum datum = Null(type);
  datum.is_null = false;
  datum.string_value = std::move(value);
  return datum;
}

Datum DecimalOf(DataType type, Int128 unscaled) {
  Datum datum = Null(type);
  datum.is_null = false;
  datum.decimal_value = unscaled;
  return datum;
}

absl::Status RowError(std::string message) { return absl::OutOfRangeError(message); }

absl::StatusOr<Datum> Checked(DataType type, __int128 value) {
  const bool narrow = type == TypeKind::kInt32 || type == TypeKind::kDate;
  const __int128 least =
      narrow ? std::numeric_limits<int32_t>::min() : std::numeric_limits<int64_t>::min();
  const __int128 greatest =
      narrow ? std::numeric_limits<int32_t>::max() : std::numeric_limits<int64_t>::max();
  if (value < least || value > greatest) {
    return RowError(expressions::Text(TypeText(type), " out of range"));
  }
  return Int(type, static_cast<int64_t>(value));
}

bool IsEqual(const Datum& a, const Datum& b) {
  switch (a.type) {
    case TypeKind::kBool:
      return a.bool_value == b.bool_value;
    case TypeKind::kFloat64:
      return a.float_value == b.float_value;
    case TypeKind::kString:
    case TypeKind::kBytes:
    case TypeKind::kArray:
      return a.string_value == b.string_value;
    case TypeKind::kDecimal:
      return a.decimal_value == b.decimal_value;
    default:
      return a.int_value == b.int_value;
  }
}

bool IsLess(const Datum& a, const Datum& b) {
  switch (a.type) {
    case TypeKind::kBool:
      return !a.bool_value && b.bool_value;
    case TypeKind::kFloat64:
      return a.float_value < b.float_value;
    case TypeKind::kString:
    case TypeKind::kBytes:
    case TypeKind::kArray:
      return a.string_value < b.string_value;  // As unsigned bytes.
    case TypeKind::kDecimal:
      return a.decimal_value < b.decimal_value;
    default:
      return a.int_value < b.int_value;
  }
}

absl::StatusOr<Datum> ColumnValue(const Column& column, int64_t row) {
  if (column.IsNull(row)) return Null(column.type());
  switch (column.type()) {
    case TypeKind::kBool:
      return Bool(column.BoolAt(row));
    case TypeKind::kInt32:
    case TypeKind::kDate:
      return Int(column.type(), column.values<int32_t>()[row]);
    case TypeKind::kFloat64:
      return Float(column.values<double>()[row]);
    case TypeKind::kString:
    case TypeKind::kBytes:
    case TypeKind::kArray:
      return Text(column.type(), std::string(column.StringAt(row)));
    case TypeKind::kDecimal:
      return DecimalOf(column.type(), column.values<Decimal>()[row].unscaled());
    default:
      return Int(column.type(), column.values<int64_t>()[row]);
  }
}

namespace {

using Result = absl::StatusOr<Datum>;

Result LiteralValue(const v1::Literal& literal, DataType type) {
  switch (literal.value_case()) {
    case v1::Literal::kIsNull:
      return Null(type);
    case v1::Literal::kBoolValue:
      return Bool(literal.bool_value());
    case v1::Literal::kIntValue:
      return Int(type, literal.int_value());
    case v1::Literal::kFloatValue:
      return Float(literal.float_value());
    case v1::Literal::kStringValue:
      return Text(type, literal.string_value());
    case v1::Literal::kBytesValue:
      return Text(type, literal.bytes_value());
    case v1::Literal::kDecimalValue:
      return DecimalFromText(literal.decimal_value(), type);
    default:
      return absl::InvalidArgumentError("literal without a value");
  }
}

class Interpreter {
 public:
  Interpreter(const Batch& batch, int64_t row) : batch_(batch), row_(row) {}

  Result Run(const v1::Expr& expr) const {
    MILLRACE_ASSIGN_OR_RETURN(const DataType type, TypeOfExpr(expr));
    switch (expr.kind_case()) {
      case v1::Expr::kLiteral:
        return LiteralValue(expr.literal(), type);
      case v1::Expr::kFieldId: {
        const int index =
            batch_.schema() == nullptr ? -1 : batch_.schema()->IndexOfId(expr.field_id());
        if (index < 0) return InvalidArgument("unknown field id ", expr.field_id());
        return ColumnValue(batch_.column(index), row_);
      }
      case v1::Expr::kCall:
        return RunCall(expr.call(), type);
      case v1::Expr::kCaseWhen:
        return RunCase(expr.case_when(), type);
      case v1::Expr::kCast:
        return RunCast(expr.cast(), type);
      default:
        return absl::InvalidArgumentError("expression is empty or still SQL text");
    }
  }

 private:
  Result RunCase(const v1::Case& body, DataType type) const {
    for (int i = 0; i < body.when_size(); ++i) {
      MILLRACE_ASSIGN_OR_RETURN(const Datum condition, Run(body.when(i)));
      if (!condition.is_null && condition.bool_value) return Run(body.then(i));
    }
    return body.has_otherwise() ? Run(body.otherwise()) : Null(type);
  }

  Result RunCast(const v1::Cast& cast, DataType type) const {
    MILLRACE_ASSIGN_OR_RETURN(const Datum input, Run(cast.input()));
    if (input.is_null) return Null(type);
    if (input.type == type) return input;
    if (!CanCast(input.type, type)) {
      return InvalidArgument("cannot cast ", TypeText(input.type), " to ", TypeText(type));
    }
    Result converted = Convert(input, type);
    return !converted.ok() && cast.try_cast() ? Null(type) : converted;
  }

  // `decisive` is the operand that decides: false for AND, true for OR.
  Result RunLogic(const v1::Call& call, bool decisive) const {
    bool saw_null = false;
    for (const v1::Expr& operand : call.arguments()) {
      MILLRACE_ASSIGN_OR_RETURN(const Datum value, Run(operand));
      if (value.is_null) {
        saw_null = true;
      } else if (value.bool_value == decisive) {
        return value;
      }
    }
    return saw_null ? Null(TypeKind::kBool) : Bool(!decisive);
  }

  Result RunCall(const v1::Call& call, DataType type) const {
    std::vector<std::optional<DataType>> types;
    for (const v1::Expr& argument : call.arguments()) {
      MILLRACE_ASSIGN_OR_RETURN(const DataType one, TypeOfExpr(argument));
      types.push_back(one);
    }
    MILLRACE_ASSIGN_OR_RETURN(const ResolvedFunction function,
                              ResolveFunction(call.function(), types));
    const std::string& name = function.name;
    if (name == "and" || name == "or") return RunLogic(call, name == "or");
    if (name == "if") {
      MILLRACE_ASSIGN_OR_RETURN(const Datum condition, Run(call.arguments(0)));
      return Run(call.arguments(!condition.is_null && condition.bool_value ? 1 : 2));
    }
    if (name == "coalesce") {
      for (const v1::Expr& argument : call.arguments()) {
        MILLRACE_ASSIGN_OR_RETURN(const Datum value, Run(argument));
        if (!value.is_null) return value;
      }
      return Null(type);
    }
    std::vector<Datum> arguments;
    bool any_null = false;
    for (const v1::Expr& argument : call.arguments()) {
      MILLRACE_ASSIGN_OR_RETURN(Datum value, Run(argument));
      any_null = any_null || value.is_null;
      arguments.push_back(std::move(value));
    }
    const bool decimal = std::any_of(arguments.begin(), arguments.end(), [](const Datum& one) {
      return one.type == TypeKind::kDecimal;
    });
    for (const auto find :
         {FindDecimalFunction, FindNumberFunction, FindTextFunction, FindEncodingFunction,
          FindArrayFunction, FindJsonFunction, FindTimeFunction}) {
      if (find == FindDecimalFunction && !decimal) continue;
      const FunctionRow row = find(name);
      if (row.call == nullptr) continue;
      if (row.strict && any_null) return Null(type);
      return row.call({arguments, type});
    }
    return absl::InvalidArgumentError("function without an interpretation: " + name);
  }

  const Batch& batch_;
  const int64_t row_;
};

}  // namespace
}  // namespace expressions::reference

absl::StatusOr<Datum> Interpret(const v1::Expr& expr, const Batch& batch, int64_t row) {
  return expressions::reference::Interpreter(batch, row).Run(expr);
}

}  // namespace millrace
