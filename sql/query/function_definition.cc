#include "sql/query/function_definition.h"

#include <algorithm>

#include "runtime/base/text.h"
#include "runtime/columns/types.h"
#include "runtime/expressions/functions.h"
#include "sql/tree_binder.h"
#include "sql/type_names.h"

namespace millrace {
namespace {

constexpr std::string_view kForm = "CREATE FUNCTION f (x BIGINT) RETURNS BIGINT RETURN x + 1";

class Reader {
 public:
  Reader(const SqlText& text, const Statement& statement, SqlFunction& out, SqlProblem& problem)
      : text_(text), at_(statement.first), last_(statement.last), out_(out), problem_(problem) {}

  bool Run(const SqlFunctions& functions) {
    while (!Is("FUNCTION")) ++at_;
    ++at_;
    const size_t name = at_;
    if (!ReadName(&out_.name)) return false;
    out_.name = LowerAscii(out_.name);
    if (Is("AS")) {
      return Fail("MR1202", "functions of classes are not supported", std::string(kForm));
    }
    const std::vector<std::string> known = FunctionNames();
    const bool taken = std::find(known.begin(), known.end(), out_.name) != known.end() ||
                       IsAggregateName(out_.name) || functions.contains(out_.name);
    if (taken) {
      at_ = name;
      return Fail("MR1221", Concat("function '", out_.name, "' exists already"), "");
    }
    if (!ReadParameters()) return false;
    if (!Take("RETURNS") || !TypeFromTokens(text_, &at_, &out_.result, &problem_)) return false;
    if (Is("LANGUAGE") && text_.IsWord(at_ + 1, "SQL")) at_ += 2;
    if (Is("IMMUTABLE") || Is("DETERMINISTIC")) ++at_;
    return Take("RETURN") && ReadBody(functions);
  }

 private:
  bool Is(std::string_view word) const { return at_ < last_ && text_.IsWord(at_, word); }
  bool Fail(std::string code, std::string message, std::string hint) {
    const size_t place = at_ < last_ ? text_.tokens[at_].begin : text_.tokens[last_ - 1].end;
    problem_ = {std::move(code), std::move(message), std::move(hint), static_cast<int64_t>(place)};
    return false;
  }
  bool Take(std::string_view word) {
    if (!Is(word)) return Fail("MR1201", Concat("expected ", word), std::string(kForm));
    ++at_;
    return true;
  }
  bool ReadName(std::string* out) {
    if (at_ >= last_ || (text_.tokens[at_].kind != SqlToken::Kind::kWord &&
                         text_.tokens[at_].kind != SqlToken::Kind::kQuotedName)) {
      return Fail("MR1201", "expected a name", std::string(kForm));
    }
    *out = NameOfToken(text_, text_.tokens[at_++]);
    return true;
  }

  bool ReadParameters() {
    if (at_ >= last_ || !text_.IsSymbol(at_, '(')) {
      return Fail("MR1201", "expected '('", std::string(kForm));
    }
    ++at_;
    while (at_ < last_ && !text_.IsSymbol(at_, ')')) {
      SqlFunction::Parameter& parameter = out_.parameters.emplace_back();
      if (!ReadName(&parameter.name)) return false;
      if (!TypeFromTokens(text_, &at_, &parameter.type, &problem_)) return false;
      if (at_ < last_ && text_.IsSymbol(at_, ',')) ++at_;
    }
    if (at_ >= last_) return Fail("MR1201", "expected ')'", std::string(kForm));
    ++at_;
    return true;
  }

  bool ReadBody(const SqlFunctions& functions) {
    if (at_ >= last_) return Fail("MR1201", "the expression is missing", std::string(kForm));
    const size_t begin = text_.tokens[at_].begin;
    const std::string body = text_.text.substr(begin, text_.tokens[last_ - 1].end - begin);
    std::vector<v1::Expr> parameters;  // As columns with the types that are declared.
    for (const SqlFunction::Parameter& parameter : out_.parameters) {
      v1::Expr& column = parameters.emplace_back();
      *column.mutable_type() = parameter.type;
      column.set_field_id(static_cast<uint32_t>(parameters.size()));
    }
    v1::Expr bound;
    if (!ParseExpression(body, &out_.body, &problem_) ||
        !BindTree({.text = out_.body.text,
                   .location_base = ParsedExpression::kLocationBase,
                   .functions = &functions},
                  out_.body.tree, ArgumentScope(out_, parameters), &bound, &problem_)) {
      problem_.offset = static_cast<int64_t>(begin) + std::max<int64_t>(problem_.offset, 0);
      return false;
    }
    if (CanAssign(DataType::FromProto(bound.type()), DataType::FromProto(out_.result))) {
      return true;
    }
    return Fail("MR1206",
                Concat("the function returns ", TypeText(out_.result), ", its expression is ",
                       TypeText(bound.type())),
                "CAST the expression, or declare its type");
  }

  const SqlText& text_;
  size_t at_;
  const size_t last_;
  SqlFunction& out_;
  SqlProblem& problem_;
};

}  // namespace

bool ReadFunctionDefinition(const SqlText& text, const Statement& statement,
                            const SqlFunctions& functions, SqlFunction* out, SqlProblem* problem) {
  *out = {};
  return Reader(text, statement, *out, *problem).Run(functions);
}

}  // namespace millrace
