#include "coordinator/worker_service_rpc.h"

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <deque>
#include <map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "coordinator/coordinator.h"
#include "millrace/v1/worker_service.grpc.pb.h"
#include "runtime/base/log.h"

namespace millrace {
namespace {

// To a worker that does not read; then its connection is given up.
constexpr size_t kQueueMessagesMax = 10'000;

}  // namespace

// The way to the coordinator, until Close. Knows every open stream.
class WorkerServiceRpc::Gate {
 public:
  explicit Gate(Coordinator& coordinator) : coordinator_(&coordinator) {}

  // 0 when closed.
  uint64_t Connect(std::shared_ptr<WorkerLink> link) {
    absl::MutexLock lock(&mutex_);
    if (coordinator_ == nullptr) return 0;
    const uint64_t id = coordinator_->OnWorkerConnected(link);
    links_[id] = std::move(link);
    return id;
  }
  void Deliver(uint64_t id, v1::ConnectRequest message) {
    absl::MutexLock lock(&mutex_);
    if (coordinator_ != nullptr) coordinator_->OnWorkerMessage(id, std::move(message));
  }
  void Disconnect(uint64_t id) {
    std::shared_ptr<WorkerLink> link;  // Destroyed without the lock.
    absl::MutexLock lock(&mutex_);
    if (const auto it = links_.find(id); it != links_.end()) {
      link = std::move(it->second);
      links_.erase(it);
    }
    if (coordinator_ != nullptr) coordinator_->OnWorkerClosed(id);
  }
  void Close() {
    std::map<uint64_t, std::shared_ptr<WorkerLink>> links;
    {
      absl::MutexLock lock(&mutex_);
      coordinator_ = nullptr;
      links.swap(links_);
    }
    for (auto& [id, link] : links) link->Close();
  }

 private:
  absl::Mutex mutex_;
  Coordinator* coordinator_ ABSL_GUARDED_BY(mutex_);
  std::map<uint64_t, std::shared_ptr<WorkerLink>> links_ ABSL_GUARDED_BY(mutex_);
};

// Owned by gRPC until OnDone.
class WorkerServiceRpc::Stream final
    : public grpc::ServerBidiReactor<v1::ConnectRequest, v1::ConnectResponse> {
 public:
  class Link final : public WorkerLink {
   public:
    explicit Link(Stream* stream) : stream_(stream) {}
    void Send(const v1::ConnectResponse& message) override {
      absl::MutexLock lock(&mutex_);
      if (stream_ != nullptr) stream_->Push(message);
    }
    void Close() override {
      absl::MutexLock lock(&mutex_);
      if (stream_ != nullptr) stream_->End();
    }
    void Detach() {
      absl::MutexLock lock(&mutex_);
      stream_ = nullptr;
    }

   private:
    absl::Mutex mutex_;
    Stream* stream_ ABSL_GUARDED_BY(mutex_);
  };

  Stream(std::shared_ptr<Gate> gate, grpc::CallbackServerContext* context)
      : gate_(std::move(gate)), context_(context), link_(std::make_shared<Link>(this)) {
    id_ = gate_->Connect(link_);
    if (id_ == 0) {
      End();
    } else {
      StartRead(&incoming_);
    }
  }

  void OnReadDone(bool ok) override {
    if (!ok) return End();
    gate_->Deliver(id_, std::move(incoming_));
    incoming_.Clear();
    StartRead(&incoming_);
  }
  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mutex_);
    writing_ = false;
    if (!ok) ending_ = true;
    Continue();
  }
  void OnCancel() override { End(); }
  void OnDone() override {
    link_->Detach();
    if (id_ != 0) gate_->Disconnect(id_);
    delete this;
  }

 private:
  void Push(const v1::ConnectResponse& message) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    if (ending_) return;
    if (queue_.size() >= kQueueMessagesMax) {
      LogWarning("a worker does not read; its connection is closed");
      ending_ = true;
      context_->TryCancel();
    } else {
      queue_.push_back(message);
    }
    Continue();
  }
  void End() ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    if (std::exchange(ending_, true)) return;
    // Wakes a write to a worker that does not read.
    if (writing_) context_->TryCancel();
    Continue();
  }
  void Continue() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (writing_ || finished_) return;
    if (ending_) {
      finished_ = true;
      Finish(grpc::Status(grpc::StatusCode::UNAVAILABLE, "the coordinator has closed the stream"));
    } else if (!queue_.empty()) {
      outgoing_ = std::move(queue_.front());
      queue_.pop_front();
      writing_ = true;
      StartWrite(&outgoing_);
    }
  }

  const std::shared_ptr<Gate> gate_;
  grpc::CallbackServerContext* const context_;
  const std::shared_ptr<Link> link_;
  uint64_t id_ = 0;
  v1::ConnectRequest incoming_;
  absl::Mutex mutex_;
  std::deque<v1::ConnectResponse> queue_ ABSL_GUARDED_BY(mutex_);
  v1::ConnectResponse outgoing_;  // gRPC's while writing_.
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

class WorkerServiceRpc::Service final : public v1::WorkerService::CallbackService {
 public:
  explicit Service(std::shared_ptr<Gate> gate) : gate_(std::move(gate)) {}

  grpc::ServerBidiReactor<v1::ConnectRequest, v1::ConnectResponse>* Connect(
      grpc::CallbackServerContext* context) override {
    return new Stream(gate_, context);
  }

 private:
  const std::shared_ptr<Gate> gate_;
};

WorkerServiceRpc::WorkerServiceRpc(Coordinator& coordinator)
    : gate_(std::make_shared<Gate>(coordinator)), service_(std::make_unique<Service>(gate_)) {}

WorkerServiceRpc::~WorkerServiceRpc() { Close(); }

grpc::Service* WorkerServiceRpc::service() { return service_.get(); }

void WorkerServiceRpc::Close() { gate_->Close(); }

}  // namespace millrace
