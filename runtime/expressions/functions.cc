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
using OptionalType = std::optional<TypeKind>;

bool IsNumber(TypeKind type) {
  return type == TypeKind::kInt32 || type == TypeKind::kInt64 || type == TypeKind::kFloat64;
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
    default:
      return std::nullopt;  // N and A.
  }
}

// Price of an implicit cast when overloads compete; -1 = impossible.
int CastPrice(TypeKind from, TypeKind to) {
  if (from == to) return 0;
  if (!CanCastImplicitly(from, to)) return -1;
  if (to == TypeKind::kFloat64) return from == TypeKind::kInt64 ? 2 : 3;
  return 1;
}

// The type of the variable `letter` over all arguments that carry it; false if they disagree.
bool BindVariable(char letter, std::string_view letters, std::span<const OptionalType> arguments,
                  TypeKind& bound) {
  OptionalType common;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (letters[i] != letter || !arguments[i]) continue;
    if (letter == 'N' && !IsNumber(*arguments[i])) return false;
    if (!common) {
      common = arguments[i];
      continue;
    }
    const absl::StatusOr<TypeKind> wider = CommonType(*common, *arguments[i]);
    if (!wider.ok()) return false;
    common = *wider;
  }
  bound = common.value_or(letter == 'N' ? TypeKind::kInt32 : TypeKind::kString);
  return true;
}

// The price of a call by this signature, or -1 if it does not fit.
int Match(std::string_view signature, std::span<const OptionalType> arguments,
          ResolvedFunction& out) {
  const size_t arrow = signature.find('>');
  std::string letters(signature.substr(0, arrow));
  if (!letters.empty() && letters.back() == '*') {
    letters.pop_back();
    if (arguments.size() < letters.size()) return -1;
    letters.append(arguments.size() - letters.size(), letters.back());
  }
  if (letters.size() != arguments.size()) return -1;
  TypeKind number{}, any{};
  if (!BindVariable('N', letters, arguments, number)) return -1;
  if (!BindVariable('A', letters, arguments, any)) return -1;
  const auto type_of = [&](char letter) {
    return TypeOfLetter(letter).value_or(letter == 'N' ? number : any);
  };
  int price = 0;
  out.argument_types.clear();
  for (size_t i = 0; i < letters.size(); ++i) {
    const TypeKind wanted = type_of(letters[i]);
    const int step = arguments[i] ? CastPrice(*arguments[i], wanted) : 0;
    if (step < 0) return -1;
    price += step;
    out.argument_types.push_back(wanted);
  }
  out.result = type_of(signature[arrow + 1]);
  return price;
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
    text += type ? TypeName(*type) : "NULL";
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
  int price_min = std::numeric_limits<int>::max();
  std::string accepted;
  for (const std::string_view signature : SplitSignatures(entry->signatures)) {
    accepted += accepted.empty() ? "" : " | ";
    accepted += SignatureText(signature);
    ResolvedFunction candidate;
    const int price = Match(signature, arguments, candidate);
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
  return best;
}

bool CanCast(TypeKind from, TypeKind to) {
  if (from == to || to == TypeKind::kString || from == TypeKind::kString) return true;
  if (IsNumber(from) || from == TypeKind::kBool) return IsNumber(to) || to == TypeKind::kBool;
  return (from == TypeKind::kDate && to == TypeKind::kTimestamp) ||
         (from == TypeKind::kTimestamp && to == TypeKind::kDate);
}

bool CanCastImplicitly(TypeKind from, TypeKind to) {
  if (from == to) return true;
  switch (from) {
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

absl::StatusOr<TypeKind> CommonType(TypeKind a, TypeKind b) {
  if (CanCastImplicitly(a, b)) return b;
  if (CanCastImplicitly(b, a)) return a;
  return absl::InvalidArgumentError(Text("no common type of ", TypeName(a), " and ", TypeName(b)));
}

std::vector<std::string> FunctionNames() {
  std::vector<std::string> names;
  for (const FunctionEntry& entry : AllFunctions()) names.emplace_back(entry.name);
  return names;
}

}  // namespace millrace
