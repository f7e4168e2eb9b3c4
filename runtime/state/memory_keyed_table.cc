#include "runtime/state/memory_keyed_table.h"

#include <memory>
#include <utility>

#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

constexpr size_t kRowBytesMax = 32 << 20;
constexpr uint64_t kFrozenOverheadBytes = 32;

std::string RowKey(uint32_t table, uint32_t key_group, std::string_view key) {
  std::string row_key;
  row_key.reserve(kGroupPrefixBytes + key.size());
  AppendGroupPrefix(table, key_group, row_key);
  row_key += key;
  return row_key;
}

}  // namespace

MemoryKeyedTable::MemoryKeyedTable(StoreContext& store, TableIdentity identity)
    : store_(store), identity_(std::move(identity)), rows_(store.key_groups()) {}

void MemoryKeyedTable::Settle() {
  const uint64_t bytes = rows_.memory_bytes() + dirty_.capacity() * sizeof(Row*);
  if (bytes == charged_bytes_) return;
  store_.Charge(static_cast<int64_t>(bytes) - static_cast<int64_t>(charged_bytes_));
  charged_bytes_ = bytes;
}

void MemoryKeyedTable::MarkDirty(Row* row) {
  dirty_.push_back(row);
  row->mark = static_cast<uint32_t>(dirty_.size());
}

void MemoryKeyedTable::MarkClean(Row* row) {
  Row* const last = dirty_.back();
  dirty_[row->mark - 1] = last;
  last->mark = row->mark;
  dirty_.pop_back();
  row->mark = 0;
}

absl::StatusOr<bool> MemoryKeyedTable::Get(uint32_t key_group, std::string_view key,
                                           std::string* value) {
  if (const Row* const row = rows_.Find(key_group, key); row != nullptr) {
    if ((row->flags & kGone) != 0) return false;
    value->assign(row->value());
    return true;
  }
  if (cold_rows_ == 0) return false;
  MILLRACE_ASSIGN_OR_RETURN(const bool exists,
                            store_.cold()->Get(RowKey(identity_.id, key_group, key), value));
  if (!exists) return false;
  MILLRACE_RETURN_IF_ERROR(store_.MakeRoom());
  rows_.Upsert(key_group, key, *value).row->flags = kInCold;
  Settle();
  return true;
}

absl::Status MemoryKeyedTable::CheckRow(uint32_t key_group, std::string_view key,
                                        std::string_view value) const {
  if (key.size() + value.size() > kRowBytesMax) {
    return absl::InvalidArgumentError(Concat("a row is too long for state table ", identity_.name,
                                             ": bytes=", key.size() + value.size()));
  }
  if (!store_.key_groups().Contains(key_group)) {
    return absl::InvalidArgumentError(
        Concat("key group ", key_group, " is not the task's: table ", identity_.name));
  }
  return absl::OkStatus();
}

absl::Status MemoryKeyedTable::Put(uint32_t key_group, std::string_view key,
                                   std::string_view value) {
  MILLRACE_RETURN_IF_ERROR(CheckRow(key_group, key, value));
  MILLRACE_RETURN_IF_ERROR(store_.MakeRoom());
  const auto [row, added] = rows_.Upsert(key_group, key, value);
  if (added) {
    row->flags = cold_rows_ == 0 ? kUnrecorded : 0;
  } else {
    row->flags &= static_cast<uint8_t>(~(kGone | kInCold));
  }
  if (row->mark == 0) {
    MarkDirty(row);
  } else {
    dirty_[row->mark - 1] = row;  // It may have moved.
  }
  Settle();
  return absl::OkStatus();
}

absl::StatusOr<bool> MemoryKeyedTable::Insert(uint32_t key_group, std::string_view key,
                                              std::string_view value, std::string* there) {
  MILLRACE_RETURN_IF_ERROR(CheckRow(key_group, key, value));
  MILLRACE_RETURN_IF_ERROR(store_.MakeRoom());
  if (cold_rows_ > 0) {  // It may be there, or gone.
    MILLRACE_ASSIGN_OR_RETURN(const bool found, Get(key_group, key, there));
    if (found) return false;
    MILLRACE_RETURN_IF_ERROR(Put(key_group, key, value));
    return true;
  }
  const auto [row, added] = rows_.FindOrAdd(key_group, key, value);
  if (!added) {
    there->assign(row->value());
    return false;
  }
  row->flags = kUnrecorded;
  MarkDirty(row);
  Settle();
  return true;
}

