// From a typed proto Expr to a tree of nodes.
#include <algorithm>
#include <limits>
#include <set>

#include "millrace/v1/graph.pb.h"
#include "runtime/base/status_macros.h"
#include "runtime/expressions/functions.h"
#include "runtime/expressions/node.h"
#include "runtime/expressions/row_errors.h"
#include "runtime/expressions/text.h"

namespace millrace {
namespace expressions {
namespace {

constexpr int kDepthMax = 256;

class ColumnNode : public Node {
 public:
  ColumnNode(DataType type, int index) : Node(type, false), index_(index) {}
  Value Evaluate(const Frame& frame, RowErrors&) override { return {frame.column(index_)}; }

 private:
  const int index_;
};

class LiteralNode : public Node {
 public:
  LiteralNode(DataType type, Column value) : Node(type, false), value_{std::move(value), true} {}
  Value Evaluate(const Frame&, RowErrors&) override { return value_; }
  const Value& value() const { return value_; }

 private:
  const Value value_;
};

class CallNode : public Node {
 public:
  CallNode(DataType type, BoundKernel kernel, std::vector<NodePtr> arguments)
      : Node(type, kernel.can_fail || std::any_of(arguments.begin(), arguments.end(),
                                                  [](const auto& a) { return a->can_fail; })),
        kernel_(std::move(kernel.run)),
        arguments_(std::move(arguments)) {}

  Value Evaluate(const Frame& frame, RowErrors& errors) override {
    // Local: a node is entered once at a time, but its values must not outlive the batch.
    std::vector<Value> values;
    values.reserve(arguments_.size());
    bool scalar = true;
    for (const NodePtr& argument : arguments_) {
      values.push_back(argument->Evaluate(frame, errors));
      scalar = scalar && values.back().scalar;
    }
    if (!scalar) return kernel_({values, frame.rows(), errors});
    RowErrors once;
    Value value = kernel_({values, 1, once});
    value.scalar = true;
    for (const RowErrors::Entry& entry : once.entries) {
      for (int64_t row = 0; row < frame.rows(); ++row) {
        errors.entries.push_back({static_cast<int32_t>(row), entry.message});
      }
    }
    return value;
  }

 private:
  const Kernel kernel_;
  const std::vector<NodePtr> arguments_;
};

class Binder {
 public:
  explicit Binder(const Schema& schema) : schema_(schema) {}

  absl::StatusOr<NodePtr> Bind(const v1::Expr& expr, int depth = 0) const {
    if (depth > kDepthMax) return absl::InvalidArgumentError("expression nested too deeply");
    MILLRACE_ASSIGN_OR_RETURN(const DataType type, TypeOfExpr(expr));
    switch (expr.kind_case()) {
      case v1::Expr::kLiteral:
        return BindLiteral(expr.literal(), type);
      case v1::Expr::kFieldId:
        return BindField(expr.field_id(), type);
      case v1::Expr::kCall:
        return BindCall(expr.call(), type, depth);
      case v1::Expr::kCaseWhen:
        return BindCase(expr.case_when(), type, depth);
      case v1::Expr::kCast:
        return BindCast(expr.cast(), type, depth);
      case v1::Expr::kSql:
        return absl::InvalidArgumentError("expression is still SQL text: " + expr.sql());
      case v1::Expr::KIND_NOT_SET:
        break;
    }
    return absl::InvalidArgumentError("empty expression");
  }

 private:
  static absl::Status Expect(DataType got, DataType wanted, std::string_view what) {
    if (got == wanted) return absl::OkStatus();
    return absl::InvalidArgumentError(
        Text(what, " is ", TypeText(got), ", not ", TypeText(wanted)));
  }

