#include "runtime/state/open_state_store.h"

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

#include "millrace/v1/checkpoint.pb.h"
#include "runtime/base/failpoint.h"
#include "runtime/base/status.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"
#include "runtime/checkpoint/segment_file.h"
#include "runtime/checkpoint/storage.h"
#include "runtime/state/cold_store.h"
#include "runtime/state/memory_budget.h"
#include "runtime/state/memory_keyed_table.h"
#include "runtime/state/memory_pane_table.h"
#include "runtime/state/store_context.h"

namespace millrace {
namespace {

// A store that is over its share evicts down to this part of it.
constexpr double kEvictTo = 0.7;
// Of the budget's share: what the cold store and a merge's scratch table may take.
constexpr uint64_t kColdMemoryPart = 10;
constexpr uint64_t kScratchPart = 4;
constexpr uint64_t kScratchBytesMin = 1 << 20;

class SegmentedStateStore final : public StateStore, public StoreContext {
 public:
  explicit SegmentedStateStore(StateStoreOptions options)
      : options_(std::move(options)),
        storage_(options_.storage),
        disk_(options_.env.disk),
        budget_(options_.budget),
        chain_(storage_, {.uid = options_.uid, .prefix = options_.name_prefix}, options_.key_groups,
               options_.limits) {
    budget_.AddStore();
  }

  ~SegmentedStateStore() override {
    budget_.Charge(-static_cast<int64_t>(memory_bytes_));
    budget_.RemoveStore();
  }

  absl::Status Restore() {
    for (const v1::Segment& segment : options_.restore) {
      if (segment.kind() != v1::Segment::KIND_STATE_DELTA &&
          segment.kind() != v1::Segment::KIND_STATE_BASE) {
        return absl::InvalidArgumentError(Concat("segment ", segment.name(), " holds no state"));
      }
      v1::Segment mine = segment;
      mine.set_key_group_first(
          std::max(segment.key_group_first(), uint32_t{options_.key_groups.first}));
      mine.set_key_group_last(
          std::min(segment.key_group_last(), uint32_t{options_.key_groups.last}));
      if (mine.key_group_first() > mine.key_group_last()) continue;
      MILLRACE_RETURN_IF_ERROR(RestoreSegment(mine));
      chain_.AddRestored(mine);
      epoch_ = std::max(epoch_, Epoch{segment.epoch()});
    }
    for (auto& [id, table] : pane_tables_) {
      const auto found = restored_drops_.find(id);
      int64_t horizon = std::numeric_limits<int64_t>::min();
      if (found != restored_drops_.end()) {
        horizon = *std::min_element(found->second.begin(), found->second.end());
      }
      MILLRACE_RETURN_IF_ERROR(table->FinishRestore(horizon));
    }
    restored_drops_.clear();
    return absl::OkStatus();
  }

  absl::StatusOr<PaneTable*> OpenPaneTable(
      std::string_view name, std::shared_ptr<const AccumulatorLayout> layout) override {
    MILLRACE_ASSIGN_OR_RETURN(const TableIdentity identity,
                              Register({.id = TableIdOf(name),
                                        .kind = TableKind::kPane,
                                        .width = static_cast<uint32_t>(layout->width()),
                                        .name = std::string(name)}));
    MemoryPaneTable& table = *pane_tables_.at(identity.id);
    table.set_layout(std::move(layout));
    return &table;
  }

  absl::StatusOr<KeyedTable*> OpenKeyedTable(std::string_view name) override {
    MILLRACE_ASSIGN_OR_RETURN(const TableIdentity identity, Register({.id = TableIdOf(name),
                                                                      .kind = TableKind::kKeyed,
                                                                      .width = 0,
                                                                      .name = std::string(name)}));
    return keyed_tables_.at(identity.id).get();
  }

  absl::StatusOr<SegmentWork> FreezeEpoch(Epoch epoch) override {
    MILLRACE_FAILPOINT("state.freeze");
    MILLRACE_RETURN_IF_ERROR(MakeRoomToFreeze());
    auto delta = std::make_unique<FrozenDelta>(budget_);
    for (const auto& [id, table] : identities_) delta->AddTable(table);
    for (auto& [id, table] : pane_tables_) table->Freeze(*delta);
    for (auto& [id, table] : keyed_tables_) table->Freeze(*delta);
    delta->ChargeAll();
    if (!delta->empty()) chain_.AddDelta(epoch, std::move(delta));
    epoch_ = epoch;
    return chain_.TakeWork(epoch);
  }

  // What the epoch froze stays in the chain of segments: the next work makes durable what this one
  // has not, and returns all.
  void AbandonEpoch(Epoch) override {}

