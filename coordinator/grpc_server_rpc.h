// The coordinator's gRPC server: JobService, WorkerService, reflection and health.
//
// Threading: Start and Stop on one thread.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "runtime/base/env.h"
#include "runtime/base/tls.h"

namespace millrace {

class AccessControl;
class Coordinator;

// Who may connect, and call what.
struct ServerSecurity {
  // No certificate: plain. With a CA, client certificates are checked; where there is no access
  // control, every client needs one.
  TlsFiles files;
  // Null: every client may call everything. Needs TLS.
  std::shared_ptr<AccessControl> access;
  Clock* clock = nullptr;  // With `access`; outlives the server.
};

class GrpcServer {
 public:
  // Listens on `address` (host:port; port 0 = any). kUnavailable: the address is taken;
  // kInvalidArgument: files that cannot be used.
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(const std::string& address,
                                                           Coordinator& coordinator,
                                                           const ServerSecurity& security = {});
  ~GrpcServer();
  GrpcServer(const GrpcServer&) = delete;
  GrpcServer& operator=(const GrpcServer&) = delete;

  // host:port that it really listens on.
  const std::string& address() const;
  // Ends every call; on return the coordinator is not called any more.
  void Stop();

 private:
  struct Parts;
  explicit GrpcServer(std::unique_ptr<Parts> parts);
  const std::unique_ptr<Parts> parts_;
};

}  // namespace millrace