  static absl::StatusOr<NodePtr> BindLiteral(const v1::Literal& literal, DataType type) {
    ColumnBuilder value(type, 1);
    const auto wrong = [&] {
      return absl::InvalidArgumentError(Text("literal does not fit its type ", TypeText(type)));
    };
    switch (literal.value_case()) {
      case v1::Literal::kIsNull:
        value.AppendNull();
        break;
      case v1::Literal::kBoolValue:
        if (type != TypeKind::kBool) return wrong();
        value.AppendBool(literal.bool_value());
        break;
      case v1::Literal::kIntValue: {
        const int64_t number = literal.int_value();
        if (FixedWidth(type) == 0 || type == TypeKind::kFloat64 || type == TypeKind::kDecimal) {
          return wrong();
        }
        if (FixedWidth(type) == 8) {
          value.AppendInt64(number);
        } else if (number == static_cast<int32_t>(number)) {
          value.AppendInt32(static_cast<int32_t>(number));
        } else {
          return wrong();
        }
        break;
      }
      case v1::Literal::kFloatValue:
        if (type != TypeKind::kFloat64) return wrong();
        value.AppendFloat64(literal.float_value());
        break;
      case v1::Literal::kStringValue:
        if (type != TypeKind::kString) return wrong();
        value.AppendString(literal.string_value());
        break;
      case v1::Literal::kBytesValue:
        if (type != TypeKind::kBytes) return wrong();
        value.AppendString(literal.bytes_value());
        break;
      case v1::Literal::kDecimalValue: {
        if (type != TypeKind::kDecimal) return wrong();
        const auto number = ParseDecimal(literal.decimal_value(), type);
        if (!number) return wrong();
        value.AppendDecimal(*number);
        break;
      }
      case v1::Literal::VALUE_NOT_SET:
        return absl::InvalidArgumentError("literal without a value");
    }
    return std::make_unique<LiteralNode>(type, value.Finish());
  }

  absl::StatusOr<NodePtr> BindField(uint32_t id, DataType type) const {
    const int index = schema_.IndexOfId(id);
    if (index < 0) return InvalidArgument("unknown field id ", id);
    const Field& field = schema_.field(index);
    MILLRACE_RETURN_IF_ERROR(Expect(field.type, type, Text("column ", field.name)));
    return std::make_unique<ColumnNode>(type, index);
  }

  template <typename Exprs>
  absl::StatusOr<std::vector<NodePtr>> BindAll(const Exprs& exprs, int depth) const {
    std::vector<NodePtr> nodes;
    nodes.reserve(static_cast<size_t>(exprs.size()));
    for (const v1::Expr& expr : exprs) {
      MILLRACE_ASSIGN_OR_RETURN(NodePtr node, Bind(expr, depth + 1));
      nodes.push_back(std::move(node));
    }
    return nodes;
  }

  absl::StatusOr<NodePtr> BindCall(const v1::Call& call, DataType type, int depth) const {
    if (call.function_version() > 1) {
      return InvalidArgument("unknown version ", call.function_version(), " of function ",
                             call.function());
    }
    MILLRACE_ASSIGN_OR_RETURN(std::vector<NodePtr> arguments, BindAll(call.arguments(), depth));
    std::vector<std::optional<DataType>> types;
    for (const NodePtr& argument : arguments) types.push_back(argument->type);
    absl::StatusOr<ResolvedFunction> function = ResolveFunction(call.function(), types);
    if (!function.ok()) {
      return InvalidArgument(MessageOf(function.status()));
    }
    for (size_t i = 0; i < types.size(); ++i) {
      MILLRACE_RETURN_IF_ERROR(Expect(*types[i], function->argument_types[i],
                                      Text("argument ", i + 1, " of ", function->name)));
    }
    MILLRACE_RETURN_IF_ERROR(Expect(function->result, type, Text("result of ", function->name)));
    return MakeCall(*function, std::move(arguments));
  }

  static absl::StatusOr<NodePtr> MakeCall(const ResolvedFunction& function,
                                          std::vector<NodePtr> arguments) {
    if (function.name == "and" || function.name == "or") {
      return MakeLogicNode(function.name == "and", std::move(arguments));
    }
    if (function.name == "coalesce") {
      return MakeCoalesceNode(function.result, std::move(arguments));
    }
    if (function.name == "if") {
      std::vector<NodePtr> when, then;
      when.push_back(std::move(arguments[0]));
      then.push_back(std::move(arguments[1]));
      return MakeCaseNode(function.result, std::move(when), std::move(then),
                          std::move(arguments[2]));
    }
    std::vector<const Value*> literals;
    for (const NodePtr& argument : arguments) {
      const auto* literal = dynamic_cast<const LiteralNode*>(argument.get());
      literals.push_back(literal == nullptr ? nullptr : &literal->value());
    }
    MILLRACE_ASSIGN_OR_RETURN(
        BoundKernel kernel,
        MakeKernel({function.name, function.argument_types, function.result, literals}));
    return std::make_unique<CallNode>(function.result, std::move(kernel), std::move(arguments));
  }

