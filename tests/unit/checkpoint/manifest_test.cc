#include "runtime/checkpoint/manifest.h"

#include "gmock/gmock.h"
#include "millrace/v1/checkpoint.pb.h"
#include "runtime/checkpoint/storage.h"
#include "tests/unit/checkpoint/memory_disk.h"

namespace millrace {
namespace {

v1::Manifest AManifest() {
  v1::Manifest manifest;
  manifest.set_format(kManifestFormat);
  manifest.set_job_id("job");
  manifest.set_epoch(12);
  manifest.add_tasks()->add_nodes()->set_uid("window");
  return manifest;
}

TEST(ManifestTest, IsReadBackAfterACrash) {
  MemoryDisk disk;
  auto storage = OpenCheckpointStorage("file:///checkpoints", {.disk = &disk}).value();
  const WrittenManifest written = WriteManifest(*storage, "m", AManifest()).value();
  disk.Crash();
  const v1::Manifest manifest = ReadManifest(*storage, "m", written.crc32c).value();
  EXPECT_EQ(manifest.SerializeAsString(), AManifest().SerializeAsString());
  EXPECT_EQ(ReadManifest(*storage, "m", written.crc32c + 1).status().code(),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(ReadManifest(*storage, "n", 0).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(WriteManifest(*storage, "m", AManifest()).status().code(),
            absl::StatusCode::kAlreadyExists);
}

TEST(ManifestTest, AnyChangedOrMissingByteIsRefused) {
  const std::string bytes = EncodeManifest(AManifest());
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::string damaged = bytes;
    damaged[at] ^= 0x41;
    const absl::Status status = DecodeManifest("m", damaged).status();
    EXPECT_FALSE(status.ok()) << at;
    EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("manifest m"));
    EXPECT_EQ(DecodeManifest("m", bytes.substr(0, at)).status().code(),
              absl::StatusCode::kDataLoss);
  }
}

TEST(ManifestTest, RefusesANewerFormatByNumber) {
  v1::Manifest manifest = AManifest();
  manifest.set_format(kManifestFormat + 1);
  const absl::Status status = DecodeManifest("m", EncodeManifest(manifest)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("format 3"));
}

}  // namespace
}  // namespace millrace
