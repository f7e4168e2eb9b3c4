#include "operators/windows/value_sets.h"

#include <cstring>
#include <utility>

#include "runtime/base/check.h"
#include "runtime/base/status_macros.h"

namespace millrace {
namespace {

class PresenceLayout : public AccumulatorLayout {
 public:
  size_t width() const override { return 8; }
  void Merge(uint8_t* into, const uint8_t* from) const override { into[0] |= from[0]; }
};

// The end of a row's key: number of the aggregate, length of the group's key.
struct KeyTail {
  uint32_t slot;
  uint32_t group_bytes;
};

}  // namespace

std::shared_ptr<const AccumulatorLayout> ValueSets::Layout() {
  return std::make_shared<PresenceLayout>();
}

ValueSets::ValueSets(PaneTable& table, const AggregateLayout& layout, uint32_t max_parallelism)
    : table_(table), layout_(layout), max_parallelism_(max_parallelism) {}

absl::Status ValueSets::Add(int64_t pane, const EncodedKeys& keys, std::span<const int32_t> rows,
                            const AggregateInputs& inputs) {
  for (uint32_t slot = 0; slot < layout_.slots().size(); ++slot) {
    if (!layout_.slots()[slot].by_value_set) continue;
    const Column& argument = inputs.argument(slot);
    const Batch value(Schema::Make({{.name = "value", .type = argument.type()}}), argument.length(),
                      {argument});
    EncodeKeys(value, std::vector<int>{0}, values_);
    row_keys_.bytes.clear();
    row_keys_.offsets.assign(1, 0);
    row_keys_.hashes.clear();
    for (int32_t row : rows) {
      if (!inputs.Contributes(slot, row)) continue;
      const size_t begin = row_keys_.bytes.size();
      const std::string_view group = keys.key(row);
      const KeyTail tail{.slot = slot, .group_bytes = static_cast<uint32_t>(group.size())};
      row_keys_.bytes.append(group);
      row_keys_.bytes.append(values_.key(row));
      row_keys_.bytes.append(reinterpret_cast<const char*>(&tail), sizeof(tail));
      row_keys_.offsets.push_back(static_cast<uint32_t>(row_keys_.bytes.size()));
      // The set lives in the key group of its group: only that part of the hash is the group's.
      const uint64_t hash = HashKey(std::string_view(row_keys_.bytes).substr(begin));
      const uint64_t group_hash = keys.hashes[static_cast<size_t>(row)];
      row_keys_.hashes.push_back(hash - hash % max_parallelism_ + group_hash % max_parallelism_);
    }
    accumulators_.resize(row_keys_.hashes.size());
    MILLRACE_RETURN_IF_ERROR(table_.Upsert(pane, row_keys_, {}, accumulators_));
    for (uint8_t* accumulator : accumulators_) accumulator[0] = 1;
  }
  return absl::OkStatus();
}

absl::Status ValueSets::Read(std::span<const int64_t> panes) {
  folded_.clear();
  MILLRACE_ASSIGN_OR_RETURN(std::unique_ptr<PaneTable::Cursor> cursor, table_.Merge(panes));
  while (true) {
    MILLRACE_RETURN_IF_ERROR(cursor->Next(4096, merged_));
    if (merged_.rows() == 0) return absl::OkStatus();
    for (size_t i = 0; i < merged_.rows(); ++i) MILLRACE_RETURN_IF_ERROR(Fold(merged_.key(i)));
  }
}

absl::Status ValueSets::Fold(std::string_view row_key) {
  KeyTail tail;
  MILLRACE_CHECK(row_key.size() >= sizeof(tail));
  std::memcpy(&tail, row_key.data() + row_key.size() - sizeof(tail), sizeof(tail));
  row_key.remove_suffix(sizeof(tail));
  MILLRACE_CHECK(tail.slot < layout_.slots().size() && tail.group_bytes <= row_key.size());
  const std::string_view group = row_key.substr(0, tail.group_bytes);
  auto it = folded_.find(group);
  if (it == folded_.end()) it = folded_.emplace(group, layout_).first;
  return it->second.Add(tail.slot, row_key.substr(tail.group_bytes));
}

bool ValueSets::AppendResult(size_t slot, std::string_view group, ColumnBuilder& out) const {
  auto it = folded_.find(group);
  return it == folded_.end() ? FoldedValues(layout_).AppendResult(slot, out)
                             : it->second.AppendResult(slot, out);
}

}  // namespace millrace
