// Sets of values per (pane, group, aggregate), from which windows of panes compute DISTINCT, and
// MIN and MAX of text.
//
// A set is rows of a PaneTable whose key is the group's encoded key, its length, the aggregate's
// number and the encoded value; the accumulator only says that the row is there.
// Threading: the task thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "operators/windows/aggregates.h"
#include "operators/windows/folded_values.h"
#include "runtime/state/state_store.h"

namespace millrace {

class ValueSets {
 public:
  static std::shared_ptr<const AccumulatorLayout> Layout();

  ValueSets(PaneTable& table, const AggregateLayout& layout, uint32_t max_parallelism);

  // Adds the arguments of `rows` of the evaluated batch; `keys` are the groups of all its rows.
  absl::Status Add(int64_t pane, const EncodedKeys& keys, std::span<const int32_t> rows,
                   const AggregateInputs& inputs);
  // Folds the values of the window that consists of `panes`; before AppendResult. Needs memory for
  // one result per group of the window.
  absl::Status Read(std::span<const int64_t> panes);
  // As AggregateLayout::AppendResult.
  bool AppendResult(size_t slot, std::string_view group, ColumnBuilder& out) const;
  absl::Status DropPanesUpTo(int64_t pane) { return table_.DropPanesUpTo(pane); }

 private:
  absl::Status Fold(std::string_view row_key);

  PaneTable& table_;
  const AggregateLayout& layout_;
  const uint32_t max_parallelism_;
  struct KeyHash {
    using is_transparent = void;
    size_t operator()(std::string_view key) const { return HashKey(key); }
  };
  std::unordered_map<std::string, FoldedValues, KeyHash, std::equal_to<>> folded_;
  // Scratch.
  EncodedKeys values_, row_keys_;
  std::vector<uint8_t*> accumulators_;
  PaneTable::MergedRows merged_;
};

}  // namespace millrace
