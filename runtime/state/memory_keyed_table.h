// KeyedTable as a tree of rows in memory that caches the cold store underneath: a row that is not
// in memory is looked up there, an evicted table begins again empty.
//
// Threading, ownership, errors: as StateStore.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/state/row_tree.h"
#include "runtime/state/state_store.h"
#include "runtime/state/store_context.h"

namespace millrace {

class MemoryKeyedTable final : public KeyedTable {
 public:
  MemoryKeyedTable(StoreContext& store, TableIdentity identity);

  absl::StatusOr<bool> Get(uint32_t key_group, std::string_view key, std::string* value) override;
  absl::Status Put(uint32_t key_group, std::string_view key, std::string_view value) override;
  absl::StatusOr<bool> Insert(uint32_t key_group, std::string_view key, std::string_view value,
                              std::string* there) override;
  absl::Status Delete(uint32_t key_group, std::string_view key) override;
  absl::Status DeletePrefix(uint32_t key_group, std::string_view prefix) override;
  absl::Status Scan(uint32_t key_group, std::string_view prefix, RowFn row) override;
  absl::Status ScanAll(GroupRowFn row) override;

  // For the store.
  const TableIdentity& identity() const { return identity_; }
  uint64_t memory_bytes() const { return charged_bytes_; }
  uint64_t rows() const { return rows_.rows() + cold_rows_; }
  absl::Status Evict();
  // What a copy of the rows takes that no segment has in their newest version.
  uint64_t DirtyBytes() const;
  void Freeze(FrozenDelta& delta);
  // Restore: in the order of the segments.
  absl::Status Restore(std::string_view row_key, const std::string* value);

 private:
  using Row = RowTree::Row;
  enum Flag : uint8_t {
    // Deleted. While nothing is cold, the row is not in the tree, but only among the dirty ones;
    // else it is, and hides what is perhaps in the cold store.
    kGone = 1,
    kInCold = 2,  // The cold store has this very version.
    // No segment has any version of it: when it goes before the next barrier, it never was.
    kUnrecorded = 4,
  };

  absl::Status CheckRow(uint32_t key_group, std::string_view key, std::string_view value) const;
  void MarkDirty(Row* row);
  void MarkClean(Row* row);
  // Takes the row out of the tree, or leaves it as gone.
  void Remove(uint32_t key_group, std::string_view key, bool dirty);
  // The row is out of the tree, and nothing is cold.
  void Drop(Row* row, bool dirty);
  absl::Status ScanGroup(uint32_t key_group, std::string_view prefix, GroupRowFn row, bool& more);
  // All rows; `added`: how many the cold store did not have.
  absl::Status WriteTo(EvictionRun& run, uint64_t& added) const;
  // An empty table keeps its memory for the rows to come until the next barrier.
  void GiveBack();
  // Tells the budget what has changed since the last call.
  void Settle();

  StoreContext& store_;
  const TableIdentity identity_;
  RowTree rows_;
  // Rows that no segment has in their newest version; `mark` of a row is 1 + its place here.
  std::vector<Row*> dirty_;
  uint64_t charged_bytes_ = 0;
  uint64_t cold_rows_ = 0;  // An upper bound; 0: nothing of this table is cold.
};

}  // namespace millrace
