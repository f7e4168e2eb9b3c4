#include "sql/expression_binder.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <iterator>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "millrace/v1/graph.pb.h"
#include "nlohmann/json.hpp"
#include "operators/catalog/catalog.h"
#include "runtime/base/text.h"
#include "runtime/columns/decimal.h"
#include "runtime/expressions/functions.h"
#include "sql/expression_parser.h"
#include "sql/node_compiler.h"
#include "sql/sql_text.h"
#include "sql/time_literals.h"
#include "sql/tree_binder.h"
#include "sql/type_names.h"

namespace millrace {
namespace {

using nlohmann::json;
using Bound = std::optional<v1::Expr>;

// Of one that calls functions of the script.
constexpr size_t kExprBytesMax = 256 << 10;
constexpr std::array<std::string_view, 5> kAggregates = {"avg", "count", "max", "min", "sum"};

DataType TypeOf(const v1::Expr& expr) { return DataType::FromProto(expr.type()); }
bool IsUntypedNull(const v1::Expr& expr) {
  return expr.type().kind() == v1::Type::KIND_UNSPECIFIED;
}
bool IsStringLiteral(const v1::Expr& expr) {
  return expr.has_literal() && expr.literal().has_string_value();
}
bool IsTemporal(TypeKind kind) { return kind == TypeKind::kTimestamp || kind == TypeKind::kDate; }

void SetType(DataType type, v1::Expr& expr) { type.ToProto(expr.mutable_type()); }

v1::Expr IntLiteral(TypeKind kind, int64_t value) {
  v1::Expr expr;
  SetType(kind, expr);
  expr.mutable_literal()->set_int_value(value);
  return expr;
}

v1::Expr StringLiteral(std::string value) {
  v1::Expr expr;
  SetType(TypeKind::kString, expr);
  expr.mutable_literal()->set_string_value(std::move(value));
  return expr;
}

v1::Expr TypedNull(DataType type) {
  v1::Expr expr;
  SetType(type, expr);
  expr.mutable_literal()->set_is_null(true);
  return expr;
}

v1::Expr DecimalLiteral(DataType type, Int128 unscaled) {
  v1::Expr expr;
  SetType(type, expr);
  expr.mutable_literal()->set_decimal_value(DecimalText(unscaled, type.scale()));
  return expr;
}

v1::Expr FloatLiteral(double value) {
  v1::Expr expr;
  SetType(TypeKind::kFloat64, expr);
  expr.mutable_literal()->set_float_value(value);
  return expr;
}

int DepthOf(const v1::Expr& expr) {
  int inner = 0;
  const auto visit = [&inner](const v1::Expr& child) { inner = std::max(inner, DepthOf(child)); };
  for (const v1::Expr& argument : expr.call().arguments()) visit(argument);
  for (const v1::Expr& when : expr.case_when().when()) visit(when);
  for (const v1::Expr& then : expr.case_when().then()) visit(then);
  if (expr.case_when().has_otherwise()) visit(expr.case_when().otherwise());
  if (expr.has_cast()) visit(expr.cast().input());
  return inner + 1;
}

// The value of a literal in another type, where that is certain; else nothing.
Bound ConvertLiteral(const v1::Expr& expr, DataType to) {
  if (!expr.has_literal()) return std::nullopt;
  const v1::Literal& literal = expr.literal();
  if (literal.is_null()) return TypedNull(to);
  const DataType from = TypeOf(expr);
  const bool from_int = from == TypeKind::kInt32 || from == TypeKind::kInt64;
  if (from_int && to == TypeKind::kInt64) return IntLiteral(to, literal.int_value());
  if (from_int && to == TypeKind::kFloat64) {
    return FloatLiteral(static_cast<double>(literal.int_value()));
  }
  std::optional<Int128> number;
  if (from == TypeKind::kDecimal) number = ParseDecimal(literal.decimal_value(), from);
  if (number && to == TypeKind::kFloat64) {
    return FloatLiteral(DecimalToDouble(*number, from.scale()));
  }
  if (from_int) number = literal.int_value();
  if (number && to == TypeKind::kDecimal) {
    const auto converted = Rescale(*number, from.scale(), to);
    if (converted) return DecimalLiteral(to, *converted);
  }
  return std::nullopt;
}

v1::Expr CastTo(v1::Expr input, DataType to) {
  if (!IsUntypedNull(input) && TypeOf(input) == to) return input;
  if (Bound folded = ConvertLiteral(input, to)) return *std::move(folded);
  v1::Expr expr;
  SetType(to, expr);
  *expr.mutable_cast()->mutable_input() = std::move(input);
  return expr;
}

struct Operator {
  std::string_view symbol;
  std::string_view function;
};
constexpr Operator kBinary[] = {
    {"=", "eq"},     {"<>", "ne"},     {"<", "lt"},          {"<=", "le"},          {">", "gt"},
    {">=", "ge"},    {"+", "add"},     {"-", "subtract"},    {"*", "multiply"},     {"/", "divide"},
    {"%", "modulo"}, {"||", "concat"}, {"^", "power"},       {"~", "regexp"},       {"&", "bitand"},
    {"|", "bitor"},  {"#", "bitxor"},  {"<<", "shift_left"}, {">>", "shift_right"},
};
constexpr std::string_view kComparisons[] = {
    "eq", "ne", "lt", "le", "gt", "ge", "in", "is_distinct_from", "is_not_distinct_from"};

struct Unsupported {
  std::string_view node;
  std::string_view what;
  std::string_view hint;
};
constexpr Unsupported kUnsupported[] = {
    {"SubLink", "subqueries are not supported here",
     "values, (SELECT …), stand in SELECT, WHERE and HAVING, IN and EXISTS among the ANDs of "
     "WHERE; else write a join"},
    {"ParamRef", "parameters are not supported", "use ${name} variables of the job file"},
    {"RowExpr", "rows are not supported", ""},
    {"A_Indirection", "nested values are not supported in expressions",
     "give the nested column its own line in the source: auction BIGINT FROM 'bid.auction'; a[1] "
     "is an element, UNNEST gives all"},
    {"SQLValueFunction", "functions of the current time or user are not supported",
     "they would give other results after a restart; use the event time"},
    {"CollateClause", "COLLATE is not supported", "strings compare by their bytes"},
    {"SetToDefault", "DEFAULT is not supported in expressions", ""},
    {"XmlExpr", "XML is not supported", ""},
    {"XmlSerialize", "XML is not supported", ""},
    {"GroupingFunc", "GROUPING is not supported", ""},
};

class Binder {
 public:
  Binder(const SqlTree& tree, const ExpressionScope& scope, SqlProblem* problem)
      : tree_(tree), scope_(scope), problem_(problem) {}

