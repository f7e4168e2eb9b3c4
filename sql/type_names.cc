#include "sql/type_names.h"

#include <charconv>
#include <set>
#include <span>
#include <vector>

#include "millrace/v1/graph.pb.h"
#include "operators/catalog/catalog.h"
#include "runtime/base/text.h"
#include "runtime/columns/types.h"

namespace millrace {
namespace {

struct NamedType {
  std::string_view name;
  TypeKind kind;
  bool takes_length = false;
};

constexpr NamedType kTypes[] = {
    {"bigint", TypeKind::kInt64},
    {"binary", TypeKind::kBytes, true},
    {"bool", TypeKind::kBool},
    {"boolean", TypeKind::kBool},
    {"bpchar", TypeKind::kString, true},
    {"bytea", TypeKind::kBytes},
    {"bytes", TypeKind::kBytes},
    {"char", TypeKind::kString, true},
    {"character", TypeKind::kString, true},
    {"date", TypeKind::kDate},
    {"dec", TypeKind::kDecimal},
    {"decimal", TypeKind::kDecimal},
    {"double", TypeKind::kFloat64},
    {"float", TypeKind::kFloat64},
    {"float4", TypeKind::kFloat64},
    {"float8", TypeKind::kFloat64},
    {"int", TypeKind::kInt32},
    {"int2", TypeKind::kInt32},
    {"int4", TypeKind::kInt32},
    {"int8", TypeKind::kInt64},
    {"integer", TypeKind::kInt32},
    {"interval", TypeKind::kInterval},
    {"numeric", TypeKind::kDecimal},
    {"real", TypeKind::kFloat64},
    {"smallint", TypeKind::kInt32},
    {"string", TypeKind::kString},
    {"text", TypeKind::kString},
    {"timestamp", TypeKind::kTimestamp, true},
    {"tinyint", TypeKind::kInt32},
    {"varbinary", TypeKind::kBytes, true},
    {"varchar", TypeKind::kString, true},
};

struct UnsupportedType {
  std::string_view name;
  std::string_view hint;
};
constexpr std::string_view kTimesAreUtc = "use TIMESTAMP; its values are UTC";
constexpr UnsupportedType kUnsupported[] = {
    {"array", "write ARRAY<STRING>, or ARRAY<ROW<sku STRING, n INT>>, in the table"},
    {"json", "use STRING"},
    {"jsonb", "use STRING"},
    {"map", "use STRING"},
    {"multiset", "use STRING"},
    {"row", "give the nested column its path: auction BIGINT FROM 'bid.auction'"},
    {"time", "use STRING, or INTERVAL"},
    {"timestamp_ltz", kTimesAreUtc},
    {"timestamptz", kTimesAreUtc},
    {"uuid", "use STRING"},
};

bool Unknown(std::string_view name, SqlProblem* problem) {
  std::vector<std::string_view> names;
  for (const NamedType& type : kTypes) names.push_back(type.name);
  const std::string_view nearest = NearestName(name, names);
  problem->code = "MR1209";
  problem->message = Concat("type '", name, "' is unknown");
  problem->hint =
      nearest.empty()
          ? "types: BOOLEAN, INT, BIGINT, DOUBLE, DECIMAL(p, s), STRING, BYTES, DATE, TIMESTAMP(p)"
          : Concat("did you mean ", UpperText(nearest), "?");
  return false;
}

// DECIMAL(precision) and DECIMAL(precision, scale). Without digits it would be DECIMAL(10, 0) in
// Flink and have any number of them in PostgreSQL: no one is to find that out from lost cents.
bool DecimalFromArguments(std::string_view arguments, v1::Type* out, SqlProblem* problem) {
  int precision = 0, scale = 0;
  const size_t comma = std::min(arguments.find(','), arguments.size());
  const bool numbers =
      ParseNumber(arguments.substr(0, comma), precision) &&
      (comma == arguments.size() || ParseNumber(arguments.substr(comma + 1), scale));
  if (numbers && precision >= 1 && precision <= DataType::kPrecisionMax && scale >= 0 &&
      scale <= precision) {
    DataType::Decimal(precision, scale).ToProto(out);
    return true;
  }
  problem->code = "MR1209";
  problem->message = arguments.empty() ? "type DECIMAL needs its number of digits"
                                       : Concat("type DECIMAL does not take (", arguments, ")");
  problem->hint =
      "write DECIMAL(18, 2): 18 digits, two of them behind the point; at most 38 digits";
  return false;
}

}  // namespace

bool TypeFromName(std::string_view name, std::string_view arguments, v1::Type* out,
                  SqlProblem* problem) {
  const std::string lower = LowerAscii(name);
  for (const UnsupportedType& type : kUnsupported) {
    if (type.name != lower) continue;
    problem->code = "MR1209";
    problem->message = Concat("type ", UpperText(name), " is not supported");
    problem->hint = std::string(type.hint);
    return false;
  }
  for (const NamedType& type : kTypes) {
    if (type.name != lower) continue;
    if (type.kind == TypeKind::kDecimal) return DecimalFromArguments(arguments, out, problem);
    out->Clear();
    out->set_kind(static_cast<v1::Type::Kind>(type.kind));
    if (arguments.empty()) return true;
    uint32_t number = 0;
    const auto parsed =
        std::from_chars(arguments.data(), arguments.data() + arguments.size(), number);
    const bool whole =
        parsed.ec == std::errc() && parsed.ptr == arguments.data() + arguments.size();
    const bool time = type.kind == TypeKind::kTimestamp;
    if (!type.takes_length || !whole || (time ? number > 6 : number == 0)) {
      problem->code = "MR1209";
      problem->message = Concat("type ", UpperText(name), " does not take (", arguments, ")");
      problem->hint = time ? "the precision of a TIMESTAMP is 0 to 6" : "";
      return false;
    }
    if (time) out->set_precision(number);
    return true;
  }
  return Unknown(name, problem);
}

namespace {

// What stands between the angles of ARRAY<…>, and the closing one.
bool ElementFromTokens(const SqlText& text, size_t* at, v1::Type* out, SqlProblem* problem) {
  const auto fail = [&](std::string message, std::string hint) {
    const bool ended = *at >= text.tokens.size();
    *problem = {"MR1209", std::move(message), std::move(hint),
                static_cast<int64_t>(ended ? text.text.size() : text.tokens[*at].begin)};
    return false;
  };
  if (text.IsWord(*at, "ARRAY")) {
    return fail("arrays of arrays are not supported", "hold rows: ARRAY<ROW<a INT, b INT>>");
  }
  if (!text.IsWord(*at, "ROW") || !text.IsSymbol(*at + 1, '<')) {
    if (!TypeFromTokens(text, at, out, problem)) return false;
  } else {
    *at += 2;
    out->set_kind(v1::Type::KIND_ROW);
    std::set<std::string> names;
    while (true) {
      if (*at >= text.tokens.size() || (text.tokens[*at].kind != SqlToken::Kind::kWord &&
                                        text.tokens[*at].kind != SqlToken::Kind::kQuotedName)) {
        return fail("the name of a field is missing", "write ROW<sku STRING, n INT>");
      }
      v1::TypeField& field = *out->add_fields();
      field.set_name(NameOfToken(text, text.tokens[*at]));
      if (!names.insert(field.name()).second) {
        return fail(Concat("the row has two fields '", field.name(), "'"), "");
      }
      ++*at;
      if (text.IsWord(*at, "ROW") || text.IsWord(*at, "ARRAY")) {
        return fail("a row in an array holds neither rows nor arrays", "leave the field out");
      }
      if (!TypeFromTokens(text, at, field.mutable_type(), problem)) return false;
      if (out->fields_size() > DataType::kRowFieldsMax) {
        return fail(Concat("a row has at most ", DataType::kRowFieldsMax, " fields"), "");
      }
      if (!text.IsSymbol(*at, ',')) break;
      ++*at;
    }
    if (!text.IsSymbol(*at, '>')) return fail("a '>' is missing", "write ARRAY<ROW<n INT>>");
    ++*at;
  }
  if (!text.IsSymbol(*at, '>')) return fail("a '>' is missing", "write ARRAY<STRING>");
  ++*at;
  return true;
}

}  // namespace

bool TypeFromTokens(const SqlText& text, size_t* at, v1::Type* out, SqlProblem* problem) {
  if (*at >= text.tokens.size() || text.tokens[*at].kind != SqlToken::Kind::kWord) {
    *problem = {
        "MR1209", "a type is missing", "write for example BIGINT",
        static_cast<int64_t>(*at < text.tokens.size() ? text.tokens[*at].begin : text.text.size())};
    return false;
  }
  problem->offset = static_cast<int64_t>(text.tokens[*at].begin);
  if (text.IsWord(*at, "ARRAY") && text.IsSymbol(*at + 1, '<')) {
    *at += 2;
    out->Clear();
    out->set_kind(v1::Type::KIND_ARRAY);
    return ElementFromTokens(text, at, out->mutable_element(), problem);
  }
  std::string name(text.token_text(text.tokens[(*at)++]));
  if (EqualsIgnoringCase(name, "double") && text.IsWord(*at, "PRECISION")) ++*at;
  if ((EqualsIgnoringCase(name, "character") || EqualsIgnoringCase(name, "char")) &&
      text.IsWord(*at, "VARYING")) {
    ++*at;
  }
  std::string arguments;
  if (text.IsSymbol(*at, '(')) {
    for (++*at; *at < text.tokens.size() && !text.IsSymbol(*at, ')'); ++*at) {
      arguments += text.token_text(text.tokens[*at]);
    }
    if (*at >= text.tokens.size()) {
      *problem = {"MR1209", "a ')' is missing",
                  "in a list of YAML, quote the column: \"price DECIMAL(18, 2)\"",
                  static_cast<int64_t>(text.text.size())};
      return false;
    }
    ++*at;
  }
  if (text.IsWord(*at, "WITHOUT") && text.IsWord(*at + 1, "TIME") && text.IsWord(*at + 2, "ZONE")) {
    *at += 3;
  } else if (text.IsWord(*at, "WITH") && text.IsWord(*at + 1, "TIME")) {
    name = "timestamptz";
  }
  return TypeFromName(name, arguments, out, problem);
}

bool SameType(const v1::Type& a, const v1::Type& b) {
  return DataType::FromProto(a) == DataType::FromProto(b);
}

std::string TypeText(const v1::Type& type) {
  if (type.kind() == v1::Type::KIND_UNSPECIFIED) return "?";
  std::string name = TypeText(DataType::FromProto(type));
  if (type.kind() == v1::Type::KIND_TIMESTAMP && type.precision() > 0) {
    name += Concat("(", type.precision(), ")");
  }
  return name;
}

}  // namespace millrace
