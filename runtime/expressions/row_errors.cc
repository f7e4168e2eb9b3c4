#include "runtime/expressions/row_errors.h"

#include <algorithm>

namespace millrace {

void KeepFirstErrors(RowErrors& errors) {
  auto& entries = errors.entries;
  std::stable_sort(entries.begin(), entries.end(),
                   [](const auto& a, const auto& b) { return a.row < b.row; });
  entries.erase(std::unique(entries.begin(), entries.end(),
                            [](const auto& a, const auto& b) { return a.row == b.row; }),
                entries.end());
}

}  // namespace millrace
