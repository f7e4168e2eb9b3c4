#include "runtime/columns/arrays.h"

#include "runtime/base/check.h"
#include "runtime/columns/keys.h"

namespace millrace {
namespace {

constexpr char kRowTag = 1;

bool SkipElement(const ArrayElement& element, std::string_view& bytes) {
  if (!element.is_row) return SkipKeyValue(element.fields[0].type, bytes);
  if (bytes.empty() || (bytes[0] != kRowTag && bytes[0] != 0)) return false;
  const bool null = bytes[0] == 0;
  bytes.remove_prefix(1);
  if (null) return true;
  for (const ArrayElement::Field& field : element.fields) {
    if (!SkipKeyValue(field.type, bytes)) return false;
  }
  return true;
}

}  // namespace

bool IsArray(const ArrayElement& element, std::string_view bytes) {
  while (!bytes.empty()) {
    if (!SkipElement(element, bytes)) return false;
  }
  return true;
}

std::string_view TakeElement(const ArrayElement& element, std::string_view& bytes) {
  const std::string_view all = bytes;
  MILLRACE_CHECK(SkipElement(element, bytes));
  return all.substr(0, all.size() - bytes.size());
}

int64_t CountElements(const ArrayElement& element, std::string_view bytes) {
  int64_t count = 0;
  for (; !bytes.empty(); ++count) MILLRACE_CHECK(SkipElement(element, bytes));
  return count;
}

void AppendNullElement(std::string& out) { AppendKeyNull(out); }

void AppendElement(const ArrayElement& element, std::span<const Column> columns, int64_t row,
                   std::string& out) {
  MILLRACE_CHECK(columns.size() == element.fields.size());
  if (element.is_row) out += kRowTag;
  for (const Column& column : columns) AppendKeyValue(column, row, out);
}

void DecodeElement(const ArrayElement& element, std::string_view bytes,
                   std::span<ColumnBuilder> columns) {
  if (element.is_row) {
    if (IsNullElement(bytes)) {
      for (ColumnBuilder& column : columns) column.AppendNull();
      return;
    }
    bytes.remove_prefix(1);
  }
  for (ColumnBuilder& column : columns) {
    ColumnBuilder* const one = &column;
    MILLRACE_CHECK(DecodeKey(bytes, {&one, 1}).ok());
  }
}

FlatArrays::FlatArrays(const Column& arrays) {
  const ArrayElement& element = arrays.type().element();
  std::vector<ColumnBuilder> builders;
  for (const ArrayElement::Field& field : element.fields) builders.emplace_back(field.type);
  begins.push_back(0);
  for (int64_t row = 0; row < arrays.length(); ++row) {
    std::string_view bytes = arrays.IsNull(row) ? std::string_view() : arrays.StringAt(row);
    while (!bytes.empty()) {
      const std::string_view one = TakeElement(element, bytes);
      is_null.push_back(IsNullElement(one) ? 1 : 0);
      DecodeElement(element, one, builders);
    }
    begins.push_back(static_cast<int32_t>(is_null.size()));
  }
  for (ColumnBuilder& builder : builders) columns.push_back(builder.Finish());
}

}  // namespace millrace
