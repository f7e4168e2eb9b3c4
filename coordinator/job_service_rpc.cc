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
// Of one who looks at rows and reads slowly; further ones are counted and left out.
constexpr size_t kTailQueueMax = 64;

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

// One call with a stream of responses. Owned by gRPC until OnDone; its handle may live longer.
template <typename Response>
class ResponseStream final : public grpc::ServerWriteReactor<Response> {
 public:
  // What the coordinator's side holds. Threading: any thread.
  class Handle {
   public:
    explicit Handle(ResponseStream* stream) : stream_(stream) {}
    // False when the client is gone. `written`: called once the response is on its way.
    bool Push(const Response& response, std::function<void()> written = nullptr) {
      absl::MutexLock lock(&mutex_);
      return stream_ != nullptr && stream_->Push(response, std::move(written));
    }
    // Responses that wait; infinite when the client is gone.
    size_t waiting() {
      absl::MutexLock lock(&mutex_);
      return stream_ == nullptr ? SIZE_MAX : stream_->waiting();
    }
    // Of those that wait.
    void DropOldest() {
      absl::MutexLock lock(&mutex_);
      if (stream_ != nullptr) stream_->DropOldest();
    }
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
    ResponseStream* stream_ ABSL_GUARDED_BY(mutex_);
  };

  std::shared_ptr<Handle> handle() const { return handle_; }
  void OnTheEnd(std::function<void()> forget) { forget_ = std::move(forget); }

  void OnWriteDone(bool ok) override {
    std::function<void()> written;
    {
      absl::MutexLock lock(&mutex_);
      writing_ = false;
      if (ok) written = std::exchange(written_, nullptr);
      if (!ok && !end_.has_value()) end_ = grpc::Status::CANCELLED;
      if (!ok) queue_.clear();
      Continue();
    }
    if (written != nullptr) written();
  }
  void OnCancel() override { End(grpc::Status::CANCELLED); }
  void OnDone() override {
    handle_->Detach();
    forget_();
    delete this;
  }

 private:
  struct Waiting {
    Response response;
    std::function<void()> written;
  };

  bool Push(const Response& response, std::function<void()> written) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    if (end_.has_value()) return false;
    queue_.push_back({response, std::move(written)});
    Continue();
    return true;
  }
  void DropOldest() ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    if (!queue_.empty()) queue_.pop_front();
  }
  size_t waiting() ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return end_.has_value() ? SIZE_MAX : queue_.size();
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
      outgoing_ = std::move(queue_.front().response);
      written_ = std::move(queue_.front().written);
      queue_.pop_front();
      writing_ = true;
      this->StartWrite(&outgoing_);
    } else if (end_.has_value()) {
      finished_ = true;
      this->Finish(*end_);
    }
  }

  const std::shared_ptr<Handle> handle_ = std::make_shared<Handle>(this);
  std::function<void()> forget_ = [] {};
  absl::Mutex mutex_;
  std::deque<Waiting> queue_ ABSL_GUARDED_BY(mutex_);
  std::function<void()> written_ ABSL_GUARDED_BY(mutex_);  // Of outgoing_.
  Response outgoing_;                                      // gRPC's while writing_.
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<grpc::Status> end_ ABSL_GUARDED_BY(mutex_);
};

using WatchStream = ResponseStream<v1::WatchJobResponse>;
using TailStream = ResponseStream<v1::TailNodeResponse>;

class StreamWatcher final : public JobWatcher {
 public:
  explicit StreamWatcher(std::shared_ptr<WatchStream::Handle> stream)
      : stream_(std::move(stream)) {}
  bool OnJob(const v1::Job& job) override {
    const size_t waiting = stream_->waiting();
    if (waiting == SIZE_MAX) return false;
    if (waiting >= kWatchQueueMax) stream_->DropOldest();
    v1::WatchJobResponse response;
    *response.mutable_job() = job;
    return stream_->Push(response);
  }
  void OnEnd(const absl::Status& status) override { stream_->End(ToGrpcStatus(status)); }

 private:
  const std::shared_ptr<WatchStream::Handle> stream_;
};

class StreamTailWatcher final : public TailWatcher {
 public:
  explicit StreamTailWatcher(std::shared_ptr<TailStream::Handle> stream)
      : stream_(std::move(stream)) {}
  bool OnRows(const v1::TailNodeResponse& response, std::function<void()> taken) override {
    if (taken != nullptr) return stream_->Push(response, std::move(taken));
    const size_t waiting = stream_->waiting();
    if (waiting == SIZE_MAX) return false;
    if (waiting >= kTailQueueMax) {
      left_out_ +=
          static_cast<uint64_t>(response.rows().rows_size()) + response.rows().rows_left_out();
      return true;
    }
    v1::TailNodeResponse told = response;
    if (left_out_ > 0) {
      told.mutable_rows()->set_rows_left_out(told.rows().rows_left_out() + left_out_);
      left_out_ = 0;
    }
    return stream_->Push(told);
  }
  bool listening() const override { return stream_->waiting() != SIZE_MAX; }
  void OnEnd(const absl::Status& status) override { stream_->End(ToGrpcStatus(status)); }

 private:
  const std::shared_ptr<TailStream::Handle> stream_;
  uint64_t left_out_ = 0;  // The coordinator's loop.
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
  Reactor* RestartJob(Context* context, const v1::RestartJobRequest* request,
                      v1::RestartJobResponse* response) override {
    return Unary(context, request, response, &JobApi::RestartJob);
  }
  grpc::ServerWriteReactor<v1::WatchJobResponse>* WatchJob(
      Context*, const v1::WatchJobRequest* request) override {
    auto* stream = new WatchStream;
    Begin(stream, [request = *request, handle = stream->handle()](JobApi& api) {
      api.WatchJob(request, std::make_shared<StreamWatcher>(handle));
    });
    return stream;
  }
  grpc::ServerWriteReactor<v1::TailNodeResponse>* TailNode(
      Context*, const v1::TailNodeRequest* request) override {
    auto* stream = new TailStream;
    Begin(stream, [request = *request, handle = stream->handle()](JobApi& api) {
      api.TailNode(request, std::make_shared<StreamTailWatcher>(handle));
    });
    return stream;
  }

 private:
  template <typename Response>
  void Begin(ResponseStream<Response>* stream, const std::function<void(JobApi&)>& start) {
    const auto handle = stream->handle();
    uint64_t id = 0;
    const bool begun = calls_->Begin(
        &id, [handle](const grpc::Status& status) { handle->End(status); },
        [&](JobApi& api, uint64_t call) {
          stream->OnTheEnd([calls = calls_, call] { (void)calls->Take(call); });
          start(api);
        });
    if (!begun) handle->End(Stopping());
  }

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
