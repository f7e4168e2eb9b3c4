// Arrays as bytes: the elements one after the other, each in the encoding of keys.h; of rows, 0x00
// for one that is NULL, else 0x01 and its values in that encoding. Equal arrays have equal bytes;
// -0.0 in an array becomes 0.0.
//
// Threading: pure functions.
// Errors:    bytes from outside are checked once (IsArray), where they come in; all else here
//            expects what has passed.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/columns/batch.h"

namespace millrace {

// False: `bytes` are no array of such elements.
bool IsArray(const ArrayElement& element, std::string_view bytes);

// Takes the first element off the front.
std::string_view TakeElement(const ArrayElement& element, std::string_view& bytes);
inline bool IsNullElement(std::string_view element) { return element.front() == '\0'; }
int64_t CountElements(const ArrayElement& element, std::string_view bytes);
void AppendNullElement(std::string& out);
// Row `row` of `columns`, which are those of the element.
void AppendElement(const ArrayElement& element, std::span<const Column> columns, int64_t row,
                   std::string& out);
// Appends one element to the builders of its columns; of a row that is NULL, NULL to each.
void DecodeElement(const ArrayElement& element, std::string_view bytes,
                   std::span<ColumnBuilder> columns);

// The elements of all arrays of a column, one after the other.
struct FlatArrays {
  explicit FlatArrays(const Column& arrays);

  int32_t begin(int64_t row) const { return begins[static_cast<size_t>(row)]; }
  int32_t end(int64_t row) const { return begins[static_cast<size_t>(row) + 1]; }

  std::vector<Column> columns;   // Of the element.
  std::vector<int32_t> begins;   // rows + 1; a NULL array has no elements.
  std::vector<uint8_t> is_null;  // Per element.
};

}  // namespace millrace