  uint64_t memory_bytes() const override { return memory_bytes_; }
  uint64_t cold_bytes() const override { return cold_ == nullptr ? 0 : cold_->bytes(); }
  ColdStore::Stats cold_stats() const override {
    return cold_ == nullptr ? ColdStore::Stats{} : cold_->stats();
  }
  uint64_t rows() const override {
    uint64_t rows = 0;
    for (const auto& [id, table] : pane_tables_) rows += table->rows();
    for (const auto& [id, table] : keyed_tables_) rows += table->rows();
    return rows;
  }

 private:
  class ColdAndSegmentRun final : public EvictionRun {
   public:
    ColdAndSegmentRun(SegmentedStateStore& store, const TableIdentity& table,
                      std::unique_ptr<ColdStore::Run> cold)
        : store_(store), table_(table), cold_(std::move(cold)) {}

    absl::Status Add(StateOp op, std::string_view key, std::string_view value, bool to_cold,
                     bool to_segment) override {
      if (to_cold) {
        MILLRACE_RETURN_IF_ERROR(op == StateOp::kPut ? cold_->Put(key, value) : cold_->Delete(key));
      }
      if (!to_segment) return absl::OkStatus();
      if (segment_ == nullptr) {
        MILLRACE_ASSIGN_OR_RETURN(segment_,
                                  store_.chain_.BeginRun(Epoch{store_.epoch_.number + 1}));
        EncodeTable(table_, record_);
        MILLRACE_RETURN_IF_ERROR(segment_->Append(record_));
      }
      EncodeRow(op, key, value, record_);
      return segment_->Append(record_);
    }

    absl::Status Finish() override {
      MILLRACE_RETURN_IF_ERROR(cold_->Finish());
      return segment_ == nullptr ? absl::OkStatus() : store_.chain_.AddRun(std::move(segment_));
    }

   private:
    SegmentedStateStore& store_;
    const TableIdentity table_;
    const std::unique_ptr<ColdStore::Run> cold_;
    std::unique_ptr<SegmentWriter> segment_;
    std::string record_;
  };

  absl::StatusOr<std::unique_ptr<EvictionRun>> BeginEviction(const TableIdentity& table) override {
    if (cold_ == nullptr) {
      if (options_.cold_folder.empty()) {
        cold_ = MakeMemoryColdStore();
      } else {
        MILLRACE_ASSIGN_OR_RETURN(
            cold_, OpenRocksdbColdStore(options_.cold_folder, disk_, Share() / kColdMemoryPart));
        Charge(static_cast<int64_t>(cold_->memory_bytes()));
      }
      // A drop before the first eviction has nothing cold to hide.
    }
    MILLRACE_ASSIGN_OR_RETURN(std::unique_ptr<ColdStore::Run> run, cold_->BeginRun());
    return std::make_unique<ColdAndSegmentRun>(*this, table, std::move(run));
  }

  uint64_t Share() const { return budget_.ShareOf(memory_bytes_); }

  absl::Status MakeRoom(uint64_t more_bytes) override {
    if (memory_bytes_ + more_bytes <= Share()) return absl::OkStatus();
    return EvictTo(static_cast<uint64_t>(static_cast<double>(Share()) * kEvictTo));
  }

  // Copies of the dirty rows must fit into the budget too; when they do not, the largest tables are
  // evicted, which writes their dirty rows to a segment at once.
  absl::Status MakeRoomToFreeze() {
    while (true) {
      uint64_t dirty = 0;
      for (const auto& [id, table] : pane_tables_) dirty += table->DirtyBytes();
      for (const auto& [id, table] : keyed_tables_) dirty += table->DirtyBytes();
      if (dirty == 0 || memory_bytes_ + dirty <= Share()) return absl::OkStatus();
      MILLRACE_ASSIGN_OR_RETURN(const bool evicted, EvictLargest());
      if (!evicted) return absl::OkStatus();
    }
  }

  absl::Status EvictTo(uint64_t bytes) {
    while (memory_bytes_ > bytes) {
      MILLRACE_ASSIGN_OR_RETURN(const bool evicted, EvictLargest());
      if (!evicted) break;
    }
    return absl::OkStatus();
  }

  // False: nothing is in memory.
  absl::StatusOr<bool> EvictLargest() {
    MemoryPaneTable* pane_table = nullptr;
    MemoryKeyedTable* keyed_table = nullptr;
    MemoryPaneTable::PaneSize largest;
    for (const auto& [id, table] : pane_tables_) {
      if (const auto size = table->LargestPane(); size.bytes > largest.bytes) {
        largest = size;
        pane_table = table.get();
      }
    }
    for (const auto& [id, table] : keyed_tables_) {
      if (table->memory_bytes() > largest.bytes) {
        largest.bytes = table->memory_bytes();
        keyed_table = table.get();
      }
    }
    if (largest.bytes == 0) return false;
    const absl::Status status =
        keyed_table != nullptr ? keyed_table->Evict() : pane_table->Evict(largest.pane);
    if (!status.ok()) return Annotate(status, "cannot evict state");
    return true;
  }