  Bound Bind(const json& node) {
    if (depth_ > 3 * kExprDepthMax) return TooDeep(0);
    ++depth_;
    Bound bound = BindNode(node);
    --depth_;
    return bound;
  }

  // A whole expression: the type is known and the tree not too deep.
  Bound BindRoot(const json& root) {
    Bound bound = Bind(root);
    if (!bound) return std::nullopt;
    if (IsUntypedNull(*bound)) {
      return Fail(std::max<int64_t>(PlaceOf(root), 0), "MR1211", "the type of NULL is unknown here",
                  "write CAST(NULL AS BIGINT)");
    }
    return CheckDepth(*std::move(bound));
  }

  bool BindAggregate(const json& node, v1::Aggregate* out);

 private:
  // ---- problems ----

  Bound Fail(int64_t offset, std::string code, std::string message, std::string hint = "") {
    *problem_ = {std::move(code), std::move(message), std::move(hint), offset};
    return std::nullopt;
  }
  Bound TooDeep(int64_t offset) {
    return Fail(offset, "MR1208", Concat("the expression is nested deeper than ", kExprDepthMax),
                "split it over two project nodes");
  }
  Bound CheckDepth(v1::Expr expr) {
    if (DepthOf(expr) > kExprDepthMax) return TooDeep(0);
    return expr;
  }
  int64_t OffsetOf(const json& body) const {
    const int64_t location = body.value("location", int64_t{-1});
    const int64_t offset = location + tree_.location_base;
    return location < 0 || offset < 0 ? -1 : offset;
  }
  // The first place that is known in the tree below.
  int64_t PlaceOf(const json& node) const {
    if (!node.is_object()) return -1;
    for (const auto& [kind, body] : node.items()) {
      if (body.is_object() && OffsetOf(body) >= 0) return OffsetOf(body);
    }
    return -1;
  }

  // ---- nodes ----

  Bound BindNode(const json& node) {
    if (!node.is_object() || node.size() != 1) return Fail(0, "MR1202", "unsupported syntax");
    v1::Expr replaced;
    switch (scope_.Replace(node, &replaced, problem_)) {
      case ExpressionScope::Replacement::kDone:
        return replaced;
      case ExpressionScope::Replacement::kProblem:
        if (problem_->offset < 0) problem_->offset = PlaceOf(node);
        return std::nullopt;
      default:
        break;
    }
    const std::string& kind = node.begin().key();
    const json& body = node.begin().value();
    if (kind == "ColumnRef") return BindColumn(body);
    if (kind == "A_Const") return BindConstant(body);
    if (kind == "A_Expr") return BindOperator(body);
    if (kind == "BoolExpr") return BindLogic(body);
    if (kind == "NullTest") {
      return BindCall(body.value("nulltesttype", "") == "IS_NULL" ? "is_null" : "is_not_null",
                      {&body["arg"]}, OffsetOf(body));
    }
    if (kind == "BooleanTest") return BindBooleanTest(body);
    if (kind == "CaseExpr") return BindCase(body);
    if (kind == "CoalesceExpr") return BindCall("coalesce", List(body, "args"), OffsetOf(body));
    if (kind == "MinMaxExpr") {
      return BindCall(body.value("op", "") == "IS_LEAST" ? "least" : "greatest", List(body, "args"),
                      OffsetOf(body));
    }
    if (kind == "TypeCast") return BindCast(body);
    if (kind == "A_ArrayExpr") return BindArray(body);
    if (kind == "A_Indirection" && IsSubscript(body)) return BindSubscript(body);
    if (kind == "FuncCall") return BindFunction(body);
    for (const Unsupported& one : kUnsupported) {
      if (one.node == kind) {
        const int64_t offset =
            body.contains("arg") && OffsetOf(body) < 0 ? PlaceOf(body["arg"]) : OffsetOf(body);
        return Fail(offset, "MR1202", std::string(one.what), std::string(one.hint));
      }
    }
    return Fail(OffsetOf(body), "MR1202", Concat("unsupported syntax (", kind, ")"));
  }

  static std::vector<const json*> List(const json& body, const char* key) {
    std::vector<const json*> nodes;
    if (body.contains(key)) {
      for (const json& node : body[key]) nodes.push_back(&node);
    }
    return nodes;
  }

  Bound BindColumn(const json& body) {
    const int64_t offset = std::max<int64_t>(OffsetOf(body), 0);
    const std::vector<NamePart> parts = NamePartsOf(tree_, body);
    if (parts.empty()) {
      return Fail(offset, "MR1202", "'*' is not supported in expressions",
                  "name the columns; COUNT(*) counts rows");
    }
    v1::Expr expr;
    if (scope_.FindColumn(parts, &expr, problem_)) return expr;
    problem_->offset = offset;
    return std::nullopt;
  }

  Bound BindConstant(const json& body) {
    const int64_t offset = OffsetOf(body);
    v1::Expr expr;
    if (body.value("isnull", false)) {
      expr.mutable_literal()->set_is_null(true);
      return expr;
    }
    if (body.contains("boolval")) {
      SetType(TypeKind::kBool, expr);
      expr.mutable_literal()->set_bool_value(body["boolval"].value("boolval", false));
      return expr;
    }
    if (body.contains("sval")) return StringLiteral(body["sval"].value("sval", ""));
    if (body.contains("bsval")) return BindBytes(body["bsval"].value("bsval", ""), offset);
    return BindNumber(offset);
  }

  Bound BindBytes(const std::string& text, int64_t offset) {
    if (text.empty() || text[0] != 'x') {
      return Fail(offset, "MR1202", "bit strings are not supported", "write X'00FF' for bytes");
    }
    std::string bytes;
    for (size_t i = 1; i < text.size(); i += 2) {
      unsigned value = 0;
      const auto parsed = std::from_chars(text.data() + i, text.data() + i + 2, value, 16);
      if (i + 2 > text.size() || parsed.ptr != text.data() + i + 2) {
        return Fail(offset, "MR1207", "X'…' needs an even number of hexadecimal digits");
      }
      bytes += static_cast<char>(value);
    }
    v1::Expr expr;
    SetType(TypeKind::kBytes, expr);
    expr.mutable_literal()->set_bytes_value(std::move(bytes));
    return expr;
  }

