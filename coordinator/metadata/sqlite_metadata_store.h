// A MetadataStore in one SQLite file: write-ahead log, every commit synced to disk.
//
// Threading: every method, from any thread; one at a time inside.
// Ownership: one process per folder. A second one is refused by an advisory lock on
//            "<folder>/coordinator.lock", held until destruction.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "coordinator/metadata/metadata_store.h"

namespace millrace {

// Makes `folder` and the file "metadata.sqlite" when missing.
// kFailedPrecondition: another coordinator uses the folder, or a newer version wrote the file.
absl::StatusOr<std::unique_ptr<MetadataStore>> OpenSqliteMetadataStore(const std::string& folder);

}  // namespace millrace
