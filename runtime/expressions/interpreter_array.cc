// Reference meanings: arrays, as lists of values.
#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "runtime/base/status_macros.h"
#include "runtime/columns/arrays.h"
#include "runtime/columns/json_text.h"
#include "runtime/expressions/interpreter.h"
#include "runtime/expressions/text.h"

namespace millrace::expressions::reference {
namespace {

using Result = absl::StatusOr<Datum>;
using In = CallInput;
using List = std::vector<Datum>;

// Of rows, the elements are BYTES that nobody looks into.
List ListOf(const Datum& array) {
  const ArrayElement& element = array.type.element();
  List list;
  std::string_view bytes = array.string_value;
  while (!bytes.empty()) {
    const std::string_view one = TakeElement(element, bytes);
    if (element.is_row) {
      list.push_back(Text(TypeKind::kBytes, std::string(one)));
      continue;
    }
    ColumnBuilder value(element.fields[0].type);
    DecodeElement(element, one, {&value, 1});
    list.push_back(*ColumnValue(value.Finish(), 0));
  }
  return list;
}

void AppendTo(ColumnBuilder& builder, const Datum& value) {
  switch (value.is_null ? TypeKind::kArray : value.type.kind()) {
    case TypeKind::kArray:
      return builder.AppendNull();
    case TypeKind::kBool:
      return builder.AppendBool(value.bool_value);
    case TypeKind::kInt32:
    case TypeKind::kDate:
      return builder.AppendInt32(static_cast<int32_t>(value.int_value));
    case TypeKind::kFloat64:
      return builder.AppendFloat64(value.float_value);
    case TypeKind::kDecimal:
      return builder.AppendDecimal(value.decimal_value);
    case TypeKind::kString:
    case TypeKind::kBytes:
      return builder.AppendString(value.string_value);
    default:
      return builder.AppendInt64(value.int_value);
  }
}

Result ArrayOf(DataType type, const List& list) {
  const ArrayElement& element = type.element();
  std::string bytes;
  for (const Datum& one : list) {
    if (element.is_row) {
      bytes += one.string_value;
      continue;
    }
    ColumnBuilder value(element.fields[0].type);
    AppendTo(value, one);
    const Column column = value.Finish();
    AppendElement(element, {&column, 1}, 0, bytes);
  }
  if (bytes.size() > size_t{16} << 20) return RowError("the result is longer than 16 MiB");
  return Text(type, bytes);
}

// In arrays NaN equals NaN, and NULL equals NULL.
bool Same(const Datum& a, const Datum& b) {
  if (a.is_null || b.is_null) return a.is_null && b.is_null;
  return IsEqual(a, b) || (a.type == TypeKind::kFloat64 && a.float_value != a.float_value &&
                           b.float_value != b.float_value);
}
// NULL first, NaN last.
bool Before(const Datum& a, const Datum& b) {
  if (a.is_null || b.is_null) return a.is_null && !b.is_null;
  if (a.type == TypeKind::kFloat64 && (a.float_value != a.float_value)) return false;
  if (b.type == TypeKind::kFloat64 && (b.float_value != b.float_value)) return true;
  return IsLess(a, b);
}

int64_t Place(const In& in) {
  const List list = ListOf(in[0]);
  for (size_t i = 0; i < list.size(); ++i) {
    if (Same(list[i], in[1])) return static_cast<int64_t>(i) + 1;
  }
  return 0;
}

Result Append(const In& in) {
  if (in[0].is_null) return Null(in.result);
  List list = ListOf(in[0]);
  list.push_back(in[1]);
  return ArrayOf(in.result, list);
}

Result ConcatLists(const In& in) {
  List all;
  for (size_t i = 0; i < in.size(); ++i) {
    for (Datum& one : ListOf(in[i])) all.push_back(std::move(one));
  }
  return ArrayOf(in.result, all);
}

Result Distinct(const In& in) {
  List kept;
  for (const Datum& one : ListOf(in[0])) {
    const bool known =
        std::any_of(kept.begin(), kept.end(), [&](const Datum& other) { return Same(one, other); });
    if (!known) kept.push_back(one);
  }
  return ArrayOf(in.result, kept);
}

Result JoinTexts(const In& in) {
  std::string text;
  bool first = true;
  for (const Datum& one : ListOf(in[0])) {
    if (one.is_null && in.size() < 3) continue;
    if (!first) text += in[1].string_value;
    first = false;
    if (one.is_null) {
      text += in[2].string_value;
    } else if (one.type == TypeKind::kString) {
      text += one.string_value;
    } else {
      MILLRACE_ASSIGN_OR_RETURN(const Datum as_text, Convert(one, TypeKind::kString));
      text += as_text.string_value;
    }
  }
  return Str(text);
}

Result Extreme(const In& in, bool greatest) {
  List list = ListOf(in[0]);
  std::erase_if(list, [](const Datum& one) { return one.is_null; });
  if (list.empty()) return Null(in.result);
  std::stable_sort(list.begin(), list.end(), Before);
  return greatest ? list.back() : list.front();
}

Result Remove(const In& in) {
  if (in[0].is_null) return Null(in.result);
  List list = ListOf(in[0]);
  std::erase_if(list, [&](const Datum& one) { return Same(one, in[1]); });
  return ArrayOf(in.result, list);
}

Result Reverse(const In& in) {
  List list = ListOf(in[0]);
  std::reverse(list.begin(), list.end());
  return ArrayOf(in.result, list);
}

Result Sort(const In& in) {
  List list = ListOf(in[0]);
  std::stable_sort(list.begin(), list.end(), Before);
  return ArrayOf(in.result, list);
}

Result ElementAt(const In& in) {
  const List list = ListOf(in[0]);
  const int64_t at = in[1].int_value;
  if (at < 1 || at > static_cast<int64_t>(list.size())) return Null(in.result);
  return list[static_cast<size_t>(at - 1)];
}

Result Split(const In& in) {
  const std::string &text = in[0].string_value, &between = in[1].string_value;
  List parts;
  std::string part;
  for (size_t i = 0; i < text.size();) {
    if (between.empty()) {
      part += text[i++];
      const bool goes_on = i < text.size() && (static_cast<uint8_t>(text[i]) & 0xC0) == 0x80;
      if (goes_on) continue;
    } else if (text.compare(i, between.size(), between) == 0) {
      i += between.size();
    } else {
      part += text[i++];
      continue;
    }
    parts.push_back(Text(TypeKind::kString, std::exchange(part, "")));
  }
  if (!between.empty()) parts.push_back(Text(TypeKind::kString, part));
  return ArrayOf(in.result, parts);
}

const std::map<std::string, FunctionRow, std::less<>>& Functions() {
  static const auto* const functions = new std::map<std::string, FunctionRow, std::less<>>{
      {"array", {[](const In& in) { return ArrayOf(in.result, in.arguments); }, false}},
      {"array_append", {Append, false}},
      {"array_concat", {ConcatLists}},
      {"array_contains",
       {[](const In& in) -> Result {
          return in[0].is_null ? Null(in.result) : Bool(Place(in) > 0);
        },
        false}},
      {"array_distinct", {Distinct}},
      {"array_join", {JoinTexts}},
      {"array_max", {[](const In& in) { return Extreme(in, true); }}},
      {"array_min", {[](const In& in) { return Extreme(in, false); }}},
      {"array_position",
       {[](const In& in) -> Result {
          return in[0].is_null ? Null(in.result) : Int(in.result, Place(in));
        },
        false}},
      {"array_remove", {Remove, false}},
      {"array_reverse", {Reverse}},
      {"array_sort", {Sort}},
      {"cardinality", {[](const In& in) -> Result {
         return Int(in.result, static_cast<int64_t>(ListOf(in[0]).size()));
       }}},
      {"element_at", {ElementAt}},
      {"split", {Split}},
  };
  return *functions;
}

}  // namespace

Result ArrayAsText(const Datum& array) {
  ColumnBuilder builder(array.type);
  builder.AppendString(array.string_value);
  std::string json;
  JsonPrinter(JsonPrinter::Timestamps::kSql).Append(builder.Finish(), 0, json);
  return Str(std::move(json));
}

FunctionRow FindArrayFunction(std::string_view name) {
  const auto found = Functions().find(name);
  return found == Functions().end() ? FunctionRow{} : found->second;
}

}  // namespace millrace::expressions::reference
