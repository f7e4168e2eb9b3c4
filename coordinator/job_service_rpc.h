// v1.JobService over gRPC: each call becomes a call of JobApi, whose reply ends it.
//
// Threading: gRPC's threads call; replies come from the coordinator's loop. Close from any thread.
#pragma once

#include <memory>

#include "coordinator/job_api.h"

namespace grpc {
class Service;
}

namespace millrace {

class JobServiceRpc {
 public:
  // `api` is not called any more after Close.
  explicit JobServiceRpc(JobApi& api);
  ~JobServiceRpc();
  JobServiceRpc(const JobServiceRpc&) = delete;
  JobServiceRpc& operator=(const JobServiceRpc&) = delete;

  grpc::Service* service();
  // Ends every call that waits for a reply with UNAVAILABLE, and refuses new ones.
  void Close();

 private:
  class Calls;
  class Service;
  const std::shared_ptr<Calls> calls_;
  const std::unique_ptr<Service> service_;
};

}  // namespace millrace