  // Read from the text: the printed tree has no value for negative numbers, and those beyond 32
  // bits are text in it anyway. Signs and parentheses in front were folded into the constant.
  Bound BindNumber(int64_t offset) {
    if (offset < 0) return Fail(offset, "MR1207", "a number has no place in the text");
    const std::string& text = tree_.text.text;
    size_t at = static_cast<size_t>(offset);
    bool negative = false;
    for (; at < text.size() && std::string_view("-( \t\r\n\f").find(text[at]) != std::string::npos;
         ++at) {
      negative ^= text[at] == '-';
    }
    const auto token =
        std::lower_bound(tree_.text.tokens.begin(), tree_.text.tokens.end(), at,
                         [](const SqlToken& t, size_t position) { return t.begin < position; });
    if (token == tree_.text.tokens.end() || token->begin != at ||
        token->kind != SqlToken::Kind::kNumber) {
      return Fail(offset, "MR1207", "this is not a number");
    }
    const std::string digits = (negative ? "-" : "") + std::string(tree_.text.token_text(*token));
    int64_t whole = 0;
    if (ParseNumber(digits, whole)) {
      const bool small = whole >= std::numeric_limits<int32_t>::min() &&
                         whole <= std::numeric_limits<int32_t>::max();
      return IntLiteral(small ? TypeKind::kInt32 : TypeKind::kInt64, whole);
    }
    if (digits.find_first_of("eE") == std::string::npos) return BindDecimal(digits, offset);
    double value = 0;
    if (!ParseNumber(digits, value)) {
      return Fail(offset, "MR1207", Concat("the number ", digits, " is out of range"));
    }
    return FloatLiteral(value);
  }

  // "12.50" is a DECIMAL(4, 2), as in Flink: as many digits as are written.
  Bound BindDecimal(const std::string& digits, int64_t offset) {
    const size_t point = std::min(digits.find('.'), digits.size());
    const size_t scale = point == digits.size() ? 0 : digits.size() - point - 1;
    const auto widest =
        DataType::Decimal(DataType::kPrecisionMax,
                          static_cast<int>(std::min<size_t>(scale, DataType::kPrecisionMax)));
    const auto value = ParseDecimal(digits, widest);
    if (scale > DataType::kPrecisionMax || !value) {
      return Fail(offset, "MR1207", Concat("the number ", digits, " has more than 38 digits"),
                  "write it as a DOUBLE: 1.5e0");
    }
    int precision = std::max(1, widest.scale());
    while (!FitsPrecision(*value, precision)) ++precision;
    return DecimalLiteral(DataType::Decimal(precision, widest.scale()), *value);
  }

  Bound BindOperator(const json& body) {
    const std::string kind = body.value("kind", "");
    const int64_t offset = OffsetOf(body);
    std::string symbol;
    if (body.contains("name") && !body["name"].empty() && body["name"].back().contains("String")) {
      symbol = body["name"].back()["String"].value("sval", "");
    }
    const json* left = body.contains("lexpr") ? &body["lexpr"] : nullptr;
    const json* right = body.contains("rexpr") ? &body["rexpr"] : nullptr;
    if (right == nullptr) return Fail(offset, "MR1202", "this operator is not supported");
    if (kind == "AEXPR_OP") return BindSymbol(symbol, left, *right, offset);
    if (left == nullptr) return Fail(offset, "MR1202", "this operator is not supported");
    if (kind == "AEXPR_DISTINCT") return BindCall("is_distinct_from", {left, right}, offset);
    if (kind == "AEXPR_NOT_DISTINCT")
      return BindCall("is_not_distinct_from", {left, right}, offset);
    if (kind == "AEXPR_NULLIF") return BindCall("nullif", {left, right}, offset);
    if (kind == "AEXPR_IN") return BindIn(symbol == "<>", *left, *right, offset);
    if (kind == "AEXPR_LIKE") return BindLike(symbol == "!~~", false, *left, *right, offset);
    if (kind == "AEXPR_ILIKE") return BindLike(symbol == "!~~*", true, *left, *right, offset);
    if (kind == "AEXPR_SIMILAR") return BindSimilar(symbol == "!~", *left, *right, offset);
    if (kind == "AEXPR_BETWEEN") return BindBetween(false, *left, *right, offset);
    if (kind == "AEXPR_NOT_BETWEEN") return BindBetween(true, *left, *right, offset);
    return Fail(
        offset, "MR1202", "this operator is not supported",
        kind.starts_with("AEXPR_BETWEEN") ? "write BETWEEN with the smaller value first" : "");
  }

  Bound BindSymbol(const std::string& symbol, const json* left, const json& right, int64_t offset) {
    if (left == nullptr && symbol == "-") return BindCall("negate", {&right}, offset);
    if (left == nullptr && symbol == "+") return Bind(right);
    if (left == nullptr && symbol == "~") return BindCall("bitnot", {&right}, offset);
    if (left != nullptr && symbol == "!~") {
      Bound match = BindCall("regexp", {left, &right}, offset);
      return match ? Not(*std::move(match), offset) : std::nullopt;
    }
    if (left != nullptr && symbol == "||") return BindCall("concat", ChainOf(*left, right), offset);
    for (const Operator& one : kBinary) {
      if (left == nullptr || one.symbol != symbol) continue;
      return BindCall(one.function, {left, &right}, offset);
    }
    return Fail(offset, "MR1202", Concat("operator ", symbol, " is not supported"));
  }

  // The operands of a || b || c, which is one call.
  static std::vector<const json*> ChainOf(const json& left, const json& right) {
    std::vector<const json*> operands = {&right};
    const json* node = &left;
    while (node->contains("A_Expr")) {
      const json& body = (*node)["A_Expr"];
      if (body.value("kind", "") != "AEXPR_OP" || !body.contains("lexpr") ||
          body["name"].back()["String"].value("sval", "") != "||") {
        break;
      }
      operands.push_back(&body["rexpr"]);
      node = &body["lexpr"];
    }
    operands.push_back(node);
    std::reverse(operands.begin(), operands.end());
    return operands;
  }

  Bound Not(v1::Expr input, int64_t offset) { return Call("not", {std::move(input)}, offset); }

  // ---- arrays ----

