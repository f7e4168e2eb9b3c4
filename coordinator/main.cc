// millrace-coordinator: accepts jobs, gives their tasks to workers, decides checkpoints.
#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "coordinator/access.h"
#include "coordinator/compile_job.h"
#include "coordinator/coordinator.h"
#include "coordinator/coordinator_metrics.h"
#include "coordinator/grpc_server_rpc.h"
#include "coordinator/leader_election.h"
#include "coordinator/metadata/etcd_metadata_store_rpc.h"
#include "coordinator/metadata/sqlite_metadata_store.h"
#include "runtime/base/failpoint.h"
#include "runtime/base/log.h"
#include "runtime/base/mailbox.h"
#include "runtime/base/real_env.h"
#include "runtime/base/status.h"
#include "runtime/checkpoint/s3/s3_storage.h"
#include "runtime/metrics/http_server.h"
#include "runtime/metrics/metrics.h"

namespace millrace {
namespace {

volatile std::sig_atomic_t stop_requested = 0;

// A leader that ends gives its lease back if it can; else the lease runs out.
constexpr absl::Duration kResignPatience = absl::Seconds(5);

struct Flags {
  std::string data_dir = "./millrace-coordinator";
  std::string checkpoint_storage;
  std::string bind = "127.0.0.1";
  int grpc_port = 7070;
  int http_port = 0;
  std::string log_format = "text";
  TlsFiles tls;
  std::string access_file;
  std::string metadata_store;
  TlsFiles etcd_tls;
  int leader_lease_ms = 5000;
  int stall_timeout_s = 60;
  std::string secrets_dir;
  std::string advertise;
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

absl::StatusOr<std::unique_ptr<MetadataStore>> OpenStore(const Flags& flags) {
  if (flags.metadata_store.empty()) return OpenSqliteMetadataStore(flags.data_dir);
  if (flags.checkpoint_storage.empty()) {
    return absl::InvalidArgumentError(
        "--metadata-store needs --checkpoint-storage: one that every coordinator and worker "
        "reaches");
  }
  return OpenEtcdMetadataStore(flags.metadata_store, {.files = flags.etcd_tls});
}

// What is wrong with the storage of checkpoints shows now, not with the first one. A store that is
// only away may come back.
absl::Status TryCheckpointStorage(const Flags& flags, const StoragePlaces& places, Random& random) {
  auto storage = OpenCheckpointStorage(CheckpointUri(flags), places);
  if (!storage.ok()) return storage.status();
  const absl::Status tried = TryStorage(**storage, random.Next());
  if (RemedyFor(tried) == Remedy::kFailJob) return tried;
  if (!tried.ok()) {
    LogWarning("the storage of checkpoints does not answer", {{"error", tried.ToString()}});
  }
  return absl::OkStatus();
}

// Runs letters until `done` says so.
template <typename Done>
void RunUntil(Loop& loop, Waker& waker, Done done) {
  while (!done()) {
    if (loop.RunPosted() == 0) waker.Wait(absl::Milliseconds(100));
  }
}

int Run(const Flags& flags) {
  InitLogging(LogLevel::kInfo, flags.log_format == "json");
  if (const char* failpoints = std::getenv("MILLRACE_FAILPOINTS")) {
    if (absl::Status status = Failpoints::Arm(failpoints); !status.ok()) return Fail(status);
  }
  auto store = OpenStore(flags);
  if (!store.ok()) return Fail(store.status());
  std::optional<LeaderMetadataStore> leader_store;
  RealEnv real_env({.io_threads = 4});  // After the stores: its work, to the last, uses them.
  Env env = real_env.env();
  // Static: io work of the environment may use them to its end, after all that is made here.
  static const std::unique_ptr<SecretStore> secrets = OpenSecretFolder(flags.secrets_dir, env.disk);
  auto s3 = S3Access::Make({.environment = S3Environment::OfProcess(), .secrets = secrets.get()},
                           flags.data_dir + "/s3-scratch", env);
  if (!s3.ok()) return Fail(s3.status());
  const auto stop_s3 = absl::MakeCleanup([&s3] { (*s3)->Stop(); });
  auto waker = std::make_shared<Waker>();
  const auto wake = [waker] { waker->Wake(); };
  const std::string coordinator_id = absl::StrCat("c-", absl::Hex(env.random.Next()));
  const std::string listen = absl::StrCat(flags.bind, ":", flags.grpc_port);
  std::atomic<bool> over{false};

  if (absl::Status tried = TryCheckpointStorage(flags, {&env.disk, *s3}, env.random); !tried.ok()) {
    return Fail(tried);
  }
  MetricsRegistry registry;
  ExportS3Metrics(**s3, registry);
  HttpServer http("millrace-coordinator", registry);
  auto http_address = http.Start(absl::StrCat(flags.bind, ":", flags.http_port));
  if (!http_address.ok()) return Fail(http_address.status());
  const auto stop_http = absl::MakeCleanup([&http] { http.Stop(); });  // Pages read what follows.

  std::atomic<bool> leads{false};  // From then on the coordinator itself tells.
  registry.Add([&leads](MetricsSink& sink) {
    if (!leads) sink.Gauge("millrace_coordinator_leader", "1 while this process leads.", {}, 0);
  });
  Loop loop(env, wake);
  std::optional<Leadership> elected;
  LeaderElection election({.coordinator_id = coordinator_id,
                           .address = flags.advertise.empty() ? listen : flags.advertise,
                           .lease = absl::Milliseconds(flags.leader_lease_ms)},
                          loop, **store,
                          {.on_elected = [&elected](const Leadership& won) { elected = won; },
                           .on_lost = [&over](const absl::Status&) { over = true; }});
  if ((*store)->exclusive()) {
    auto taken = TakeExclusiveLeadership(**store, coordinator_id);
    if (!taken.ok()) return Fail(taken.status());
    elected = *taken;
  } else {
    LogInfo("coordinator stands by", {{"coordinator", coordinator_id}, {"http", *http_address}});
    election.Start();
    RunUntil(loop, *waker, [&] { return stop_requested != 0 || elected.has_value(); });
    if (!elected.has_value()) return 0;
  }
  leads = true;
  leader_store.emplace(**store, elected->guard);

  Coordinator coordinator(
      {.coordinator_id = coordinator_id,
       .term = elected->term,
       .checkpoint_uri = CheckpointUri(flags),
       .s3 = *s3,
       .stall_timeout = absl::Seconds(flags.stall_timeout_s),
       .on_fenced =
           [&over](const absl::Status& status) {
             LogError("another coordinator controls a job of this one",
                      {{"error", status.ToString()}});
             over = true;
           }},
      env, *leader_store, [&env](const v1::JobSource& job) { return CompileJob(job, env.disk); },
      wake);
  if (absl::Status status = coordinator.Start(); !status.ok()) return Fail(status);
  ServerSecurity security{.files = flags.tls, .access = nullptr, .clock = &env.clock};
  if (!flags.access_file.empty()) {
    auto access = AccessControl::Open(flags.access_file, env.disk);
    if (!access.ok()) return Fail(access.status());
    security.access = *std::move(access);
  }
  auto server = GrpcServer::Start(listen, coordinator, security);
  if (!server.ok()) return Fail(server.status());
  ExportCoordinatorMetrics(coordinator, registry);
  LogInfo("coordinator is up", {{"grpc", (*server)->address()},
                                {"http", *http_address},
                                {"term", elected->term},
                                {"checkpoints", CheckpointUri(flags)}});
  while (stop_requested == 0 && !over) {
    const size_t ran = loop.RunPosted() + coordinator.RunPosted();
    // A process that was stopped for a while must not act on what it believed before.
    if (!(*store)->exclusive() && !over && !election.holds()) {
      LogError("leads no more", {{"reason", "the lease has run out"}});
      over = true;
    }
    if (ran == 0) waker->Wait(absl::Milliseconds(200));
  }
  LogInfo("coordinator stops; jobs go on when there is one again");
  // First the calls from outside end, while the loop's owner still lives.
  (*server)->Stop();
  if (!over && !(*store)->exclusive()) {
    bool resigned = false;
    election.Resign([&resigned] { resigned = true; });
    const int64_t begin_ns = env.clock.MonotonicNanos();
    RunUntil(loop, *waker, [&] {
      return resigned || absl::Nanoseconds(env.clock.MonotonicNanos() - begin_ns) > kResignPatience;
    });
  }
  http.Stop();
  return over ? 1 : 0;
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
                 "file:///FOLDER or s3://BUCKET/PREFIX?OPTIONS that all workers reach "
                 "(docs/operations.md);\n"
                 "default: checkpoints/ in --data-dir")
      ->envname("MILLRACE_CHECKPOINT_STORAGE");
  app.add_option(
         "--metadata-store", flags.metadata_store,
         "etcd://HOST:PORT[,HOST:PORT...]/PREFIX: metadata that several coordinators share, "
         "of which one leads; default: a file in --data-dir")
      ->envname("MILLRACE_METADATA_STORE");
  app.add_option("--etcd-ca", flags.etcd_tls.ca, "PEM file with etcd's CA; turns TLS to it on")
      ->envname("MILLRACE_ETCD_CA");
  app.add_option("--etcd-cert", flags.etcd_tls.certificate, "PEM file with a certificate for etcd")
      ->envname("MILLRACE_ETCD_CERT");
  app.add_option("--etcd-key", flags.etcd_tls.key, "PEM file with its key")
      ->envname("MILLRACE_ETCD_KEY");
  app.add_option("--leader-lease-ms", flags.leader_lease_ms,
                 "with --metadata-store: a leader that is silent for so long is replaced")
      ->envname("MILLRACE_LEADER_LEASE_MS")
      ->check(CLI::Range(1000, 600'000))
      ->capture_default_str();
  app.add_option("--advertise", flags.advertise,
                 "HOST:PORT where the others may find this coordinator; default: --bind and "
                 "--grpc-port")
      ->envname("MILLRACE_ADVERTISE");
  app.add_option("--stall-timeout", flags.stall_timeout_s,
                 "seconds without a row or an epoch after which a job counts as stalled, if "
                 "something waits")
      ->envname("MILLRACE_STALL_TIMEOUT")
      ->check(CLI::Range(1, 86'400))
      ->capture_default_str();
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
  app.add_option("--secrets-dir", flags.secrets_dir,
                 "folder with a file per secret, for ${secret:NAME} in s3:// URIs")
      ->envname("MILLRACE_SECRETS_DIR");
  app.add_option("--log-format", flags.log_format, "text or json")
      ->envname("MILLRACE_LOG_FORMAT")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  std::signal(SIGTERM, [](int) { millrace::stop_requested = 1; });
  std::signal(SIGINT, [](int) { millrace::stop_requested = 1; });
  return millrace::Run(flags);
}
