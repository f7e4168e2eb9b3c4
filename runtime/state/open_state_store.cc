#include "runtime/state/open_state_store.h"

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <utility>

#include "millrace/v1/checkpoint.pb.h"
#include "runtime/base/failpoint.h"
#include "runtime/base/log.h"
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

std::string ReferenceOf(const v1::Segment& segment) {
  return Concat(segment.name(), " ", segment.key_group_first(), "-", segment.key_group_last());
}

bool Overlap(const v1::Segment& a, const v1::Segment& b) {
  return KeyGroupRange{a.key_group_first(), a.key_group_last()}.Overlaps(
      {b.key_group_first(), b.key_group_last()});
}

}  // namespace

class SegmentedStateStore final : public StateStore, public StoreContext {
 public:
  explicit SegmentedStateStore(StateStoreOptions options)
      : options_(std::move(options)), disk_(options_.env.disk), budget_(options_.budget) {
    budget_.AddStore();
  }

  ~SegmentedStateStore() override {
    budget_.Charge(-static_cast<int64_t>(memory_bytes_));
    budget_.RemoveStore();
  }

  // Applies what of `restore` has not been applied yet. kAborted: nothing was changed, because it
  // cannot be applied behind what was; begin anew.
  absl::Status Advance(CheckpointStorage& storage, const std::vector<v1::Segment>& restore) {
    MILLRACE_ASSIGN_OR_RETURN(const std::vector<v1::Segment> missing, NotApplied(restore));
    for (const v1::Segment& segment : missing) {
      MILLRACE_RETURN_IF_ERROR(RestoreSegment(storage, segment));
      applied_.push_back(segment);
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
    return absl::OkStatus();
  }

  // Ends the restore.
  void Open(const StateStoreOptions& options) {
    chain_.emplace(options.storage, SegmentOwner{.uid = options.uid, .prefix = options.name_prefix},
                   options.key_groups, options.limits);
    for (const v1::Segment& segment : applied_) chain_->AddRestored(segment);
    applied_.clear();
    restored_drops_.clear();
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
    if (!delta->empty()) chain_->AddDelta(epoch, std::move(delta));
    epoch_ = epoch;
    return chain_->TakeWork(epoch, !keep_segments_);
  }

  // What the epoch froze stays in the chain of segments: the next work makes durable what this one
  // has not, and returns all.
  void AbandonEpoch(Epoch) override {}
  void KeepSegments(bool keep) override { keep_segments_ = keep; }

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
                                  store_.chain_->BeginRun(Epoch{store_.epoch_.number + 1}));
        EncodeTable(table_, record_);
        MILLRACE_RETURN_IF_ERROR(segment_->Append(record_));
      }
      EncodeRow(op, key, value, record_);
      return segment_->Append(record_);
    }

    absl::Status Finish() override {
      MILLRACE_RETURN_IF_ERROR(cold_->Finish());
      return segment_ == nullptr ? absl::OkStatus() : store_.chain_->AddRun(std::move(segment_));
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

  // What of `restore` concerns this store's key groups and was not applied. kAborted: the rest is
  // not what was applied, or cannot be applied behind it: segments that overlap have an order.
  absl::StatusOr<std::vector<v1::Segment>> NotApplied(
      const std::vector<v1::Segment>& restore) const {
    std::vector<v1::Segment> mine;
    for (const v1::Segment& segment : restore) {
      if (segment.kind() != v1::Segment::KIND_STATE_DELTA &&
          segment.kind() != v1::Segment::KIND_STATE_BASE) {
        return absl::InvalidArgumentError(Concat("segment ", segment.name(), " holds no state"));
      }
      const uint32_t first = std::max(segment.key_group_first(), options_.key_groups.first);
      const uint32_t last = std::min(segment.key_group_last(), options_.key_groups.last);
      if (first > last) continue;
      v1::Segment& narrowed = mine.emplace_back(segment);
      narrowed.set_key_group_first(first);
      narrowed.set_key_group_last(last);
    }
    std::map<std::string, size_t> position;
    for (size_t i = 0; i < applied_.size(); ++i) position[ReferenceOf(applied_[i])] = i;
    std::vector<v1::Segment> missing;
    std::vector<size_t> found;
    for (const v1::Segment& segment : mine) {
      const auto at = position.find(ReferenceOf(segment));
      if (at == position.end()) {
        missing.push_back(segment);
        continue;
      }
      const bool behind_missing =
          std::any_of(missing.begin(), missing.end(),
                      [&](const v1::Segment& other) { return Overlap(other, segment); });
      const bool behind_later = std::any_of(found.begin(), found.end(), [&](size_t other) {
        return other >= at->second && Overlap(applied_[other], segment);
      });
      if (behind_missing || behind_later) {
        return absl::AbortedError("segments that were applied come in another order");
      }
      found.push_back(at->second);
    }
    if (found.size() != applied_.size()) {
      return absl::AbortedError("segments that were applied are no longer part of the state");
    }
    return missing;
  }

  absl::Status RestoreSegment(CheckpointStorage& storage, const v1::Segment& segment) {
    std::string value;
    return ReadSegment(storage, segment, [&](std::string_view bytes) {
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

  const StateStoreOptions options_;  // Its storage is not touched: it may be gone.
  Disk& disk_;
  MemoryBudget& budget_;
  uint64_t memory_bytes_ = 0;
  std::unique_ptr<ColdStore> cold_;  // Opened by the first eviction.
  std::map<uint32_t, TableIdentity> identities_;
  std::map<uint32_t, std::unique_ptr<MemoryPaneTable>> pane_tables_;
  std::map<uint32_t, std::unique_ptr<MemoryKeyedTable>> keyed_tables_;
  // Only while restoring: what was applied, narrowed to the key groups here, and drops by key
  // group.
  std::vector<v1::Segment> applied_;
  std::map<uint32_t, std::vector<int64_t>> restored_drops_;
  std::optional<SegmentChain> chain_;  // Since Open.
  bool keep_segments_ = false;
  Epoch epoch_;  // Frozen last.
};

StateRestore::StateRestore(StateStoreOptions options) : options_(std::move(options)) {}
StateRestore::~StateRestore() = default;

absl::StatusOr<bool> StateRestore::Advance(CheckpointStorage& storage,
                                           const std::vector<v1::Segment>& restore) {
  const bool has_applied = store_ != nullptr;
  absl::Status status;
  if (has_applied) status = store_->Advance(storage, restore);
  const bool anew = !has_applied || absl::IsAborted(status);
  if (anew) {
    store_.reset();  // It lets go of its folder first.
    store_ = std::make_unique<SegmentedStateStore>(options_);
    status = store_->Advance(storage, restore);
  }
  if (!status.ok()) {
    store_.reset();
    return status;
  }
  return !(has_applied && anew);
}

absl::StatusOr<std::unique_ptr<StateStore>> OpenStateStore(StateStoreOptions options,
                                                           std::unique_ptr<StateRestore> prepared) {
  if (options.key_groups.first > options.key_groups.last ||
      options.key_groups.last >= options.max_parallelism || options.max_parallelism > 65536) {
    return absl::InvalidArgumentError(
        Concat("the key groups of ", options.uid, " are out of range"));
  }
  const bool fits =
      prepared == nullptr || (options.uid == prepared->options_.uid &&
                              options.key_groups == prepared->options_.key_groups &&
                              options.max_parallelism == prepared->options_.max_parallelism);
  if (prepared == nullptr || !fits) prepared = std::make_unique<StateRestore>(options);
  MILLRACE_ASSIGN_OR_RETURN(const bool went_on,
                            prepared->Advance(options.storage, options.restore));
  if (!fits || !went_on) LogInfo("prepared state is not used", {{"uid", options.uid}});
  prepared->store_->Open(options);
  return std::move(prepared->store_);
}

}  // namespace millrace
