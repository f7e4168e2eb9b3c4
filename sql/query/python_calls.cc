#include "sql/query/python_calls.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/base/text.h"
#include "sql/query/query_planner.h"
#include "sql/sql_functions.h"

namespace millrace {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// `visit` for every message that is set directly in `message`.
template <typename Visit>
void ForEachInner(const Message& message, const Visit& visit) {
  const auto& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (!field->is_repeated()) {
      visit(reflection.GetMessage(message, field));
      continue;
    }
    for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
      visit(reflection.GetRepeatedMessage(message, field, i));
    }
  }
}

bool IsPythonCall(const v1::Expr& expr) {
  return std::string_view(expr.call().function()).starts_with(kPythonPrefix);
}

v1::Expr True() {
  v1::Expr literal;
  literal.mutable_type()->set_kind(v1::Type::KIND_BOOL);
  literal.mutable_literal()->set_bool_value(true);
  return literal;
}

v1::Expr Coalesced(v1::Expr condition, bool otherwise) {
  v1::Expr constant = True();
  constant.mutable_literal()->set_bool_value(otherwise);
  return TestExpr("coalesce", {std::move(condition), std::move(constant)});
}

// For which rows an operand is evaluated; nothing: for all.
using Condition = std::optional<v1::Expr>;

Condition And(const Condition& outer, v1::Expr inner) {
  if (!outer) return inner;
  return TestExpr("and", {*outer, std::move(inner)});
}

class Extraction {
 public:
  Extraction(const PythonFunctions& functions, uint32_t* next_id)
      : functions_(functions), next_id_(next_id) {}

  void Visit(Message* message, const Condition& condition) {
    if (message->GetDescriptor() == v1::Expr::descriptor()) {
      return VisitExpr(static_cast<v1::Expr*>(message), condition);
    }
    if (message->GetDescriptor() == v1::Aggregate::descriptor()) {
      auto* const aggregate = static_cast<v1::Aggregate*>(message);
      Condition filtered = condition;
      if (aggregate->has_filter()) filtered = And(condition, aggregate->filter());
      if (aggregate->has_argument()) VisitExpr(aggregate->mutable_argument(), filtered);
      if (aggregate->has_filter()) VisitExpr(aggregate->mutable_filter(), condition);
      return;
    }
    const auto& reflection = *message->GetReflection();
    std::vector<const FieldDescriptor*> fields;
    reflection.ListFields(*message, &fields);
    for (const FieldDescriptor* field : fields) {
      if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE || field->is_map()) continue;
      if (!field->is_repeated()) {
        Visit(reflection.MutableMessage(message, field), condition);
        continue;
      }
      for (int i = 0; i < reflection.FieldSize(*message, field); ++i) {
        Visit(reflection.MutableRepeatedMessage(message, field, i), condition);
      }
    }
  }

  v1::PythonCall Take() { return std::move(calls_); }

 private:
  void VisitExpr(v1::Expr* expr, const Condition& condition) {
    if (!CallsPython(*expr)) return;
    if (expr->has_cast()) return VisitExpr(expr->mutable_cast()->mutable_input(), condition);
    if (expr->has_case_when()) return VisitCase(expr->mutable_case_when(), condition);
    if (IsPythonCall(*expr)) return VisitPython(expr, condition);
    const std::string& function = expr->call().function();
    Condition rows = condition;
    for (v1::Expr& argument : *expr->mutable_call()->mutable_arguments()) {
      const v1::Expr before = argument;
      VisitExpr(&argument, rows);
      // The operands behind it are evaluated where it has not decided yet.
      if (function == "and") rows = And(rows, Coalesced(before, true));
      if (function == "or") rows = And(rows, TestExpr("not", {Coalesced(before, false)}));
      if (function == "coalesce") rows = And(rows, TestExpr("is_null", {before}));
    }
  }

  void VisitCase(v1::Case* body, const Condition& condition) {
    Condition rows = condition;
    for (int i = 0; i < body->when_size(); ++i) {
      const v1::Expr when = body->when(i);
      VisitExpr(body->mutable_when(i), rows);
      VisitExpr(body->mutable_then(i), And(rows, when));
      rows = And(rows, TestExpr("not", {Coalesced(when, false)}));
    }
    if (body->has_otherwise()) VisitExpr(body->mutable_otherwise(), rows);
  }

  void VisitPython(v1::Expr* expr, const Condition& condition) {
    const auto& arguments = expr->call().arguments();
    const bool is_ready = std::none_of(arguments.begin(), arguments.end(),
                                       [](const v1::Expr& one) { return CallsPython(one); });
    if (!is_ready) {
      for (v1::Expr& one : *expr->mutable_call()->mutable_arguments()) VisitExpr(&one, condition);
      return;
    }
    if (condition && CallsPython(*condition)) return;
    const auto function = functions_.find(expr->call().function().substr(kPythonPrefix.size()));
    if (function == functions_.end()) return;
    v1::PythonResult result;
    *result.mutable_function() = function->second;
    *result.mutable_arguments() = arguments;
    if (condition) *result.mutable_condition() = *condition;
    const std::string identity = result.SerializeAsString();
    const auto known = std::find(identities_.begin(), identities_.end(), identity);
    if (known != identities_.end() && !function->second.not_deterministic()) {
      expr->set_field_id(calls_.results(static_cast<int>(known - identities_.begin())).id());
      return;
    }
    result.set_id((*next_id_)++);
    result.set_name(Concat(function->first, "$", result.id()));
    expr->set_field_id(result.id());
    identities_.push_back(identity);
    *calls_.add_results() = std::move(result);
  }

  const PythonFunctions& functions_;
  uint32_t* const next_id_;
  v1::PythonCall calls_;
  std::vector<std::string> identities_;  // Of the results.
};

}  // namespace

bool CallsPython(const Message& message) {
  if (message.GetDescriptor() == v1::Expr::descriptor() &&
      IsPythonCall(static_cast<const v1::Expr&>(message))) {
    return true;
  }
  bool calls = false;
  ForEachInner(message, [&](const Message& inner) { calls = calls || CallsPython(inner); });
  return calls;
}

v1::PythonCall TakeReadyCalls(const PythonFunctions& functions, v1::Node* node, uint32_t* next_id) {
  Extraction extraction(functions, next_id);
  extraction.Visit(node, std::nullopt);
  return extraction.Take();
}

void SplitByPython(const v1::Expr& condition, v1::Expr* without, v1::Expr* with) {
  std::vector<v1::Expr> all, plain, calling;
  AddConjuncts(condition, &all);
  for (v1::Expr& one : all) (CallsPython(one) ? calling : plain).push_back(std::move(one));
  if (!plain.empty()) *without = Conjunction(plain);
  if (!calling.empty()) *with = Conjunction(calling);
}

uint32_t LargestIdIn(const Message& message) {
  uint32_t largest = 0;
  const auto& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  const auto note = [&](uint32_t id) {
    if (id < kRowNumberId) largest = std::max(largest, id);
  };
  for (const FieldDescriptor* field : fields) {
    const std::string_view name = field->name();
    const bool is_id = name == "id" || name == "ids" || name.ends_with("_id");
    if (!is_id || field->cpp_type() != FieldDescriptor::CPPTYPE_UINT32) continue;
    if (!field->is_repeated()) {
      note(reflection.GetUInt32(message, field));
      continue;
    }
    for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
      note(reflection.GetRepeatedUInt32(message, field, i));
    }
  }
  ForEachInner(message,
               [&](const Message& inner) { largest = std::max(largest, LargestIdIn(inner)); });
  return largest;
}

}  // namespace millrace
