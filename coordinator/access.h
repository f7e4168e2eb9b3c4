// Who may call which method: callers by token or certificate, roles, and one rule per method.
//
// A file has one caller per line; '#' begins a comment:
//
//     # role     name     how the caller proves it
//     admin      alice    sha256:9f86d081884c7d65…   (of the token that comes as "Bearer …")
//     viewer     grafana  cert:grafana               (common name of a client certificate)
//     worker     workers  cert:millrace-worker
//
// Tokens themselves are in no file of the coordinator. Each role may do what the one before may:
// viewer (look, but at no rows), operator (stop, restart, cancel, savepoints), submitter (submit,
// replace models, see rows), admin. A
// worker may register, and nothing else.
//
// Threading: any thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"

namespace millrace {

class Disk;

enum class Role : uint8_t { kAnyone, kViewer, kOperator, kSubmitter, kAdmin, kWorker };
std::string_view RoleName(Role role);

// The least role that may call a method, by the path of the call,
// "/millrace.v1.JobService/GetJob"; nothing: there is no rule, nobody may.
std::optional<Role> RoleNeeded(std::string_view method);
// A caller of `role` may do what needs `needed`.
bool Allows(Role role, Role needed);

// How a caller showed who it is; verified.
struct CallerProof {
  std::string token;                           // Empty: none.
  std::vector<std::string> certificate_names;  // Common names.
};

struct Caller {
  std::string name;
  Role role = Role::kAnyone;
};

class AccessControl {
 public:
  // `path` is read again when it has changed, at most once a second; while it cannot be read, what
  // was read last counts. `disk` outlives this.
  static absl::StatusOr<std::unique_ptr<AccessControl>> Open(std::string path, Disk& disk);

  // kUnauthenticated: no caller has such a proof; kPermissionDenied: the caller may not. `now_ns`
  // is monotonic.
  absl::StatusOr<Caller> Check(std::string_view method, const CallerProof& proof, int64_t now_ns)
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  using Callers = std::map<std::string, Caller, std::less<>>;  // By "sha256:…" or "cert:…".

  AccessControl(std::string path, Disk& disk) : path_(std::move(path)), disk_(disk) {}
  static absl::StatusOr<Callers> Parse(std::string_view text);
  absl::StatusOr<std::string> ReadFile() const;
  void ReadAgain(int64_t now_ns) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string path_;
  Disk& disk_;
  absl::Mutex mutex_;
  std::string text_ ABSL_GUARDED_BY(mutex_);  // That callers_ are of.
  Callers callers_ ABSL_GUARDED_BY(mutex_);
  int64_t read_ns_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace millrace
