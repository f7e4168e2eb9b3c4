#include "runtime/expressions/functions.h"

#include <algorithm>
#include <limits>

#include "runtime/expressions/function_table.h"
#include "runtime/expressions/text.h"

namespace millrace {
namespace {

using expressions::AllFunctions;
using expressions::FunctionEntry;
using expressions::InvalidArgument;
using expressions::SignatureText;
using expressions::SplitSignatures;
using expressions::Text;
using OptionalType = std::optional<DataType>;

bool IsNumber(DataType type) {
  return type == TypeKind::kInt32 || type == TypeKind::kInt64 || type == TypeKind::kFloat64 ||
         type == TypeKind::kDecimal;
}

// An exact number as a decimal of all its digits.
OptionalType AsDecimal(DataType type) {
  switch (type) {
    case TypeKind::kInt32:
      return DataType::Decimal(10, 0);
    case TypeKind::kInt64:
      return DataType::Decimal(19, 0);
    case TypeKind::kDecimal:
      return type;
    default:
      return std::nullopt;
  }
}

// Holds all values of both. Digits before the point give way to those behind it when there are too
// many: a value that does not fit is an error of its row, never rounded.
DataType UnionOf(DataType a, DataType b) {
  const int scale = std::max(a.scale(), b.scale());
  const int whole = std::max(a.precision() - a.scale(), b.precision() - b.scale());
  return DataType::Decimal(std::min(DataType::kPrecisionMax, whole + scale), scale);
}

// A result of arithmetic with too many digits loses some behind the point, but keeps six of them
// (SQL Server's rule, and Flink's: LogicalTypeMerging.adjustPrecisionScale).
DataType Adjusted(int precision, int scale) {
  constexpr int kScaleKept = 6;
  if (precision <= DataType::kPrecisionMax) return DataType::Decimal(precision, scale);
  const int room = DataType::kPrecisionMax - (precision - scale);
  return DataType::Decimal(DataType::kPrecisionMax, std::max(room, std::min(scale, kScaleKept)));
}

// The result of arithmetic of two decimals, by Flink's rules (LogicalTypeMerging).
OptionalType ArithmeticResult(std::string_view name, DataType a, DataType b) {
  const int whole_a = a.precision() - a.scale(), whole_b = b.precision() - b.scale();
  const int scale = std::max(a.scale(), b.scale());
  if (name == "add" || name == "subtract") {
    return Adjusted(std::max(whole_a, whole_b) + scale + 1, scale);
  }
  if (name == "multiply") {
    return Adjusted(a.precision() + b.precision() + 1, a.scale() + b.scale());
  }
  if (name == "divide") {
    const int digits = std::max(6, a.scale() + b.precision() + 1);
    return Adjusted(whole_a + b.scale() + digits, digits);
  }
  if (name == "modulo") return Adjusted(std::max(1, std::min(whole_a, whole_b) + scale), scale);
  return std::nullopt;
}

// The result of a function of a decimal, and perhaps of a number of digits.
DataType RoundedResult(std::string_view name, DataType from, size_t arguments) {
  const int whole = from.precision() - from.scale();
  const auto with_room = [](int precision, int scale) {
    return DataType::Decimal(std::clamp(precision, 1, DataType::kPrecisionMax), scale);
  };
  if (name == "sign") return TypeKind::kInt32;
  if (name == "truncate") return arguments == 1 ? with_room(whole, 0) : from;
  if (name == "ceil" || name == "floor" || (name == "round" && arguments == 1)) {
    return with_room(from.scale() == 0 ? whole : whole + 1, 0);
  }
  if (name == "round") return with_room(from.precision() + 1, from.scale());
  return from;
}

OptionalType TypeOfLetter(char letter) {
  switch (letter) {
    case 'b':
      return TypeKind::kBool;
    case 'i':
      return TypeKind::kInt32;
    case 'l':
      return TypeKind::kInt64;
    case 'd':
      return TypeKind::kFloat64;
    case 's':
      return TypeKind::kString;
    case 'y':
      return TypeKind::kBytes;
    case 'D':
      return TypeKind::kDate;
    case 'T':
      return TypeKind::kTimestamp;
    case 'I':
      return TypeKind::kInterval;
    case 'S':
      return DataType::Array(ArrayElement::Of(TypeKind::kString));
    default:
      return std::nullopt;  // N, A, R and E.
  }
}

// Price of an implicit cast when overloads compete; -1 = impossible.
int CastPrice(DataType from, DataType to) {
  if (from == to) return 0;
  // Of a decimal only as a common type.
  if (to == TypeKind::kDecimal) return AsDecimal(from) ? 1 : -1;
  if (!CanCastImplicitly(from, to)) return -1;
  if (to == TypeKind::kFloat64) return from == TypeKind::kInt64 ? 2 : 3;
  return 1;
}

// The type of the variable `letter` over all arguments that carry it; false if they disagree.
bool BindVariable(char letter, std::string_view letters, std::span<const OptionalType> arguments,
                  DataType& bound) {
  OptionalType common;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (letters[i] != letter || !arguments[i]) continue;
    if (letter == 'N' && !IsNumber(*arguments[i])) return false;
    if (!common) {
      common = arguments[i];
      continue;
    }
    const absl::StatusOr<DataType> wider = CommonType(*common, *arguments[i]);
    if (!wider.ok()) return false;
    common = *wider;
  }
  bound = common.value_or(letter == 'N' ? TypeKind::kInt32 : TypeKind::kString);
  return true;
}

// The type of what arrays and elements have in common; false if they disagree. Rows are elements
// that only arrays bring along.
bool BindElement(std::string_view letters, std::span<const OptionalType> arguments,
                 DataType& array) {
  OptionalType common, of_rows;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if ((letters[i] != 'R' && letters[i] != 'E') || !arguments[i]) continue;
    const bool is_array = *arguments[i] == TypeKind::kArray;
    if (is_array != (letters[i] == 'R')) return false;
    if (is_array && arguments[i]->element().is_row) {
      if (of_rows && *of_rows != *arguments[i]) return false;
      of_rows = arguments[i];
      continue;
    }
    const DataType one = is_array ? arguments[i]->element().fields[0].type : *arguments[i];
    const absl::StatusOr<DataType> wider = common ? CommonType(*common, one) : one;
    if (!wider.ok()) return false;
    common = *wider;
  }
  if (of_rows && common) return false;
  array =
      of_rows ? *of_rows : DataType::Array(ArrayElement::Of(common.value_or(TypeKind::kString)));
  return true;
}

