#include "runtime/base/posix_disk.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include "runtime/base/status.h"

namespace millrace {
namespace {

absl::Status Failed(int error_number, const char* attempted, const std::string& path) {
  return StatusFromErrno(error_number, std::string(attempted) + ": path=" + path);
}

class PosixWritableFile : public WritableFile {
 public:
  PosixWritableFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  ~PosixWritableFile() override {
    if (fd_ >= 0) close(fd_);
  }

  absl::Status Append(std::string_view bytes) override {
    while (!bytes.empty()) {
      const ssize_t written = write(fd_, bytes.data(), bytes.size());
      if (written < 0) {
        if (errno == EINTR) continue;
        return Failed(errno, "cannot write", path_);
      }
      bytes.remove_prefix(static_cast<size_t>(written));
    }
    return absl::OkStatus();
  }

  absl::Status Sync() override {
    return fdatasync(fd_) == 0 ? absl::OkStatus() : Failed(errno, "cannot sync", path_);
  }

  absl::Status Close() override {
    const int fd = std::exchange(fd_, -1);
    return close(fd) == 0 ? absl::OkStatus() : Failed(errno, "cannot close", path_);
  }

 private:
  int fd_;
  const std::string path_;
};

class PosixReadableFile : public ReadableFile {
 public:
  PosixReadableFile(int fd, uint64_t size, std::string path)
      : fd_(fd), size_(size), path_(std::move(path)) {}
  ~PosixReadableFile() override { close(fd_); }

  uint64_t size() const override { return size_; }

  absl::Status Read(uint64_t offset, size_t length, char* out) const override {
    while (length > 0) {
      const ssize_t got = pread(fd_, out, length, static_cast<off_t>(offset));
      if (got < 0) {
        if (errno == EINTR) continue;
        return Failed(errno, "cannot read", path_);
      }
      if (got == 0) {
        return absl::OutOfRangeError("file ends before the requested range: path=" + path_);
      }
      out += got;
      offset += static_cast<uint64_t>(got);
      length -= static_cast<size_t>(got);
    }
    return absl::OkStatus();
  }

 private:
  const int fd_;
  const uint64_t size_;
  const std::string path_;
};

class PosixDisk : public Disk {
 public:
  absl::StatusOr<std::unique_ptr<WritableFile>> Create(const std::string& path) override {
    const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) return Failed(errno, "cannot create file", path);
    return std::make_unique<PosixWritableFile>(fd, path);
  }

  absl::StatusOr<std::unique_ptr<ReadableFile>> Open(const std::string& path) override {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return Failed(errno, "cannot open file", path);
    struct stat info;
    if (fstat(fd, &info) != 0) {
      const int error_number = errno;
      close(fd);
      return Failed(error_number, "cannot look at file", path);
    }
    return std::make_unique<PosixReadableFile>(fd, static_cast<uint64_t>(info.st_size), path);
  }

  absl::Status MakeFolders(const std::string& path) override {
    std::error_code error;
    std::filesystem::create_directories(path, error);
    if (error) return Failed(error.value(), "cannot make folder", path);
    // The names of the new folders must survive too.
    std::filesystem::path folder = std::filesystem::absolute(path, error);
    for (int depth = 0; depth < 3 && folder.has_relative_path(); ++depth) {
      if (absl::Status status = SyncFolder(folder.string()); !status.ok()) return status;
      folder = folder.parent_path();
    }
    return absl::OkStatus();
  }

  absl::Status Rename(const std::string& from, const std::string& to) override {
    if (rename(from.c_str(), to.c_str()) != 0) return Failed(errno, "cannot rename to", to);
    return SyncFolder(FolderOf(to));
  }

  absl::Status HardLink(const std::string& from, const std::string& to) override {
    return link(from.c_str(), to.c_str()) == 0 ? absl::OkStatus()
                                               : Failed(errno, "cannot link to", to);
  }

  absl::Status Remove(const std::string& path) override {
    if (unlink(path.c_str()) == 0 || errno == ENOENT) return absl::OkStatus();
    return Failed(errno, "cannot remove", path);
  }

  absl::Status RemoveFolder(const std::string& path) override {
    std::error_code error;
    std::filesystem::remove_all(path, error);
    return error ? Failed(error.value(), "cannot remove folder", path) : absl::OkStatus();
  }

  absl::Status SyncFolder(const std::string& path) override {
    const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return Failed(errno, "cannot open folder", path);
    const int result = fsync(fd);
    const int error_number = errno;
    close(fd);
    return result == 0 ? absl::OkStatus() : Failed(error_number, "cannot sync folder", path);
  }

  absl::StatusOr<std::vector<std::string>> List(const std::string& path) override {
    std::error_code error;
    std::vector<std::string> names;
    for (std::filesystem::directory_iterator it(path, error), end; !error && it != end;
         it.increment(error)) {
      names.push_back(it->path().filename().string());
    }
    if (error) return Failed(error.value(), "cannot list folder", path);
    std::sort(names.begin(), names.end());
    return names;
  }

  bool Exists(const std::string& path) override {
    std::error_code error;
    return std::filesystem::exists(path, error);
  }

 private:
  static std::string FolderOf(const std::string& path) {
    const auto folder = std::filesystem::path(path).parent_path();
    return folder.empty() ? "." : folder.string();
  }
};

}  // namespace

std::unique_ptr<Disk> MakePosixDisk() { return std::make_unique<PosixDisk>(); }

}  // namespace millrace
