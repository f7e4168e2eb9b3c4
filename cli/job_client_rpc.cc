#include "cli/job_client_rpc.h"

#include <grpcpp/grpcpp.h>

#include <utility>
#include <vector>

#include "absl/strings/str_split.h"
#include "coordinator/rpc_status_rpc.h"
#include "millrace/v1/job_service.grpc.pb.h"
#include "runtime/base/status_macros.h"
#include "runtime/security/channel_credentials_rpc.h"

namespace millrace {
namespace {

constexpr int kMessageBytesMax = 256 << 20;
// Stopping and savepoints wait for a checkpoint; the rest answers at once.
constexpr absl::Duration kPatience = absl::Minutes(15);
// For a coordinator to answer before the next one is tried.
constexpr absl::Duration kDialPatience = absl::Seconds(2);
// A coordinator that is just being restarted is found. Safe: changes carry a request id.
constexpr char kRetries[] = R"({"methodConfig": [{
  "name": [{"service": "millrace.v1.JobService"}],
  "retryPolicy": {"maxAttempts": 4, "initialBackoff": "0.1s", "maxBackoff": "1s",
                  "backoffMultiplier": 3, "retryableStatusCodes": ["UNAVAILABLE"]}}]})";

// How often a call that waits looks whether it was interrupted.
constexpr absl::Duration kInterruptLook = absl::Milliseconds(100);

void Prepare(grpc::ClientContext& context, absl::Time deadline) {
  context.set_wait_for_ready(false);
  if (deadline != absl::InfiniteFuture()) context.set_deadline(absl::ToChronoTime(deadline));
}

bool Answers(grpc::Channel& channel) {
  const auto deadline = absl::ToChronoTime(absl::Now() + kDialPatience);
  grpc_connectivity_state state = channel.GetState(/*try_to_connect=*/true);
  while (state != GRPC_CHANNEL_READY && state != GRPC_CHANNEL_TRANSIENT_FAILURE) {
    if (!channel.WaitForStateChange(state, deadline)) break;
    state = channel.GetState(true);
  }
  return state == GRPC_CHANNEL_READY;
}

absl::Status Explain(const grpc::Status& status, const std::string& address) {
  absl::Status result = FromGrpcStatus(status);
  if (result.code() != absl::StatusCode::kUnavailable) return result;
  return absl::UnavailableError("cannot reach the coordinator at " + address + " (" +
                                std::string(result.message()) +
                                "); is it running? see --coordinator");
}

}  // namespace

struct JobClient::Stub {
  struct Endpoint {
    std::shared_ptr<grpc::Channel> channel;
    std::unique_ptr<v1::JobService::Stub> rpc;
  };
  std::string addresses;
  std::vector<Endpoint> endpoints;  // By address. Empty: `unusable` says why.
  absl::Status unusable;

  // Only the leader of several coordinators answers. When none does, the last one says why.
  v1::JobService::Stub& Choose() const {
    for (const Endpoint& endpoint : endpoints) {
      if (endpoints.size() > 1 && Answers(*endpoint.channel)) return *endpoint.rpc;
    }
    return *endpoints.back().rpc;
  }

  template <typename Request, typename Response>
  absl::StatusOr<Response> Call(grpc::Status (v1::JobService::Stub::*method)(grpc::ClientContext*,
                                                                             const Request&,
                                                                             Response*),
                                const Request& request) {
    MILLRACE_RETURN_IF_ERROR(unusable);
    v1::JobService::Stub& rpc = Choose();
    grpc::ClientContext context;
    Prepare(context, absl::Now() + kPatience);
    Response response;
    const grpc::Status status = (rpc.*method)(&context, request, &response);
    if (!status.ok()) return Explain(status, addresses);
    return response;
  }
};

