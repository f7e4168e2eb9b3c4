#include "sql/query/function_definition.h"

#include <algorithm>

#include "absl/time/time.h"
#include "operators/catalog/catalog.h"
#include "runtime/base/text.h"
#include "runtime/columns/types.h"
#include "runtime/expressions/functions.h"
#include "sql/tree_binder.h"
#include "sql/type_names.h"

namespace millrace {
namespace {

constexpr std::string_view kForm = "CREATE FUNCTION f (x BIGINT) RETURNS BIGINT RETURN x + 1";
constexpr std::string_view kPythonForm =
    "CREATE FUNCTION f (x BIGINT) RETURNS BIGINT AS 'module.function' LANGUAGE PYTHON";

// The options of WITH of a function in Python.
constexpr std::string_view kPythonOptions[] = {"attempts", "batch-rows", "mode", "python.path",
                                               "timeout"};

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
    if (Is("AS")) return FailUntyped();
    const std::vector<std::string> known = FunctionNames();
    const bool taken = std::find(known.begin(), known.end(), out_.name) != known.end() ||
                       IsAggregateName(out_.name) || functions.contains(out_.name);
    if (taken) {
      at_ = name;
      return Fail("MR1221", Concat("function '", out_.name, "' exists already"), "");
    }
    if (!ReadParameters()) return false;
    if (!Take("RETURNS") || !TypeFromTokens(text_, &at_, &out_.result, &problem_)) return false;
    while (at_ < last_ && !Is("RETURN")) {
      if (!ReadCharacteristic()) return false;
    }
    if (!IsPython()) return Take("RETURN") && ReadBody(functions);
    return CompletePython();
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

  bool ReadString(std::string* out) {
    if (at_ >= last_ || text_.tokens[at_].kind != SqlToken::Kind::kString) {
      return Fail("MR1201", "expected a text in quotes", std::string(kPythonForm));
    }
    *out = TextOfString(text_.token_text(text_.tokens[at_++]));
    return true;
  }

  // Without parameters: CREATE FUNCTION f AS 'x.y', as of Flink.
  bool FailUntyped() {
    for (size_t token = at_; token + 1 < last_; ++token) {
      if (!text_.IsWord(token, "LANGUAGE") || !text_.IsWord(token + 1, "PYTHON")) continue;
      return Fail("MR1602", "a function in Python needs the types of its parameters and its result",
                  std::string(kPythonForm));
    }
    return Fail("MR1202", "functions of classes are not supported", std::string(kForm));
  }

  bool IsPython() const { return is_python_ || !handler_.empty() || has_options_; }

  // What stands between the type of the result and the body, in any order.
  bool ReadCharacteristic() {
    if (Is("LANGUAGE")) {
      ++at_;
      is_python_ = Is("PYTHON");
      if (!is_python_ && !Is("SQL")) {
        return Fail("MR1202", "functions are written in SQL or in Python",
                    std::string(kPythonForm));
      }
      ++at_;
    } else if (Is("IMMUTABLE") || Is("DETERMINISTIC")) {
      ++at_;
    } else if (Is("NOT") && text_.IsWord(at_ + 1, "DETERMINISTIC")) {
      python_.set_not_deterministic(true);
      at_ += 2;
    } else if (Is("RETURNS") || Is("CALLED")) {
      const bool is_null = Is("RETURNS");
      ++at_;
      if (is_null && !Take("NULL")) return false;
      if (!Take("ON") || !Take("NULL") || !Take("INPUT")) return false;
      python_.set_null_on_null_input(is_null);
    } else if (Is("AS")) {
      ++at_;
      return ReadString(&handler_);
    } else if (Is("WITH")) {
      ++at_;
      return ReadOptions();
    } else {
      return Take("RETURN");  // Reports what is expected.
    }
    return true;
  }

  bool ReadOptions() {
    has_options_ = true;
    do {
      ++at_;  // The parenthesis, or a comma.
      const size_t token = at_;
      std::string name, value;
      if (!ReadString(&name)) return false;
      if (at_ >= last_ || !text_.IsSymbol(at_, '=')) {
        return Fail("MR1201", "expected '='", std::string(kPythonForm));
      }
      ++at_;
      const size_t value_token = at_;
      if (!ReadString(&value)) return false;
      if (std::find(std::begin(kPythonOptions), std::end(kPythonOptions), name) ==
          std::end(kPythonOptions)) {
        at_ = token;
        return FailOption(name);
      }
      if (SetOption(name, value)) continue;
      at_ = value_token;
      return Fail("MR1604", Concat("option '", name, "' cannot be '", value, "'"),
                  name == "mode"      ? "modes: scalar, vectorized"
                  : name == "timeout" ? "write a length of time: '5 s'"
                                      : "write a whole number from 1");
    } while (at_ < last_ && text_.IsSymbol(at_, ','));
    if (at_ >= last_ || !text_.IsSymbol(at_, ')')) {
      return Fail("MR1201", "expected ')'", std::string(kPythonForm));
    }
    ++at_;
    return true;
  }

