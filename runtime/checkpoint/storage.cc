#include "runtime/checkpoint/storage.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "absl/strings/ascii.h"

#include "runtime/base/failpoint.h"
#include "runtime/base/status.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"
#include "runtime/checkpoint/s3/s3_storage.h"

namespace millrace {
namespace {

constexpr std::string_view kTemporaryPrefix = ".tmp-";
constexpr std::string_view kFileScheme = "file://";

class LocalWriter final : public CheckpointStorage::Writer {
 public:
  LocalWriter(Disk& disk, std::string folder, std::string name, std::string temporary,
              std::unique_ptr<WritableFile> file)
      : disk_(disk),
        folder_(std::move(folder)),
        name_(std::move(name)),
        temporary_(std::move(temporary)),
        file_(std::move(file)) {}

  ~LocalWriter() override {
    file_.reset();
    // A leftover has no name and is never read; the next start sweeps it.
    if (!temporary_.empty()) (void)disk_.Remove(temporary_);
  }

  absl::Status Append(std::string_view bytes) override {
    return Annotate(file_->Append(bytes), Concat("cannot write segment ", name_));
  }

  absl::Status Publish() override {
    return Annotate(PublishFile(), Concat("cannot publish ", name_));
  }

 private:
  absl::Status PublishFile() {
    MILLRACE_FAILPOINT("segment.before_sync");
    MILLRACE_RETURN_IF_ERROR(file_->Sync());
    MILLRACE_RETURN_IF_ERROR(file_->Close());
    const std::string path = Concat(folder_, "/", name_);
    // A link, not a rename: it fails when the name is taken.
    if (absl::Status linked = disk_.HardLink(temporary_, path); !linked.ok()) {
      if (disk_.Exists(path)) return absl::AlreadyExistsError("the name is taken");
      // Taken from under us: a reason to begin anew, not a missing file.
      return absl::IsNotFound(linked) ? absl::UnavailableError(linked.message()) : linked;
    }
    MILLRACE_FAILPOINT("segment.after_link");
    MILLRACE_RETURN_IF_ERROR(disk_.Remove(temporary_));
    temporary_.clear();
    MILLRACE_RETURN_IF_ERROR(disk_.SyncFolder(folder_));
    MILLRACE_FAILPOINT("segment.after_sync");
    return absl::OkStatus();
  }

  Disk& disk_;
  const std::string folder_;
  const std::string name_;
  std::string temporary_;  // Empty once published.
  std::unique_ptr<WritableFile> file_;
};

class LocalStorage final : public CheckpointStorage {
 public:
  LocalStorage(std::string folder, Disk& disk) : folder_(std::move(folder)), disk_(disk) {}

  absl::StatusOr<std::unique_ptr<Writer>> Create(const std::string& name) override {
    MILLRACE_FAILPOINT("segment.before_create");
    MILLRACE_RETURN_IF_ERROR(CheckStorageName(name));
    // Relaxed: only uniqueness matters.
    std::string temporary = Concat(folder_, "/", kTemporaryPrefix, name, "-",
                                   next_.fetch_add(1, std::memory_order_relaxed));
    absl::StatusOr<std::unique_ptr<WritableFile>> file = disk_.Create(temporary);
    if (!file.ok()) return Annotate(file.status(), Concat("cannot create segment ", name));
    return std::make_unique<LocalWriter>(disk_, folder_, name, std::move(temporary),
                                         *std::move(file));
  }

  absl::StatusOr<std::unique_ptr<ReadableFile>> Open(const std::string& name) override {
    MILLRACE_FAILPOINT("segment.before_read");
    MILLRACE_RETURN_IF_ERROR(CheckStorageName(name));
    absl::StatusOr<std::unique_ptr<ReadableFile>> file = disk_.Open(Concat(folder_, "/", name));
    if (!file.ok()) return Annotate(file.status(), Concat("cannot open ", name));
    return file;
  }

  absl::StatusOr<std::vector<std::string>> List() override {
    MILLRACE_ASSIGN_OR_RETURN(std::vector<std::string> names, disk_.List(folder_));
    std::erase_if(names, [](const std::string& name) { return !CheckStorageName(name).ok(); });
    return names;
  }

