#include "runtime/state/memory_pane_table.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "runtime/base/check.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

// Order of key a + tail a against key b + tail b, as bytes.
bool TailedLess(std::string_view a, std::string_view a_tail, std::string_view b,
                std::string_view b_tail) {
  const size_t common = std::min(a.size(), b.size());
  if (const int order = std::memcmp(a.data(), b.data(), common); order != 0) return order < 0;
  if (a.size() == b.size()) return a_tail < b_tail;
  return std::string(a.substr(common)).append(a_tail) <
         std::string(b.substr(common)).append(b_tail);
}

std::string BigEndian(uint32_t value) {
  std::string out;
  AppendBigEndian32(value, out);
  return out;
}

}  // namespace

// Hands over merged rows, one range of key groups after the other, so that the scratch table of a
// range fits into memory. One part without cold rows needs no scratch at all.
class PaneCursor final : public PaneTable::Cursor {
 public:
  PaneCursor(MemoryPaneTable& table, std::span<const int64_t> panes) : table_(table) {
    ++table_.cursors_;
    uint64_t rows = 0;
    for (const int64_t number : panes) {
      const auto found = table.panes_.find(number);
      if (found == table.panes_.end()) continue;
      for (const auto& part : found->second.parts) {
        if (part->rows.rows() == 0) continue;
        parts_.push_back(&part->rows);
        rows += part->rows.rows();
      }
      if (found->second.cold_rows > 0) cold_panes_.push_back(number);
      rows += found->second.cold_rows;
    }
    std::sort(cold_panes_.begin(), cold_panes_.end());
    const KeyGroupRange all = table.store_.key_groups();
    next_group_ = all.first;
    if (parts_.size() == 1 && cold_panes_.empty()) {
      current_ = parts_[0];
      next_group_ = all.last + 1;
      return;
    }
    if (parts_.empty() && cold_panes_.empty()) next_group_ = all.last + 1;
    const uint64_t groups = all.last - all.first + 1;
    // Per row: the row, two slots, and room to grow.
    const uint64_t bytes = rows * (table.identity_.width + 64);
    const uint64_t ranges = std::clamp<uint64_t>(
        bytes / std::max<uint64_t>(1, table.store_.scratch_bytes_max()) + 1, 1, groups);
    groups_per_range_ = static_cast<uint32_t>((groups + ranges - 1) / ranges);
    if (!cold_panes_.empty()) cold_ = table.store_.cold()->NewIterator();
  }

  ~PaneCursor() override {
    ChargeScratch(0);
    --table_.cursors_;
  }

  absl::Status Next(size_t rows_max, PaneTable::MergedRows& out) override {
    out.key_bytes.clear();
    out.key_offsets.assign(1, 0);
    out.key_groups.clear();
    out.values.clear();
    while (current_ == nullptr || row_ == current_->rows()) {
      if (next_group_ > table_.store_.key_groups().last) return absl::OkStatus();
      MILLRACE_RETURN_IF_ERROR(FillScratch());
    }
    const auto n = static_cast<uint32_t>(std::min<uint64_t>(rows_max, current_->rows() - row_));
    const size_t width = current_->width();
    out.values.resize(n * width);
    uint8_t* value = out.values.data();
    for (uint32_t i = 0; i < n; ++i, value += width) {
      if (row_ + i + 8 < current_->rows()) current_->PrefetchRow(row_ + i + 8);
      out.key_bytes += current_->key(row_ + i);
      out.key_offsets.push_back(static_cast<uint32_t>(out.key_bytes.size()));
      out.key_groups.push_back(table_.KeyGroup(*current_, row_ + i));
      if (width > 0) std::memcpy(value, current_->value(row_ + i), width);
    }
    row_ += n;
    return absl::OkStatus();
  }

 private:
  absl::Status FillScratch() {
    const KeyGroupRange all = table_.store_.key_groups();
    const KeyGroupRange range{next_group_, std::min(all.last, next_group_ + groups_per_range_ - 1)};
    next_group_ = range.last + 1;
    row_ = 0;
    scratch_.reset();
    const size_t key_bytes =
        parts_.empty() || parts_[0]->rows() == 0 ? 9 : parts_[0]->key(0).size();
    scratch_ = std::make_unique<RowTable>(table_.identity_.width, key_bytes);
    current_ = scratch_.get();
    for (const RowTable* part : parts_) MergePart(*part, range, range == all);
    if (cold_ != nullptr) MILLRACE_RETURN_IF_ERROR(MergeCold(range));
    ChargeScratch(static_cast<int64_t>(scratch_->memory_bytes()));
    return absl::OkStatus();
  }

