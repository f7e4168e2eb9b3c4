#include "coordinator/job_service_rpc.h"

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "coordinator/rpc_status_rpc.h"
#include "millrace/v1/job_service.grpc.pb.h"

namespace millrace {
namespace {

constexpr size_t kRequestBytesMax = size_t{4} << 20;
// Of a watcher that reads slowly; older states are skipped.
constexpr size_t kWatchQueueMax = 256;

const grpc::Status& Stopping() {
  static const auto* status =
      new grpc::Status(grpc::StatusCode::UNAVAILABLE, "the coordinator is stopping");
  return *status;
}

}  // namespace

// The calls that wait for their reply. Each is ended exactly once: by its reply or by Close.
class JobServiceRpc::Calls {
 public:
  using End = std::function<void(const grpc::Status&)>;

  explicit Calls(JobApi& api) : api_(&api) {}

  // False when closed. `start` hands the call to the API and must not block.
  bool Begin(uint64_t* id, End end, const std::function<void(JobApi&, uint64_t)>& start) {
    absl::MutexLock lock(&mutex_);
    if (api_ == nullptr) return false;
    *id = ++last_id_;
    waiting_[*id] = std::move(end);
    start(*api_, *id);
    return true;
  }

  // The way to end the call, if it still waits.
  std::optional<End> Take(uint64_t id) {
    absl::MutexLock lock(&mutex_);
    const auto it = waiting_.find(id);
    if (it == waiting_.end()) return std::nullopt;
    End end = std::move(it->second);
    waiting_.erase(it);
    return end;
  }

  void Close() {
    std::map<uint64_t, End> waiting;
    {
      absl::MutexLock lock(&mutex_);
      api_ = nullptr;
      waiting.swap(waiting_);
    }
    for (auto& [id, end] : waiting) end(Stopping());
  }

 private:
  absl::Mutex mutex_;
  JobApi* api_ ABSL_GUARDED_BY(mutex_);
  uint64_t last_id_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<uint64_t, End> waiting_ ABSL_GUARDED_BY(mutex_);
};

namespace {

// One WatchJob. Owned by gRPC until OnDone; the watcher's end of it may live longer.
class WatchStream final : public grpc::ServerWriteReactor<v1::WatchJobResponse> {
 public:
  // What the coordinator holds.
  class Watcher final : public JobWatcher {
   public:
    explicit Watcher(WatchStream* stream) : stream_(stream) {}
    bool OnJob(const v1::Job& job) override {
      absl::MutexLock lock(&mutex_);
      if (stream_ == nullptr) return false;
      stream_->Push(job);
      return true;
    }
    void OnEnd(const absl::Status& status) override { End(ToGrpcStatus(status)); }
    void End(const grpc::Status& status) {
      absl::MutexLock lock(&mutex_);
      if (stream_ != nullptr) stream_->End(status);
    }
    void Detach() {
      absl::MutexLock lock(&mutex_);
      stream_ = nullptr;
    }

   private:
    absl::Mutex mutex_;
    WatchStream* stream_ ABSL_GUARDED_BY(mutex_);
  };

  std::shared_ptr<Watcher> watcher() const { return watcher_; }
  void OnTheEnd(std::function<void()> forget) { forget_ = std::move(forget); }

  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mutex_);
    writing_ = false;
    if (!ok && !end_.has_value()) end_ = grpc::Status::CANCELLED;
    if (!ok) queue_.clear();
    Continue();
  }
  void OnCancel() override { End(grpc::Status::CANCELLED); }
  void OnDone() override {
    watcher_->Detach();
    forget_();
    delete this;
  }

 private:
  void Push(const v1::Job& job) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    if (end_.has_value()) return;
    if (queue_.size() >= kWatchQueueMax) queue_.pop_front();
    *queue_.emplace_back().mutable_job() = job;
    Continue();
  }
  void End(const grpc::Status& status) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    if (end_.has_value()) return;
    end_ = status;
    if (!status.ok()) queue_.clear();
    Continue();
  }
  void Continue() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (writing_ || finished_) return;
    if (!queue_.empty()) {
      outgoing_ = std::move(queue_.front());
      queue_.pop_front();
      writing_ = true;
      StartWrite(&outgoing_);
    } else if (end_.has_value()) {
      finished_ = true;
      Finish(*end_);
    }
  }

  const std::shared_ptr<Watcher> watcher_ = std::make_shared<Watcher>(this);
  std::function<void()> forget_ = [] {};
  absl::Mutex mutex_;
  std::deque<v1::WatchJobResponse> queue_ ABSL_GUARDED_BY(mutex_);
  v1::WatchJobResponse outgoing_;  // gRPC's while writing_.
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<grpc::Status> end_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

class JobServiceRpc::Service final : public v1::JobService::CallbackService {
 public:
  explicit Service(std::shared_ptr<Calls> calls) : calls_(std::move(calls)) {}

  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;

