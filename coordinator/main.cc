// millrace-coordinator: accepts jobs, gives their tasks to workers, decides checkpoints.
#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "coordinator/access.h"
#include "coordinator/compile_job.h"
#include "coordinator/coordinator.h"
#include "coordinator/coordinator_metrics.h"
#include "coordinator/grpc_server_rpc.h"
#include "coordinator/metadata/sqlite_metadata_store.h"
#include "runtime/base/failpoint.h"
#include "runtime/base/log.h"
#include "runtime/base/mailbox.h"
#include "runtime/base/real_env.h"
#include "runtime/metrics/http_server.h"
#include "runtime/metrics/metrics.h"

namespace millrace {
namespace {

volatile std::sig_atomic_t stop_requested = 0;

struct Flags {
  std::string data_dir = "./millrace-coordinator";
  std::string checkpoint_storage;
  std::string bind = "127.0.0.1";
  int grpc_port = 7070;
  int http_port = 0;
  std::string log_format = "text";
  TlsFiles tls;
  std::string access_file;
};

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "error: cannot start: %s\n", status.ToString().c_str());
  return 1;
}

std::string CheckpointUri(const Flags& flags) {
  if (!flags.checkpoint_storage.empty()) return flags.checkpoint_storage;
  return absl::StrCat("file://", std::filesystem::absolute(flags.data_dir).string(),
                      "/checkpoints");
}

int Run(const Flags& flags) {
  InitLogging(LogLevel::kInfo, flags.log_format == "json");
  if (const char* failpoints = std::getenv("MILLRACE_FAILPOINTS")) {
    if (absl::Status status = Failpoints::Arm(failpoints); !status.ok()) return Fail(status);
  }
  auto store = OpenSqliteMetadataStore(flags.data_dir);
  if (!store.ok()) return Fail(store.status());
  RealEnv real_env({.io_threads = 4});  // After the store: its work, to the last, uses it.
  Env env = real_env.env();
  auto waker = std::make_shared<Waker>();
  std::atomic<bool> fenced{false};
  Coordinator coordinator(
      {.coordinator_id = absl::StrCat("c-", absl::Hex(env.random.Next())),
       .checkpoint_uri = CheckpointUri(flags),
       .on_fenced =
           [&fenced](const absl::Status& status) {
             LogError("another coordinator controls a job of this one",
                      {{"error", status.ToString()}});
             fenced = true;
           }},
      env, **store, [&env](const v1::JobSource& job) { return CompileJob(job, env.disk); },
      [waker] { waker->Wake(); });
  if (absl::Status status = coordinator.Start(); !status.ok()) return Fail(status);
  ServerSecurity security{.files = flags.tls, .access = nullptr, .clock = &env.clock};
  if (!flags.access_file.empty()) {
    auto access = AccessControl::Open(flags.access_file, env.disk);
    if (!access.ok()) return Fail(access.status());
    security.access = *std::move(access);
  }
  auto server =
      GrpcServer::Start(absl::StrCat(flags.bind, ":", flags.grpc_port), coordinator, security);
  if (!server.ok()) return Fail(server.status());
  MetricsRegistry registry;
  ExportCoordinatorMetrics(coordinator, registry);
  HttpServer http("millrace-coordinator", registry);
  auto http_address = http.Start(absl::StrCat(flags.bind, ":", flags.http_port));
  if (!http_address.ok()) return Fail(http_address.status());
  LogInfo("coordinator is up", {{"grpc", (*server)->address()},
                                {"http", *http_address},
                                {"checkpoints", CheckpointUri(flags)}});
  while (stop_requested == 0 && !fenced) {
    if (coordinator.RunPosted() == 0) waker->Wait(absl::Milliseconds(200));
  }
  LogInfo("coordinator stops; jobs go on when it is started again");
  // First the calls from outside end, while the loop's owner still lives.
  (*server)->Stop();
  return fenced ? 1 : 0;
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) {
  millrace::Flags flags;
  CLI::App app("Accepts Millrace jobs and runs them on workers.", "millrace-coordinator");
  app.set_config("--config", "", "file with the same names as the flags")
      ->envname("MILLRACE_CONFIG");
  app.allow_config_extras(false);
  app.add_option("--data-dir", flags.data_dir, "folder of the metadata: jobs and their epochs")
      ->envname("MILLRACE_DATA_DIR")
      ->capture_default_str();
  app.add_option("--checkpoint-storage", flags.checkpoint_storage,
                 "file:///FOLDER that all workers reach; default: checkpoints/ in --data-dir")
      ->envname("MILLRACE_CHECKPOINT_STORAGE");
  app.add_option("--bind", flags.bind, "address to listen on")
      ->envname("MILLRACE_BIND")
      ->capture_default_str();
  app.add_option("--grpc-port", flags.grpc_port, "port for jobs and workers; 0 = any")
      ->envname("MILLRACE_GRPC_PORT")
      ->capture_default_str();
  app.add_option("--http-port", flags.http_port, "port of /metrics, /livez, /readyz; 0 = any")
      ->envname("MILLRACE_HTTP_PORT");
  app.add_option("--tls-cert", flags.tls.certificate,
                 "PEM file with the certificate of this coordinator; clients must then use TLS")
      ->envname("MILLRACE_TLS_CERT");
  app.add_option("--tls-key", flags.tls.key, "PEM file with its key")->envname("MILLRACE_TLS_KEY");
  app.add_option("--tls-client-ca", flags.tls.ca,
                 "PEM file with the CA of client certificates; without --access-file every client "
                 "needs one")
      ->envname("MILLRACE_TLS_CLIENT_CA");
  app.add_option(
         "--access-file", flags.access_file,
         "who may call what, by tokens and certificates (docs/security.md); nobody else may")
      ->envname("MILLRACE_ACCESS_FILE");
  app.add_option("--log-format", flags.log_format, "text or json")
      ->envname("MILLRACE_LOG_FORMAT")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  std::signal(SIGTERM, [](int) { millrace::stop_requested = 1; });
  std::signal(SIGINT, [](int) { millrace::stop_requested = 1; });
  return millrace::Run(flags);
}
