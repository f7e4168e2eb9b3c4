#include "runtime/state/frozen_delta.h"

#include <algorithm>
#include <cstring>

#include "runtime/base/status_macros.h"
#include "runtime/checkpoint/little_endian.h"
#include "runtime/checkpoint/segment_file.h"

namespace millrace {
namespace {

constexpr int kGroupShift = 48;
constexpr uint64_t kOffsetMask = (uint64_t{1} << kGroupShift) - 1;

}  // namespace

// A row in bytes_: op, u32 length of the suffix, u32 length of the value, suffix, value.
void FrozenDelta::Group::Add(StateOp op, uint32_t key_group, std::string_view key,
                             std::string_view key_tail, std::string_view value) {
  refs_.push_back(uint64_t{key_group} << kGroupShift | bytes_.size());
  bytes_ += static_cast<char>(op);
  AppendLittleEndian(static_cast<uint32_t>(key.size() + key_tail.size()), bytes_);
  AppendLittleEndian(static_cast<uint32_t>(value.size()), bytes_);
  bytes_ += key;
  bytes_ += key_tail;
  bytes_ += value;
}

FrozenDelta::Group::Row FrozenDelta::Group::RowAt(uint64_t ref) const {
  const char* at = bytes_.data() + (ref & kOffsetMask);
  const auto suffix = ReadLittleEndian<uint32_t>(at + 1);
  const auto value = ReadLittleEndian<uint32_t>(at + 5);
  return {static_cast<StateOp>(*at), {at + 9, suffix}, {at + 9 + suffix, value}};
}

void FrozenDelta::Group::SortByGroup() { std::sort(refs_.begin(), refs_.end()); }

void FrozenDelta::Group::SortRange(size_t first, size_t last) {
  const auto begin = refs_.begin();
  std::sort(begin + static_cast<std::ptrdiff_t>(first), begin + static_cast<std::ptrdiff_t>(last),
            [this](uint64_t a, uint64_t b) { return RowAt(a).suffix < RowAt(b).suffix; });
}

void FrozenDelta::ChargeAll() {
  uint64_t bytes = 0;
  for (const Group& group : groups_) bytes += group.bytes();
  budget_.Charge(static_cast<int64_t>(bytes) - charged_);
  charged_ = static_cast<int64_t>(bytes);
}

absl::Status FrozenDelta::Write(SegmentWriter& writer) {
  std::string record;
  for (const TableIdentity& table : tables_) {
    EncodeTable(table, record);
    MILLRACE_RETURN_IF_ERROR(writer.Append(record));
  }
  for (const auto& [table, pane] : drops_) {
    EncodeDrop(table, pane, record);
    MILLRACE_RETURN_IF_ERROR(writer.Append(record));
  }
  std::sort(groups_.begin(), groups_.end(), [](const Group& a, const Group& b) {
    return std::pair(a.table_, a.pane_) < std::pair(b.table_, b.pane_);
  });
  for (Group& group : groups_) group.SortByGroup();
  std::string key;
  // Within a table, key groups are the outer order and panes the inner one.
  for (size_t first = 0; first < groups_.size();) {
    size_t last = first;
    while (last < groups_.size() && groups_[last].table_ == groups_[first].table_) ++last;
    std::vector<size_t> next(last - first, 0);
    while (true) {
      uint64_t key_group = ~uint64_t{0};
      for (size_t g = first; g < last; ++g) {
        const std::vector<uint64_t>& refs = groups_[g].refs_;
        if (next[g - first] < refs.size()) {
          key_group = std::min(key_group, refs[next[g - first]] >> kGroupShift);
        }
      }
      if (key_group == ~uint64_t{0}) break;
      for (size_t g = first; g < last; ++g) {
        Group& group = groups_[g];
        size_t& at = next[g - first];
        size_t end = at;
        while (end < group.refs_.size() && group.refs_[end] >> kGroupShift == key_group) ++end;
        group.SortRange(at, end);
        for (; at < end; ++at) {
          const Group::Row row = group.RowAt(group.refs_[at]);
          key.clear();
          const auto narrow = static_cast<uint32_t>(key_group);
          if (group.pane_.has_value()) {
            AppendPanePrefix(group.table_, narrow, *group.pane_, key);
          } else {
            AppendGroupPrefix(group.table_, narrow, key);
          }
          key += row.suffix;
          EncodeRow(row.op, key, row.value, record);
          MILLRACE_RETURN_IF_ERROR(writer.Append(record));
        }
      }
    }
    first = last;
  }
  return absl::OkStatus();
}

}  // namespace millrace
