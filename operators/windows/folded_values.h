// DISTINCT, and MIN and MAX of text, of one group: the distinct values of its sets, fed one by one,
// folded to the results.
//
// Threading: the task thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "operators/windows/aggregates.h"

namespace millrace {

class FoldedValues {
 public:
  // `layout` must outlive it.
  explicit FoldedValues(const AggregateLayout& layout) : layout_(&layout) {}

  // A value of the set of `slot`, as EncodeKeys encodes one column; each value once.
  absl::Status Add(size_t slot, std::string_view encoded);
  // As AggregateLayout::AppendResult, for slots by value set.
  bool AppendResult(size_t slot, ColumnBuilder& out) const;

 private:
  const AggregateLayout* layout_;
  // Empty until the first value.
  std::vector<uint8_t> accumulator_;
  std::vector<std::string> extremes_;  // Text MIN and MAX, by slot; the encoded value.
};

}  // namespace millrace