  void MergePart(const RowTable& part, KeyGroupRange range, bool everything) {
    std::array<uint64_t, RowTable::kBlock> hashes;
    std::array<std::string_view, RowTable::kBlock> keys;
    std::array<const uint8_t*, RowTable::kBlock> from;
    std::array<uint8_t*, RowTable::kBlock> into;
    size_t n = 0;
    const auto flush = [&] {
      scratch_->UpsertBlock({hashes.data(), n}, {keys.data(), n}, false, into.data());
      for (size_t i = 0; i < n; ++i) table_.layout_->Merge(into[i], from[i]);
      n = 0;
    };
    for (uint32_t row = 0; row < part.rows(); ++row) {
      if (row + 16 < part.rows()) part.PrefetchRow(row + 16);
      if (!everything && !range.Contains(table_.KeyGroup(part, row))) continue;
      hashes[n] = part.hash(row);
      keys[n] = part.key(row);
      from[n] = part.value(row);
      if (++n == RowTable::kBlock) flush();
    }
    if (n > 0) flush();
  }

  absl::Status MergeCold(KeyGroupRange range) {
    std::string prefix;
    for (uint32_t group = range.first; group <= range.last; ++group) {
      for (const int64_t pane : cold_panes_) {
        prefix.clear();
        AppendPanePrefix(table_.identity_.id, group, pane, prefix);
        // Prefixes ascend: often the iterator stands there already.
        if (!cold_->Valid() || cold_->key() < prefix) cold_->Seek(prefix);
        for (; cold_->Valid() && cold_->key().substr(0, prefix.size()) == prefix; cold_->Next()) {
          const std::string_view key = KeyOfPaneRow(cold_->key());
          const std::string_view value = cold_->value();
          if (value.size() != table_.identity_.width) {
            return absl::InternalError("a cold row has a value of the wrong width");
          }
          // The accumulator may be read as whole words.
          aligned_.resize((value.size() + 7) / 8);
          if (!value.empty()) std::memcpy(aligned_.data(), value.data(), value.size());
          table_.layout_->Merge(scratch_->UpsertOne(table_.HashIn(group, key), key, false),
                                reinterpret_cast<const uint8_t*>(aligned_.data()));
        }
        MILLRACE_RETURN_IF_ERROR(cold_->status());
      }
    }
    return absl::OkStatus();
  }

  void ChargeScratch(int64_t bytes) {
    table_.store_.budget().Charge(bytes - charged_);
    charged_ = bytes;
  }

  MemoryPaneTable& table_;
  std::vector<const RowTable*> parts_;
  std::vector<int64_t> cold_panes_;
  std::unique_ptr<ColdStore::Iterator> cold_;
  uint32_t next_group_ = 0;
  uint32_t groups_per_range_ = 1;
  std::unique_ptr<RowTable> scratch_;
  const RowTable* current_ = nullptr;  // Handed over now: the scratch, or the only part.
  uint32_t row_ = 0;
  std::vector<uint64_t> aligned_;
  int64_t charged_ = 0;
};

uint64_t MemoryPaneTable::Pane::memory_bytes() const {
  uint64_t bytes = 0;
  for (const auto& part : parts) bytes += part->rows.memory_bytes();
  return bytes;
}

MemoryPaneTable::MemoryPaneTable(StoreContext& store, TableIdentity identity)
    : store_(store), identity_(std::move(identity)) {}

MemoryPaneTable::Part& MemoryPaneTable::WritablePart(Pane& pane, size_t key_bytes) {
  if (pane.parts.empty()) {
    pane.parts.push_back(std::unique_ptr<Part>(
        new Part{.incarnation = incarnation_, .rows = RowTable(identity_.width, key_bytes)}));
  }
  return *pane.parts.back();
}

