#include "coordinator/metadata/memory_metadata_store.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/status_macros.h"

namespace millrace {
namespace {

absl::Status Unreachable() { return absl::UnavailableError("metadata store cannot be reached"); }
absl::Status Unknown() { return absl::UnknownError("metadata store gave no answer to a write"); }
}  // namespace

void MemoryMetadataStore::SetFaults(FaultPlan plan) {
  absl::MutexLock lock(&mutex_);
  faults_ = std::move(plan);
}

MemoryMetadataStore::Fault MemoryMetadataStore::NextFault(Call call, const std::string& key) {
  return faults_ == nullptr ? Fault::kNone : faults_(call, key);
}

void MemoryMetadataStore::ApplyDelayed() {
  absl::MutexLock lock(&mutex_);
  for (const Write& write : std::exchange(delayed_, {})) (void)Apply(write);
}

absl::StatusOr<uint64_t> MemoryMetadataStore::Apply(const Write& write) {
  for (const MetadataGuard& guard : write.guards) {
    const auto it = entries_.find(guard.key);
    if (it == entries_.end() || it->second.version != guard.version) {
      return absl::AbortedError(absl::StrCat("guard has another version: key=", guard.key));
    }
  }
  const auto it = entries_.find(write.key);
  if (write.call == Call::kDelete) {
    entries_.erase(write.key);
    return 0;
  }
  if (write.call == Call::kCreate && it != entries_.end()) {
    return absl::AlreadyExistsError(absl::StrCat("key exists: ", write.key));
  }
  if (write.call == Call::kSwap) {
    if (it == entries_.end()) return absl::NotFoundError(absl::StrCat("no such key: ", write.key));
    if (it->second.version != write.version) {
      return absl::AbortedError(absl::StrCat("another version is there: key=", write.key));
    }
  }
  entries_[write.key] = {.value = write.value, .version = ++revision_};
  return revision_;
}

absl::StatusOr<uint64_t> MemoryMetadataStore::Run(Write write) {
  if (write.call != Call::kDelete) {
    MILLRACE_RETURN_IF_ERROR(CheckMetadataLimits(write.key, write.value));
  }
  absl::MutexLock lock(&mutex_);
  switch (NextFault(write.call, write.key)) {
    case Fault::kNone:
      return Apply(write);
    case Fault::kUnavailable:
      return Unreachable();
    case Fault::kUnknownApplied:
      (void)Apply(write);
      return Unknown();
    case Fault::kUnknownDropped:
      return Unknown();
    case Fault::kUnknownDelayed:
      delayed_.push_back(std::move(write));
      return Unknown();
  }
  return absl::InternalError("unknown kind of fault");
}

absl::StatusOr<uint64_t> MemoryMetadataStore::CreateIfAbsent(const std::string& key,
                                                             const std::string& value,
                                                             const Guards& guards) {
  return Run({.call = Call::kCreate, .key = key, .value = value, .guards = guards});
}

absl::StatusOr<uint64_t> MemoryMetadataStore::CompareAndSwap(const std::string& key,
                                                             uint64_t version,
                                                             const std::string& value,
                                                             const Guards& guards) {
  return Run(
      {.call = Call::kSwap, .key = key, .version = version, .value = value, .guards = guards});
}

absl::Status MemoryMetadataStore::Delete(const std::string& key, const Guards& guards) {
  return Run({.call = Call::kDelete, .key = key, .value = "", .guards = guards}).status();
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

}  // namespace millrace
