// The coordinator's JobService as blocking calls.
//
// Threading: any thread. Errors: the service's status; problems of a graph are attached
// (coordinator/job_api.h, GetDiagnostics).
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "millrace/v1/job_service.pb.h"
#include "runtime/security/client_security.h"

namespace millrace {

class JobClient {
 public:
  // `addresses`: HOST:PORT, several coordinators separated by commas. Does not connect yet.
  // Security that cannot be used is told by every call.
  JobClient(const std::string& addresses, const ClientSecurity& security);
  ~JobClient();

  absl::StatusOr<v1::ValidateJobResponse> ValidateJob(const v1::ValidateJobRequest& request);
  absl::StatusOr<v1::ExplainJobResponse> ExplainJob(const v1::ExplainJobRequest& request);
  absl::StatusOr<v1::SubmitJobResponse> SubmitJob(const v1::SubmitJobRequest& request);
  absl::StatusOr<v1::GetJobResponse> GetJob(const v1::GetJobRequest& request);
  absl::StatusOr<v1::ListJobsResponse> ListJobs(const v1::ListJobsRequest& request);
  absl::StatusOr<v1::StopJobResponse> StopJob(const v1::StopJobRequest& request);
  absl::StatusOr<v1::CancelJobResponse> CancelJob(const v1::CancelJobRequest& request);
  absl::StatusOr<v1::CreateSavepointResponse> CreateSavepoint(
      const v1::CreateSavepointRequest& request);
  absl::StatusOr<v1::RescaleJobResponse> RescaleJob(const v1::RescaleJobRequest& request);
  absl::StatusOr<v1::UpgradeJobResponse> UpgradeJob(const v1::UpgradeJobRequest& request);
  absl::StatusOr<v1::UpdateModelResponse> UpdateModel(const v1::UpdateModelRequest& request);
  absl::StatusOr<v1::ListCheckpointsResponse> ListCheckpoints(
      const v1::ListCheckpointsRequest& request);
  absl::StatusOr<v1::ListWorkersResponse> ListWorkers(const v1::ListWorkersRequest& request);
  absl::StatusOr<v1::GetLogsResponse> GetLogs(const v1::GetLogsRequest& request);
  absl::StatusOr<v1::RestartJobResponse> RestartJob(const v1::RestartJobRequest& request);
  // Calls `on_response` until it returns false (OK), `interrupted` is true (kCancelled), the job
  // ends, or `deadline` has passed. `interrupted` is asked several times per second.
  absl::Status TailNode(const v1::TailNodeRequest& request, absl::Time deadline,
                        const std::function<bool()>& interrupted,
                        const std::function<bool(const v1::TailNodeResponse&)>& on_response);
  // Calls `on_job` until it returns false, the job ends, or `deadline` has passed.
  absl::Status WatchJob(const v1::WatchJobRequest& request, absl::Time deadline,
                        const std::function<bool(const v1::Job&)>& on_job);

 private:
  struct Stub;
  const std::unique_ptr<Stub> stub_;
};

}  // namespace millrace