  Bound BindArray(const json& body) {
    const std::vector<const json*> elements = List(body, "elements");
    if (elements.empty()) {
      return Fail(OffsetOf(body), "MR1211", "the type of an empty array is unknown",
                  "write a column of arrays, or ARRAY_REMOVE(ARRAY[1], 1)");
    }
    return BindCall("array", elements, OffsetOf(body));
  }
  static bool IsSubscript(const json& body) {
    const json& indirection = body["indirection"];
    return indirection.size() == 1 && indirection[0].contains("A_Indices") &&
           !indirection[0]["A_Indices"].value("is_slice", false);
  }
  Bound BindSubscript(const json& body) {
    return BindCall("element_at", {&body["arg"], &body["indirection"][0]["A_Indices"]["uidx"]},
                    PlaceOf(body["arg"]));
  }

  Bound BindIn(bool negated, const json& left, const json& right, int64_t offset) {
    if (!right.contains("List")) return Fail(offset, "MR1202", "IN needs a list of values");
    std::vector<const json*> nodes = {&left};
    for (const json* item : List(right["List"], "items")) nodes.push_back(item);
    Bound in = BindCall("in", nodes, offset);
    return in && negated ? Not(*std::move(in), offset) : std::move(in);
  }

  // The pattern and its ESCAPE character, if there is one.
  std::vector<const json*> PatternOf(const json& right, std::string_view wrapper) {
    if (right.contains("FuncCall")) {
      const json& call = right["FuncCall"];
      if (call.value("location", -1) >= 0 && FunctionName(call) == wrapper) {
        return List(call, "args");
      }
    }
    return {&right};
  }

  Bound BindLike(bool negated, bool ignore_case, const json& left, const json& right,
                 int64_t offset) {
    std::vector<v1::Expr> arguments;
    std::vector<const json*> nodes = PatternOf(right, "like_escape");
    nodes.insert(nodes.begin(), &left);
    for (const json* node : nodes) {
      Bound argument = Bind(*node);
      if (!argument) return std::nullopt;
      if (ignore_case) argument = Call("lower", {*std::move(argument)}, offset);
      if (!argument) return std::nullopt;
      arguments.push_back(*std::move(argument));
    }
    Bound like = Call("like", std::move(arguments), offset);
    return like && negated ? Not(*std::move(like), offset) : std::move(like);
  }

  Bound BindSimilar(bool negated, const json& left, const json& right, int64_t offset) {
    const std::vector<const json*> pattern = PatternOf(right, "similar_to_escape");
    if (pattern.size() != 1) {
      return Fail(offset, "MR1202", "SIMILAR TO with ESCAPE is not supported");
    }
    Bound similar = BindCall("similar", {&left, pattern[0]}, offset);
    return similar && negated ? Not(*std::move(similar), offset) : std::move(similar);
  }

  Bound BindBetween(bool negated, const json& left, const json& right, int64_t offset) {
    const std::vector<const json*> limits =
        right.contains("List") ? List(right["List"], "items") : std::vector<const json*>();
    if (limits.size() != 2) return Fail(offset, "MR1202", "BETWEEN needs two limits");
    Bound low = BindCall(negated ? "lt" : "ge", {&left, limits[0]}, offset);
    if (!low) return std::nullopt;
    Bound high = BindCall(negated ? "gt" : "le", {&left, limits[1]}, offset);
    if (!high) return std::nullopt;
    return Call(negated ? "or" : "and", {*std::move(low), *std::move(high)}, offset);
  }

  Bound BindLogic(const json& body) {
    const std::string kind = body.value("boolop", "");
    const std::string name = kind == "AND_EXPR" ? "and" : kind == "OR_EXPR" ? "or" : "not";
    return BindCall(name, List(body, "args"), OffsetOf(body));
  }

  Bound BindBooleanTest(const json& body) {
    struct Test {
      std::string_view kind;
      std::string_view function;
    };
    constexpr Test kTests[] = {
        {"IS_TRUE", "is_true"},    {"IS_NOT_TRUE", "is_not_true"},
        {"IS_FALSE", "is_false"},  {"IS_NOT_FALSE", "is_not_false"},
        {"IS_UNKNOWN", "is_null"}, {"IS_NOT_UNKNOWN", "is_not_null"},
    };
    const std::string kind = body.value("booltesttype", "");
    for (const Test& test : kTests) {
      if (test.kind == kind) return BindCall(test.function, {&body["arg"]}, OffsetOf(body));
    }
    return Fail(OffsetOf(body), "MR1202", "this test is not supported");
  }

  Bound BindCase(const json& body) {
    const int64_t offset = OffsetOf(body);
    Bound subject;
    if (body.contains("arg") && !(subject = Bind(body["arg"]))) return std::nullopt;
    v1::Expr expr;
    std::vector<v1::Expr*> results;
    std::vector<int64_t> places;
    for (const json* node : List(body, "args")) {
      const json& branch = (*node)["CaseWhen"];
      Bound when = Bind(branch["expr"]);
      if (!when) return std::nullopt;
      if (subject) when = Call("eq", {*subject, *std::move(when)}, OffsetOf(branch));
      if (!when) return std::nullopt;
      if (IsUntypedNull(*when)) when = TypedNull(TypeKind::kBool);
      if (TypeOf(*when) != TypeKind::kBool) {
        return Fail(PlaceOf(branch["expr"]), "MR1206",
                    Concat("WHEN needs a BOOLEAN, not ", TypeText(when->type())));
      }
      *expr.mutable_case_when()->add_when() = *std::move(when);
      Bound then = Bind(branch["result"]);
      if (!then) return std::nullopt;
      results.push_back(expr.mutable_case_when()->add_then());
      *results.back() = *std::move(then);
      places.push_back(PlaceOf(branch["result"]));
    }
    if (body.contains("defresult")) {
      Bound otherwise = Bind(body["defresult"]);
      if (!otherwise) return std::nullopt;
      // An ELSE NULL is no ELSE.
      if (!IsUntypedNull(*otherwise)) {
        *expr.mutable_case_when()->mutable_otherwise() = *std::move(otherwise);
        results.push_back(expr.mutable_case_when()->mutable_otherwise());
        places.push_back(PlaceOf(body["defresult"]));
      }
    }
    return UnifyResults(std::move(expr), results, places, offset);
  }

