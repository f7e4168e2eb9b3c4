#include "sql/expression_text.h"

#include <cstdio>
#include <vector>

#include "runtime/base/text.h"
#include "runtime/columns/types.h"
#include "sql/type_names.h"

namespace millrace {
namespace {

std::string ColumnText(uint32_t id, const v1::Schema& schema) {
  for (const v1::Field& field : schema.fields()) {
    if (field.id() == id) return field.name();
  }
  return Concat("#", id);
}

std::string Quoted(std::string_view text) {
  std::string out = "'";
  for (char c : text) {
    if (c == '\'') out += c;
    out += c;
  }
  return out + "'";
}

std::string Padded(int64_t value, int width) {
  char text[24];
  std::snprintf(text, sizeof(text), "%0*lld", width, static_cast<long long>(value));
  return text;
}

// Proleptic Gregorian date of a day since 1970-01-01 (H. Hinnant's civil_from_days).
std::string DateText(int64_t days) {
  days += 719'468;
  const int64_t era = (days >= 0 ? days : days - 146'096) / 146'097;
  const int64_t day_of_era = days - era * 146'097;
  const int64_t year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const int64_t day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const int64_t shifted = (5 * day_of_year + 2) / 153;
  const int64_t month = shifted + (shifted < 10 ? 3 : -9);
  const int64_t year = year_of_era + era * 400 + (month <= 2 ? 1 : 0);
  return Concat(Padded(year, 4), "-", Padded(month, 2), "-",
                Padded(day_of_year - (153 * shifted + 2) / 5 + 1, 2));
}

std::string ClockText(int64_t us) {
  std::string text = Concat(Padded(us / 3'600'000'000, 2), ":", Padded(us / 60'000'000 % 60, 2),
                            ":", Padded(us / 1'000'000 % 60, 2));
  if (us % 1'000'000 != 0) text += Concat(".", Padded(us % 1'000'000, 6));
  return text;
}

std::string TimestampText(int64_t us) {
  constexpr int64_t kDay = 86'400'000'000;
  int64_t days = us / kDay, rest = us % kDay;
  if (rest < 0) {
    --days;
    rest += kDay;
  }
  return Concat(DateText(days), " ", ClockText(rest));
}

std::string IntervalText(int64_t us) {
  if (us % 1'000'000 == 0) return Concat("INTERVAL '", us / 1'000'000, "' SECOND");
  return Concat("INTERVAL '", us % 1000 == 0 ? us / 1000 : us, us % 1000 == 0 ? " ms'" : " us'");
}

std::string LiteralText(const v1::Literal& literal, const v1::Type& type) {
  switch (literal.value_case()) {
    case v1::Literal::kBoolValue:
      return literal.bool_value() ? "TRUE" : "FALSE";
    case v1::Literal::kIntValue:
      if (type.kind() == v1::Type::KIND_TIMESTAMP) {
        return Concat("TIMESTAMP '", TimestampText(literal.int_value()), "'");
      }
      if (type.kind() == v1::Type::KIND_DATE) {
        return Concat("DATE '", DateText(literal.int_value()), "'");
      }
      if (type.kind() == v1::Type::KIND_INTERVAL) return IntervalText(literal.int_value());
      return Concat(literal.int_value());
    case v1::Literal::kFloatValue: {
      char text[40];
      std::snprintf(text, sizeof(text), "%.17g", literal.float_value());
      double shorter = 0;
      char brief[40];
      std::snprintf(brief, sizeof(brief), "%.15g", literal.float_value());
      return ParseNumber(std::string_view(brief), shorter) && shorter == literal.float_value()
                 ? brief
                 : text;
    }
    case v1::Literal::kDecimalValue:
      return literal.decimal_value();
    case v1::Literal::kStringValue:
      return Quoted(literal.string_value());
    case v1::Literal::kBytesValue: {
      std::string text = "X'";
      for (unsigned char c : literal.bytes_value()) {
        constexpr char kDigits[] = "0123456789ABCDEF";
        text += kDigits[c >> 4];
        text += kDigits[c & 15];
      }
      return text + "'";
    }
    default:
      return "NULL";
  }
}

std::string_view Infix(std::string_view function) {
  struct Operator {
    std::string_view function;
    std::string_view symbol;
  };
  constexpr Operator kOperators[] = {
      {"add", "+"},    {"and", "AND"},    {"concat", "||"}, {"divide", "/"},  {"eq", "="},
      {"ge", ">="},    {"gt", ">"},       {"le", "<="},     {"like", "LIKE"}, {"lt", "<"},
      {"modulo", "%"}, {"multiply", "*"}, {"ne", "<>"},     {"or", "OR"},     {"subtract", "-"}};
  for (const Operator& one : kOperators) {
    if (one.function == function) return one.symbol;
  }
  return {};
}

bool IsInfix(const v1::Expr& expr) {
  return expr.has_call() && expr.call().arguments_size() > 1 &&
         !Infix(expr.call().function()).empty();
}

std::string Operand(const v1::Expr& expr, const v1::Schema& schema) {
  const std::string text = ExpressionText(expr, schema);
  return IsInfix(expr) ? Concat("(", text, ")") : text;
}

std::string CallText(const v1::Expr& expr, const v1::Schema& schema) {
  const v1::Call& call = expr.call();
  std::vector<std::string> arguments;
  const bool infix = IsInfix(expr);
  if (call.function() == "like" && call.arguments_size() == 3) {
    return Concat(Operand(call.arguments(0), schema), " LIKE ", Operand(call.arguments(1), schema),
                  " ESCAPE ", Operand(call.arguments(2), schema));
  }
  for (const v1::Expr& argument : call.arguments()) {
    arguments.push_back(infix ? Operand(argument, schema) : ExpressionText(argument, schema));
  }
  if (infix) return Join(arguments, Concat(" ", Infix(call.function()), " "));
  if (call.function() == "in" && arguments.size() > 1) {
    const std::string first = Operand(call.arguments(0), schema);
    arguments.erase(arguments.begin());
    return Concat(first, " IN (", Join(arguments, ", "), ")");
  }
  return Concat(call.function(), "(", Join(arguments, ", "), ")");
}

std::string CaseText(const v1::Case& body, const v1::Schema& schema) {
  std::string text = "CASE";
  for (int i = 0; i < body.when_size() && i < body.then_size(); ++i) {
    text += Concat(" WHEN ", ExpressionText(body.when(i), schema), " THEN ",
                   ExpressionText(body.then(i), schema));
  }
  if (body.has_otherwise()) text += Concat(" ELSE ", ExpressionText(body.otherwise(), schema));
  return text + " END";
}

}  // namespace

std::string ExpressionText(const v1::Expr& expr, const v1::Schema& schema) {
  switch (expr.kind_case()) {
    case v1::Expr::kSql:
      return expr.sql();
    case v1::Expr::kLiteral:
      return LiteralText(expr.literal(), expr.type());
    case v1::Expr::kFieldId:
      return ColumnText(expr.field_id(), schema);
    case v1::Expr::kCall:
      return CallText(expr, schema);
    case v1::Expr::kCaseWhen:
      return CaseText(expr.case_when(), schema);
    case v1::Expr::kCast:
      return Concat(expr.cast().try_cast() ? "TRY_CAST(" : "CAST(",
                    ExpressionText(expr.cast().input(), schema), " AS ", TypeText(expr.type()),
                    ")");
    default:
      return "?";
  }
}

std::string AggregateText(const v1::Aggregate& aggregate, const v1::Schema& schema) {
  if (!aggregate.sql().empty()) return aggregate.sql();
  std::string text = Concat(
      aggregate.function(), "(", aggregate.distinct() ? "DISTINCT " : "",
      aggregate.has_argument() ? ExpressionText(aggregate.argument(), schema) : std::string("*"),
      ")");
  if (aggregate.has_filter()) {
    text += Concat(" FILTER (WHERE ", ExpressionText(aggregate.filter(), schema), ")");
  }
  return text;
}

std::string FieldsText(const v1::Fields& fields, const v1::Schema& schema) {
  std::vector<std::string> names(fields.names().begin(), fields.names().end());
  for (uint32_t id : fields.ids()) names.push_back(ColumnText(id, schema));
  return Join(names, ", ");
}

}  // namespace millrace
