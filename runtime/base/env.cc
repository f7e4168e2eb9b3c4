#include "runtime/base/env.h"

#include "runtime/base/status_macros.h"

namespace millrace {
namespace {

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

absl::Status Disk::WriteAtomically(const std::string& path, std::string_view bytes) {
  const std::string temporary = path + ".tmp";
  MILLRACE_ASSIGN_OR_RETURN(std::unique_ptr<WritableFile> file, Create(temporary));
  MILLRACE_RETURN_IF_ERROR(file->Append(bytes));
  MILLRACE_RETURN_IF_ERROR(file->Sync());
  MILLRACE_RETURN_IF_ERROR(file->Close());
  MILLRACE_RETURN_IF_ERROR(Rename(temporary, path));
  return SyncFolder(FolderOf(path));
}

absl::StatusOr<std::string> Disk::ReadAll(const std::string& path, uint64_t bytes_max) {
  MILLRACE_ASSIGN_OR_RETURN(std::unique_ptr<ReadableFile> file, Open(path));
  if (file->size() > bytes_max) {
    return absl::OutOfRangeError("file is larger than allowed: path=" + path +
                                 " bytes=" + std::to_string(file->size()) +
                                 " bytes_max=" + std::to_string(bytes_max));
  }
  std::string bytes(file->size(), '\0');
  MILLRACE_RETURN_IF_ERROR(file->Read(0, bytes.size(), bytes.data()));
  return bytes;
}

}  // namespace millrace
