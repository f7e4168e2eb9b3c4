// A MetadataStore in memory, for tests and the simulator, with faults on demand.
//
// Threading: every method, from any thread.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "coordinator/metadata/metadata_store.h"

namespace millrace {

class MemoryMetadataStore final : public MetadataStore {
 public:
  enum class Fault {
    kNone,
    kUnavailable,     // Nothing happens; kUnavailable.
    kUnknownApplied,  // The write happens; kUnknown.
    kUnknownDropped,  // The write does not happen; kUnknown.
  };
  enum class Call { kCreate, kSwap, kGet, kList, kDelete };
  // Asked before each call; must not call the store.
  using FaultPlan = std::function<Fault(Call call, const std::string& key)>;

  void SetFaults(FaultPlan plan) ABSL_LOCKS_EXCLUDED(mutex_);

  absl::StatusOr<uint64_t> CreateIfAbsent(const std::string& key, const std::string& value,
                                          const Guard& guard) override;
  absl::StatusOr<uint64_t> CompareAndSwap(const std::string& key, uint64_t version,
                                          const std::string& value, const Guard& guard) override;
  absl::StatusOr<MetadataEntry> Get(const std::string& key) override;
  absl::StatusOr<std::vector<MetadataEntry>> List(const std::string& prefix) override;
  absl::Status Delete(const std::string& key, const Guard& guard) override;

 private:
  struct Stored {
    std::string value;
    uint64_t version;
  };

  Fault NextFault(Call call, const std::string& key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool GuardHolds(const Guard& guard) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  absl::Mutex mutex_;
  FaultPlan faults_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Stored> entries_ ABSL_GUARDED_BY(mutex_);
  uint64_t revision_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace millrace