// Arrays are equal or not; there is no order of them.
bool NeedsOrder(std::string_view name) {
  return name == "lt" || name == "le" || name == "gt" || name == "ge" || name == "greatest" ||
         name == "least";
}

// Arrays of rows have no elements that are values by themselves.
bool TakesRows(std::string_view name) {
  return name == "array_concat" || name == "array_distinct" || name == "array_reverse" ||
         name == "cardinality";
}

// The price of a call by this signature, or -1 if it does not fit.
int Match(std::string_view name, std::string_view signature,
          std::span<const OptionalType> arguments, ResolvedFunction& out) {
  const size_t arrow = signature.find('>');
  std::string letters(signature.substr(0, arrow));
  if (!letters.empty() && letters.back() == '*') {
    letters.pop_back();
    if (arguments.size() < letters.size()) return -1;
    letters.append(arguments.size() - letters.size(), letters.back());
  }
  if (letters.size() != arguments.size()) return -1;
  DataType number{}, any{};
  if (!BindVariable('N', letters, arguments, number)) return -1;
  if (!BindVariable('A', letters, arguments, any)) return -1;
  if (any == TypeKind::kArray && NeedsOrder(name)) return -1;
  DataType array{}, element{};
  if (signature.find_first_of("RE") != std::string_view::npos) {
    if (!BindElement(letters, arguments, array)) return -1;
    if (array.element().is_row && !TakesRows(name)) return -1;
    element = array.element().fields[0].type;
  }
  const auto type_of = [&](char letter) {
    return TypeOfLetter(letter).value_or(letter == 'N'   ? number
                                         : letter == 'R' ? array
                                         : letter == 'E' ? element
                                                         : any);
  };
  int price = 0;
  out.argument_types.clear();
  for (size_t i = 0; i < letters.size(); ++i) {
    const DataType wanted = type_of(letters[i]);
    const int step = arguments[i] ? CastPrice(*arguments[i], wanted) : 0;
    if (step < 0) return -1;
    price += step;
    out.argument_types.push_back(wanted);
  }
  out.result = type_of(signature[arrow + 1]);
  return price;
}

// Arithmetic of two exact numbers, one of them a decimal: each keeps its own scale.
bool MatchDecimals(std::string_view name, std::span<const OptionalType> arguments,
                   ResolvedFunction& out) {
  if (arguments.size() != 2) return false;
  const OptionalType left = arguments[0] ? arguments[0] : arguments[1];
  const OptionalType right = arguments[1] ? arguments[1] : arguments[0];
  if (!left || !right || (*left != TypeKind::kDecimal && *right != TypeKind::kDecimal)) {
    return false;
  }
  const OptionalType a = AsDecimal(*left), b = AsDecimal(*right);
  if (!a || !b) return false;
  const OptionalType result = ArithmeticResult(name, *a, *b);
  if (!result) return false;
  out.argument_types = {*a, *b};
  out.result = *result;
  return true;
}

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replace = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replace});
    }
  }
  return row[b.size()];
}