  Reactor* ValidateJob(Context* context, const v1::ValidateJobRequest* request,
                       v1::ValidateJobResponse* response) override {
    return Unary(context, request, response, &JobApi::ValidateJob);
  }
  Reactor* ExplainJob(Context* context, const v1::ExplainJobRequest* request,
                      v1::ExplainJobResponse* response) override {
    return Unary(context, request, response, &JobApi::ExplainJob);
  }
  Reactor* SubmitJob(Context* context, const v1::SubmitJobRequest* request,
                     v1::SubmitJobResponse* response) override {
    return Unary(context, request, response, &JobApi::SubmitJob);
  }
  Reactor* GetJob(Context* context, const v1::GetJobRequest* request,
                  v1::GetJobResponse* response) override {
    return Unary(context, request, response, &JobApi::GetJob);
  }
  Reactor* ListJobs(Context* context, const v1::ListJobsRequest* request,
                    v1::ListJobsResponse* response) override {
    return Unary(context, request, response, &JobApi::ListJobs);
  }
  Reactor* StopJob(Context* context, const v1::StopJobRequest* request,
                   v1::StopJobResponse* response) override {
    return Unary(context, request, response, &JobApi::StopJob);
  }
  Reactor* CancelJob(Context* context, const v1::CancelJobRequest* request,
                     v1::CancelJobResponse* response) override {
    return Unary(context, request, response, &JobApi::CancelJob);
  }
  Reactor* CreateSavepoint(Context* context, const v1::CreateSavepointRequest* request,
                           v1::CreateSavepointResponse* response) override {
    return Unary(context, request, response, &JobApi::CreateSavepoint);
  }
  Reactor* UpgradeJob(Context* context, const v1::UpgradeJobRequest* request,
                      v1::UpgradeJobResponse* response) override {
    return Unary(context, request, response, &JobApi::UpgradeJob);
  }
  Reactor* RescaleJob(Context* context, const v1::RescaleJobRequest* request,
                      v1::RescaleJobResponse* response) override {
    return Unary(context, request, response, &JobApi::RescaleJob);
  }
  Reactor* UpdateModel(Context* context, const v1::UpdateModelRequest* request,
                       v1::UpdateModelResponse* response) override {
    return Unary(context, request, response, &JobApi::UpdateModel);
  }
  Reactor* ListCheckpoints(Context* context, const v1::ListCheckpointsRequest* request,
                           v1::ListCheckpointsResponse* response) override {
    return Unary(context, request, response, &JobApi::ListCheckpoints);
  }
  Reactor* ListWorkers(Context* context, const v1::ListWorkersRequest* request,
                       v1::ListWorkersResponse* response) override {
    return Unary(context, request, response, &JobApi::ListWorkers);
  }
  Reactor* GetLogs(Context* context, const v1::GetLogsRequest* request,
                   v1::GetLogsResponse* response) override {
    return Unary(context, request, response, &JobApi::GetLogs);
  }
  grpc::ServerWriteReactor<v1::WatchJobResponse>* WatchJob(
      Context*, const v1::WatchJobRequest* request) override {
    auto* stream = new WatchStream;
    const std::shared_ptr<WatchStream::Watcher> watcher = stream->watcher();
    uint64_t id = 0;
    const bool begun = calls_->Begin(
        &id, [watcher](const grpc::Status& status) { watcher->End(status); },
        [&](JobApi& api, uint64_t call) {
          stream->OnTheEnd([calls = calls_, call] { (void)calls->Take(call); });
          api.WatchJob(*request, watcher);
        });
    if (!begun) watcher->End(Stopping());
    return stream;
  }

 private:
  template <typename Request, typename Response>
  Reactor* Unary(Context* context, const Request* request, Response* response,
                 void (JobApi::*method)(Request, Reply<Response>)) {
    Reactor* reactor = context->DefaultReactor();
    if (request->ByteSizeLong() > kRequestBytesMax) {
      reactor->Finish(
          grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED,
                       absl::StrCat("the request has more than ", kRequestBytesMax, " bytes")));
      return reactor;
    }
    uint64_t id = 0;
    const bool begun = calls_->Begin(
        &id, [reactor](const grpc::Status& status) { reactor->Finish(status); },
        [&](JobApi& api, uint64_t call) {
          (api.*method)(*request, [calls = calls_, call, response](absl::StatusOr<Response> reply) {
            const std::optional<Calls::End> end = calls->Take(call);
            if (!end.has_value()) return;
            if (reply.ok()) *response = *std::move(reply);
            (*end)(ToGrpcStatus(reply.status()));
          });
        });
    if (!begun) reactor->Finish(Stopping());
    return reactor;
  }

  const std::shared_ptr<Calls> calls_;
};

JobServiceRpc::JobServiceRpc(JobApi& api)
    : calls_(std::make_shared<Calls>(api)), service_(std::make_unique<Service>(calls_)) {}

JobServiceRpc::~JobServiceRpc() { Close(); }

grpc::Service* JobServiceRpc::service() { return service_.get(); }

void JobServiceRpc::Close() { calls_->Close(); }

}  // namespace millrace