  absl::StatusOr<NodePtr> BindCase(const v1::Case& body, DataType type, int depth) const {
    if (body.when_size() == 0 || body.when_size() != body.then_size()) {
      return absl::InvalidArgumentError("CASE needs as many THEN as WHEN, at least one");
    }
    MILLRACE_ASSIGN_OR_RETURN(std::vector<NodePtr> when, BindAll(body.when(), depth));
    MILLRACE_ASSIGN_OR_RETURN(std::vector<NodePtr> then, BindAll(body.then(), depth));
    NodePtr otherwise;
    if (body.has_otherwise()) {
      MILLRACE_ASSIGN_OR_RETURN(otherwise, Bind(body.otherwise(), depth + 1));
      MILLRACE_RETURN_IF_ERROR(Expect(otherwise->type, type, "ELSE"));
    }
    for (size_t i = 0; i < when.size(); ++i) {
      MILLRACE_RETURN_IF_ERROR(Expect(when[i]->type, TypeKind::kBool, "WHEN"));
      MILLRACE_RETURN_IF_ERROR(Expect(then[i]->type, type, "THEN"));
    }
    return MakeCaseNode(type, std::move(when), std::move(then), std::move(otherwise));
  }

  absl::StatusOr<NodePtr> BindCast(const v1::Cast& cast, DataType type, int depth) const {
    MILLRACE_ASSIGN_OR_RETURN(NodePtr input, Bind(cast.input(), depth + 1));
    if (input->type == type) return input;
    if (!CanCast(input->type, type)) {
      return absl::InvalidArgumentError(
          Text("cannot cast ", TypeText(input->type), " to ", TypeText(type)));
    }
    BoundKernel kernel = MakeCastKernel(input->type, type, cast.try_cast());
    std::vector<NodePtr> arguments;
    arguments.push_back(std::move(input));
    return std::make_unique<CallNode>(type, std::move(kernel), std::move(arguments));
  }

  const Schema& schema_;
};

class BoundExpression : public Expression {
 public:
  explicit BoundExpression(NodePtr root) : root_(std::move(root)) {}

  DataType type() const override { return root_->type; }

  absl::StatusOr<Column> Evaluate(const Batch& batch, RowErrors& errors) override {
    const Frame frame(batch);
    RowErrors found;
    Value value = root_->Evaluate(frame, found);
    Column column = std::move(value.column);
    if (value.scalar) {
      zeros_.assign(static_cast<size_t>(batch.rows()), 0);
      column = Take(column, zeros_);
    }
    return found.empty() ? column : WithErrors(std::move(column), std::move(found), errors);
  }

 private:
  // Each row once, with its first message; rows in error become NULL, whatever a function made of
  // them further up (IS NULL of an error is an error).
  Column WithErrors(Column column, RowErrors found, RowErrors& errors) {
    KeepFirstErrors(found);
    std::vector<int32_t> rows;
    for (RowErrors::Entry& entry : found.entries) {
      rows.push_back(entry.row);
      errors.entries.push_back(std::move(entry));
    }
    Validity validity =
        WithoutRows({column.validity_buffer(), column.null_count()}, rows, column.length());
    return Column(column.type(), column.length(), validity.null_count, std::move(validity.bits),
                  column.values_buffer(), column.offsets_buffer());
  }

  const NodePtr root_;
  std::vector<int32_t> zeros_;
};

void CollectFields(const v1::Expr& expr, std::set<uint32_t>& ids) {
  switch (expr.kind_case()) {
    case v1::Expr::kFieldId:
      ids.insert(expr.field_id());
      break;
    case v1::Expr::kCall:
      for (const v1::Expr& argument : expr.call().arguments()) CollectFields(argument, ids);
      break;
    case v1::Expr::kCaseWhen:
      for (const v1::Expr& when : expr.case_when().when()) CollectFields(when, ids);
      for (const v1::Expr& then : expr.case_when().then()) CollectFields(then, ids);
      if (expr.case_when().has_otherwise()) CollectFields(expr.case_when().otherwise(), ids);
      break;
    case v1::Expr::kCast:
      CollectFields(expr.cast().input(), ids);
      break;
    default:
      break;
  }
}

}  // namespace
}  // namespace expressions

absl::StatusOr<DataType> TypeOfExpr(const v1::Expr& expr) {
  if (!DataType::IsValid(expr.type())) {
    return absl::InvalidArgumentError("expression without a type");
  }
  return DataType::FromProto(expr.type());
}

absl::StatusOr<std::unique_ptr<Expression>> BindExpression(const v1::Expr& expr,
                                                           const Schema& schema) {
  MILLRACE_ASSIGN_OR_RETURN(expressions::NodePtr root, expressions::Binder(schema).Bind(expr));
  return std::make_unique<expressions::BoundExpression>(std::move(root));
}

std::vector<uint32_t> ReferencedFields(const v1::Expr& expr) {
  std::set<uint32_t> ids;
  expressions::CollectFields(expr, ids);
  return {ids.begin(), ids.end()};
}

}  // namespace millrace
