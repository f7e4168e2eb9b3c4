// The rows that changed in an epoch, copied out of the tables at the barrier and written as one
// sorted segment later.
//
// Threading: filled on the task thread, then written by one io thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "runtime/state/memory_budget.h"
#include "runtime/state/state_format.h"

namespace millrace {

class SegmentWriter;

class FrozenDelta {
 public:
  // Charged to `budget` by ChargeAll until it is destroyed.
  explicit FrozenDelta(MemoryBudget& budget) : budget_(budget) {}
  ~FrozenDelta() { budget_.Charge(-charged_); }
  FrozenDelta(const FrozenDelta&) = delete;
  FrozenDelta& operator=(const FrozenDelta&) = delete;

  // Rows of one table (keyed) or of one pane of a table. Unsorted.
  class Group {
   public:
    Group(uint32_t table, std::optional<int64_t> pane) : table_(table), pane_(pane) {}
    void Reserve(size_t more_rows, size_t more_bytes) {
      refs_.reserve(refs_.size() + more_rows);
      bytes_.reserve(bytes_.size() + more_bytes);
    }
    // `key` + `key_tail`: the row key after the prefix of the key group or pane.
    void Add(StateOp op, uint32_t key_group, std::string_view key, std::string_view key_tail,
             std::string_view value);
    size_t rows() const { return refs_.size(); }
    uint64_t bytes() const { return bytes_.capacity() + refs_.capacity() * sizeof(uint64_t); }

   private:
    friend class FrozenDelta;
    struct Row {
      StateOp op;
      std::string_view suffix;
      std::string_view value;
    };
    Row RowAt(uint64_t ref) const;
    // Sorts refs_ by key group and, within [first, last), by suffix.
    void SortByGroup();
    void SortRange(size_t first, size_t last);

    uint32_t table_;
    std::optional<int64_t> pane_;
    std::string bytes_;
    std::vector<uint64_t> refs_;  // Key group << 48 | offset in bytes_.
  };

  void AddTable(const TableIdentity& table) { tables_.push_back(table); }
  void AddDrop(uint32_t table, int64_t pane) { drops_.emplace_back(table, pane); }
  void AddGroup(Group group) { groups_.push_back(std::move(group)); }
  void ChargeAll();
  bool empty() const { return drops_.empty() && groups_.empty(); }

  // Everything, in the order of state_format.h. Sorts in place: call it once at a time.
  absl::Status Write(SegmentWriter& writer);

 private:
  MemoryBudget& budget_;
  int64_t charged_ = 0;
  std::vector<TableIdentity> tables_;
  std::vector<std::pair<uint32_t, int64_t>> drops_;
  std::vector<Group> groups_;
};

}  // namespace millrace