  // Casts the results of a CASE to their common type.
  Bound UnifyResults(v1::Expr expr, const std::vector<v1::Expr*>& results,
                     const std::vector<int64_t>& places, int64_t offset) {
    std::optional<DataType> common;
    for (size_t i = 0; i < results.size(); ++i) {
      if (IsUntypedNull(*results[i])) continue;
      const DataType type = TypeOf(*results[i]);
      const auto both = common ? CommonType(*common, type) : absl::StatusOr<DataType>(type);
      if (!both.ok()) {
        return Fail(places[i], "MR1206",
                    Concat("the results of CASE have no common type: ", TypeText(*common), " and ",
                           TypeText(type)),
                    "CAST one of them");
      }
      common = *both;
    }
    if (!common) {
      return Fail(offset, "MR1211", "every result of this CASE is NULL",
                  "write CAST(NULL AS BIGINT)");
    }
    for (v1::Expr* result : results) *result = CastTo(std::move(*result), *common);
    SetType(*common, expr);
    return expr;
  }

  // ---- casts ----

  // Reads the parse tree's TypeName; fills the interval's units when there are any.
  bool ReadType(const json& type_name, v1::Type* type, int* interval_units) {
    const int64_t offset = OffsetOf(type_name);
    std::string name;
    if (type_name.contains("names") && !type_name["names"].empty()) {
      name = type_name["names"].back()["String"].value("sval", "");
    }
    if (type_name.contains("arrayBounds") || type_name.value("setof", false)) name = "array";
    std::string arguments;
    std::vector<int64_t> numbers;
    for (const json* modifier : List(type_name, "typmods")) {
      if (!modifier->contains("A_Const") || !(*modifier)["A_Const"].contains("ival")) {
        Fail(offset, "MR1209",
             Concat("type ", UpperText(name), " has an argument that is no number"));
        return false;
      }
      numbers.push_back((*modifier)["A_Const"]["ival"].value("ival", int64_t{0}));
    }
    *interval_units = 0;
    if (name == "interval") {
      if (!numbers.empty() && numbers[0] != 0x7FFF) *interval_units = static_cast<int>(numbers[0]);
      numbers.clear();
    }
    for (int64_t number : numbers) {
      arguments += Concat(arguments.empty() ? "" : ",", number);
    }
    if (TypeFromName(name, arguments, type, problem_)) return true;
    problem_->offset = offset;
    return false;
  }

  Bound BindCast(const json& body) {
    v1::Type type;
    int interval_units = 0;
    if (!ReadType(body["typeName"], &type, &interval_units)) return std::nullopt;
    Bound input = Bind(body["arg"]);
    if (!input) return std::nullopt;
    int64_t offset = OffsetOf(body);
    const bool is_try =
        offset >= 0 && std::find(tree_.text.try_casts.begin(), tree_.text.try_casts.end(),
                                 static_cast<size_t>(offset)) != tree_.text.try_casts.end();
    if (offset < 0) offset = OffsetOf(body["typeName"]);
    const DataType to = DataType::FromProto(type);
    if (input->has_literal() && input->literal().is_null()) {
      v1::Expr null = TypedNull(to);
      *null.mutable_type() = type;
      return null;
    }
    if (IsStringLiteral(*input) && (IsTemporal(to) || to == TypeKind::kInterval)) {
      Bound value = TimeLiteral(input->literal().string_value(), to, interval_units, offset);
      if (!value && is_try) value = TypedNull(to);
      if (value) *value->mutable_type() = type;
      return value;
    }
    if (!CanCast(TypeOf(*input), to)) {
      return Fail(offset, "MR1206",
                  Concat("cannot cast ", TypeText(input->type()), " to ", TypeText(type)));
    }
    v1::Expr expr = CastTo(*std::move(input), to);
    *expr.mutable_type() = type;
    if (expr.has_cast()) expr.mutable_cast()->set_try_cast(is_try);
    return expr;
  }

  Bound TimeLiteral(const std::string& text, TypeKind to, int interval_units, int64_t offset) {
    int64_t value = 0;
    if (to == TypeKind::kTimestamp) {
      if (ParseTimestampLiteral(text, &value)) return IntLiteral(to, value);
      return Fail(offset, "MR1207", Concat("'", text, "' is not a timestamp"),
                  "write '2026-01-31 12:00:00.000'");
    }
    if (to == TypeKind::kDate) {
      if (ParseDateLiteral(text, &value)) return IntLiteral(to, value);
      return Fail(offset, "MR1207", Concat("'", text, "' is not a date"), "write '2026-01-31'");
    }
    return IntervalLiteral(text, interval_units, offset);
  }

  Bound IntervalLiteral(const std::string& text, int units, int64_t offset) {
    constexpr int kMonth = 1 << 1, kYear = 1 << 2;  // Bits of PostgreSQL's interval masks.
    constexpr int kUnitBits[] = {1 << 3, 1 << 10, 1 << 11, 1 << 12};  // Day, hour, minute, second.
    int64_t value = 0;
    bool ok = false;
    if ((units & (kMonth | kYear)) != 0) {
      return Fail(offset, "MR1202", "intervals of months and years are not supported",
                  "their length varies; use days");
    }
    if (units == 0) {
      ok = ParseFreeInterval(text, &value);
    } else {
      int first = 3, last = 0;
      for (int unit = 0; unit < 4; ++unit) {
        if ((units & kUnitBits[unit]) == 0) continue;
        first = std::min(first, unit);
        last = unit;
      }
      ok = ParseUnitInterval(text, static_cast<IntervalUnit>(first),
                             static_cast<IntervalUnit>(last), &value);
    }
    if (ok) return IntLiteral(TypeKind::kInterval, value);
    return Fail(offset, "MR1207", Concat("'", text, "' is not an interval"),
                "write INTERVAL '10' SECOND, or INTERVAL '1 day 2 hours'");
  }

  // ---- calls ----

  static std::string FunctionName(const json& body) {
    const json& names = body["funcname"];
    return names.empty() ? "" : names.back()["String"].value("sval", "");
  }

