// What the coordinator does in checkpoint storage: manifests, savepoints, and the sweep of files
// that nothing refers to any more.
//
// Threading: io threads; calls block.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "millrace/v1/checkpoint.pb.h"
#include "runtime/checkpoint/storage.h"

namespace millrace {

// Writes the manifest under a name that no other attempt uses, and fills the epoch record's facts:
// name, checksum, and the bytes of all segments that the manifest names.
absl::StatusOr<v1::EpochRecord> StoreManifest(const std::string& uri, const StoragePlaces& places,
                                              const v1::Manifest& manifest, uint64_t attempt);

absl::StatusOr<v1::Manifest> LoadManifest(const std::string& uri, const StoragePlaces& places,
                                          const v1::EpochRecord& record);

// Copies an epoch, with every segment of state, to "<directory>/<job>-e<epoch>" and returns that
// folder's URI. Directories are paths or URIs. Outboxes stay behind: the caller has seen every
// commit of the epoch acknowledged. A folder that is complete already is left as it is.
absl::StatusOr<std::string> ExportSavepoint(const std::string& uri, const StoragePlaces& places,
                                            const v1::EpochRecord& record,
                                            const std::string& directory);

// The manifest of a savepoint's folder. kNotFound, kDataLoss.
absl::StatusOr<v1::Manifest> ReadSavepoint(const std::string& directory,
                                           const StoragePlaces& places);

// Copies a savepoint's segments into a job's folder and stores its manifest as the job's own.
// Repeatable. The job's generation must be higher than the savepoint's.
absl::StatusOr<v1::EpochRecord> ImportSavepoint(const std::string& directory,
                                                const StoragePlaces& places, const std::string& uri,
                                                const std::string& job_id, uint64_t generation,
                                                int64_t now_unix_us);

// When a file was first seen without a reference, by its name; an unfinished one by id and name.
using Unreferenced = std::map<std::string, absl::Time>;

// Names to remove now: not referenced, of an epoch that is complete or passed over (segments of
// later ones are being written), and so for `grace`. Updates `unreferenced`. Pure.
std::vector<std::string> FilesToRemove(const std::vector<std::string>& names,
                                       const std::vector<std::string>& referenced,
                                       uint64_t newest_epoch, absl::Time now, absl::Duration grace,
                                       Unreferenced& unreferenced);

struct SweepResult {
  absl::Status status;
  Unreferenced unreferenced;
  size_t removed = 0;
};

// Marks over the manifests of `live` (ascending, not empty), then removes. Unfinished writes of
// such epochs (processes that died) go by the same rule.
SweepResult SweepFiles(const std::string& uri, const StoragePlaces& places,
                       const std::vector<v1::EpochRecord>& live, absl::Time now,
                       absl::Duration grace, Unreferenced unreferenced);

}  // namespace millrace
