#include "runtime/checkpoint/storage.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "absl/strings/ascii.h"

#include "runtime/base/failpoint.h"
#include "runtime/base/status.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

constexpr std::string_view kTemporaryPrefix = ".tmp-";

absl::Status CheckName(std::string_view name) {
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
      return disk_.Exists(path) ? absl::AlreadyExistsError("the name is taken") : linked;
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
    MILLRACE_RETURN_IF_ERROR(CheckName(name));
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
    MILLRACE_RETURN_IF_ERROR(CheckName(name));
    absl::StatusOr<std::unique_ptr<ReadableFile>> file = disk_.Open(Concat(folder_, "/", name));
    if (!file.ok()) return Annotate(file.status(), Concat("cannot open ", name));
    return file;
  }

  absl::StatusOr<std::vector<std::string>> List() override {
    MILLRACE_ASSIGN_OR_RETURN(std::vector<std::string> names, disk_.List(folder_));
    std::erase_if(names, [](const std::string& name) { return !CheckName(name).ok(); });
    return names;
  }

  absl::Status Remove(const std::string& name) override {
    MILLRACE_RETURN_IF_ERROR(CheckName(name));
    return disk_.Remove(Concat(folder_, "/", name));
  }

 private:
  const std::string folder_;
  Disk& disk_;
  std::atomic<uint64_t> next_{0};
};

}  // namespace

absl::StatusOr<std::unique_ptr<CheckpointStorage>> OpenCheckpointStorage(std::string_view uri,
                                                                         Disk& disk) {
  constexpr std::string_view kScheme = "file://";
  if (!uri.starts_with("file:///")) {
    return absl::InvalidArgumentError(Concat("checkpoint storage must be file:///FOLDER: ", uri));
  }
  std::string_view folder = uri.substr(kScheme.size());
  while (folder.size() > 1 && folder.back() == '/') folder.remove_suffix(1);
  MILLRACE_RETURN_IF_ERROR(disk.MakeFolders(std::string(folder)));
  return std::make_unique<LocalStorage>(std::string(folder), disk);
}

}  // namespace millrace
