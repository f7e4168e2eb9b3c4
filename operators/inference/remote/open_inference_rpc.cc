#include "operators/inference/remote/open_inference_rpc.h"

#include <grpcpp/grpcpp.h>

#include <map>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "inference/open_inference.grpc.pb.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

using inference::GRPCInferenceService;

constexpr int kMessageBytesMax = 64 << 20;
constexpr int kReconnectMs = 200, kReconnectMaxMs = 2000;

absl::Status FromGrpc(const grpc::Status& status) {
  return {static_cast<absl::StatusCode>(status.error_code()), status.error_message()};
}

struct Call {
  grpc::ClientContext context;
  inference::ModelInferRequest request;
  inference::ModelInferResponse response;
  InferenceTransport::Answer answer;
};

// The calls of a transport. A call holds the channel, and gRPC joins its callback threads when the
// last channel of the process goes: so no call may go on one of them, and those that have ended
// wait here for the transport.
//
// Threading: Finish on a callback thread, the rest on the transport's.
class Calls {
 public:
  // Drops those that have ended.
  Call* Add(std::unique_ptr<Call> call) ABSL_LOCKS_EXCLUDED(mutex_) {
    std::vector<std::unique_ptr<Call>> ended;  // Go when the lock is given back.
    absl::MutexLock lock(&mutex_);
    ended.swap(ended_);
    Call* const added = call.get();
    under_way_.emplace(added, std::move(call));
    return added;
  }
  void Finish(Call* call) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    ended_.push_back(std::move(under_way_.extract(call).mapped()));
  }
  // Returns when all have ended, which does not take long.
  void CancelAll() ABSL_LOCKS_EXCLUDED(mutex_) {
    std::vector<std::unique_ptr<Call>> ended;
    absl::MutexLock lock(&mutex_);
    for (const auto& [call, owner] : under_way_) call->context.TryCancel();
    mutex_.Await(absl::Condition(
        +[](std::map<Call*, std::unique_ptr<Call>>* calls) { return calls->empty(); },
        &under_way_));
    ended.swap(ended_);
  }

 private:
  absl::Mutex mutex_;
  std::map<Call*, std::unique_ptr<Call>> under_way_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<Call>> ended_ ABSL_GUARDED_BY(mutex_);
};

class OpenInferenceTransport : public InferenceTransport {
 public:
  explicit OpenInferenceTransport(const std::string& endpoint) : endpoint_(endpoint) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(kMessageBytesMax);
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kReconnectMs);
    arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kReconnectMs);
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kReconnectMaxMs);
    // The operator counts retries and their time; nobody else may retry.
    arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
    // Not the connection that other tasks of the process share.
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    stub_ = GRPCInferenceService::NewStub(
        grpc::CreateCustomChannel(endpoint, grpc::InsecureChannelCredentials(), arguments));
  }
  ~OpenInferenceTransport() override { calls_->CancelAll(); }

  absl::StatusOr<inference::ModelMetadataResponse> Describe(const std::string& model,
                                                            const std::string& version,
                                                            absl::Duration timeout) override {
    const auto deadline = absl::ToChronoTime(absl::Now() + timeout);
    const auto call = [&](const char* what, auto&& function) {
      grpc::ClientContext context;
      context.set_deadline(deadline);
      context.set_wait_for_ready(true);
      const grpc::Status status = function(context);
      if (status.ok()) return absl::OkStatus();
      // A server that does not answer may do so later.
      const absl::Status converted = FromGrpc(status);
      const auto code =
          absl::IsDeadlineExceeded(converted) ? absl::StatusCode::kUnavailable : converted.code();
      return absl::Status(code, Concat("cannot ask the model server ", what, ": endpoint=",
                                       endpoint_, " model=", model, ": ", status.error_message()));
    };
    inference::ServerReadyResponse server;
    MILLRACE_RETURN_IF_ERROR(call("whether it is ready", [&](grpc::ClientContext& context) {
      return stub_->ServerReady(&context, {}, &server);
    }));
    if (!server.ready()) {
      return absl::UnavailableError(Concat("the model server is not ready: endpoint=", endpoint_));
    }
    inference::ModelReadyRequest ready_request;
    ready_request.set_name(model);
    ready_request.set_version(version);
    inference::ModelReadyResponse ready;
    MILLRACE_RETURN_IF_ERROR(call("about its model", [&](grpc::ClientContext& context) {
      return stub_->ModelReady(&context, ready_request, &ready);
    }));
    if (!ready.ready()) {
      return absl::UnavailableError(
          Concat("the model is not ready: endpoint=", endpoint_, " model=", model));
    }
    inference::ModelMetadataRequest metadata_request;
    metadata_request.set_name(model);
    metadata_request.set_version(version);
    inference::ModelMetadataResponse metadata;
    MILLRACE_RETURN_IF_ERROR(call("for the model's metadata", [&](grpc::ClientContext& context) {
      return stub_->ModelMetadata(&context, metadata_request, &metadata);
    }));
    return metadata;
  }

  void Infer(inference::ModelInferRequest request, absl::Duration timeout, Answer answer) override {
    auto owned = std::make_unique<Call>();
    owned->request = std::move(request);
    owned->answer = std::move(answer);
    owned->context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
    Call* const call = calls_->Add(std::move(owned));
    stub_->async()->ModelInfer(&call->context, &call->request, &call->response,
                               [call, calls = calls_](const grpc::Status& status) {
                                 if (status.ok()) {
                                   std::move(call->answer)(std::move(call->response));
                                 } else {
                                   std::move(call->answer)(FromGrpc(status));
                                 }
                                 calls->Finish(call);
                               });
  }

 private:
  const std::string endpoint_;
  const std::shared_ptr<Calls> calls_ = std::make_shared<Calls>();
  std::unique_ptr<GRPCInferenceService::Stub> stub_;
};

}  // namespace

std::unique_ptr<InferenceTransport> MakeOpenInferenceTransport(const std::string& endpoint) {
  return std::make_unique<OpenInferenceTransport>(endpoint);
}

}  // namespace millrace
