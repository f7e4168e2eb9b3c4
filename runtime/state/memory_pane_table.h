// PaneTable on RowTables. Each pane has parts, one per incarnation; the newest takes updates, older
// ones (restored) and cold rows are partial results that Merge combines. Evicting a pane moves its
// parts to the cold store; the next update begins a new incarnation, so that an update never reads.
//
// Threading, ownership, errors: as StateStore.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <vector>

#include "runtime/state/row_table.h"
#include "runtime/state/state_store.h"
#include "runtime/state/store_context.h"

namespace millrace {

class MemoryPaneTable final : public PaneTable {
 public:
  MemoryPaneTable(StoreContext& store, TableIdentity identity);

  absl::Status Upsert(int64_t pane, const EncodedKeys& keys, std::span<const int32_t> selected,
                      std::span<uint8_t*> values) override;
  std::vector<int64_t> Panes() const override;
  absl::StatusOr<std::unique_ptr<Cursor>> Merge(std::span<const int64_t> panes) override;
  absl::Status DropPanesUpTo(int64_t pane) override;
  uint64_t rows_in_memory() const override;

  // For the store.
  const TableIdentity& identity() const { return identity_; }
  void set_layout(std::shared_ptr<const AccumulatorLayout> layout) { layout_ = std::move(layout); }
  uint64_t rows() const;
  struct PaneSize {
    int64_t pane = 0;
    uint64_t bytes = 0;
  };
  PaneSize LargestPane() const;  // That may be evicted.
  absl::Status Evict(int64_t pane);
  uint64_t DirtyBytes() const;
  void Freeze(FrozenDelta& delta);

  // Restore: rows in the order of their segments; a later one replaces an earlier one.
  absl::Status RestoreRow(std::string_view row_key, std::string_view value);
  absl::Status RestoreDrop(int64_t pane, KeyGroupRange range);
  // After the last: `horizon` = no key group of the task has panes up to this one.
  absl::Status FinishRestore(int64_t horizon);

 private:
  friend class PaneCursor;
  struct Part {
    uint32_t incarnation;
    RowTable rows;
  };
  struct Pane {
    std::vector<std::unique_ptr<Part>> parts;  // Ascending incarnation.
    uint64_t cold_rows = 0;                    // An upper bound.
    bool recount = false;                      // Cold rows were removed one by one.
    uint64_t memory_bytes() const;
  };

  Part& WritablePart(Pane& pane, size_t key_bytes);
  uint32_t KeyGroup(const RowTable& rows, uint32_t row) const {
    return KeyGroupOf(rows.hash(row), store_.max_parallelism());
  }
  // The hash that a stored row had: its key group may be another key's (see PaneTable::Upsert), the
  // rest is the key's own.
  uint64_t HashIn(uint32_t key_group, std::string_view key) const {
    const uint64_t own = HashKey(key);
    return own - own % store_.max_parallelism() + key_group;
  }
  absl::Status EvictPane(int64_t number, Pane& pane);
  absl::StatusOr<uint64_t> CountColdRows(int64_t number);

  StoreContext& store_;
  const TableIdentity identity_;
  std::shared_ptr<const AccumulatorLayout> layout_;
  std::map<int64_t, Pane> panes_;
  // Of new parts; larger than that of every cold row, so that none is replaced by mistake.
  uint32_t incarnation_ = 1;
  int64_t horizon_ = std::numeric_limits<int64_t>::min();  // Panes up to here were dropped ...
  bool horizon_set_ = false;                               // ... once this is true.
  int cursors_ = 0;            // Open ones; they keep the table's panes in memory.
  bool drop_unsaved_ = false;  // The horizon is not in any segment yet.
};

}  // namespace millrace