  absl::Status Remove(absl::Span<const std::string> names) override {
    for (const std::string& name : names) MILLRACE_RETURN_IF_ERROR(CheckStorageName(name));
    for (const std::string& name : names) {
      MILLRACE_RETURN_IF_ERROR(disk_.Remove(Concat(folder_, "/", name)));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<UnfinishedFile>> ListUnfinished() override {
    MILLRACE_ASSIGN_OR_RETURN(const std::vector<std::string> names, disk_.List(folder_));
    std::vector<UnfinishedFile> files;
    for (const std::string_view name : names) {
      const size_t end = name.rfind('-');
      if (!name.starts_with(kTemporaryPrefix) || end < kTemporaryPrefix.size()) continue;
      const std::string_view owner =
          name.substr(kTemporaryPrefix.size(), end - kTemporaryPrefix.size());
      if (!CheckStorageName(owner).ok()) continue;
      files.push_back({.name = std::string(owner), .id = std::string(name.substr(end + 1))});
    }
    return files;
  }

  absl::Status RemoveUnfinished(const UnfinishedFile& file) override {
    MILLRACE_RETURN_IF_ERROR(CheckStorageName(file.name));
    MILLRACE_RETURN_IF_ERROR(CheckStorageName(file.id));
    return disk_.Remove(Concat(folder_, "/", kTemporaryPrefix, file.name, "-", file.id));
  }

 private:
  const std::string folder_;
  Disk& disk_;
  std::atomic<uint64_t> next_{0};
};

}  // namespace

absl::Status CheckStorageName(std::string_view name) {
  const auto allowed = [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
           std::string_view("._%=+~-").find(c) != std::string_view::npos;
  };
  if (name.empty() || name.size() > kStorageNameBytesMax || name.front() == '.' ||
      !std::all_of(name.begin(), name.end(), allowed)) {
    return absl::InvalidArgumentError(Concat("not a name of a file in checkpoint storage: ",
                                             name.substr(0, kStorageNameBytesMax)));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<CheckpointStorage>> OpenCheckpointStorage(
    std::string_view uri, const StoragePlaces& places) {
  if (uri.starts_with("s3://") && places.s3 != nullptr) return places.s3->Open(uri);
  if (!uri.starts_with("file:///")) {
    return absl::InvalidArgumentError(
        Concat("checkpoint storage must be file:///FOLDER or s3://BUCKET/PREFIX: ", uri));
  }
  std::string_view folder = uri.substr(kFileScheme.size());
  while (folder.size() > 1 && folder.back() == '/') folder.remove_suffix(1);
  MILLRACE_RETURN_IF_ERROR(places.disk->MakeFolders(std::string(folder)));
  return std::make_unique<LocalStorage>(std::string(folder), *places.disk);
}

absl::Status TryStorage(CheckpointStorage& storage, uint64_t id) {
  const std::string name = Concat("try-", id);
  constexpr std::string_view kContent = "Written by Millrace at its start, to try the storage.\n";
  MILLRACE_ASSIGN_OR_RETURN(std::unique_ptr<CheckpointStorage::Writer> writer,
                            storage.Create(name));
  MILLRACE_RETURN_IF_ERROR(writer->Append(kContent));
  MILLRACE_RETURN_IF_ERROR(writer->Publish());
  MILLRACE_ASSIGN_OR_RETURN(const std::unique_ptr<ReadableFile> file, storage.Open(name));
  std::string content(file->size(), '\0');
  MILLRACE_RETURN_IF_ERROR(file->Read(0, content.size(), content.data()));
  if (content != kContent) {
    return absl::DataLossError(Concat("read something else than was written: ", name));
  }
  MILLRACE_RETURN_IF_ERROR(storage.List().status());
  MILLRACE_RETURN_IF_ERROR(storage.ListUnfinished().status());
  return storage.Remove({name});
}

std::string StorageUriBelow(std::string_view uri, std::string_view folder) {
  const size_t options =
      uri.starts_with("s3://") ? std::min(uri.find('?'), uri.size()) : uri.size();
  std::string_view path = uri.substr(0, options);
  while (path.ends_with('/')) path.remove_suffix(1);
  return Concat(path, "/", folder, uri.substr(options));
}

}  // namespace millrace
