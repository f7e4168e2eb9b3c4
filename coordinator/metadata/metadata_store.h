// A MetadataStore keeps the coordinator's facts: small values under sorted keys, changed only by
// conditional writes.
//
// Threading: every method, from any thread; calls block (io threads only).
// Errors, the same for every implementation:
//   kAlreadyExists       the key is there: nothing was written
//   kNotFound            the key is not there
//   kAborted             another version than expected, of the key or of a guard: nothing written
//   kUnknown             the write may or may not have happened, or may still happen: look, never
//                        assume
//   kUnavailable         the store cannot be reached: nothing was written
//   kInvalidArgument     key or value over its limit
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace millrace {

inline constexpr size_t kMetadataKeyBytesMax = 512;
inline constexpr size_t kMetadataValueBytesMax = size_t{16} << 20;

struct MetadataEntry {
  std::string key;
  std::string value;
  uint64_t version = 0;  // Of the last write; never used twice in one store, even after Delete.
};

// A write happens only if `key` has exactly this version at the same moment.
struct MetadataGuard {
  std::string key;
  uint64_t version = 0;
};

class MetadataStore {
 public:
  using Guards = std::vector<MetadataGuard>;  // All of them must hold.

  virtual ~MetadataStore() = default;
  // Both return the new version.
  virtual absl::StatusOr<uint64_t> CreateIfAbsent(const std::string& key, const std::string& value,
                                                  const Guards& guards) = 0;
  virtual absl::StatusOr<uint64_t> CompareAndSwap(const std::string& key, uint64_t version,
                                                  const std::string& value,
                                                  const Guards& guards) = 0;
  virtual absl::StatusOr<MetadataEntry> Get(const std::string& key) = 0;
  // Sorted by key, bytewise.
  virtual absl::StatusOr<std::vector<MetadataEntry>> List(const std::string& prefix) = 0;
  // OK when it is not there.
  virtual absl::Status Delete(const std::string& key, const Guards& guards) = 0;
  // No other process can use the store while this object lives.
  virtual bool exclusive() const = 0;
};

// OK when both are within their limits; else kInvalidArgument.
absl::Status CheckMetadataLimits(const std::string& key, const std::string& value);

// The first key that does not begin with `prefix` any more; empty = there is none.
std::string EndOfPrefix(std::string prefix);

// The second look after kUnknown, and what it may conclude: repeats the write, and when it is
// refused compares what is there with what was meant to be written. Values must differ between
// writers. Still kUnknown or kUnavailable: ask again later. kAborted, kAlreadyExists: somebody
// else's value is there.
absl::StatusOr<uint64_t> CreateOrConfirm(MetadataStore& store, const std::string& key,
                                         const std::string& value,
                                         const MetadataStore::Guards& guards);
absl::StatusOr<uint64_t> SwapOrConfirm(MetadataStore& store, const std::string& key,
                                       uint64_t version, const std::string& value,
                                       const MetadataStore::Guards& guards);

}  // namespace millrace
