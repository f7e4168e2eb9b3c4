#include "coordinator/metadata/metadata_store.h"

#include "absl/strings/str_cat.h"

namespace millrace {
namespace {

// A refusal can be the echo of our own earlier write.
absl::StatusOr<uint64_t> ConfirmRefusal(MetadataStore& store, const std::string& key,
                                        const std::string& value, const absl::Status& refusal) {
  absl::StatusOr<MetadataEntry> entry = store.Get(key);
  if (!entry.ok()) {
    // Not there although the write was refused: the guard was not met.
    return absl::IsNotFound(entry.status()) ? refusal : entry.status();
  }
  if (entry->value == value) return entry->version;
  return refusal;
}

}  // namespace

absl::Status CheckMetadataLimits(const std::string& key, const std::string& value) {
  if (key.empty() || key.size() > kMetadataKeyBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "metadata key of ", key.size(), " bytes; at most ", kMetadataKeyBytesMax, " are allowed"));
  }
  if (value.size() > kMetadataValueBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("metadata value of ", value.size(),
                                                   " bytes; at most ", kMetadataValueBytesMax,
                                                   " are allowed: key=", key));
  }
  return absl::OkStatus();
}

std::string EndOfPrefix(std::string prefix) {
  while (!prefix.empty() && static_cast<unsigned char>(prefix.back()) == 0xff) prefix.pop_back();
  if (!prefix.empty()) ++prefix.back();
  return prefix;
}

absl::StatusOr<uint64_t> CreateOrConfirm(MetadataStore& store, const std::string& key,
                                         const std::string& value,
                                         const MetadataStore::Guards& guards) {
  absl::StatusOr<uint64_t> version = store.CreateIfAbsent(key, value, guards);
  if (absl::IsAlreadyExists(version.status()) || absl::IsAborted(version.status())) {
    return ConfirmRefusal(store, key, value, version.status());
  }
  return version;
}

absl::StatusOr<uint64_t> SwapOrConfirm(MetadataStore& store, const std::string& key,
                                       uint64_t version, const std::string& value,
                                       const MetadataStore::Guards& guards) {
  absl::StatusOr<uint64_t> swapped = store.CompareAndSwap(key, version, value, guards);
  if (absl::IsAborted(swapped.status()) || absl::IsNotFound(swapped.status())) {
    return ConfirmRefusal(store, key, value, swapped.status());
  }
  return swapped;
}

}  // namespace millrace
