#include "runtime/base/status.h"

#include <cerrno>
#include <cstring>
#include <string>

namespace millrace {

Remedy RemedyFor(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:  // A broker, a peer, a disk is away.
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kAborted:  // Fenced by a newer generation.
    case absl::StatusCode::kCancelled:
      return Remedy::kRestartJob;
    default:  // Bad job, bad configuration, lost data.
      return Remedy::kFailJob;
  }
}

absl::Status Annotate(const absl::Status& status, std::string_view what) {
  if (status.ok() || what.empty()) return status;
  std::string message(what);
  message += ": ";
  message.append(status.message().data(), status.message().size());
  absl::Status annotated(status.code(), message);
  status.ForEachPayload([&](absl::string_view type, const absl::Cord& payload) {
    annotated.SetPayload(type, payload);
  });
  return annotated;
}

absl::Status StatusFromErrno(int error_number, std::string_view attempted) {
  std::string message(attempted);
  message += ": ";
  message += std::strerror(error_number);
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return absl::ResourceExhaustedError(message);
    case ENOENT:
      return absl::NotFoundError(message);
    case EEXIST:
      return absl::AlreadyExistsError(message);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
    case ENAMETOOLONG:
      return absl::FailedPreconditionError(message);  // Stays so: no reason to try again.
    default:
      return absl::UnavailableError(message);
  }
}

}  // namespace millrace
