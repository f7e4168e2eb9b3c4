// KeyedTable as an ordered map in memory that caches the cold store underneath: a row that is not
// in memory is looked up there, an evicted table begins again empty.
//
// Threading, ownership, errors: as StateStore.
#pragma once

#include <cstdint>
#include <string>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_set.h"
#include "runtime/state/state_store.h"
#include "runtime/state/store_context.h"

namespace millrace {

class MemoryKeyedTable final : public KeyedTable {
 public:
  MemoryKeyedTable(StoreContext& store, TableIdentity identity);

  absl::StatusOr<bool> Get(uint32_t key_group, std::string_view key, std::string* value) override;
  absl::Status Put(uint32_t key_group, std::string_view key, std::string_view value) override;
  absl::Status Delete(uint32_t key_group, std::string_view key) override;
  absl::Status Scan(uint32_t key_group, std::string_view prefix, const RowFn& row) override;
  absl::Status ScanAll(const std::function<bool(uint32_t key_group, std::string_view key,
                                                std::string_view value)>& row) override;

  // For the store.
  const TableIdentity& identity() const { return identity_; }
  uint64_t memory_bytes() const { return memory_bytes_; }
  uint64_t rows() const { return rows_.size() + cold_rows_; }
  absl::Status Evict();
  uint64_t DirtyBytes() const;
  void Freeze(FrozenDelta& delta);
  // Restore: in the order of the segments.
  absl::Status Restore(std::string_view row_key, const std::string* value);

 private:
  // Values of rows_, by row key.
  struct Row {
    std::string value;
    bool exists = true;    // False: deleted, but perhaps still in the cold store.
    bool in_cold = false;  // The cold store has this very version.
  };
  using Rows = absl::btree_map<std::string, Row, std::less<>>;

  std::string RowKey(uint32_t key_group, std::string_view key) const;
  void Set(std::string row_key, Row row, bool dirty);
  void MarkDirty(const std::string& row_key);
  // Rows with this prefix, memory over cold; `row` gets the whole row key.
  absl::Status ScanPrefix(const std::string& prefix, const RowFn& row);
  void ChargeMemory(int64_t bytes);

  StoreContext& store_;
  const TableIdentity identity_;
  Rows rows_;
  absl::flat_hash_set<std::string> dirty_;  // Row keys that no segment has in their newest version.
  uint64_t memory_bytes_ = 0;
  uint64_t cold_rows_ = 0;  // An upper bound; 0: nothing of this table is cold.
};

}  // namespace millrace
