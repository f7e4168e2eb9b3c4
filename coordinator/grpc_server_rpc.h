// The coordinator's gRPC server: JobService, WorkerService, reflection and health.
//
// Threading: Start and Stop on one thread.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace millrace {

class Coordinator;

class GrpcServer {
 public:
  // Listens on `address` (host:port; port 0 = any). kUnavailable: the address is taken.
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(const std::string& address,
                                                           Coordinator& coordinator);
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