  void Charge(int64_t bytes) override {
    memory_bytes_ = static_cast<uint64_t>(static_cast<int64_t>(memory_bytes_) + bytes);
    budget_.Charge(bytes);
  }
  ColdStore* cold() override { return cold_.get(); }
  uint64_t scratch_bytes_max() override {
    return std::max(kScratchBytesMin, Share() / kScratchPart);
  }
  MemoryBudget& budget() override { return budget_; }
  KeyGroupRange key_groups() const override { return options_.key_groups; }
  uint32_t max_parallelism() const override { return options_.max_parallelism; }

  absl::StatusOr<TableIdentity> Register(TableIdentity identity) {
    const auto [at, added] = identities_.try_emplace(identity.id, identity);
    if (!added) {
      if (at->second == identity) return identity;
      return absl::InvalidArgumentError(
          Concat("state table ", identity.name, " of ", options_.uid,
                 at->second.name == identity.name ? " exists with another kind or width"
                                                  : " has the same id as table ",
                 at->second.name == identity.name ? "" : at->second.name));
    }
    if (identity.kind == TableKind::kPane) {
      pane_tables_[identity.id] = std::make_unique<MemoryPaneTable>(*this, identity);
    } else {
      keyed_tables_[identity.id] = std::make_unique<MemoryKeyedTable>(*this, identity);
    }
    return identity;
  }

  absl::Status RestoreSegment(const v1::Segment& segment) {
    std::string value;
    return ReadSegment(storage_, segment, [&](std::string_view bytes) {
      return Annotate(RestoreRecord(segment, bytes, value),
                      Concat("cannot restore segment ", segment.name()));
    });
  }

  absl::Status RestoreRecord(const v1::Segment& segment, std::string_view bytes,
                             std::string& value) {
    MILLRACE_ASSIGN_OR_RETURN(const StateRecord record, ParseStateRecord(bytes));
    const KeyGroupRange range{segment.key_group_first(), segment.key_group_last()};
    if (record.op == StateOp::kTable) return Register(record.table).status();
    const auto table = identities_.find(record.table_id);
    if (table == identities_.end()) {
      return absl::DataLossError("a record belongs to a table that is not in its segment");
    }
    if (record.op == StateOp::kDrop) {
      if (table->second.kind != TableKind::kPane) {
        return absl::DataLossError("a record drops a pane of a table without panes");
      }
      NoteDrop(record.table_id, record.pane, range);
      return pane_tables_.at(record.table_id)->RestoreDrop(record.pane, range);
    }
    MILLRACE_RETURN_IF_ERROR(CheckRow(table->second, record));
    if (!range.Contains(KeyGroupOfRow(record.key))) return absl::OkStatus();
    MILLRACE_RETURN_IF_ERROR(MakeRoom(0));
    if (table->second.kind == TableKind::kPane) {
      return pane_tables_.at(record.table_id)->RestoreRow(record.key, record.value);
    }
    value.assign(record.value);
    return keyed_tables_.at(record.table_id)
        ->Restore(record.key, record.op == StateOp::kPut ? &value : nullptr);
  }

  // A pane counts as dropped when it was dropped in every key group of the task.
  void NoteDrop(uint32_t table, int64_t pane, KeyGroupRange range) {
    const KeyGroupRange all = options_.key_groups;
    std::vector<int64_t>& drops = restored_drops_[table];
    drops.resize(all.last - all.first + 1, std::numeric_limits<int64_t>::min());
    for (uint32_t group = range.first; group <= range.last; ++group) {
      drops[group - all.first] = std::max(drops[group - all.first], pane);
    }
  }

  const StateStoreOptions options_;
  CheckpointStorage& storage_;
  Disk& disk_;
  MemoryBudget& budget_;
  uint64_t memory_bytes_ = 0;
  std::unique_ptr<ColdStore> cold_;  // Opened by the first eviction.
  std::map<uint32_t, TableIdentity> identities_;
  std::map<uint32_t, std::unique_ptr<MemoryPaneTable>> pane_tables_;
  std::map<uint32_t, std::unique_ptr<MemoryKeyedTable>> keyed_tables_;
  std::map<uint32_t, std::vector<int64_t>> restored_drops_;  // By key group; only while restoring.
  SegmentChain chain_;
  Epoch epoch_;  // Frozen last.
};

}  // namespace

absl::StatusOr<std::unique_ptr<StateStore>> OpenStateStore(StateStoreOptions options) {
  if (options.key_groups.first > options.key_groups.last ||
      options.key_groups.last >= options.max_parallelism || options.max_parallelism > 65536) {
    return absl::InvalidArgumentError(
        Concat("the key groups of ", options.uid, " are out of range"));
  }
  auto store = std::make_unique<SegmentedStateStore>(std::move(options));
  MILLRACE_RETURN_IF_ERROR(store->Restore());
  return store;
}

}  // namespace millrace
