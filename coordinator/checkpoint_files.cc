#include "coordinator/checkpoint_files.h"

#include <algorithm>
#include <memory>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/checkpoint_decision.h"
#include "runtime/base/failpoint.h"
#include "runtime/base/status.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"
#include "runtime/checkpoint/manifest.h"
#include "runtime/checkpoint/storage.h"

namespace millrace {
namespace {

constexpr char kSavepointManifest[] = "savepoint.manifest";
constexpr size_t kCopyBytes = size_t{1} << 20;

using StoragePtr = std::unique_ptr<CheckpointStorage>;

std::string ManifestName(uint64_t generation, uint64_t attempt, uint64_t epoch) {
  return absl::StrCat("g", generation, "-a", attempt, ".manifest.e", epoch);
}

std::string DirectoryUri(const std::string& directory) {
  return directory.find("://") == std::string::npos ? absl::StrCat("file://", directory)
                                                    : directory;
}

template <typename Visit>
void VisitSegments(const v1::Manifest& manifest, bool outboxes, Visit visit) {
  for (const v1::TaskSnapshot& task : manifest.tasks()) {
    for (const v1::NodeSnapshot& node : task.nodes()) {
      for (const v1::Segment& segment : node.state()) visit(segment);
      for (const v1::InFlightRows& rows : node.in_flight()) visit(rows.segment());
      if (!outboxes) continue;
      for (const v1::CommitToken& token : node.tokens()) {
        for (const v1::Segment& segment : token.outbox()) visit(segment);
      }
    }
  }
}

// A name that is taken has the same content: names are never reused for another.
absl::Status CopyFile(CheckpointStorage& from, CheckpointStorage& to, const std::string& name) {
  MILLRACE_ASSIGN_OR_RETURN(const std::unique_ptr<ReadableFile> file, from.Open(name));
  MILLRACE_ASSIGN_OR_RETURN(std::unique_ptr<CheckpointStorage::Writer> writer, to.Create(name));
  std::string buffer;
  for (uint64_t offset = 0; offset < file->size(); offset += buffer.size()) {
    buffer.resize(static_cast<size_t>(std::min<uint64_t>(kCopyBytes, file->size() - offset)));
    MILLRACE_RETURN_IF_ERROR(file->Read(offset, buffer.size(), buffer.data()));
    MILLRACE_RETURN_IF_ERROR(writer->Append(buffer));
  }
  const absl::Status published = writer->Publish();
  return absl::IsAlreadyExists(published) ? absl::OkStatus() : published;
}

absl::Status CopySegments(CheckpointStorage& from, CheckpointStorage& to,
                          const v1::Manifest& manifest) {
  std::set<std::string> names;
  VisitSegments(manifest, /*outboxes=*/false,
                [&](const v1::Segment& segment) { names.insert(segment.name()); });
  for (const std::string& name : names) MILLRACE_RETURN_IF_ERROR(CopyFile(from, to, name));
  return absl::OkStatus();
}

v1::EpochRecord RecordOf(const v1::Manifest& manifest, const std::string& name,
                         const WrittenManifest& written) {
  v1::EpochRecord record;
  record.set_job_id(manifest.job_id());
  record.set_generation(manifest.generation());
  record.set_epoch(manifest.epoch());
  record.set_manifest_name(name);
  record.set_manifest_crc32c(written.crc32c);
  record.set_final(manifest.final());
  uint64_t bytes = written.bytes;
  VisitSegments(manifest, /*outboxes=*/true,
                [&](const v1::Segment& segment) { bytes += segment.bytes(); });
  record.set_bytes(bytes);
  return record;
}

}  // namespace

absl::StatusOr<v1::EpochRecord> StoreManifest(const std::string& uri, const StoragePlaces& places,
                                              const v1::Manifest& manifest, uint64_t attempt) {
  MILLRACE_FAILPOINT("checkpoint.before_manifest");
  MILLRACE_ASSIGN_OR_RETURN(const StoragePtr storage, OpenCheckpointStorage(uri, places));
  const std::string name = ManifestName(manifest.generation(), attempt, manifest.epoch());
  MILLRACE_ASSIGN_OR_RETURN(const WrittenManifest written, WriteManifest(*storage, name, manifest));
  MILLRACE_FAILPOINT("checkpoint.after_manifest");
  return RecordOf(manifest, name, written);
}

absl::StatusOr<v1::Manifest> LoadManifest(const std::string& uri, const StoragePlaces& places,
                                          const v1::EpochRecord& record) {
  MILLRACE_FAILPOINT("restore.before_manifest");
  MILLRACE_ASSIGN_OR_RETURN(const StoragePtr storage, OpenCheckpointStorage(uri, places));
  absl::StatusOr<v1::Manifest> manifest =
      ReadManifest(*storage, record.manifest_name(), record.manifest_crc32c());
  // kDataLoss when it is missing: never begin afresh, never fall back silently.
  if (manifest.ok() && manifest->epoch() != record.epoch()) {
    return absl::DataLossError(absl::StrCat("the manifest of epoch ", record.epoch(),
                                            " is of epoch ", manifest->epoch(), ": ", uri, "/",
                                            record.manifest_name()));
  }
  MILLRACE_FAILPOINT("restore.after_manifest");
  return manifest;
}

absl::StatusOr<std::string> ExportSavepoint(const std::string& uri, const StoragePlaces& places,
                                            const v1::EpochRecord& record,
                                            const std::string& directory) {
  MILLRACE_FAILPOINT("savepoint.before_export");
  const std::string target =
      StorageUriBelow(DirectoryUri(directory), Concat(record.job_id(), "-e", record.epoch()));
  MILLRACE_ASSIGN_OR_RETURN(v1::Manifest manifest, LoadManifest(uri, places, record));
  MILLRACE_ASSIGN_OR_RETURN(const StoragePtr from, OpenCheckpointStorage(uri, places));
  MILLRACE_ASSIGN_OR_RETURN(const StoragePtr to, OpenCheckpointStorage(target, places));
  for (v1::TaskSnapshot& task : *manifest.mutable_tasks()) {
    for (v1::NodeSnapshot& node : *task.mutable_nodes()) node.clear_tokens();
  }
  MILLRACE_RETURN_IF_ERROR(CopySegments(*from, *to, manifest));
  MILLRACE_FAILPOINT("savepoint.before_manifest");
  // Last: a folder without it is no savepoint.
  const absl::Status written = WriteManifest(*to, kSavepointManifest, manifest).status();
  if (!written.ok() && !absl::IsAlreadyExists(written)) return written;
  MILLRACE_FAILPOINT("savepoint.after_manifest");
  return target;
}

absl::StatusOr<v1::Manifest> ReadSavepoint(const std::string& directory,
                                           const StoragePlaces& places) {
  const std::string uri = DirectoryUri(directory);
  MILLRACE_ASSIGN_OR_RETURN(const StoragePtr storage, OpenCheckpointStorage(uri, places));
  if (absl::IsNotFound(storage->Open(kSavepointManifest).status())) {
    return absl::NotFoundError(absl::StrCat("not a savepoint: ", uri));
  }
  return ReadManifest(*storage, kSavepointManifest, 0);
}

absl::StatusOr<v1::EpochRecord> ImportSavepoint(const std::string& directory,
                                                const StoragePlaces& places, const std::string& uri,
                                                const std::string& job_id, uint64_t generation,
                                                int64_t now_unix_us) {
  MILLRACE_FAILPOINT("savepoint.before_import");
  MILLRACE_ASSIGN_OR_RETURN(v1::Manifest manifest, ReadSavepoint(directory, places));
  MILLRACE_ASSIGN_OR_RETURN(const StoragePtr from,
                            OpenCheckpointStorage(DirectoryUri(directory), places));
  MILLRACE_ASSIGN_OR_RETURN(const StoragePtr to, OpenCheckpointStorage(uri, places));
  MILLRACE_RETURN_IF_ERROR(CopySegments(*from, *to, manifest));
  manifest.set_job_id(job_id);
  manifest.set_generation(generation);
  manifest.set_final(false);
  const std::string name = ManifestName(generation, 0, manifest.epoch());
  absl::StatusOr<WrittenManifest> written = WriteManifest(*to, name, manifest);
  if (absl::IsAlreadyExists(written.status())) {
    // Written by an earlier try; the same input gives the same manifest.
    MILLRACE_RETURN_IF_ERROR(to->Remove({name}));
    written = WriteManifest(*to, name, manifest);
  }
  if (!written.ok()) return written.status();
  v1::EpochRecord record = RecordOf(manifest, name, *written);
  record.set_completed_unix_us(now_unix_us);
  return record;
}

std::vector<std::string> FilesToRemove(const std::vector<std::string>& names,
                                       const std::vector<std::string>& referenced,
                                       uint64_t newest_epoch, absl::Time now, absl::Duration grace,
                                       Unreferenced& unreferenced) {
  const std::set<std::string> live(referenced.begin(), referenced.end());
  Unreferenced still;
  std::vector<std::string> due;
  for (const std::string& name : names) {
    const uint64_t epoch = EpochOfFileName(name);
    if (live.contains(name) || epoch == 0 || epoch > newest_epoch) continue;
    const auto seen = unreferenced.find(name);
    const absl::Time since = seen == unreferenced.end() ? now : seen->second;
    if (now - since >= grace) {
      due.push_back(name);
    } else {
      still[name] = since;
    }
  }
  unreferenced = std::move(still);
  return due;
}

SweepResult SweepFiles(const std::string& uri, const StoragePlaces& places,
                       const std::vector<v1::EpochRecord>& live, absl::Time now,
                       absl::Duration grace, Unreferenced unreferenced) {
  SweepResult result;
  result.status = [&]() -> absl::Status {
    MILLRACE_ASSIGN_OR_RETURN(const StoragePtr storage, OpenCheckpointStorage(uri, places));
    MILLRACE_FAILPOINT("sweep.before_list");
    // Listed before the marks are read: what appears later is not judged.
    MILLRACE_ASSIGN_OR_RETURN(std::vector<std::string> names, storage->List());
    MILLRACE_ASSIGN_OR_RETURN(std::vector<UnfinishedFile> unfinished_files,
                              storage->ListUnfinished());
    std::vector<std::string> referenced;
    for (const v1::EpochRecord& record : live) {
      MILLRACE_ASSIGN_OR_RETURN(
          const v1::Manifest manifest,
          ReadManifest(*storage, record.manifest_name(), record.manifest_crc32c()));
      referenced.push_back(record.manifest_name());
      VisitSegments(manifest, /*outboxes=*/true,
                    [&](const v1::Segment& segment) { referenced.push_back(segment.name()); });
    }
    std::map<std::string, UnfinishedFile> unfinished;
    for (UnfinishedFile& file : unfinished_files) {
      std::string name = absl::StrCat(file.id, "#", file.name);  // Its epoch at the end.
      names.push_back(name);
      unfinished.emplace(std::move(name), std::move(file));
    }
    std::vector<std::string> due =
        FilesToRemove(names, referenced, live.back().epoch(), now, grace, unreferenced);
    if (due.empty()) return absl::OkStatus();
    MILLRACE_FAILPOINT("sweep.before_remove");
    for (const std::string& name : due) {
      const auto file = unfinished.find(name);
      if (file == unfinished.end()) continue;
      MILLRACE_RETURN_IF_ERROR(storage->RemoveUnfinished(file->second));
      ++result.removed;
    }
    std::erase_if(due, [&](const std::string& name) { return unfinished.contains(name); });
    MILLRACE_RETURN_IF_ERROR(storage->Remove(due));
    result.removed += due.size();
    return absl::OkStatus();
  }();
  result.unreferenced = std::move(unreferenced);
  return result;
}

}  // namespace millrace
