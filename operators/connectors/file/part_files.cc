#include "operators/connectors/file/part_files.h"

#include <map>
#include <utility>

#include "runtime/base/env.h"
#include "runtime/base/failpoint.h"
#include "runtime/base/status.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"
#include "runtime/checkpoint/s3/s3_storage.h"

namespace millrace {
namespace {

// ---- On a disk.

class DiskPart : public PartFile {
 public:
  DiskPart(Disk& disk, std::unique_ptr<WritableFile> file, std::string temporary, std::string path)
      : disk_(disk),
        file_(std::move(file)),
        temporary_(std::move(temporary)),
        path_(std::move(path)) {}

  absl::Status Append(std::string_view bytes) override { return file_->Append(bytes); }

  absl::Status Publish() override {
    MILLRACE_RETURN_IF_ERROR(file_->Sync());
    MILLRACE_RETURN_IF_ERROR(file_->Close());
    return disk_.Rename(temporary_, path_);
  }

 private:
  Disk& disk_;
  const std::unique_ptr<WritableFile> file_;
  const std::string temporary_, path_;
};

class DiskParts : public PartFiles {
 public:
  DiskParts(Disk& disk, std::string folder, Generation writer)
      : disk_(disk), folder_(std::move(folder)), writer_(writer) {}

  absl::StatusOr<std::unique_ptr<PartFile>> Create(const std::string& partition,
                                                   const std::string& name, bool) override {
    const std::string folder = partition.empty() ? folder_ : Concat(folder_, "/", partition);
    std::string path = Concat(folder, "/", name);
    if (disk_.Exists(path)) return nullptr;
    if (!partition.empty()) MILLRACE_RETURN_IF_ERROR(disk_.MakeFolders(folder));
    // Tasks of different attempts must not write the same temporary file.
    std::string temporary = Concat(folder, "/.", name, ".", writer_.number, ".tmp");
    MILLRACE_ASSIGN_OR_RETURN(auto file, disk_.Create(temporary));
    return std::make_unique<DiskPart>(disk_, std::move(file), std::move(temporary),
                                      std::move(path));
  }

 private:
  Disk& disk_;
  const std::string folder_;
  const Generation writer_;
};

// ---- In a store.

// Smaller objects never go up in parts: S3 has no smaller parts.
constexpr size_t kPartBytesMin = 5 << 20;

// Uploads of `name` that were begun and are not complete: of attempts that are over, or begun twice
// because an answer was lost.
absl::Status RemoveUnfinished(CheckpointStorage& storage, const std::string& name) {
  MILLRACE_ASSIGN_OR_RETURN(const auto unfinished, storage.ListUnfinished());
  for (const UnfinishedFile& file : unfinished) {
    if (file.name == name) MILLRACE_RETURN_IF_ERROR(storage.RemoveUnfinished(file));
  }
  return absl::OkStatus();
}

class StorePart : public PartFile {
 public:
  StorePart(std::unique_ptr<CheckpointStorage> storage, std::string name,
            std::unique_ptr<CheckpointStorage::Writer> writer)
      : storage_(std::move(storage)), name_(std::move(name)), writer_(std::move(writer)) {}

  absl::Status Append(std::string_view bytes) override {
    bytes_ += bytes.size();
    return writer_->Append(bytes);
  }

  absl::Status Publish() override {
    MILLRACE_FAILPOINT("file.before_upload");
    const absl::Status published = writer_->Publish();
    if (!published.ok() && !absl::IsAlreadyExists(published)) return published;
    MILLRACE_FAILPOINT("file.after_upload");
    return bytes_ < kPartBytesMin ? absl::OkStatus() : RemoveUnfinished(*storage_, name_);
  }

 private:
  const std::unique_ptr<CheckpointStorage> storage_;
  const std::string name_;
  const std::unique_ptr<CheckpointStorage::Writer> writer_;
  size_t bytes_ = 0;
};

class StoreParts : public PartFiles {
 public:
  StoreParts(std::string uri, std::shared_ptr<S3Access> s3)
      : uri_(std::move(uri)), s3_(std::move(s3)) {}

  absl::StatusOr<std::unique_ptr<PartFile>> Create(const std::string& partition,
                                                   const std::string& name, bool again) override {
    MILLRACE_ASSIGN_OR_RETURN(
        auto storage, s3_->Open(partition.empty() ? uri_ : StorageUriBelow(uri_, partition)));
    if (again) MILLRACE_RETURN_IF_ERROR(RemoveUnfinished(*storage, name));
    MILLRACE_ASSIGN_OR_RETURN(auto writer, storage->Create(name));
    return std::make_unique<StorePart>(std::move(storage), name, std::move(writer));
  }

 private:
  const std::string uri_;
  const std::shared_ptr<S3Access> s3_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<PartFiles>> OpenPartFiles(const std::string& path,
                                                         const StoragePlaces& places,
                                                         Generation writer) {
  if (path.starts_with("s3://")) {
    if (places.s3 == nullptr) {
      return absl::UnimplementedError("option 'path': there is no way to object stores here");
    }
    MILLRACE_RETURN_IF_ERROR(Annotate(places.s3->Open(path).status(), "option 'path'"));
    return std::make_unique<StoreParts>(path, places.s3);
  }
  MILLRACE_RETURN_IF_ERROR(places.disk->MakeFolders(path));
  return std::make_unique<DiskParts>(*places.disk, path, writer);
}

}  // namespace millrace