absl::Status MemoryKeyedTable::Delete(uint32_t key_group, std::string_view key) {
  MILLRACE_RETURN_IF_ERROR(store_.MakeRoom());
  Remove(key_group, key, /*dirty=*/true);
  return absl::OkStatus();
}

void MemoryKeyedTable::Remove(uint32_t key_group, std::string_view key, bool dirty) {
  if (cold_rows_ > 0) {
    const auto [row, added] = rows_.Upsert(key_group, key, {});
    row->flags = kGone;
    if (row->mark != 0) {
      dirty_[row->mark - 1] = row;
    } else if (dirty) {
      MarkDirty(row);
    }
  } else if (Row* const row = rows_.Take(key_group, key); row != nullptr) {
    Drop(row, dirty);
  }
  Settle();
}

void MemoryKeyedTable::Drop(Row* row, bool dirty) {
  if (!dirty || (row->flags & kUnrecorded) != 0) {
    if (row->mark != 0) MarkClean(row);
    rows_.Free(row);
  } else {
    row->flags = kGone;
    if (row->mark == 0) MarkDirty(row);
  }
}

absl::Status MemoryKeyedTable::DeletePrefix(uint32_t key_group, std::string_view prefix) {
  MILLRACE_RETURN_IF_ERROR(store_.MakeRoom());
  if (cold_rows_ == 0) {
    rows_.TakeAll(key_group, prefix, [this](Row* row) { Drop(row, /*dirty=*/true); });
    Settle();
    return absl::OkStatus();
  }
  std::vector<std::string> keys;
  MILLRACE_RETURN_IF_ERROR(Scan(key_group, prefix, [&keys](std::string_view key, std::string_view) {
    keys.emplace_back(key);
    return true;
  }));
  for (const std::string& key : keys) MILLRACE_RETURN_IF_ERROR(Delete(key_group, key));
  return absl::OkStatus();
}

absl::Status MemoryKeyedTable::ScanGroup(uint32_t key_group, std::string_view prefix,
                                         GroupRowFn row, bool& more) {
  more = true;
  if (cold_rows_ == 0) {
    rows_.Visit(key_group, prefix,
                [&](const Row& one) { return more = row(key_group, one.key(), one.value()); });
    return absl::OkStatus();
  }
  const std::string row_prefix = RowKey(identity_.id, key_group, prefix);
  const std::unique_ptr<ColdStore::Iterator> cold = store_.cold()->NewIterator();
  cold->Seek(row_prefix);
  const auto in_cold = [&] { return cold->Valid() && cold->key().starts_with(row_prefix); };
  const auto cold_key = [&] { return cold->key().substr(kGroupPrefixBytes); };
  rows_.Visit(key_group, prefix, [&](const Row& one) {
    for (; more && in_cold() && cold_key() < one.key(); cold->Next()) {
      more = row(key_group, cold_key(), cold->value());
    }
    if (!more) return false;
    if (in_cold() && cold_key() == one.key()) cold->Next();
    if ((one.flags & kGone) == 0) more = row(key_group, one.key(), one.value());
    return more;
  });
  for (; more && in_cold(); cold->Next()) more = row(key_group, cold_key(), cold->value());
  return more ? cold->status() : absl::OkStatus();
}

absl::Status MemoryKeyedTable::Scan(uint32_t key_group, std::string_view prefix, RowFn row) {
  bool more = true;
  return ScanGroup(
      key_group, prefix,
      [&row](uint32_t, std::string_view key, std::string_view value) { return row(key, value); },
      more);
}

