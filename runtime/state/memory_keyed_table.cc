#include "runtime/state/memory_keyed_table.h"

#include <utility>

#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

constexpr size_t kRowOverheadBytes = 112;
constexpr size_t kDirtyOverheadBytes = 56;
constexpr size_t kRowBytesMax = 32 << 20;

size_t RowBytes(std::string_view key, std::string_view value) {
  return kRowOverheadBytes + key.size() + value.size();
}

}  // namespace

MemoryKeyedTable::MemoryKeyedTable(StoreContext& store, TableIdentity identity)
    : store_(store), identity_(std::move(identity)) {}

std::string MemoryKeyedTable::RowKey(uint32_t key_group, std::string_view key) const {
  std::string row_key;
  row_key.reserve(kGroupPrefixBytes + key.size());
  AppendGroupPrefix(identity_.id, key_group, row_key);
  row_key += key;
  return row_key;
}

void MemoryKeyedTable::ChargeMemory(int64_t bytes) {
  memory_bytes_ = static_cast<uint64_t>(static_cast<int64_t>(memory_bytes_) + bytes);
  store_.Charge(bytes);
}

void MemoryKeyedTable::MarkDirty(const std::string& row_key) {
  if (dirty_.insert(row_key).second) {
    ChargeMemory(static_cast<int64_t>(kDirtyOverheadBytes + row_key.size()));
  }
}

void MemoryKeyedTable::Set(std::string row_key, Row row, bool dirty) {
  if (dirty) MarkDirty(row_key);
  const auto found = rows_.find(row_key);
  int64_t change = 0;
  if (found != rows_.end()) change -= static_cast<int64_t>(RowBytes(row_key, found->second.value));
  if (!row.exists && cold_rows_ == 0) {
    if (found != rows_.end()) rows_.erase(found);
  } else {
    change += static_cast<int64_t>(RowBytes(row_key, row.value));
    if (found != rows_.end()) {
      found->second = std::move(row);
    } else {
      rows_.emplace(std::move(row_key), std::move(row));
    }
  }
  ChargeMemory(change);
}

absl::StatusOr<bool> MemoryKeyedTable::Get(uint32_t key_group, std::string_view key,
                                           std::string* value) {
  std::string row_key = RowKey(key_group, key);
  if (const auto found = rows_.find(row_key); found != rows_.end()) {
    if (found->second.exists) *value = found->second.value;
    return found->second.exists;
  }
  if (cold_rows_ == 0) return false;
  MILLRACE_ASSIGN_OR_RETURN(const bool exists, store_.cold()->Get(row_key, value));
  if (!exists) return false;
  MILLRACE_RETURN_IF_ERROR(store_.MakeRoom());
  Set(std::move(row_key), {.value = *value, .exists = true, .in_cold = true}, /*dirty=*/false);
  return true;
}

absl::Status MemoryKeyedTable::Put(uint32_t key_group, std::string_view key,
                                   std::string_view value) {
  if (key.size() + value.size() > kRowBytesMax) {
    return absl::InvalidArgumentError(Concat("a row is too long for state table ", identity_.name,
                                             ": bytes=", key.size() + value.size()));
  }
  if (!store_.key_groups().Contains(key_group)) {
    return absl::InvalidArgumentError(
        Concat("key group ", key_group, " is not the task's: table ", identity_.name));
  }
  MILLRACE_RETURN_IF_ERROR(store_.MakeRoom());
  Set(RowKey(key_group, key), {.value = std::string(value)}, /*dirty=*/true);
  return absl::OkStatus();
}

absl::Status MemoryKeyedTable::Delete(uint32_t key_group, std::string_view key) {
  MILLRACE_RETURN_IF_ERROR(store_.MakeRoom());
  Set(RowKey(key_group, key), {.value = {}, .exists = false}, /*dirty=*/true);
  return absl::OkStatus();
}

