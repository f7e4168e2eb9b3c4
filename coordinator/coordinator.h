// The coordinator: one event loop that knows the workers, gives them the tasks of jobs, and answers
// users. RPC handlers post letters, the loop decides, I/O runs elsewhere and posts back.
//
// Threading: RunPosted, Start and the accessors marked so on one thread, the loop's; JobApi and the
//            worker entry points from any thread.
// Ownership: env, store and links are borrowed or shared as said; controllers live as long as this.
// Errors: replies carry them. A job that another coordinator has fenced off is reported by
// `on_fenced`.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "coordinator/job_api.h"
#include "coordinator/job_controller.h"
#include "coordinator/loop.h"
#include "coordinator/metadata/metadata_store.h"
#include "millrace/v1/job_service.pb.h"
#include "millrace/v1/worker_service.pb.h"
#include "runtime/base/env.h"

namespace millrace {

// The way to one connected worker. Called on the loop; must not block.
class WorkerLink {
 public:
  virtual ~WorkerLink() = default;
  virtual void Send(const v1::ConnectResponse& message) = 0;
  virtual void Close() = 0;  // Its OnWorkerClosed may still come.
};

struct CompiledJob {
  v1::JobGraph graph;                       // Empty when there are errors.
  std::vector<v1::Diagnostic> diagnostics;  // All problems at once; warnings too.
  std::string explanation;
};

// Text or graph to a typed, checked graph. Called on io threads.
using CompileFunction = std::function<CompiledJob(const v1::JobSource& source)>;

class S3Access;

struct CoordinatorOptions {
  std::string coordinator_id;    // Names this incarnation.
  uint64_t term = 0;             // Of its leadership.
  std::string checkpoint_uri;    // Each job has a folder below.
  std::shared_ptr<S3Access> s3;  // Null: s3:// is refused.
  absl::Duration heartbeat_interval = absl::Seconds(1);
  absl::Duration heartbeat_timeout = absl::Seconds(5);
  // How long workers wait for an answer to heartbeats before they look for another coordinator;
  // zero = for ever.
  absl::Duration silence_timeout = absl::Seconds(3);
  absl::Duration registration_grace = absl::Seconds(5);
  absl::Duration deploy_timeout = absl::Minutes(10);
  absl::Duration sweep_interval = absl::Minutes(1);
  absl::Duration sweep_grace = absl::Minutes(10);
  absl::Duration stall_timeout = absl::Minutes(1);
  // Another coordinator controls a job of this one: the process should end.
  std::function<void(const absl::Status&)> on_fenced = [](const absl::Status&) {};
};

class Coordinator final : public JobApi, private JobHost {
 public:
  // `wake`: see Mailbox; what it captures must stay valid as long as `env` runs work.
  Coordinator(CoordinatorOptions options, Env env, MetadataStore& store, CompileFunction compile,
              std::function<void()> wake);
  ~Coordinator() override;
  Coordinator(const Coordinator&) = delete;
  Coordinator& operator=(const Coordinator&) = delete;

  // Loads the jobs. Blocks; call before the first RunPosted. kDataLoss, kFailedPrecondition:
  // metadata that this version cannot read.
  absl::Status Start();
  size_t RunPosted() { return loop_.RunPosted(); }
  void Post(Mailbox::Letter letter) { loop_.Post(std::move(letter)); }

  // Workers: a link by the id that OnWorkerConnected returned. Any thread.
  uint64_t OnWorkerConnected(std::shared_ptr<WorkerLink> link);
  void OnWorkerMessage(uint64_t link_id, v1::ConnectRequest message);
  void OnWorkerClosed(uint64_t link_id);