  Bound BindFunction(const json& body) {
    const int64_t offset = OffsetOf(body);
    std::string name = FunctionName(body);
    if (body.contains("over")) {
      return Fail(offset, "MR1202", "OVER stands in a SELECT list, and not beside GROUP BY",
                  "compute it in a subquery in FROM, and name its column here");
    }
    if (IsAggregateName(name)) {
      return Fail(offset, "MR1210", Concat("aggregate ", name, "() has no place here"),
                  "aggregates stand in SELECT and HAVING, or in the list of an aggregating node");
    }
    if (body.contains("agg_filter") || body.contains("agg_order") ||
        body.value("agg_distinct", false) || body.value("agg_star", false) ||
        body.value("agg_within_group", false) || body.value("func_variadic", false)) {
      return Fail(offset, "MR1202", Concat(name, "() is not an aggregate"),
                  "DISTINCT, ORDER BY, FILTER and * belong to aggregates");
    }
    std::vector<const json*> nodes = List(body, "args");
    for (const json* node : nodes) {
      if (node->contains("NamedArgExpr")) {
        return Fail(PlaceOf(*node), "MR1202", "named arguments are not supported");
      }
    }
    if (tree_.functions != nullptr) {
      const auto defined = tree_.functions->find(LowerAscii(name));
      if (defined != tree_.functions->end()) return BindDefined(defined->second, nodes, offset);
    }
    if (IsOverFunction(name)) {
      return Fail(offset, "MR1205", Concat(UpperText(name), "() needs OVER"),
                  Concat("write ", UpperText(name), IsNumberFunction(name) ? "()" : "(…)",
                         " OVER (PARTITION BY … ORDER BY ts)"));
    }
    if (body.value("funcformat", "") == "COERCE_SQL_SYNTAX") {
      if (name == "extract") return BindExtract(nodes, offset);
      if (name == "position") std::swap(nodes[0], nodes[1]);
      if (name == "timezone") {
        return Fail(offset, "MR1202", "AT TIME ZONE is not supported", "timestamps are UTC");
      }
    }
    if ((name == "timestampadd" || name == "timestampdiff") && nodes.size() == 3) {
      return BindWithUnit(name, nodes, offset);
    }
    return BindCall(name, nodes, offset);
  }

  // TIMESTAMPDIFF(DAY, a, b): its unit reads like a column.
  Bound BindWithUnit(const std::string& name, const std::vector<const json*>& nodes,
                     int64_t offset) {
    Bound unit;
    if (nodes[0]->contains("ColumnRef")) {
      const std::vector<NamePart> parts = NamePartsOf(tree_, (*nodes[0])["ColumnRef"]);
      if (parts.size() == 1) unit = StringLiteral(LowerAscii(parts[0].name));
    } else {
      unit = Bind(*nodes[0]);
      if (!unit) return std::nullopt;
    }
    constexpr std::string_view kUnits[] = {"millisecond", "second", "minute",  "hour", "day",
                                           "week",        "month",  "quarter", "year"};
    if (!unit || !IsStringLiteral(*unit) ||
        std::find(std::begin(kUnits), std::end(kUnits),
                  LowerAscii(unit->literal().string_value())) == std::end(kUnits)) {
      return Fail(offset, "MR1205", Concat(UpperText(name), " begins with a unit"),
                  Concat("units: ", Join(kUnits, ", ")));
    }
    Bound first = Bind(*nodes[1]), second = first ? Bind(*nodes[2]) : std::nullopt;
    if (!second) return std::nullopt;
    return Call(name, {*std::move(unit), *std::move(first), *std::move(second)}, offset);
  }

  Bound BindDefined(const SqlFunction& function, const std::vector<const json*>& nodes,
                    int64_t offset) {
    if (nodes.size() != function.parameters.size()) {
      return Fail(offset, "MR1206",
                  Concat("function '", function.name, "' takes ", function.parameters.size(),
                         " arguments, not ", nodes.size()));
    }
    std::vector<v1::Expr> arguments;
    for (size_t i = 0; i < nodes.size(); ++i) {
      Bound argument = Bind(*nodes[i]);
      if (!argument) return std::nullopt;
      const DataType wanted = DataType::FromProto(function.parameters[i].type);
      if (!IsUntypedNull(*argument) && !CanAssign(TypeOf(*argument), wanted)) {
        return Fail(offset, "MR1206",
                    Concat("parameter ",
                           function.parameters[i].name.empty()
                               ? Concat(i + 1)
                               : Concat("'", function.parameters[i].name, "'"),
                           " of function '", function.name, "' is ", TypeText(wanted), ", not ",
                           TypeText(argument->type())),
                    "CAST it");
      }
      arguments.push_back(CastTo(*std::move(argument), wanted));
    }
    if (function.python) {
      v1::Expr call;
      *call.mutable_type() = function.result;
      call.mutable_call()->set_function(Concat(kPythonPrefix, function.name));
      for (v1::Expr& one : arguments) *call.mutable_call()->add_arguments() = std::move(one);
      return call;
    }
    SqlProblem inner;
    const ArgumentScope scope(function, arguments);
    Binder body({.text = function.body.text,
                 .location_base = ParsedExpression::kLocationBase,
                 .functions = tree_.functions},
                scope, &inner);
    body.depth_ = depth_;
    Bound result = body.Bind(function.body.tree);
    if (!result) {
      return Fail(offset, inner.code, Concat("in function '", function.name, "': ", inner.message),
                  inner.hint);
    }
    // An argument may stand in the body several times, and so on within.
    if (result->ByteSizeLong() > kExprBytesMax) {
      return Fail(offset, "MR1208",
                  Concat("function '", function.name, "' makes the expression longer than ",
                         kExprBytesMax, " bytes"),
                  "let an argument stand once in a function, or use a subquery");
    }
    return CastTo(*std::move(result), DataType::FromProto(function.result));
  }

  Bound BindExtract(const std::vector<const json*>& nodes, int64_t offset) {
    Bound unit = Bind(*nodes[0]);
    if (!unit) return std::nullopt;
    std::string name = LowerAscii(unit->literal().string_value());
    if (name.size() > 3 && name.back() == 's') name.pop_back();
    const std::string function = "extract_" + name;
    const std::vector<std::string> known = FunctionNames();
    if (std::find(known.begin(), known.end(), function) == known.end()) {
      std::vector<std::string> units;
      for (const std::string& one : known) {
        if (one.starts_with("extract_")) units.push_back(one.substr(8));
      }
      return Fail(offset, "MR1205", Concat("EXTRACT does not know '", name, "'"),
                  Concat("units: ", Join(units, ", ")));
    }
    return BindCall(function, {nodes[1]}, offset);
  }

  Bound BindCall(std::string_view name, const std::vector<const json*>& nodes, int64_t offset) {
    std::vector<v1::Expr> arguments;
    for (const json* node : nodes) {
      Bound argument = Bind(*node);
      if (!argument) return std::nullopt;
      arguments.push_back(*std::move(argument));
    }
    return Call(name, std::move(arguments), offset);
  }

