#include <algorithm>

#include "runtime/base/text.h"
#include "runtime/expressions/functions.h"
#include "sql/expression_text.h"
#include "sql/node_compiler.h"
#include "sql/type_names.h"

namespace millrace {
namespace {

constexpr uint32_t kTimeoutMs = 10'000;
constexpr uint32_t kBatchRows = 1024;
constexpr uint32_t kAttempts = 3;
constexpr uint32_t kTimeoutMsMax = 3'600'000;
constexpr uint32_t kBatchRowsMax = 65'536;
constexpr uint32_t kAttemptsMax = 100;
constexpr int kArgumentsMax = 256;

// "module.function": names of Python, at least two, with points between them.
bool IsHandler(std::string_view text) {
  int names = 0;
  bool begins = true;
  for (const char c : text) {
    const bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    const bool is_digit = c >= '0' && c <= '9';
    if (c == '.') {
      if (begins) return false;
      begins = true;
    } else if (!is_letter && (begins || !is_digit)) {
      return false;
    } else {
      names += begins ? 1 : 0;
      begins = false;
    }
  }
  return names >= 2 && !begins && text.size() <= 512;
}

bool CompileLimit(const NodeContext& context, const std::string& at, const char* name,
                  uint32_t value, uint32_t max) {
  if (value <= max) return true;
  context.Error("MR1604", at, Concat(name, " is larger than ", max));
  return false;
}

bool CheckPythonType(const NodeContext& context, const std::string& at, const std::string& function,
                     const v1::Type& type) {
  if (type.kind() != v1::Type::KIND_ARRAY) return true;
  context.Error("MR1602", at, Concat("function '", function, "' has an ARRAY"),
                "functions in Python take and give single values: CAST(a AS STRING) is JSON");
  return false;
}

bool CompileFunction(const NodeContext& context, const std::string& at,
                     v1::PythonFunction& function) {
  if (!IsHandler(function.handler())) {
    context.Error("MR1601", at,
                  function.handler().empty()
                      ? "a function in Python has no handler"
                      : Concat("'", function.handler(), "' is no function of a module"),
                  "write 'module.function'");
    return false;
  }
  if (function.name().empty()) {
    function.set_name(function.handler().substr(function.handler().rfind('.') + 1));
  }
  if (!DataType::IsValid(function.result())) {
    context.Error("MR1602", at, Concat("function '", function.name(), "' has no type of result"),
                  "write for example result: BIGINT");
    return false;
  }
  if (!CheckPythonType(context, at, function.name(), function.result())) return false;
  if (function.mode() == v1::PythonFunction::MODE_UNSPECIFIED) {
    function.set_mode(v1::PythonFunction::MODE_SCALAR);
  }
  if (function.timeout_ms() == 0) function.set_timeout_ms(kTimeoutMs);
  if (function.batch_rows_max() == 0) function.set_batch_rows_max(kBatchRows);
  if (function.attempts_max() == 0) function.set_attempts_max(kAttempts);
  const bool fits =
      CompileLimit(context, at, "timeout_ms", function.timeout_ms(), kTimeoutMsMax) &&
      CompileLimit(context, at, "batch_rows_max", function.batch_rows_max(), kBatchRowsMax) &&
      CompileLimit(context, at, "attempts_max", function.attempts_max(), kAttemptsMax);
  if (!fits) return false;
  if (!function.not_deterministic() || context.input->mode == v1::CHANGELOG_MODE_APPEND) {
    return true;
  }
  context.Error("MR1603", at,
                Concat("function '", function.name(),
                       "' is not deterministic, and its input takes rows back: what it takes back "
                       "would not be what it gave"),
                "compute it before the rows change: before GROUP BY, outer joins and ranking");
  return false;
}

bool CompileArguments(const NodeContext& context, const std::string& at, v1::PythonResult& result) {
  v1::PythonFunction& function = *result.mutable_function();
  const int count = result.arguments_size();
  if (count > kArgumentsMax ||
      (function.arguments_size() > 0 && function.arguments_size() != count)) {
    context.Error("MR1206", at,
                  Concat("function '", function.name(), "' takes ",
                         count > kArgumentsMax ? kArgumentsMax : function.arguments_size(),
                         " arguments, not ", count));
    return false;
  }
  const bool is_declared = function.arguments_size() > 0;
  for (int i = 0; i < count; ++i) {
    v1::Expr& argument = *result.mutable_arguments(i);
    const std::string place = Concat(at, ".arguments[", i, "]");
    if (!CompileExpression(context, place, context.input->schema, argument)) return false;
    if (!is_declared) *function.add_arguments() = argument.type();
    const v1::Type& wanted = function.arguments(i);
    if (!CheckPythonType(context, place, function.name(), wanted)) return false;
    if (SameType(argument.type(), wanted)) continue;
    if (!DataType::IsValid(wanted) ||
        !CanAssign(DataType::FromProto(argument.type()), DataType::FromProto(wanted))) {
      context.Error("MR1206", place,
                    Concat("parameter ", i + 1, " of function '", function.name(), "' is ",
                           TypeText(wanted), ", not ", TypeText(argument.type())),
                    "CAST it");
      return false;
    }
    v1::Expr cast;
    *cast.mutable_type() = wanted;
    *cast.mutable_cast()->mutable_input() = argument;
    argument = std::move(cast);
  }
  if (!result.has_condition()) return true;
  v1::Expr& condition = *result.mutable_condition();
  if (!CompileExpression(context, at + ".condition", context.input->schema, condition)) {
    return false;
  }
  if (condition.type().kind() == v1::Type::KIND_BOOL) return true;
  context.Error("MR1402", at + ".condition",
                Concat("a condition is BOOLEAN, not ", TypeText(condition.type())));
  return false;
}

std::optional<StreamFacts> CompilePythonCall(const NodeContext& context) {
  v1::PythonCall& body = *context.node.mutable_python_call();
  if (body.results().empty()) {
    context.Error("MR1601", ".python_call.results", "the node calls no function");
    return std::nullopt;
  }
  bool ok = true;
  for (int i = 0; i < body.results_size(); ++i) {
    v1::PythonResult& result = *body.mutable_results(i);
    const std::string at = Concat(".python_call.results[", i, "]");
    const bool is_known = CompileFunction(context, at + ".function", *result.mutable_function());
    ok = is_known && CompileArguments(context, at, result) && ok;
    if (result.name().empty()) result.set_name(result.function().name());
  }
  if (!ok) return std::nullopt;
  StreamFacts out = *context.input;
  out.chain_source.clear();
  for (v1::PythonResult& result : *body.mutable_results()) {
    if (result.id() == 0) result.set_id(LargestId(out.schema) + 1);
    AddField(out.schema, result.id(), result.name(), result.function().result(), false);
  }
  if (!CheckNames(context, ".python_call", out.schema)) return std::nullopt;
  return out;
}

// ---- explain ----

std::string PythonCallText(const v1::Node& node, const v1::Schema& input) {
  std::vector<std::string> calls;
  for (const v1::PythonResult& result : node.python_call().results()) {
    std::vector<std::string> arguments;
    for (const v1::Expr& argument : result.arguments()) {
      arguments.push_back(ExpressionText(argument, input));
    }
    const v1::PythonFunction& function = result.function();
    std::string text =
        Concat(function.handler(), "(", Join(arguments, ", "), ") AS ", result.name());
    if (result.has_condition()) text += " where " + ExpressionText(result.condition(), input);
    if (function.mode() == v1::PythonFunction::MODE_VECTORIZED) text += ", vectorized";
    calls.push_back(std::move(text));
  }
  return Concat("python ", Join(calls, "; "));
}

void AddReads(const v1::Node& node, FieldIds& out) {
  for (const v1::PythonResult& result : node.python_call().results()) {
    for (const v1::Expr& argument : result.arguments()) AddReferences(argument, out);
    if (result.has_condition()) AddReferences(result.condition(), out);
  }
}

}  // namespace

const NodeKind kPythonCallNode = {
    .body = v1::Node::kPythonCall,
    .name = "python call",
    .compile = &CompilePythonCall,
    .text = &PythonCallText,
    .reads = &AddReads,
    .passes_columns = true,
    .adds =
        [](const v1::Node& node, FieldIds& out) {
          for (const v1::PythonResult& result : node.python_call().results()) {
            out.insert(result.id());
          }
        },
    .accepts = kExactChanges,
    .has_dead_letter_output = true,
};

}  // namespace millrace
