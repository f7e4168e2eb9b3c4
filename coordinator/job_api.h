// What users can ask of a coordinator, without a network: the gRPC service, the embedded mode and
// the simulator all call this.
//
// Threading: every method, from any thread; replies run on the coordinator's loop and must not
// block. Errors: kNotFound no such job; kFailedPrecondition not in this state; kInvalidArgument a
// bad graph,
//         with its problems attached (GetDiagnostics); kAlreadyExists a request id that was used
//         for another request.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "millrace/v1/job_service.pb.h"

namespace millrace {

template <typename Response>
using Reply = absl::AnyInvocable<void(absl::StatusOr<Response>) &&>;

// Sees a job at once, then on every change of state and every completed epoch, until it returns
// false or the job has ended.
class JobWatcher {
 public:
  virtual ~JobWatcher() = default;
  virtual bool OnJob(const v1::Job& job) = 0;
  // The last call: OK after the job's end, kNotFound.
  virtual void OnEnd(const absl::Status& status) = 0;
};

// Gets what TailNode promises: the columns first, then rows.
class TailWatcher {
 public:
  virtual ~TailWatcher() = default;
  // `taken`: to be called once there is room for more, from any thread; null for samples, of which
  // one that is too slow leaves out what it likes. False: it listens no more.
  virtual bool OnRows(const v1::TailNodeResponse& response, std::function<void()> taken) = 0;
  virtual bool listening() const = 0;
  // The last call: OK after the job's end, kAborted when it failed, or what is wrong.
  virtual void OnEnd(const absl::Status& status) = 0;
};

class JobApi {
 public:
  virtual ~JobApi() = default;
  virtual void ValidateJob(v1::ValidateJobRequest request,
                           Reply<v1::ValidateJobResponse> reply) = 0;
  virtual void ExplainJob(v1::ExplainJobRequest request, Reply<v1::ExplainJobResponse> reply) = 0;
  virtual void SubmitJob(v1::SubmitJobRequest request, Reply<v1::SubmitJobResponse> reply) = 0;
  virtual void GetJob(v1::GetJobRequest request, Reply<v1::GetJobResponse> reply) = 0;
  virtual void ListJobs(v1::ListJobsRequest request, Reply<v1::ListJobsResponse> reply) = 0;
  virtual void WatchJob(v1::WatchJobRequest request, std::shared_ptr<JobWatcher> watcher) = 0;
  // Replies when the job has ended.
  virtual void StopJob(v1::StopJobRequest request, Reply<v1::StopJobResponse> reply) = 0;
  virtual void CancelJob(v1::CancelJobRequest request, Reply<v1::CancelJobResponse> reply) = 0;
  virtual void CreateSavepoint(v1::CreateSavepointRequest request,
                               Reply<v1::CreateSavepointResponse> reply) = 0;
  // Replies when the new version is part of a complete epoch.
  virtual void RescaleJob(v1::RescaleJobRequest request, Reply<v1::RescaleJobResponse> reply) = 0;
  virtual void UpgradeJob(v1::UpgradeJobRequest request, Reply<v1::UpgradeJobResponse> reply) = 0;
  virtual void UpdateModel(v1::UpdateModelRequest request,
                           Reply<v1::UpdateModelResponse> reply) = 0;
  virtual void ListCheckpoints(v1::ListCheckpointsRequest request,
                               Reply<v1::ListCheckpointsResponse> reply) = 0;
  virtual void ListWorkers(v1::ListWorkersRequest request,
                           Reply<v1::ListWorkersResponse> reply) = 0;
  virtual void RestartJob(v1::RestartJobRequest request, Reply<v1::RestartJobResponse> reply) = 0;
  virtual void TailNode(v1::TailNodeRequest request, std::shared_ptr<TailWatcher> watcher) = 0;
  virtual void GetLogs(v1::GetLogsRequest request, Reply<v1::GetLogsResponse> reply) = 0;
};

// Problems of a graph travel within a status.
absl::Status StatusWithDiagnostics(absl::Status status,
                                   const std::vector<v1::Diagnostic>& diagnostics);
std::vector<v1::Diagnostic> GetDiagnostics(const absl::Status& status);

}  // namespace millrace