  void ValidateJob(v1::ValidateJobRequest request, Reply<v1::ValidateJobResponse> reply) override;
  void ExplainJob(v1::ExplainJobRequest request, Reply<v1::ExplainJobResponse> reply) override;
  void SubmitJob(v1::SubmitJobRequest request, Reply<v1::SubmitJobResponse> reply) override;
  void GetJob(v1::GetJobRequest request, Reply<v1::GetJobResponse> reply) override;
  void ListJobs(v1::ListJobsRequest request, Reply<v1::ListJobsResponse> reply) override;
  void WatchJob(v1::WatchJobRequest request, std::shared_ptr<JobWatcher> watcher) override;
  void StopJob(v1::StopJobRequest request, Reply<v1::StopJobResponse> reply) override;
  void CancelJob(v1::CancelJobRequest request, Reply<v1::CancelJobResponse> reply) override;
  void CreateSavepoint(v1::CreateSavepointRequest request,
                       Reply<v1::CreateSavepointResponse> reply) override;
  void UpdateModel(v1::UpdateModelRequest request, Reply<v1::UpdateModelResponse> reply) override;
  void RescaleJob(v1::RescaleJobRequest request, Reply<v1::RescaleJobResponse> reply) override;
  void UpgradeJob(v1::UpgradeJobRequest request, Reply<v1::UpgradeJobResponse> reply) override;
  void ListCheckpoints(v1::ListCheckpointsRequest request,
                       Reply<v1::ListCheckpointsResponse> reply) override;
  void ListWorkers(v1::ListWorkersRequest request, Reply<v1::ListWorkersResponse> reply) override;
  void GetLogs(v1::GetLogsRequest request, Reply<v1::GetLogsResponse> reply) override;
  void RestartJob(v1::RestartJobRequest request, Reply<v1::RestartJobResponse> reply) override;
  void TailNode(v1::TailNodeRequest request, std::shared_ptr<TailWatcher> watcher) override;

  // Loop thread; for metrics.
  void VisitJobs(const std::function<void(const JobController&)>& visit) const;
  std::vector<v1::Worker> Workers() const;
  uint64_t workers_lost() const { return workers_lost_; }
  uint64_t term() const { return options_.term; }
  bool started() const { return started_; }

 private:
  struct Connected {
    uint64_t link_id = 0;
    std::shared_ptr<WorkerLink> link;
    v1::RegisterWorker registration;
    bool leaving = false;
    absl::Time last_heartbeat;
    int64_t last_heartbeat_ns = 0;
  };

  // JobHost.
  std::vector<PlacementWorker> WorkersFor(const std::string& job_id) override;
  void SendTo(const std::string& worker_id, const v1::ConnectResponse& message) override;
  bool IsLeaving(const std::string& worker_id) override;
  void OnAttemptLeft() override;
  void OnJobEnded(const std::string& job_id) override;
  void OnFenced(const std::string& job_id, const absl::Status& status) override;

  // coordinator.cc
  absl::StatusOr<StoredJob> ParseJob(const std::vector<MetadataEntry>& entries);
  JobController& AddJob(StoredJob stored);
  void HandleMessage(uint64_t link_id, v1::ConnectRequest message);
  void HandleRegister(uint64_t link_id, const v1::RegisterWorker& registration);
  void HandleLeaving(Connected& worker);
  void LetLeave();
  void DropWorker(const std::string& worker_id, const absl::Status& reason);
  void WatchHeartbeats();
  Connected* FindByLink(uint64_t link_id);
  JobController* FindAttempt(const v1::AttemptId& id);

  // coordinator_api.cc
  absl::StatusOr<JobController*> FindJob(const std::string& job);
  void OnCompiled(v1::SubmitJobRequest request, CompiledJob compiled,
                  Reply<v1::SubmitJobResponse> reply);
  void OnJobStored(StoredJob stored, std::vector<v1::Diagnostic> warnings,
                   Reply<v1::SubmitJobResponse> reply);
  template <typename Request, typename Response>
  void RunOnce(const char* method, Request request, Reply<Response> reply,
               void (Coordinator::*run)(const Request&, Reply<Response>));
  void RunStop(const v1::StopJobRequest& request, Reply<v1::StopJobResponse> reply);
  void RunCancel(const v1::CancelJobRequest& request, Reply<v1::CancelJobResponse> reply);
  void RunRescale(const v1::RescaleJobRequest& request, Reply<v1::RescaleJobResponse> reply);
  void RunRestart(const v1::RestartJobRequest& request, Reply<v1::RestartJobResponse> reply);
  void RunUpgrade(const v1::UpgradeJobRequest& request, Reply<v1::UpgradeJobResponse> reply);
  void RunUpdateModel(const v1::UpdateModelRequest& request, Reply<v1::UpdateModelResponse> reply);
  void RunSavepoint(const v1::CreateSavepointRequest& request,
                    Reply<v1::CreateSavepointResponse> reply);

  const CoordinatorOptions options_;
  Loop loop_;
  MetadataStore& store_;
  const std::shared_ptr<const CompileFunction> compile_;
  std::atomic<uint64_t> next_link_id_{1};  // Relaxed: only uniqueness matters.
  bool started_ = false;
  std::map<uint64_t, std::shared_ptr<WorkerLink>> unregistered_;
  std::map<std::string, Connected> workers_;  // By worker id.
  std::map<std::string, std::unique_ptr<JobController>> jobs_;
  uint64_t workers_lost_ = 0;
};

}  // namespace millrace
