#include "coordinator/metadata/memory_metadata_store.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/status_macros.h"

namespace millrace {
namespace {

absl::Status Unreachable() { return absl::UnavailableError("metadata store cannot be reached"); }
absl::Status Unknown() { return absl::UnknownError("metadata store gave no answer to a write"); }
absl::Status GuardFailed(const MetadataStore::Guard& guard) {
  return absl::AbortedError(absl::StrCat("guard has another version: key=", guard->key));
}

}  // namespace

void MemoryMetadataStore::SetFaults(FaultPlan plan) {
  absl::MutexLock lock(&mutex_);
  faults_ = std::move(plan);
}

MemoryMetadataStore::Fault MemoryMetadataStore::NextFault(Call call, const std::string& key) {
  return faults_ == nullptr ? Fault::kNone : faults_(call, key);
}

bool MemoryMetadataStore::GuardHolds(const Guard& guard) const {
  if (!guard.has_value()) return true;
  const auto it = entries_.find(guard->key);
  return it != entries_.end() && it->second.version == guard->version;
}

absl::StatusOr<uint64_t> MemoryMetadataStore::CreateIfAbsent(const std::string& key,
                                                             const std::string& value,
                                                             const Guard& guard) {
  MILLRACE_RETURN_IF_ERROR(CheckMetadataLimits(key, value));
  absl::MutexLock lock(&mutex_);
  const Fault fault = NextFault(Call::kCreate, key);
  if (fault == Fault::kUnavailable) return Unreachable();
  if (fault == Fault::kUnknownDropped) return Unknown();
  if (!GuardHolds(guard)) return GuardFailed(guard);
  if (entries_.contains(key)) return absl::AlreadyExistsError(absl::StrCat("key exists: ", key));
  entries_[key] = {.value = value, .version = ++revision_};
  if (fault == Fault::kUnknownApplied) return Unknown();
  return revision_;
}

absl::StatusOr<uint64_t> MemoryMetadataStore::CompareAndSwap(const std::string& key,
                                                             uint64_t version,
                                                             const std::string& value,
                                                             const Guard& guard) {
  MILLRACE_RETURN_IF_ERROR(CheckMetadataLimits(key, value));
  absl::MutexLock lock(&mutex_);
  const Fault fault = NextFault(Call::kSwap, key);
  if (fault == Fault::kUnavailable) return Unreachable();
  if (fault == Fault::kUnknownDropped) return Unknown();
  if (!GuardHolds(guard)) return GuardFailed(guard);
  const auto it = entries_.find(key);
  if (it == entries_.end()) return absl::NotFoundError(absl::StrCat("no such key: ", key));
  if (it->second.version != version) {
    return absl::AbortedError(absl::StrCat("another version is there: key=", key));
  }
  it->second = {.value = value, .version = ++revision_};
  if (fault == Fault::kUnknownApplied) return Unknown();
  return revision_;
}

absl::StatusOr<MetadataEntry> MemoryMetadataStore::Get(const std::string& key) {
  absl::MutexLock lock(&mutex_);
  if (NextFault(Call::kGet, key) != Fault::kNone) return Unreachable();
  const auto it = entries_.find(key);
  if (it == entries_.end()) return absl::NotFoundError(absl::StrCat("no such key: ", key));
  return MetadataEntry{.key = key, .value = it->second.value, .version = it->second.version};
}

absl::StatusOr<std::vector<MetadataEntry>> MemoryMetadataStore::List(const std::string& prefix) {
  absl::MutexLock lock(&mutex_);
  if (NextFault(Call::kList, prefix) != Fault::kNone) return Unreachable();
  std::vector<MetadataEntry> found;
  for (auto it = entries_.lower_bound(prefix);
       it != entries_.end() && absl::StartsWith(it->first, prefix); ++it) {
    found.push_back({.key = it->first, .value = it->second.value, .version = it->second.version});
  }
  return found;
}

absl::Status MemoryMetadataStore::Delete(const std::string& key, const Guard& guard) {
  absl::MutexLock lock(&mutex_);
  const Fault fault = NextFault(Call::kDelete, key);
  if (fault == Fault::kUnavailable) return Unreachable();
  if (fault == Fault::kUnknownDropped) return Unknown();
  if (!GuardHolds(guard)) return GuardFailed(guard);
  entries_.erase(key);
  if (fault == Fault::kUnknownApplied) return Unknown();
  return absl::OkStatus();
}

}  // namespace millrace