  // 'text' that is compared with a time becomes one.
  bool ReadTextAsTime(std::string_view name, std::vector<v1::Expr>& arguments, int64_t offset) {
    if (std::find(std::begin(kComparisons), std::end(kComparisons), name) ==
        std::end(kComparisons)) {
      return true;
    }
    const auto time = std::find_if(arguments.begin(), arguments.end(), [](const v1::Expr& one) {
      return !IsUntypedNull(one) && IsTemporal(TypeOf(one));
    });
    if (time == arguments.end()) return true;
    const TypeKind kind = TypeOf(*time);
    for (v1::Expr& argument : arguments) {
      if (!IsStringLiteral(argument)) continue;
      const std::string text = argument.literal().string_value();
      int64_t us = 0;
      // A date is compared with a moment as a moment.
      const bool moment = kind == TypeKind::kDate && !ParseDateLiteral(text, &us) &&
                          ParseTimestampLiteral(text, &us);
      Bound value = TimeLiteral(text, moment ? TypeKind::kTimestamp : kind, 0, offset);
      if (!value) return false;
      argument = *std::move(value);
    }
    return true;
  }

  Bound NotResolved(std::string_view name, const std::vector<std::optional<DataType>>& types,
                    const absl::Status& status, int64_t offset) {
    if (status.code() == absl::StatusCode::kNotFound) {
      return Fail(offset, "MR1205", std::string(MessageOf(status)));
    }
    // Operators by their symbols: the user has not written the name of the function.
    for (const Operator& one : kBinary) {
      if (one.function != name) continue;
      std::vector<std::string> names;
      for (const auto& type : types) names.push_back(type ? TypeText(*type) : "NULL");
      return Fail(offset, "MR1206",
                  Concat("operator ", one.symbol, " does not accept (", Join(names, ", "), ")"),
                  "CAST one side");
    }
    return Fail(offset, "MR1206", std::string(MessageOf(status)));
  }

  Bound Call(std::string_view name, std::vector<v1::Expr> arguments, int64_t offset) {
    if (!ReadTextAsTime(name, arguments, offset)) return std::nullopt;
    std::vector<std::optional<DataType>> types;
    for (const v1::Expr& argument : arguments) {
      types.push_back(IsUntypedNull(argument) ? std::nullopt : std::optional(TypeOf(argument)));
    }
    const auto resolved = ResolveFunction(name, types);
    if (!resolved.ok()) {
      return NotResolved(name, types, resolved.status(), offset);
    }
    v1::Expr expr;
    SetType(resolved->result, expr);
    const DataType rounded = TypeOfRounded(*resolved, arguments);
    expr.mutable_call()->set_function(resolved->name);
    expr.mutable_call()->set_function_version(resolved->version);
    for (size_t i = 0; i < arguments.size(); ++i) {
      *expr.mutable_call()->add_arguments() =
          CastTo(std::move(arguments[i]), resolved->argument_types[i]);
    }
    return CastTo(std::move(expr), rounded);
  }

  // ROUND(x, 2) has two digits behind the point where 2 is a literal, as in Flink.
  static DataType TypeOfRounded(const ResolvedFunction& function,
                                const std::vector<v1::Expr>& arguments) {
    const DataType type = function.result;
    if (type != TypeKind::kDecimal || arguments.size() != 2 || !arguments[1].has_literal() ||
        (function.name != "round" && function.name != "truncate")) {
      return type;
    }
    const int64_t digits = std::max<int64_t>(0, arguments[1].literal().int_value());
    if (arguments[1].literal().is_null() || digits >= type.scale()) return type;
    const int scale = static_cast<int>(digits);
    return DataType::Decimal(std::max(1, type.precision() - type.scale() + scale), scale);
  }

  const SqlTree tree_;
  const ExpressionScope& scope_;
  SqlProblem* problem_;
  int depth_ = 0;
};

bool Binder::BindAggregate(const json& node, v1::Aggregate* out) {
  const std::string hint = "write count(*), sum(x), min(x), max(x) or avg(x)";
  if (!node.contains("FuncCall")) {
    Fail(std::max<int64_t>(PlaceOf(node), 0), "MR1210", "this is not an aggregate", hint);
    return false;
  }
  const json& body = node["FuncCall"];
  const int64_t offset = OffsetOf(body);
  const std::string name = FunctionName(body);
  if (!IsAggregateName(name)) {
    Fail(offset, "MR1210", Concat("'", name, "' is not an aggregate"), hint);
    return false;
  }
  if (body.contains("over") || body.contains("agg_order") ||
      body.value("agg_within_group", false)) {
    Fail(offset, "MR1202", "OVER and ORDER BY are not supported in aggregates");
    return false;
  }
  const std::vector<const json*> arguments = List(body, "args");
  const bool star = body.value("agg_star", false);
  if (star ? name != "count" : arguments.size() != 1) {
    Fail(offset, "MR1206", Concat(name, "() takes one argument"),
         name == "count" ? "COUNT(*) counts rows" : "");
    return false;
  }
  out->set_function(name);
  out->set_distinct(body.value("agg_distinct", false));
  out->clear_argument();
  out->clear_filter();
  if (!star) {
    Bound argument = Bind(*arguments[0]);
    if (!argument) return false;
    if (IsUntypedNull(*argument)) {
      Fail(offset, "MR1211", "the type of NULL is unknown here");
      return false;
    }
    argument = CheckDepth(*std::move(argument));
    if (!argument) return false;
    *out->mutable_argument() = *std::move(argument);
  }
  if (body.contains("agg_filter")) {
    Bound filter = Bind(body["agg_filter"]);
    if (filter) filter = CheckDepth(*std::move(filter));
    if (!filter) return false;
    if (TypeOf(*filter) != TypeKind::kBool) {
      Fail(PlaceOf(body["agg_filter"]), "MR1206",
           Concat("FILTER needs a BOOLEAN, not ", TypeText(filter->type())));
      return false;
    }
    *out->mutable_filter() = *std::move(filter);
  }
  if (AggregateType(name, out->has_argument() ? &out->argument() : nullptr, out->mutable_type(),
                    problem_)) {
    return true;
  }
  problem_->offset = offset;
  return false;
}

// The columns of one schema; names have no table in front.
class SchemaScope : public ExpressionScope {
 public:
  explicit SchemaScope(const v1::Schema& schema) : schema_(schema) {}

  bool FindColumn(std::span<const NamePart> parts, v1::Expr* out,
                  SqlProblem* problem) const override {
    if (parts.size() > 1) {
      *problem = {"MR1203", "a column is named without a table in front",
                  "nested values are columns of their own: auction BIGINT FROM 'bid.auction'", -1};
      return false;
    }
    const int column = millrace::FindColumn(schema_, parts[0].name, parts[0].quoted, problem);
    if (column < 0) return false;
    *out->mutable_type() = schema_.fields(column).type();
    out->set_field_id(schema_.fields(column).id());
    return true;
  }

