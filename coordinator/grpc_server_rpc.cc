#include "coordinator/grpc_server_rpc.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/security/auth_metadata_processor.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/access.h"
#include "coordinator/coordinator.h"
#include "coordinator/job_service_rpc.h"
#include "coordinator/worker_service_rpc.h"
#include "runtime/base/log.h"
#include "runtime/base/status_macros.h"

namespace millrace {
namespace {

// A deploy carries a manifest; an acknowledgement carries a task's segments.
constexpr int kMessageBytesMax = 256 << 20;
constexpr int kKeepaliveMs = 5000;
constexpr unsigned kReadFilesAgainS = 2;

// Asks the access control before a call reaches its service.
class CallerCheck final : public grpc::AuthMetadataProcessor {
 public:
  CallerCheck(std::shared_ptr<AccessControl> access, Clock& clock)
      : access_(std::move(access)), clock_(clock) {}

  bool IsBlocking() const override { return true; }  // The list of callers may be read again.

  grpc::Status Process(const InputMetadata& metadata, grpc::AuthContext* context,
                       OutputMetadata* consumed, OutputMetadata*) override {
    const auto text = [&metadata](const char* key) {
      const auto found = metadata.find(key);
      return found == metadata.end() ? std::string()
                                     : std::string(found->second.data(), found->second.size());
    };
    const std::string method = text(":path");
    CallerProof proof;
    if (const std::string value = text("authorization"); value.starts_with("Bearer ")) {
      proof.token = value.substr(7);
      consumed->emplace("authorization", value);
    }
    for (const grpc::string_ref& name : context->FindPropertyValues(GRPC_X509_CN_PROPERTY_NAME)) {
      proof.certificate_names.emplace_back(name.data(), name.size());
    }
    const absl::StatusOr<Caller> caller = access_->Check(method, proof, clock_.MonotonicNanos());
    if (!caller.ok()) {
      LogWarning("refused a call",
                 {{"method", method}, {"reason", std::string(caller.status().message())}});
      return {static_cast<grpc::StatusCode>(caller.status().code()),
              std::string(caller.status().message())};
    }
    const std::optional<Role> needed = RoleNeeded(method);
    if (needed == Role::kOperator || needed == Role::kSubmitter) {
      LogInfo("call", {{"method", method}, {"caller", caller->name}});
    }
    return grpc::Status::OK;
  }

 private:
  const std::shared_ptr<AccessControl> access_;
  Clock& clock_;
};

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeCredentials(
    const ServerSecurity& security) {
  const TlsFiles& files = security.files;
  if (!files.has_certificate()) {
    if (security.access != nullptr || !files.ca.empty()) {
      return absl::InvalidArgumentError(
          "access control and client certificates need TLS: give --tls-cert and --tls-key");
    }
    return grpc::InsecureServerCredentials();
  }
  MILLRACE_RETURN_IF_ERROR(CheckTlsFiles(files));
  using Watcher = grpc::experimental::FileWatcherCertificateProvider;
  grpc::experimental::TlsServerCredentialsOptions options(
      files.ca.empty()
          ? std::make_shared<Watcher>(files.key, files.certificate, kReadFilesAgainS)
          : std::make_shared<Watcher>(files.key, files.certificate, files.ca, kReadFilesAgainS));
  options.watch_identity_key_cert_pairs();
  if (!files.ca.empty()) {
    options.watch_root_certs();
    options.set_cert_request_type(security.access == nullptr
                                      ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                                      : GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY);
  }
  auto credentials = grpc::experimental::TlsServerCredentials(options);
  if (security.access != nullptr) {
    credentials->SetAuthMetadataProcessor(
        std::make_shared<CallerCheck>(security.access, *security.clock));
  }
  return credentials;
}

}  // namespace

struct GrpcServer::Parts {
  explicit Parts(Coordinator& coordinator);
  JobServiceRpc jobs;
  WorkerServiceRpc workers;
  std::unique_ptr<grpc::Server> server;
  std::string address;
};

GrpcServer::Parts::Parts(Coordinator& coordinator) : jobs(coordinator), workers(coordinator) {}

GrpcServer::GrpcServer(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(const std::string& address,
                                                              Coordinator& coordinator,
                                                              const ServerSecurity& security) {
  static const bool kPlugins = [] {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    return true;
  }();
  (void)kPlugins;  // Once per process.
  MILLRACE_ASSIGN_OR_RETURN(const auto credentials, MakeCredentials(security));
  auto parts = std::make_unique<Parts>(coordinator);
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(address, credentials, &port);
  builder.SetMaxReceiveMessageSize(kMessageBytesMax);
  builder.SetMaxSendMessageSize(kMessageBytesMax);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  // Workers ping as often as this server does.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 1000);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
  // Two coordinators on one port would each see half of the calls.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.RegisterService(parts->jobs.service());
  builder.RegisterService(parts->workers.service());
  parts->server = builder.BuildAndStart();
  if (parts->server == nullptr || port == 0) {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", address));
  }
  parts->address = absl::StrCat(address.substr(0, address.rfind(':')), ":", port);
  return std::unique_ptr<GrpcServer>(new GrpcServer(std::move(parts)));
}

GrpcServer::~GrpcServer() { Stop(); }

const std::string& GrpcServer::address() const { return parts_->address; }

void GrpcServer::Stop() {
  if (parts_->server == nullptr) return;
  parts_->server->GetHealthCheckService()->SetServingStatus(false);
  parts_->jobs.Close();
  parts_->workers.Close();
  parts_->server->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(2));
  parts_->server->Wait();
  parts_->server = nullptr;
}

}  // namespace millrace
