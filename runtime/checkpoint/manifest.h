// Manifests in checkpoint storage: magic "MRMF", version, length, the message v1.Manifest, CRC32C.
//
// Threading: io threads; calls block.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace millrace {

namespace v1 {
class Manifest;
}
class CheckpointStorage;

// The newest v1.Manifest.format that this build writes and reads.
inline constexpr uint32_t kManifestFormat = 2;

struct WrittenManifest {
  uint32_t crc32c = 0;
  uint64_t bytes = 0;
};

// Durable under `name` when it returns. kAlreadyExists: the name is taken.
absl::StatusOr<WrittenManifest> WriteManifest(CheckpointStorage& storage, const std::string& name,
                                              const v1::Manifest& manifest);

// `crc32c`: what the epoch record says; 0 when it is not known. kDataLoss names manifest and fault;
// kFailedPrecondition: written in a newer format.
absl::StatusOr<v1::Manifest> ReadManifest(CheckpointStorage& storage, const std::string& name,
                                          uint32_t crc32c);

// The two halves without I/O. `name` is for error messages.
std::string EncodeManifest(const v1::Manifest& manifest);
absl::StatusOr<v1::Manifest> DecodeManifest(std::string_view name, std::string_view bytes);

}  // namespace millrace
