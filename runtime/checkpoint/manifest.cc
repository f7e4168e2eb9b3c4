#include "runtime/checkpoint/manifest.h"

#include <memory>

#include "millrace/v1/checkpoint.pb.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"
#include "runtime/checkpoint/little_endian.h"
#include "runtime/checkpoint/segment_file.h"
#include "runtime/checkpoint/storage.h"

namespace millrace {
namespace {

constexpr std::string_view kMagic = "MRMF";
constexpr uint32_t kVersion = 1;
constexpr size_t kHeaderBytes = 16;
constexpr size_t kCrcBytes = 4;
constexpr uint64_t kManifestBytesMax = 256 << 20;

absl::Status Damaged(std::string_view name, std::string_view fault) {
  return absl::DataLossError(Concat("manifest ", name, " is damaged: ", fault));
}

absl::Status Newer(std::string_view name, uint32_t format, uint32_t known) {
  return absl::FailedPreconditionError(Concat("manifest ", name, " has format ", format,
                                              ", newer than what this build reads: ", known));
}

}  // namespace

std::string EncodeManifest(const v1::Manifest& manifest) {
  const std::string message = manifest.SerializeAsString();
  std::string out(kMagic);
  AppendLittleEndian(kVersion, out);
  AppendLittleEndian(uint64_t{message.size()}, out);
  out += message;
  AppendLittleEndian(Crc32c(out), out);
  return out;
}

absl::StatusOr<v1::Manifest> DecodeManifest(std::string_view name, std::string_view bytes) {
  if (bytes.size() < kHeaderBytes + kCrcBytes) return Damaged(name, "it is too short");
  if (bytes.substr(0, 4) != kMagic) return Damaged(name, "it is not a manifest");
  const auto version = ReadLittleEndian<uint32_t>(bytes.data() + 4);
  if (version > kVersion) return Newer(name, version, kVersion);
  const auto length = ReadLittleEndian<uint64_t>(bytes.data() + 8);
  if (length != bytes.size() - kHeaderBytes - kCrcBytes)
    return Damaged(name, "its length is wrong");
  const std::string_view checked = bytes.substr(0, kHeaderBytes + length);
  if (Crc32c(checked) != ReadLittleEndian<uint32_t>(checked.data() + checked.size())) {
    return Damaged(name, "its checksum is wrong");
  }
  v1::Manifest manifest;
  if (!manifest.ParseFromArray(bytes.data() + kHeaderBytes, static_cast<int>(length))) {
    return Damaged(name, "it cannot be parsed");
  }
  if (manifest.format() > kManifestFormat) return Newer(name, manifest.format(), kManifestFormat);
  if (manifest.format() == 0) return Damaged(name, "it has no format");
  return manifest;
}

absl::StatusOr<WrittenManifest> WriteManifest(CheckpointStorage& storage, const std::string& name,
                                              const v1::Manifest& manifest) {
  const std::string bytes = EncodeManifest(manifest);
  if (bytes.size() > kManifestBytesMax) {
    return absl::InvalidArgumentError(
        Concat("manifest ", name, " is too large: bytes=", bytes.size()));
  }
  MILLRACE_ASSIGN_OR_RETURN(std::unique_ptr<CheckpointStorage::Writer> file, storage.Create(name));
  MILLRACE_RETURN_IF_ERROR(file->Append(bytes));
  MILLRACE_RETURN_IF_ERROR(file->Publish());
  const auto crc = ReadLittleEndian<uint32_t>(bytes.data() + bytes.size() - kCrcBytes);
  return WrittenManifest{.crc32c = crc, .bytes = bytes.size()};
}

absl::StatusOr<v1::Manifest> ReadManifest(CheckpointStorage& storage, const std::string& name,
                                          uint32_t crc32c) {
  absl::StatusOr<std::unique_ptr<ReadableFile>> file = storage.Open(name);
  if (absl::IsNotFound(file.status())) return Damaged(name, "it is missing");
  if (!file.ok()) return file.status();
  if ((*file)->size() > kManifestBytesMax) return Damaged(name, "it is too large");
  std::string bytes((*file)->size(), '\0');
  MILLRACE_RETURN_IF_ERROR((*file)->Read(0, bytes.size(), bytes.data()));
  MILLRACE_ASSIGN_OR_RETURN(v1::Manifest manifest, DecodeManifest(name, bytes));
  const auto stored = ReadLittleEndian<uint32_t>(bytes.data() + bytes.size() - kCrcBytes);
  if (crc32c != 0 && stored != crc32c) {
    return Damaged(name, "it is not the one that the epoch record names");
  }
  return manifest;
}

}  // namespace millrace