std::string_view NearestName(std::string_view name) {
  std::string_view nearest;
  size_t distance_min = std::numeric_limits<size_t>::max();
  for (const FunctionEntry& entry : AllFunctions()) {
    const size_t distance = EditDistance(name, entry.name);
    if (distance < distance_min) {
      distance_min = distance;
      nearest = entry.name;
    }
  }
  return nearest;
}

const FunctionEntry* FindEntry(std::string_view name) {
  const auto all = AllFunctions();
  const auto found = std::lower_bound(
      all.begin(), all.end(), name,
      [](const FunctionEntry& entry, std::string_view wanted) { return entry.name < wanted; });
  return found != all.end() && found->name == name ? &*found : nullptr;
}

std::string ArgumentsText(std::span<const OptionalType> arguments) {
  std::string text;
  for (const OptionalType& type : arguments) {
    if (!text.empty()) text += ", ";
    text += type ? TypeText(*type) : "NULL";
  }
  return text;
}

}  // namespace

absl::StatusOr<ResolvedFunction> ResolveFunction(std::string_view name,
                                                 std::span<const OptionalType> arguments) {
  const std::string lower = expressions::LowerAscii(name.substr(0, 64));
  const FunctionEntry* entry = FindEntry(lower);
  if (entry == nullptr) {
    return absl::NotFoundError(Text("unknown function '", name.substr(0, 64), "'; the nearest is '",
                                    NearestName(lower), "'"));
  }
  if (!entry->alias_of.empty()) entry = FindEntry(entry->alias_of);
  ResolvedFunction best;
  if (MatchDecimals(entry->name, arguments, best)) {
    best.name = entry->name;
    return best;
  }
  int price_min = std::numeric_limits<int>::max();
  std::string accepted;
  for (const std::string_view signature : SplitSignatures(entry->signatures)) {
    accepted += accepted.empty() ? "" : " | ";
    accepted += SignatureText(signature);
    ResolvedFunction candidate;
    const int price = Match(entry->name, signature, arguments, candidate);
    if (price >= 0 && price < price_min) {
      price_min = price;
      best = std::move(candidate);
    }
  }
  if (price_min == std::numeric_limits<int>::max()) {
    return InvalidArgument("function '", entry->name, "' does not accept (",
                           ArgumentsText(arguments), "); it accepts ", accepted);
  }
  best.name = entry->name;
  const bool rounds = entry->signatures.starts_with("N>N");
  if (rounds && best.result == TypeKind::kDecimal) {
    best.result = RoundedResult(best.name, best.result, arguments.size());
  }
  return best;
}

bool CanCast(DataType from, DataType to) {
  if (from == to) return true;
  if (from == TypeKind::kArray || to == TypeKind::kArray) return to == TypeKind::kString;
  if (to == TypeKind::kString || from == TypeKind::kString) return true;
  if (IsNumber(from) || from == TypeKind::kBool) return IsNumber(to) || to == TypeKind::kBool;
  return (from == TypeKind::kDate && to == TypeKind::kTimestamp) ||
         (from == TypeKind::kTimestamp && to == TypeKind::kDate);
}

bool CanCastImplicitly(DataType from, DataType to) {
  if (from == to) return true;
  if (to == TypeKind::kDecimal) {
    const OptionalType exact = AsDecimal(from);
    return exact && exact->scale() <= to.scale() &&
           exact->precision() - exact->scale() <= to.precision() - to.scale();
  }
  switch (from) {
    case TypeKind::kDecimal:
      return to == TypeKind::kFloat64;
    case TypeKind::kInt32:
      return to == TypeKind::kInt64 || to == TypeKind::kFloat64;
    case TypeKind::kInt64:
      return to == TypeKind::kFloat64;
    case TypeKind::kDate:
      return to == TypeKind::kTimestamp;
    default:
      return false;
  }
}

bool CanAssign(DataType from, DataType to) {
  if (CanCastImplicitly(from, to)) return true;
  const OptionalType exact = AsDecimal(from);
  return to == TypeKind::kDecimal && exact && exact->scale() <= to.scale();
}

absl::StatusOr<DataType> CommonType(DataType a, DataType b) {
  if (CanCastImplicitly(a, b)) return b;
  if (CanCastImplicitly(b, a)) return a;
  const OptionalType left = AsDecimal(a), right = AsDecimal(b);
  if (left && right) return UnionOf(*left, *right);
  return absl::InvalidArgumentError(Text("no common type of ", TypeText(a), " and ", TypeText(b)));
}

std::vector<std::string> FunctionNames() {
  std::vector<std::string> names;
  for (const FunctionEntry& entry : AllFunctions()) names.emplace_back(entry.name);
  return names;
}

}  // namespace millrace
