#include "operators/expiry/deadline_index.h"

#include <algorithm>

#include "runtime/base/status_macros.h"
#include "runtime/columns/keys.h"
#include "runtime/task/former_rows.h"

namespace millrace {
namespace {

constexpr size_t kDeadlineBytes = 8;

}  // namespace

DeadlineIndex::DeadlineIndex(KeyedTable* table, KeyGroupRange key_groups)
    : table_(table), key_groups_(key_groups), first_(key_groups.last - key_groups.first + 1) {}

absl::StatusOr<DeadlineIndex> DeadlineIndex::Open(KeyedTable* table, KeyGroupRange key_groups) {
  DeadlineIndex index(table, key_groups);
  for (uint32_t group = key_groups.first; group <= key_groups.last; ++group) {
    MILLRACE_RETURN_IF_ERROR(table->Scan(group, "", [&](std::string_view key, std::string_view) {
      index.First(group) = ReadOrderedInt64(key);
      return false;
    }));
  }
  return index;
}

absl::Status DeadlineIndex::ConvertKeys(
    KeyedTable& table, KeyGroupRange key_groups,
    const std::function<absl::Status(std::string& key)>& convert) {
  return RewriteTable(table, key_groups, [&](std::string& bytes, std::string&) -> absl::Status {
    std::string key = bytes.substr(kDeadlineBytes);
    MILLRACE_RETURN_IF_ERROR(convert(key));
    bytes.replace(kDeadlineBytes, std::string::npos, key);
    return absl::OkStatus();
  });
}

absl::Status DeadlineIndex::Add(uint32_t key_group, std::string_view key, int64_t deadline_us) {
  std::string bytes;
  AppendOrderedInt64(deadline_us, bytes);
  bytes += key;
  First(key_group) = std::min(First(key_group).value_or(deadline_us), deadline_us);
  return table_->Put(key_group, bytes, "");
}

absl::StatusOr<bool> DeadlineIndex::Take(int64_t now_us, size_t size_max, std::vector<Due>& due) {
  for (uint32_t group = key_groups_.first; group <= key_groups_.last; ++group) {
    while (First(group) && *First(group) <= now_us) {
      if (due.size() >= size_max) return true;
      MILLRACE_RETURN_IF_ERROR(TakeOf(group, now_us, size_max, due));
    }
  }
  return false;
}

absl::Status DeadlineIndex::TakeOf(uint32_t key_group, int64_t now_us, size_t size_max,
                                   std::vector<Due>& due) {
  const size_t begin = due.size();
  First(key_group).reset();
  MILLRACE_RETURN_IF_ERROR(table_->Scan(key_group, "", [&](std::string_view key, std::string_view) {
    const int64_t deadline = ReadOrderedInt64(key);
    if (deadline > now_us || due.size() >= size_max) {
      First(key_group) = deadline;
      return false;
    }
    due.push_back({key_group, deadline, std::string(key.substr(kDeadlineBytes))});
    return true;
  }));
  std::string bytes;
  for (size_t i = begin; i < due.size(); ++i) {
    bytes.clear();
    AppendOrderedInt64(due[i].deadline_us, bytes);
    bytes += due[i].key;
    MILLRACE_RETURN_IF_ERROR(table_->Delete(key_group, bytes));
  }
  return absl::OkStatus();
}

}  // namespace millrace