 private:
  const v1::Schema& schema_;
};

SqlTree TreeOf(const ParsedExpression& parsed) {
  return {.text = parsed.text, .location_base = ParsedExpression::kLocationBase};
}

}  // namespace

std::vector<NamePart> NamePartsOf(const SqlTree& tree, const json& column_ref) {
  const json& fields = column_ref["fields"];
  if (fields.empty() || !fields.back().contains("String")) return {};
  const int64_t begin = column_ref.value("location", int64_t{0}) + tree.location_base;
  const std::vector<SqlToken>& tokens = tree.text.tokens;
  auto token = std::lower_bound(
      tokens.begin(), tokens.end(), static_cast<size_t>(std::max<int64_t>(begin, 0)),
      [](const SqlToken& one, size_t position) { return one.begin < position; });
  // PostgreSQL has folded the case; the text still has it. Parts have a dot between them.
  std::vector<NamePart> parts;
  for (size_t i = 0; i < fields.size(); ++i) {
    NamePart& part = parts.emplace_back();
    part.name = fields[i]["String"].value("sval", "");
    if (tokens.end() - token <= static_cast<ptrdiff_t>(2 * i)) continue;
    const SqlToken& spelled = *(token + static_cast<ptrdiff_t>(2 * i));
    part.name = NameOfToken(tree.text, spelled);
    part.quoted = spelled.kind == SqlToken::Kind::kQuotedName;
  }
  return parts;
}

bool IsAggregateName(std::string_view name) {
  return std::find(kAggregates.begin(), kAggregates.end(), name) != kAggregates.end();
}

bool ArgumentScope::FindColumn(std::span<const NamePart> parts, v1::Expr* out,
                               SqlProblem* problem) const {
  for (size_t i = 0; parts.size() == 1 && i < arguments_.size(); ++i) {
    if (!EqualsIgnoringCase(function_.parameters[i].name, parts[0].name)) continue;
    *out = arguments_[i];
    return true;
  }
  *problem = {"MR1203", Concat("parameter '", parts[0].name, "' is unknown"),
              "a function sees its parameters only", -1};
  return false;
}

bool IsAggregateCall(const json& node) {
  if (!node.contains("FuncCall") || node["FuncCall"].contains("over")) return false;
  const json& names = node["FuncCall"]["funcname"];
  return !names.empty() && IsAggregateName(names.back()["String"].value("sval", ""));
}

bool BindTree(const SqlTree& tree, const json& node, const ExpressionScope& scope, v1::Expr* out,
              SqlProblem* problem) {
  Bound bound = Binder(tree, scope, problem).BindRoot(node);
  if (!bound) return false;
  *out = *std::move(bound);
  return true;
}

bool BindAggregateTree(const SqlTree& tree, const json& node, const ExpressionScope& scope,
                       v1::Aggregate* out, SqlProblem* problem) {
  return Binder(tree, scope, problem).BindAggregate(node, out);
}

int FindColumn(const v1::Schema& schema, std::string_view name, bool quoted, SqlProblem* problem) {
  int found = -1;
  int similar = 0;
  std::vector<std::string_view> names;
  for (int i = 0; i < schema.fields_size(); ++i) {
    const std::string& column = schema.fields(i).name();
    if (column == name) return i;
    names.push_back(column);
    if (!EqualsIgnoringCase(column, name)) continue;
    ++similar;
    found = i;
  }
  if (!quoted && similar == 1) return found;
  if (!quoted && similar > 1) {
    *problem = {"MR1204", Concat("column '", name, "' may be one of several that differ in case"),
                Concat("quote it: \"", schema.fields(found).name(), "\""), -1};
    return -1;
  }
  std::string_view nearest = NearestName(name, names);
  if (similar > 0) nearest = schema.fields(found).name();
  *problem = {"MR1203", Concat("column '", name, "' is unknown"),
              !nearest.empty() ? Concat("did you mean '", nearest, "'?")
              : names.empty()  ? ""
                               : Concat("columns: ", Join(names, ", ")),
              -1};
  return -1;
}

bool BindExpressionText(std::string_view text, const v1::Schema& schema, v1::Expr* out,
                        SqlProblem* problem) {
  ParsedExpression parsed;
  if (!ParseExpression(text, &parsed, problem)) return false;
  return BindTree(TreeOf(parsed), parsed.tree, SchemaScope(schema), out, problem);
}

bool BindAggregateText(std::string_view text, const v1::Schema& schema, v1::Aggregate* out,
                       SqlProblem* problem) {
  ParsedExpression parsed;
  return ParseExpression(text, &parsed, problem) &&
         BindAggregateTree(TreeOf(parsed), parsed.tree, SchemaScope(schema), out, problem);
}

bool AggregateType(std::string_view function, const v1::Expr* argument, v1::Type* out,
                   SqlProblem* problem) {
  *problem = {"MR1206", "", "", -1};
  out->Clear();
  if (!IsAggregateName(function)) {
    problem->code = "MR1210";
    problem->message = Concat("'", function, "' is not an aggregate");
    problem->hint = Concat("aggregates: ", Join(kAggregates, ", "));
    return false;
  }
  if (function == "count") {
    out->set_kind(v1::Type::KIND_INT64);
    return true;
  }
  if (argument == nullptr) {
    problem->message = Concat(function, "() takes one argument");
    return false;
  }
  const DataType type = DataType::FromProto(argument->type());
  const bool whole = type == TypeKind::kInt32 || type == TypeKind::kInt64;
  if (function == "min" || function == "max") {
    if (type == TypeKind::kArray) {
      problem->message = Concat(function, "() does not take arrays: they have no order");
      return false;
    }
    *out = argument->type();
    return true;
  }
  if (type == TypeKind::kDecimal) {  // As in Flink.
    const int scale = function == "avg" ? std::max(6, type.scale()) : type.scale();
    DataType::Decimal(DataType::kPrecisionMax, scale).ToProto(out);
    return true;
  }
  if (!whole && type != TypeKind::kFloat64) {
    problem->message = Concat(function, "() takes a number, not ", TypeText(argument->type()));
    return false;
  }
  out->set_kind(function == "sum" && whole ? v1::Type::KIND_INT64 : argument->type().kind());
  return true;
}

}  // namespace millrace