  bool FailOption(const std::string& name) {
    const std::string_view nearest = NearestName(name, kPythonOptions);
    std::string hint = nearest.empty() ? Concat("options: ", Join(kPythonOptions, ", "))
                                       : Concat("did you mean '", nearest, "'?");
    if (name == "deterministic") hint = "write NOT DETERMINISTIC before AS";
    if (name == "null-handling") hint = "write RETURNS NULL ON NULL INPUT before AS";
    return Fail("MR1604", Concat("a function in Python has no option '", name, "'"),
                std::move(hint));
  }

  // False: the value is none.
  bool SetOption(const std::string& name, const std::string& value) {
    if (name == "mode") {
      python_.set_mode(value == "vectorized" ? v1::PythonFunction::MODE_VECTORIZED
                                             : v1::PythonFunction::MODE_SCALAR);
      return value == "vectorized" || value == "scalar";
    }
    if (name == "python.path") {
      python_.set_path(value);
      return true;
    }
    uint32_t number = 0;
    if (name == "timeout") {
      const auto duration = ParseDuration(value);
      if (!duration.ok() || *duration < absl::Milliseconds(1) || *duration > absl::Hours(1000)) {
        return false;
      }
      python_.set_timeout_ms(static_cast<uint32_t>(absl::ToInt64Milliseconds(*duration)));
      return true;
    }
    if (!ParseNumber(value, number) || number == 0) return false;
    name == "attempts" ? python_.set_attempts_max(number) : python_.set_batch_rows_max(number);
    return true;
  }

  bool CompletePython() {
    if (at_ < last_)
      return Fail("MR1201", "the body of a function in Python is its name behind AS",
                  std::string(kPythonForm));
    if (!is_python_) return Fail("MR1201", "expected LANGUAGE PYTHON", std::string(kPythonForm));
    if (handler_.empty()) {
      return Fail("MR1201", "expected AS 'module.function'", std::string(kPythonForm));
    }
    python_.set_name(out_.name);
    python_.set_handler(handler_);
    for (const SqlFunction::Parameter& parameter : out_.parameters) {
      *python_.add_arguments() = parameter.type;
    }
    *python_.mutable_result() = out_.result;
    out_.python = std::move(python_);
    return true;
  }

  // name TYPE, or, of functions in Python, TYPE alone.
  bool ReadParameter(SqlFunction::Parameter* parameter) {
    size_t behind = at_;
    SqlProblem none;
    if (TypeFromTokens(text_, &behind, &parameter->type, &none) && behind < last_ &&
        (text_.IsSymbol(behind, ',') || text_.IsSymbol(behind, ')'))) {
      at_ = behind;
      return true;
    }
    return ReadName(&parameter->name) && TypeFromTokens(text_, &at_, &parameter->type, &problem_);
  }

  bool ReadParameters() {
    if (at_ >= last_ || !text_.IsSymbol(at_, '(')) {
      return Fail("MR1201", "expected '('", std::string(kForm));
    }
    ++at_;
    while (at_ < last_ && !text_.IsSymbol(at_, ')')) {
      if (!ReadParameter(&out_.parameters.emplace_back())) return false;
      if (at_ < last_ && text_.IsSymbol(at_, ',')) ++at_;
    }
    if (at_ >= last_) return Fail("MR1201", "expected ')'", std::string(kForm));
    ++at_;
    return true;
  }

  bool ReadBody(const SqlFunctions& functions) {
    if (at_ >= last_) return Fail("MR1201", "the expression is missing", std::string(kForm));
    if (std::any_of(out_.parameters.begin(), out_.parameters.end(),
                    [](const SqlFunction::Parameter& one) { return one.name.empty(); })) {
      return Fail("MR1201", "a parameter has no name", std::string(kForm));
    }
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
  bool is_python_ = false;
  bool has_options_ = false;
  std::string handler_;
  v1::PythonFunction python_;
};

}  // namespace

bool ReadFunctionDefinition(const SqlText& text, const Statement& statement,
                            const SqlFunctions& functions, SqlFunction* out, SqlProblem* problem) {
  *out = {};
  return Reader(text, statement, *out, *problem).Run(functions);
}

}  // namespace millrace