absl::Status MemoryPaneTable::Upsert(int64_t pane, const EncodedKeys& keys,
                                     std::span<const int32_t> selected,
                                     std::span<uint8_t*> values) {
  if (horizon_set_ && pane <= horizon_) {
    return absl::FailedPreconditionError(
        Concat("pane ", pane, " of state table ", identity_.name, " was dropped already"));
  }
  if (values.empty()) return absl::OkStatus();
  const auto found = panes_.find(pane);
  const bool exists = found != panes_.end() && !found->second.parts.empty();
  MILLRACE_RETURN_IF_ERROR(
      store_.MakeRoom(exists ? found->second.parts.back()->rows.GrowthBytes(values.size()) : 0));
  RowTable& rows = WritablePart(panes_[pane], keys.key(0).size()).rows;
  const auto before = static_cast<int64_t>(rows.memory_bytes());
  rows.Upsert(keys, selected, /*mark_dirty=*/true, values);
  store_.Charge(static_cast<int64_t>(rows.memory_bytes()) - before);
  return absl::OkStatus();
}

std::vector<int64_t> MemoryPaneTable::Panes() const {
  std::vector<int64_t> panes;
  for (const auto& [number, pane] : panes_) panes.push_back(number);
  return panes;
}

absl::StatusOr<std::unique_ptr<PaneTable::Cursor>> MemoryPaneTable::Merge(
    std::span<const int64_t> panes) {
  return std::make_unique<PaneCursor>(*this, panes);
}

absl::Status MemoryPaneTable::DropPanesUpTo(int64_t pane) {
  if (horizon_set_ && pane <= horizon_) return absl::OkStatus();
  horizon_ = pane;
  horizon_set_ = true;
  drop_unsaved_ = true;
  bool any_cold = false;
  while (!panes_.empty() && panes_.begin()->first <= pane) {
    const Pane& oldest = panes_.begin()->second;
    any_cold |= oldest.cold_rows > 0;
    store_.Charge(-static_cast<int64_t>(oldest.memory_bytes()));
    panes_.erase(panes_.begin());
  }
  if (any_cold) store_.cold()->DropPanesUpTo(identity_.id, pane);
  return absl::OkStatus();
}

uint64_t MemoryPaneTable::rows_in_memory() const {
  uint64_t rows = 0;
  for (const auto& [number, pane] : panes_) {
    for (const auto& part : pane.parts) rows += part->rows.rows();
  }
  return rows;
}

uint64_t MemoryPaneTable::rows() const {
  uint64_t rows = rows_in_memory();
  for (const auto& [number, pane] : panes_) rows += pane.cold_rows;
  return rows;
}

MemoryPaneTable::PaneSize MemoryPaneTable::LargestPane() const {
  PaneSize largest;
  if (cursors_ > 0) return largest;
  for (const auto& [number, pane] : panes_) {
    if (const uint64_t bytes = pane.memory_bytes(); bytes > largest.bytes) {
      largest = {number, bytes};
    }
  }
  return largest;
}

absl::Status MemoryPaneTable::Evict(int64_t number) { return EvictPane(number, panes_.at(number)); }

