// Keyed state of one operator in one task: named tables in memory, with a cold store (RocksDB)
// underneath when the memory budget is used up, snapshotted per epoch as delta and base segments.
//
// Two kinds of table:
//  - PaneTable: mergeable accumulators per (pane, key), updated in place at memory speed. Evicted
//    rows are partial results; reading merges them. Panes are dropped whole.
//  - KeyedTable: any bytes per key, read through from the cold store, ordered scans by prefix.
//
// Threading: the task thread; FreezeEpoch returns work that runs on an io thread.
// Ownership: the task owns the store, the store its tables; operators borrow tables.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/base/ids.h"
#include "runtime/checkpoint/segment_file.h"
#include "runtime/columns/keys.h"
#include "runtime/state/cold_store.h"

namespace millrace {

// How the value of a PaneTable is laid out and merged: fixed width, 8-byte aligned, all zero bytes
// = the neutral element. Immutable after construction; called on the task and on io threads.
class AccumulatorLayout {
 public:
  virtual ~AccumulatorLayout() = default;
  virtual size_t width() const = 0;
  // into := into ⊕ from. `from` may be another incarnation of the same row (evicted or restored).
  virtual void Merge(uint8_t* into, const uint8_t* from) const = 0;
};

// Accumulators per (pane, key). A pane is an int64 chosen by the operator (its end in event time).
class PaneTable {
 public:
  virtual ~PaneTable() = default;

  // For row i: finds or creates the accumulator of (pane, keys.key(i)) and stores its address in
  // `values[i]`; marks it dirty. Rows with `selected` given: only those rows are touched, and
  // `values` is parallel to `selected`. Addresses are valid until the next call of any method.
  // keys.hashes decides the key group; but for that (hash modulo max_parallelism) it must be
  // HashKey(key), so that rows which belong to another key's group can stand beside it.
  virtual absl::Status Upsert(int64_t pane, const EncodedKeys& keys,
                              std::span<const int32_t> selected, std::span<uint8_t*> values) = 0;

  // Panes that hold rows (in memory or cold), ascending.
  virtual std::vector<int64_t> Panes() const = 0;

  // Merges the rows of `panes` key by key and hands over each key once, in runs of at most
  // `rows_max`. Resumable: begin with an empty cursor and call until `done`. Rows are not consumed.
  // Between two calls the panes involved must not change. Memory is bounded by the budget: with
  // cold rows, the work is done key group by key group.
  struct MergedRows {
    std::string key_bytes;              // Concatenated encoded keys.
    std::vector<uint32_t> key_offsets;  // rows + 1.
    std::vector<uint32_t> key_groups;
    std::vector<uint8_t> values;  // rows * width, 8-byte aligned.
    size_t rows() const { return key_groups.size(); }
    std::string_view key(size_t i) const {
      return std::string_view(key_bytes).substr(key_offsets[i],
                                                key_offsets[i + 1] - key_offsets[i]);
    }
  };
  class Cursor {
   public:
    virtual ~Cursor() = default;
    // Replaces `out`; empty at the end.
    virtual absl::Status Next(size_t rows_max, MergedRows& out) = 0;
  };
  virtual absl::StatusOr<std::unique_ptr<Cursor>> Merge(std::span<const int64_t> panes) = 0;

  // Frees everything of panes <= `pane`, in memory and cold; recorded in the next delta. None of
  // them comes back: Upsert refuses them (kFailedPrecondition).
  virtual absl::Status DropPanesUpTo(int64_t pane) = 0;

  virtual uint64_t rows_in_memory() const = 0;
};

// Any bytes per (key group, key). Keys order as by memcmp within a key group.
class KeyedTable {
 public:
  virtual ~KeyedTable() = default;
  // False: there is no such row. Reads through to the cold store.
  virtual absl::StatusOr<bool> Get(uint32_t key_group, std::string_view key,
                                   std::string* value) = 0;
  virtual absl::Status Put(uint32_t key_group, std::string_view key, std::string_view value) = 0;
  // Puts the row, unless there is one with this key: then false, and that one's value.
  virtual absl::StatusOr<bool> Insert(uint32_t key_group, std::string_view key,
                                      std::string_view value, std::string* there) = 0;
  virtual absl::Status Delete(uint32_t key_group, std::string_view key) = 0;
  // All rows of the key group whose key begins with `prefix`.
  virtual absl::Status DeletePrefix(uint32_t key_group, std::string_view prefix) = 0;
  // Calls `row` for each row of the key group whose key begins with `prefix`, in key order, until
  // it returns false. `row` must not call the table.
  using RowFn = absl::FunctionRef<bool(std::string_view key, std::string_view value)>;
  virtual absl::Status Scan(uint32_t key_group, std::string_view prefix, RowFn row) = 0;
  // All key groups of the task, for rebuilding derived structures in Open.
  using GroupRowFn =
      absl::FunctionRef<bool(uint32_t key_group, std::string_view key, std::string_view value)>;
  virtual absl::Status ScanAll(GroupRowFn row) = 0;
};

class StateStore {
 public:
  virtual ~StateStore() = default;

  // Opens or makes a table; called in Operator::Open. `name` is part of the state's identity:
  // (job, uid, name). kInvalidArgument: the same name with another kind or width.
  virtual absl::StatusOr<PaneTable*> OpenPaneTable(
      std::string_view name, std::shared_ptr<const AccumulatorLayout> layout) = 0;
  virtual absl::StatusOr<KeyedTable*> OpenKeyedTable(std::string_view name) = 0;

  // Freezes the rows changed since the last call (microseconds to a few ms: copies dirty rows) and
  // returns the work that makes them durable and gives all segments that make up the owner's state
  // at that epoch, in order of application (the newest base first). One at a time: the returned
  // work must have run (or have been dropped, with AbandonEpoch) before the next call.
  virtual absl::StatusOr<SegmentWork> FreezeEpoch(Epoch epoch) = 0;
  // The epoch did not complete: its changes belong to the next one.
  virtual void AbandonEpoch(Epoch epoch) = 0;
  // While `keep`, epochs only add segments to those that there are: no new base.
  virtual void KeepSegments(bool keep) = 0;

  // Bytes in memory, as charged to the worker's budget.
  virtual uint64_t memory_bytes() const = 0;
  virtual uint64_t cold_bytes() const = 0;
  virtual uint64_t rows() const = 0;
  virtual ColdStore::Stats cold_stats() const = 0;
};

}  // namespace millrace