absl::Status MemoryKeyedTable::ScanAll(GroupRowFn row) {
  const KeyGroupRange groups = rows_.key_groups();
  bool more = true;
  for (uint32_t group = groups.first; more && group <= groups.last; ++group) {
    MILLRACE_RETURN_IF_ERROR(ScanGroup(group, {}, row, more));
  }
  return absl::OkStatus();
}

absl::Status MemoryKeyedTable::Evict() {
  MILLRACE_ASSIGN_OR_RETURN(std::unique_ptr<EvictionRun> run, store_.BeginEviction(identity_));
  // Rows that are gone for good are only among the dirty ones; those that came again are not gone.
  std::vector<Row*> gone;
  for (Row* const row : dirty_) {
    if (cold_rows_ == 0 && (row->flags & kGone) != 0 && rows_.Insert(row)) gone.push_back(row);
  }
  uint64_t added = 0;
  absl::Status status = WriteTo(*run, added);
  if (status.ok()) status = run->Finish();
  if (!status.ok()) {
    for (const Row* const row : gone) rows_.Take(row->key_group(), row->key());
    return status;
  }
  cold_rows_ += added;
  rows_.Clear();
  std::vector<Row*>().swap(dirty_);
  Settle();
  return absl::OkStatus();
}

absl::Status MemoryKeyedTable::WriteTo(EvictionRun& run, uint64_t& added) const {
  absl::Status status;
  std::string row_key;
  const KeyGroupRange groups = rows_.key_groups();
  for (uint32_t group = groups.first; status.ok() && group <= groups.last; ++group) {
    rows_.Visit(group, {}, [&](const Row& row) {
      row_key.clear();
      AppendGroupPrefix(identity_.id, group, row_key);
      row_key += row.key();
      const bool exists = (row.flags & kGone) == 0, in_cold = (row.flags & kInCold) != 0;
      status = run.Add(exists ? StateOp::kPut : StateOp::kDelete, row_key,
                       exists ? row.value() : std::string_view(),
                       /*to_cold=*/!in_cold, /*to_segment=*/row.mark != 0);
      added += exists && !in_cold ? 1 : 0;
      return status.ok();
    });
  }
  return status;
}

uint64_t MemoryKeyedTable::DirtyBytes() const {
  uint64_t bytes = 0;
  for (const Row* const row : dirty_) {
    bytes += kFrozenOverheadBytes + row->key().size() + row->value().size();
  }
  return bytes;
}

void MemoryKeyedTable::Freeze(FrozenDelta& delta) {
  if (dirty_.empty()) return GiveBack();
  FrozenDelta::Group group(identity_.id, std::nullopt);
  group.Reserve(dirty_.size(), DirtyBytes());
  // In the order of changes; the delta is sorted when it is written.
  for (Row* const row : dirty_) {
    row->mark = 0;
    const bool exists = (row->flags & kGone) == 0;
    if (exists || cold_rows_ > 0) {
      row->flags &= static_cast<uint8_t>(~kUnrecorded);
      group.Add(exists ? StateOp::kPut : StateOp::kDelete, row->key_group(), row->key(), {},
                exists ? row->value() : std::string_view());
      continue;
    }
    // When the key has come again, that row is dirty too.
    if (rows_.Find(row->key_group(), row->key()) == nullptr) {
      group.Add(StateOp::kDelete, row->key_group(), row->key(), {}, {});
    }
    rows_.Free(row);
  }
  std::vector<Row*>().swap(dirty_);
  delta.AddGroup(std::move(group));
  GiveBack();
}

void MemoryKeyedTable::GiveBack() {
  if (rows_.rows() == 0) rows_.Clear();
  Settle();
}

absl::Status MemoryKeyedTable::Restore(std::string_view row_key, const std::string* value) {
  const uint32_t key_group = KeyGroupOfRow(row_key);
  const std::string_view key = row_key.substr(kGroupPrefixBytes);
  if (value == nullptr) {
    Remove(key_group, key, /*dirty=*/false);
    return absl::OkStatus();
  }
  rows_.Upsert(key_group, key, *value).row->flags = 0;
  Settle();
  return absl::OkStatus();
}

}  // namespace millrace