absl::Status MemoryPaneTable::EvictPane(int64_t number, Pane& pane) {
  struct Ref {
    uint32_t part;
    uint32_t row;
  };
  // By key group first (a counting sort), so that comparing keys needs little memory.
  const KeyGroupRange range = store_.key_groups();
  std::vector<size_t> starts(range.last - range.first + 2, 0);
  size_t total = 0;
  for (const auto& part : pane.parts) {
    for (uint32_t row = 0; row < part->rows.rows(); ++row) {
      const uint32_t group = KeyGroup(part->rows, row);
      MILLRACE_CHECK(range.Contains(group));
      ++starts[group - range.first + 1];
    }
    total += part->rows.rows();
  }
  for (size_t i = 1; i < starts.size(); ++i) starts[i] += starts[i - 1];
  std::vector<Ref> refs(total);
  std::vector<size_t> fill(starts.begin(), starts.end() - 1);
  for (uint32_t p = 0; p < pane.parts.size(); ++p) {
    const RowTable& rows = pane.parts[p]->rows;
    for (uint32_t row = 0; row < rows.rows(); ++row) {
      refs[fill[KeyGroup(rows, row) - range.first]++] = {p, row};
    }
  }
  std::vector<std::string> tails;
  for (const auto& part : pane.parts) tails.push_back(BigEndian(part->incarnation));

  MILLRACE_ASSIGN_OR_RETURN(std::unique_ptr<EvictionRun> run, store_.BeginEviction(identity_));
  struct Entry {
    std::string_view key;
    Ref ref;
  };
  std::vector<Entry> entries;
  std::string row_key;
  for (uint32_t group = range.first; group <= range.last; ++group) {
    const size_t first = starts[group - range.first];
    const size_t last = starts[group - range.first + 1];
    entries.clear();
    for (size_t i = first; i < last; ++i) {
      entries.push_back({pane.parts[refs[i].part]->rows.key(refs[i].row), refs[i]});
    }
    std::sort(entries.begin(), entries.end(), [&tails](const Entry& a, const Entry& b) {
      return TailedLess(a.key, tails[a.ref.part], b.key, tails[b.ref.part]);
    });
    row_key.clear();
    AppendPanePrefix(identity_.id, group, number, row_key);
    for (const Entry& entry : entries) {
      const RowTable& rows = pane.parts[entry.ref.part]->rows;
      row_key.resize(kPanePrefixBytes);
      row_key += entry.key;
      row_key += tails[entry.ref.part];
      const std::string_view value(reinterpret_cast<const char*>(rows.value(entry.ref.row)),
                                   rows.width());
      MILLRACE_RETURN_IF_ERROR(run->Add(StateOp::kPut, row_key, value, /*to_cold=*/true,
                                        /*to_segment=*/rows.dirty(entry.ref.row)));
    }
  }
  MILLRACE_RETURN_IF_ERROR(run->Finish());
  for (const auto& part : pane.parts) incarnation_ = std::max(incarnation_, part->incarnation + 1);
  store_.Charge(-static_cast<int64_t>(pane.memory_bytes()));
  pane.parts.clear();
  pane.cold_rows += total;
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> MemoryPaneTable::CountColdRows(int64_t number) {
  const std::unique_ptr<ColdStore::Iterator> cold = store_.cold()->NewIterator();
  const KeyGroupRange range = store_.key_groups();
  uint64_t rows = 0;
  std::string prefix;
  for (uint32_t group = range.first; group <= range.last; ++group) {
    prefix.clear();
    AppendPanePrefix(identity_.id, group, number, prefix);
    for (cold->Seek(prefix); cold->Valid() && cold->key().starts_with(prefix); cold->Next()) ++rows;
    MILLRACE_RETURN_IF_ERROR(cold->status());
  }
  return rows;
}

uint64_t MemoryPaneTable::DirtyBytes() const {
  uint64_t bytes = 0;
  for (const auto& [number, pane] : panes_) {
    for (const auto& part : pane.parts) {
      bytes += part->rows.dirty_rows().size() * (part->rows.row_bytes() + 24);
    }
  }
  return bytes;
}

void MemoryPaneTable::Freeze(FrozenDelta& delta) {
  if (drop_unsaved_) delta.AddDrop(identity_.id, horizon_);
  drop_unsaved_ = false;
  for (auto& [number, pane] : panes_) {
    FrozenDelta::Group group(identity_.id, number);
    for (const auto& part : pane.parts) {
      RowTable& rows = part->rows;
      const std::span<const uint32_t> dirty = rows.dirty_rows();
      if (dirty.empty()) continue;
      const auto before = static_cast<int64_t>(rows.memory_bytes());
      const std::string tail = BigEndian(part->incarnation);
      group.Reserve(dirty.size(), dirty.size() * (rows.key(dirty[0]).size() + rows.width() + 16));
      for (size_t i = 0; i < dirty.size(); ++i) {
        if (i + 8 < dirty.size()) rows.PrefetchRow(dirty[i + 8]);
        const uint32_t row = dirty[i];
        group.Add(StateOp::kPut, KeyGroup(rows, row), rows.key(row), tail,
                  {reinterpret_cast<const char*>(rows.value(row)), rows.width()});
      }
      rows.ClearDirty();
      store_.Charge(static_cast<int64_t>(rows.memory_bytes()) - before);
    }
    if (group.rows() > 0) delta.AddGroup(std::move(group));
  }
}

absl::Status MemoryPaneTable::RestoreRow(std::string_view row_key, std::string_view value) {
  const int64_t number = PaneOfRow(row_key);
  const uint32_t incarnation = IncarnationOfRow(row_key);
  const std::string_view key = KeyOfPaneRow(row_key);
  const uint64_t hash = HashIn(KeyGroupOfRow(row_key), key);
  if (value.size() != identity_.width || incarnation == 0 || incarnation == UINT32_MAX ||
      KeyGroupOfRow(row_key) >= store_.max_parallelism()) {
    return absl::DataLossError(Concat("a row of state table ", identity_.name, " is malformed"));
  }
  incarnation_ = std::max(incarnation_, incarnation + 1);
  Pane& pane = panes_[number];
  auto at = std::lower_bound(
      pane.parts.begin(), pane.parts.end(), incarnation,
      [](const std::unique_ptr<Part>& part, uint32_t i) { return part->incarnation < i; });
  if (at == pane.parts.end() || (*at)->incarnation != incarnation) {
    at = pane.parts.insert(
        at, std::unique_ptr<Part>(new Part{.incarnation = incarnation,
                                           .rows = RowTable(identity_.width, key.size())}));
  }
  RowTable& rows = (*at)->rows;
  const auto before = static_cast<int64_t>(rows.memory_bytes());
  uint8_t* into = rows.UpsertOne(hash, key, /*mark_dirty=*/false);
  if (!value.empty()) std::memcpy(into, value.data(), value.size());
  store_.Charge(static_cast<int64_t>(rows.memory_bytes()) - before);
  return absl::OkStatus();
}

absl::Status MemoryPaneTable::RestoreDrop(int64_t number, KeyGroupRange range) {
  const KeyGroupRange all = store_.key_groups();
  const bool everything = range.first <= all.first && range.last >= all.last;
  for (auto at = panes_.begin(); at != panes_.end() && at->first <= number;) {
    Pane& pane = at->second;
    store_.Charge(-static_cast<int64_t>(pane.memory_bytes()));
    for (std::unique_ptr<Part>& part : pane.parts) {
      // Rows cannot leave a RowTable: those of other key groups move to a new one.
      RowTable kept(identity_.width, 9);
      for (uint32_t row = 0; !everything && row < part->rows.rows(); ++row) {
        if (range.Contains(KeyGroup(part->rows, row))) continue;
        uint8_t* into = kept.UpsertOne(part->rows.hash(row), part->rows.key(row), false);
        if (identity_.width > 0) std::memcpy(into, part->rows.value(row), identity_.width);
      }
      part.reset(kept.rows() == 0
                     ? nullptr
                     : new Part{.incarnation = part->incarnation, .rows = std::move(kept)});
    }
    std::erase(pane.parts, nullptr);
    store_.Charge(static_cast<int64_t>(pane.memory_bytes()));
    if (pane.cold_rows > 0) {
      std::string prefix;
      for (uint32_t group = std::max(range.first, all.first);
           group <= std::min(range.last, all.last); ++group) {
        prefix.clear();
        AppendPanePrefix(identity_.id, group, at->first, prefix);
        MILLRACE_RETURN_IF_ERROR(store_.cold()->DeleteRange(prefix, PrefixSuccessor(prefix)));
      }
      if (everything) pane.cold_rows = 0;
      pane.recount = true;
    }
    at = pane.parts.empty() && pane.cold_rows == 0 ? panes_.erase(at) : std::next(at);
  }
  return absl::OkStatus();
}

absl::Status MemoryPaneTable::FinishRestore(int64_t horizon) {
  // A row may be cold in an older version than the one in memory: then memory must not hold it as
  // another partial result, but replace it.
  for (auto at = panes_.begin(); at != panes_.end();) {
    Pane& pane = at->second;
    if (pane.cold_rows > 0 && !pane.parts.empty()) {
      MILLRACE_RETURN_IF_ERROR(EvictPane(at->first, pane));
    }
    if (pane.recount) {
      MILLRACE_ASSIGN_OR_RETURN(pane.cold_rows, CountColdRows(at->first));
      pane.recount = false;
    }
    at = pane.parts.empty() && pane.cold_rows == 0 ? panes_.erase(at) : std::next(at);
  }
  if (horizon != std::numeric_limits<int64_t>::min()) {
    horizon_ = horizon;
    horizon_set_ = true;
  }
  return absl::OkStatus();
}

}  // namespace millrace
