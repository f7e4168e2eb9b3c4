// A MetadataStore in memory, for tests and the simulator, with faults on demand.
//
// Threading: every method, from any thread.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

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
    kUnknownDelayed,  // kUnknown; the write is tried at ApplyDelayed.
  };
  enum class Call { kCreate, kSwap, kGet, kList, kDelete };
  // Asked before each call; must not call the store.
  using FaultPlan = std::function<Fault(Call call, const std::string& key)>;

  void SetFaults(FaultPlan plan) ABSL_LOCKS_EXCLUDED(mutex_);
  // Tries the writes that were delayed; nobody learns what became of them.
  void ApplyDelayed() ABSL_LOCKS_EXCLUDED(mutex_);

  absl::StatusOr<uint64_t> CreateIfAbsent(const std::string& key, const std::string& value,
                                          const Guards& guards) override;
  absl::StatusOr<uint64_t> CompareAndSwap(const std::string& key, uint64_t version,
                                          const std::string& value, const Guards& guards) override;
  absl::StatusOr<MetadataEntry> Get(const std::string& key) override;
  absl::StatusOr<std::vector<MetadataEntry>> List(const std::string& prefix) override;
  absl::Status Delete(const std::string& key, const Guards& guards) override;
  bool exclusive() const override { return false; }

 private:
  struct Stored {
    std::string value;
    uint64_t version;
  };

  struct Write {
    Call call;
    std::string key;
    uint64_t version = 0;  // Of a swap.
    std::string value;
    Guards guards;
  };

  Fault NextFault(Call call, const std::string& key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<uint64_t> Run(Write write) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<uint64_t> Apply(const Write& write) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  absl::Mutex mutex_;
  FaultPlan faults_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Stored> entries_ ABSL_GUARDED_BY(mutex_);
  uint64_t revision_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<Write> delayed_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace millrace