JobClient::JobClient(const std::string& addresses, const ClientSecurity& security)
    : stub_(std::make_unique<Stub>()) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMessageBytesMax);
  arguments.SetServiceConfigJSON(kRetries);
  stub_->addresses = addresses;
  const auto credentials = MakeChannelCredentials(security, arguments);
  stub_->unusable = credentials.status();
  if (!credentials.ok()) return;
  for (const std::string& address : std::vector<std::string>(absl::StrSplit(addresses, ','))) {
    auto channel = grpc::CreateCustomChannel(address, *credentials, arguments);
    stub_->endpoints.push_back({channel, v1::JobService::NewStub(channel)});
  }
}

JobClient::~JobClient() = default;

#define MILLRACE_JOB_CALL(Method)                                                              \
  absl::StatusOr<v1::Method##Response> JobClient::Method(const v1::Method##Request& request) { \
    return stub_->Call(&v1::JobService::Stub::Method, request);                                \
  }
MILLRACE_JOB_CALL(ValidateJob)
MILLRACE_JOB_CALL(ExplainJob)
MILLRACE_JOB_CALL(SubmitJob)
MILLRACE_JOB_CALL(GetJob)
MILLRACE_JOB_CALL(StopJob)
MILLRACE_JOB_CALL(CancelJob)
MILLRACE_JOB_CALL(CreateSavepoint)
MILLRACE_JOB_CALL(UpdateModel)
MILLRACE_JOB_CALL(RescaleJob)
MILLRACE_JOB_CALL(UpgradeJob)
MILLRACE_JOB_CALL(ListCheckpoints)
MILLRACE_JOB_CALL(ListJobs)
MILLRACE_JOB_CALL(ListWorkers)
MILLRACE_JOB_CALL(GetLogs)
MILLRACE_JOB_CALL(RestartJob)
#undef MILLRACE_JOB_CALL

absl::Status JobClient::WatchJob(const v1::WatchJobRequest& request, absl::Time deadline,
                                 const std::function<bool(const v1::Job&)>& on_job) {
  MILLRACE_RETURN_IF_ERROR(stub_->unusable);
  v1::JobService::Stub& rpc = stub_->Choose();
  grpc::ClientContext context;
  Prepare(context, deadline);
  auto reader = rpc.WatchJob(&context, request);
  v1::WatchJobResponse response;
  while (reader->Read(&response)) {
    if (!on_job(response.job())) {
      context.TryCancel();
      (void)reader->Finish();  // Cancelled by us.
      return absl::OkStatus();
    }
  }
  const grpc::Status status = reader->Finish();
  return status.ok() ? absl::OkStatus() : Explain(status, stub_->addresses);
}

absl::Status JobClient::TailNode(
    const v1::TailNodeRequest& request, absl::Time deadline,
    const std::function<bool()>& interrupted,
    const std::function<bool(const v1::TailNodeResponse&)>& on_response) {
  MILLRACE_RETURN_IF_ERROR(stub_->unusable);
  grpc::ClientContext context;
  Prepare(context, deadline);
  grpc::CompletionQueue queue;
  auto reader = stub_->Choose().PrepareAsyncTailNode(&context, request, &queue);
  int tag = 0;
  bool ended = false;  // By us.
  bool cancelled = false;
  // True when the step that was begun has succeeded.
  const auto await = [&] {
    void* done = nullptr;
    bool ok = false;
    while (true) {
      if (!cancelled && interrupted()) {
        cancelled = true;
        context.TryCancel();
      }
      const auto look = absl::ToChronoTime(absl::Now() + kInterruptLook);
      if (queue.AsyncNext(&done, &ok, look) == grpc::CompletionQueue::GOT_EVENT) return ok;
    }
  };
  reader->StartCall(&tag);
  bool ok = await();
  v1::TailNodeResponse response;
  while (ok) {
    reader->Read(&response, &tag);
    ok = await();
    if (!ok || cancelled || on_response(response)) continue;
    ended = true;
    context.TryCancel();
    ok = false;
  }
  grpc::Status status;
  reader->Finish(&status, &tag);
  (void)await();
  queue.Shutdown();
  if (ended) return absl::OkStatus();
  if (cancelled) return absl::CancelledError("interrupted");
  return status.ok() ? absl::OkStatus() : Explain(status, stub_->addresses);
}

}  // namespace millrace
