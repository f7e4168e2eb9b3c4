// v1.WorkerService over gRPC: one stream per worker, which is its WorkerLink.
//
// Threading: gRPC's threads call; the coordinator's loop sends. Close from any thread.
#pragma once

#include <memory>

namespace grpc {
class Service;
}

namespace millrace {

class Coordinator;

class WorkerServiceRpc {
 public:
  // `coordinator` is not called any more after Close.
  explicit WorkerServiceRpc(Coordinator& coordinator);
  ~WorkerServiceRpc();
  WorkerServiceRpc(const WorkerServiceRpc&) = delete;
  WorkerServiceRpc& operator=(const WorkerServiceRpc&) = delete;

  grpc::Service* service();
  // Ends every stream. Workers go on with what they run, and dial again.
  void Close();

 private:
  class Gate;
  class Service;
  class Stream;
  const std::shared_ptr<Gate> gate_;
  const std::unique_ptr<Service> service_;
};

}  // namespace millrace
