#include "worker/coordinator_link_rpc.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <deque>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"
#include "millrace/v1/worker_service.grpc.pb.h"
#include "runtime/base/log.h"
#include "runtime/base/status_macros.h"
#include "runtime/security/channel_credentials_rpc.h"
#include "worker/worker.h"

namespace millrace {
namespace {

constexpr absl::Duration kBackOffMin = absl::Milliseconds(100);
constexpr absl::Duration kBackOffMax = absl::Seconds(1);
constexpr int kMessageBytesMax = 256 << 20;

}  // namespace

// Shared by the link and its streams' callbacks. gRPC joins its callback threads when the last
// channel of the process goes, so neither the stub nor a stream, which hold the channel, may go on
// one of them: a stream that has ended waits in `ended` for the next Dial or the link's end.
struct CoordinatorLink::State {
  State(std::string to, ClientSecurity s, Worker& w, Env e)
      : addresses(absl::StrSplit(to, ',')), security(std::move(s)), worker(w), env(e) {}

  const std::vector<std::string> addresses;
  const ClientSecurity security;
  Worker& worker;
  Env env;
  // By address. Constant from Start to the link's end.
  std::vector<std::unique_ptr<v1::WorkerService::Stub>> stubs;
  absl::Mutex mutex;
  bool stopping ABSL_GUARDED_BY(mutex) = false;
  std::shared_ptr<Stream> stream ABSL_GUARDED_BY(mutex);  // Until its OnDone.
  std::shared_ptr<Stream> ended ABSL_GUARDED_BY(mutex);
  absl::Duration back_off ABSL_GUARDED_BY(mutex) = kBackOffMin;
  size_t dialled ABSL_GUARDED_BY(mutex) = 0;  // How many addresses, since the last answer.
  size_t next ABSL_GUARDED_BY(mutex) = 0;     // The address to dial.

  bool Ended() ABSL_SHARED_LOCKS_REQUIRED(mutex) { return stream == nullptr; }
};

// One connection.
class CoordinatorLink::Stream
    : public grpc::ClientBidiReactor<v1::ConnectRequest, v1::ConnectResponse>,
      public std::enable_shared_from_this<Stream> {
 public:
  Stream(std::shared_ptr<State> state, size_t address)
      : state_(std::move(state)), address_(address) {}

  void Begin() {
    state_->stubs[address_]->async()->Connect(&context_, this);
    StartRead(&incoming_);
    AddHold();  // For writes from outside the callbacks.
    StartCall();
    state_->worker.OnConnected({.send =
                                    [weak = weak_from_this()](v1::ConnectRequest message) {
                                      if (auto stream = weak.lock())
                                        stream->Send(std::move(message));
                                    },
                                .close =
                                    [weak = weak_from_this()] {
                                      if (auto stream = weak.lock()) stream->Cancel();
                                    }});
  }

  void Cancel() { context_.TryCancel(); }

  void OnReadDone(bool ok) override {
    if (!ok) return Finish();
    {
      absl::MutexLock lock(&state_->mutex);
      state_->back_off = kBackOffMin;
      state_->dialled = 0;
    }
    state_->worker.OnMessage(std::move(incoming_));
    incoming_.Clear();
    StartRead(&incoming_);
  }

  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mutex_);
    outgoing_.pop_front();
    if (!ok || closed_) {
      outgoing_.clear();
    } else if (!outgoing_.empty()) {
      StartWrite(&outgoing_.front());
    }
  }

  void OnDone(const grpc::Status& status) override {
    const std::shared_ptr<State> state = state_;  // This may be gone once the lock is given back.
    state->worker.OnDisconnected();
    absl::Duration back_off;
    bool again;
    {
      absl::MutexLock lock(&state->mutex);
      again = !state->stopping;
      state->next = (address_ + 1) % state->addresses.size();
      // All of them are tried before there is a pause.
      back_off =
          ++state->dialled < state->addresses.size() ? absl::ZeroDuration() : state->back_off;
      if (back_off > absl::ZeroDuration()) {
        state->dialled = 0;
        state->back_off = std::min(back_off * 2, kBackOffMax);
      }
      state->ended = std::move(state->stream);
    }
    if (!again) return;
    LogWarning("no connection to the coordinator; will try again",
               {{"address", state->addresses[address_]}, {"error", status.error_message()}});
    state->env.executor.RunAfter(back_off, [state] { Dial(state); });
  }

 private:
  void Send(v1::ConnectRequest message) {
    absl::MutexLock lock(&mutex_);
    if (closed_) return;
    outgoing_.push_back(std::move(message));
    if (outgoing_.size() == 1) StartWrite(&outgoing_.front());
  }

  void Finish() {
    absl::MutexLock lock(&mutex_);
    if (std::exchange(closed_, true)) return;
    context_.TryCancel();
    RemoveHold();
  }

  const std::shared_ptr<State> state_;
  const size_t address_;
  grpc::ClientContext context_;
  v1::ConnectResponse incoming_;
  absl::Mutex mutex_;
  std::deque<v1::ConnectRequest> outgoing_ ABSL_GUARDED_BY(mutex_);  // The first is being written.
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

CoordinatorLink::CoordinatorLink(std::string addresses, ClientSecurity security, Worker& worker,
                                 Env env)
    : state_(std::make_shared<State>(std::move(addresses), std::move(security), worker, env)) {}

CoordinatorLink::~CoordinatorLink() {
  std::shared_ptr<Stream> ended;  // Goes when the lock is given back.
  absl::MutexLock lock(&state_->mutex);
  state_->stopping = true;
  if (state_->stream != nullptr) state_->stream->Cancel();
  state_->mutex.Await(absl::Condition(state_.get(), &State::Ended));
  ended = std::move(state_->ended);
  state_->stubs.clear();
}

absl::Status CoordinatorLink::Start() {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMessageBytesMax);
  arguments.SetMaxSendMessageSize(kMessageBytesMax);
  // A coordinator whose machine vanished is noticed even when nothing is sent.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 5000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5000);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  MILLRACE_ASSIGN_OR_RETURN(const auto credentials,
                            MakeChannelCredentials(state_->security, arguments));
  for (const std::string& address : state_->addresses) {
    state_->stubs.push_back(
        v1::WorkerService::NewStub(grpc::CreateCustomChannel(address, credentials, arguments)));
  }
  Dial(state_);
  return absl::OkStatus();
}

void CoordinatorLink::Dial(std::shared_ptr<State> state) {
  std::shared_ptr<Stream> stream;
  std::shared_ptr<Stream> ended;  // Goes when the lock is given back.
  {
    absl::MutexLock lock(&state->mutex);
    if (state->stopping) return;
    stream = std::make_shared<Stream>(state, state->next);
    state->stream = stream;
    ended = std::move(state->ended);
  }
  stream->Begin();
}

}  // namespace millrace
