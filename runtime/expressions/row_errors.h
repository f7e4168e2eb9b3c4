// Lists of rows in error: one entry for each row, and the rows that are left.
//
// Threading: pure functions.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/expressions/expression.h"

namespace millrace {

// Keeps the first entry of each row, in the order of rows.
void KeepFirstErrors(RowErrors& errors);

// The rows of 0 … rows - 1 that no entry names, ascending. `entries` have a member `row` and are
// in the order of rows.
template <typename Entry>
std::vector<int32_t> RowsExcept(int64_t rows, const std::vector<Entry>& entries) {
  std::vector<int32_t> good;
  auto next = entries.begin();
  for (int32_t row = 0; row < rows; ++row) {
    while (next != entries.end() && next->row < row) ++next;
    if (next == entries.end() || next->row != row) good.push_back(row);
  }
  return good;
}

}  // namespace millrace