absl::Status MemoryKeyedTable::ScanPrefix(const std::string& prefix, const RowFn& row) {
  auto at = rows_.lower_bound(prefix);
  const auto in_memory = [&] { return at != rows_.end() && at->first.starts_with(prefix); };
  if (cold_rows_ == 0) {
    for (; in_memory(); ++at) {
      if (at->second.exists && !row(at->first, at->second.value)) return absl::OkStatus();
    }
    return absl::OkStatus();
  }
  const std::unique_ptr<ColdStore::Iterator> cold = store_.cold()->NewIterator();
  cold->Seek(prefix);
  const auto in_cold = [&] { return cold->Valid() && cold->key().starts_with(prefix); };
  while (in_memory() || in_cold()) {
    const int order = !in_memory() ? 1 : !in_cold() ? -1 : at->first.compare(cold->key());
    if (order <= 0) {
      if (at->second.exists && !row(at->first, at->second.value)) return absl::OkStatus();
      ++at;
      if (order == 0) cold->Next();
    } else {
      if (!row(cold->key(), cold->value())) return absl::OkStatus();
      cold->Next();
    }
  }
  return cold->status();
}

absl::Status MemoryKeyedTable::Scan(uint32_t key_group, std::string_view prefix, const RowFn& row) {
  return ScanPrefix(RowKey(key_group, prefix),
                    [&row](std::string_view key, std::string_view value) {
                      return row(key.substr(kGroupPrefixBytes), value);
                    });
}

absl::Status MemoryKeyedTable::ScanAll(
    const std::function<bool(uint32_t key_group, std::string_view key, std::string_view value)>&
        row) {
  std::string prefix;
  AppendBigEndian32(identity_.id, prefix);
  return ScanPrefix(prefix, [&row](std::string_view key, std::string_view value) {
    return row(KeyGroupOfRow(key), key.substr(kGroupPrefixBytes), value);
  });
}

absl::Status MemoryKeyedTable::Evict() {
  MILLRACE_ASSIGN_OR_RETURN(std::unique_ptr<EvictionRun> run, store_.BeginEviction(identity_));
  // Rows that were deleted for good are only among the dirty keys.
  for (const std::string& key : dirty_) rows_.try_emplace(key, Row{.value = {}, .exists = false});
  uint64_t added = 0;
  for (const auto& [key, row] : rows_) {
    MILLRACE_RETURN_IF_ERROR(run->Add(row.exists ? StateOp::kPut : StateOp::kDelete, key, row.value,
                                      /*to_cold=*/!row.in_cold,
                                      /*to_segment=*/dirty_.contains(key)));
    added += row.exists && !row.in_cold ? 1 : 0;
  }
  MILLRACE_RETURN_IF_ERROR(run->Finish());
  cold_rows_ += added;
  rows_.clear();
  absl::flat_hash_set<std::string>().swap(dirty_);
  ChargeMemory(-static_cast<int64_t>(memory_bytes_));
  return absl::OkStatus();
}

uint64_t MemoryKeyedTable::DirtyBytes() const { return dirty_.empty() ? 0 : memory_bytes_; }

void MemoryKeyedTable::Freeze(FrozenDelta& delta) {
  if (dirty_.empty()) return;
  FrozenDelta::Group group(identity_.id, std::nullopt);
  int64_t freed = 0;
  // The set's order varies from run to run; the delta is sorted when it is written.
  for (const std::string& key : dirty_) {
    freed += static_cast<int64_t>(kDirtyOverheadBytes + key.size());
    const std::string_view suffix = std::string_view(key).substr(kGroupPrefixBytes);
    const auto found = rows_.find(key);
    const bool exists = found != rows_.end() && found->second.exists;
    group.Add(exists ? StateOp::kPut : StateOp::kDelete, KeyGroupOfRow(key), suffix, {},
              exists ? std::string_view(found->second.value) : std::string_view());
  }
  absl::flat_hash_set<std::string>().swap(dirty_);
  ChargeMemory(-freed);
  delta.AddGroup(std::move(group));
}

absl::Status MemoryKeyedTable::Restore(std::string_view row_key, const std::string* value) {
  Set(std::string(row_key),
      {.value = value == nullptr ? std::string() : *value, .exists = value != nullptr},
      /*dirty=*/false);
  return absl::OkStatus();
}

}  // namespace millrace
