// millrace-worker: hosts tasks for a coordinator.
#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "operators/all_operators.h"
#include "runtime/base/failpoint.h"
#include "runtime/base/log.h"
#include "runtime/base/real_env.h"
#include "runtime/checkpoint/s3/s3_storage.h"
#include "runtime/metrics/http_server.h"
#include "runtime/metrics/metrics.h"
#include "runtime/task/task_thread.h"
#include "worker/coordinator_link_rpc.h"
#include "worker/worker.h"
#include "worker/worker_metrics.h"

namespace millrace {
namespace {

volatile std::sig_atomic_t stops_requested = 0;  // Signals that came.

struct Flags {
  std::string coordinator = "127.0.0.1:7070";
  std::string data_dir = "./millrace-worker";
  std::string bind = "127.0.0.1";
  int data_port = 0;
  int http_port = 0;
  int cores = 0;
  uint64_t memory_mb = 1024;
  uint64_t local_copies_mb = 1024;
  bool pin = false;
  std::string log_format = "text";
  std::string name;
  int drain_timeout_s = 60;
  ClientSecurity security;
  std::string secrets_dir;
  std::string python_path, python_interpreter = "python3";
};

// Without a coordinator nobody takes the tasks over: they begin again from their last epoch.
constexpr absl::Duration kPatienceWithoutCoordinator = absl::Seconds(3);

// Blocking calls: durable writes and commits of all tasks; they mostly wait.
constexpr int kIoThreads = 16;

// Lines that belong to a job go to the coordinator too.
void SendLogLine(Worker& worker, Clock& clock, LogLevel level, std::string_view message,
                 const LogFields& fields) {
  if (level < LogLevel::kInfo) return;
  std::string job_id;
  v1::LogLine line;
  line.set_text(std::string(message));
  for (const LogField& field : fields) {
    if (field.name == "job") {
      job_id = field.text;
    } else {
      absl::StrAppend(line.mutable_text(), " ", std::string(field.name), "=", field.text);
    }
    if (field.name == "uid") line.set_uid(field.text);
  }
  if (job_id.empty()) return;
  line.set_unix_us(absl::ToUnixMicros(clock.Now()));
  line.set_level(level == LogLevel::kInfo      ? "info"
                 : level == LogLevel::kWarning ? "warning"
                                               : "error");
  worker.AddLogLine(std::move(job_id), std::move(line));
}

// Until the coordinator has taken the tasks away, the time is up, or another signal comes.
void Leave(Worker& worker, Clock& clock, Waker& waker, absl::Duration timeout) {
  LogInfo("worker leaves", {{"worker", worker.worker_id()}, {"attempts", worker.attempt_count()}});
  worker.Leave();
  const auto elapsed = [&clock](int64_t since_ns) {
    return absl::Nanoseconds(clock.MonotonicNanos() - since_ns);
  };
  const int64_t begin_ns = clock.MonotonicNanos();
  int64_t connected_ns = begin_ns;
  while (!worker.may_leave() && stops_requested < 2) {
    if (worker.connected()) connected_ns = clock.MonotonicNanos();
    const bool alone = elapsed(connected_ns) > kPatienceWithoutCoordinator;
    if (worker.attempt_count() == 0 && !worker.connected()) return;
    if (alone || elapsed(begin_ns) > timeout) {
      LogWarning("leaves without handing its tasks over; they restart from their last epoch",
                 {{"worker", worker.worker_id()},
                  {"reason", alone ? "no coordinator answers" : "the time is up"}});
      return;
    }
    worker.RunPosted();
    waker.Wait(absl::Milliseconds(20));
  }
}

int Run(const Flags& flags) {
  InitLogging(LogLevel::kInfo, flags.log_format == "json");
  if (const char* failpoints = std::getenv("MILLRACE_FAILPOINTS")) {
    if (absl::Status status = Failpoints::Arm(failpoints); !status.ok()) {
      std::fprintf(stderr, "error: MILLRACE_FAILPOINTS: %s\n", status.ToString().c_str());
      return 2;
    }
  }
  std::unique_ptr<TlsContext> tls;  // Between workers.
  if (flags.security.files.has_certificate()) {
    auto made = TlsContext::Make(flags.security.files);
    if (!made.ok()) {
      std::fprintf(stderr, "error: %s\n", made.status().ToString().c_str());
      return 1;
    }
    tls = *std::move(made);
  }
  RealEnv real_env({.io_threads = kIoThreads, .tls = std::move(tls)});
  Env env = real_env.env();
  MetricsRegistry registry;
  const int cores = flags.cores > 0
                        ? flags.cores
                        : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  auto waker = std::make_shared<Waker>();
  int next_core = 0;
  // The port is in the registration, so the server starts first; its collectors come later.
  HttpServer http("millrace-worker", registry);
  std::atomic<bool> connected{false};  // Relaxed use: only shown.
  http.AddReadinessCheck("coordinator", [&connected] {
    return connected.load() ? absl::OkStatus() : absl::UnavailableError("not connected");
  });
  absl::StatusOr<std::string> http_address =
      http.Start(absl::StrCat(flags.bind, ":", flags.http_port));
  if (!http_address.ok()) {
    std::fprintf(stderr, "error: %s\n", http_address.status().ToString().c_str());
    return 1;
  }
  // Static: io work of the environment may use them to its end, after all that is made here.
  static const std::unique_ptr<SecretStore> secrets = OpenSecretFolder(flags.secrets_dir, env.disk);
  static const std::unique_ptr<NodeFactory> nodes = AllNodesWith(
      *secrets,
      {.folders = SplitFolders(flags.python_path), .interpreter = flags.python_interpreter});
  auto s3 = S3Access::Make({.environment = S3Environment::OfProcess(), .secrets = secrets.get()},
                           flags.data_dir + "/s3-scratch", env);
  if (!s3.ok()) {
    std::fprintf(stderr, "error: %s\n", s3.status().ToString().c_str());
    return 1;
  }
  ExportS3Metrics(**s3, registry);
  Worker worker(
      {.worker_id =
           absl::StrCat(flags.name.empty() ? "w" : flags.name, "-", absl::Hex(env.random.Next())),
       .name = flags.name,
       .data_address = absl::StrCat(flags.bind, ":", flags.data_port),
       .http_address = *http_address,
       .data_folder = flags.data_dir,
       .state_memory_bytes = flags.memory_mb << 20,
       .s3 = *s3,
       .local_copies_bytes_max = flags.local_copies_mb << 20},
      env, *nodes, cores,
      [&] {
        const int core = flags.pin && next_core < cores ? next_core++ : -1;
        return std::make_shared<TaskThread>(env.clock, core);
      },
      [waker] { waker->Wake(); });
  if (absl::Status status = worker.Start(); !status.ok()) {
    std::fprintf(stderr, "error: cannot start: %s\n", status.ToString().c_str());
    return 1;
  }
  const auto stop_http = absl::MakeCleanup([&http] { http.Stop(); });  // Pages read the worker.
  ExportWorkerMetrics(worker, registry);
  CoordinatorLink link(flags.coordinator, flags.security, worker, env);
  if (absl::Status status = link.Start(); !status.ok()) {
    std::fprintf(stderr, "error: cannot dial the coordinator: %s\n", status.ToString().c_str());
    return 1;
  }
  LogInfo("worker is up", {{"worker", worker.worker_id()},
                           {"http", *http_address},
                           {"coordinator", flags.coordinator},
                           {"cores", cores}});
  SetLogObserver([&](LogLevel level, std::string_view message, const LogFields& fields) {
    SendLogLine(worker, env.clock, level, message, fields);
  });
  while (stops_requested == 0) {
    worker.RunPosted();
    connected = worker.connected();
    waker->Wait(absl::Milliseconds(200));
  }
  Leave(worker, env.clock, *waker, absl::Seconds(flags.drain_timeout_s));
  SetLogObserver(nullptr);
  (*s3)->Stop();
  LogInfo("worker stops");
  return 0;
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) {
  millrace::Flags flags;
  CLI::App app("Hosts the tasks of Millrace jobs.", "millrace-worker");
  app.set_config("--config", "", "YAML-like file with the same names as the flags")
      ->envname("MILLRACE_CONFIG");
  app.allow_config_extras(false);
  app.add_option("--coordinator", flags.coordinator,
                 "HOST:PORT of the coordinator; of several, separated by commas")
      ->envname("MILLRACE_COORDINATOR")
      ->capture_default_str();
  app.add_option("--data-dir", flags.data_dir, "folder for state that is larger than memory")
      ->envname("MILLRACE_DATA_DIR")
      ->capture_default_str();
  app.add_option("--bind", flags.bind, "address to listen on")->capture_default_str();
  app.add_option("--data-port", flags.data_port, "port of the data plane; 0 = any");
  app.add_option("--http-port", flags.http_port, "port of /metrics, /livez, /readyz; 0 = any");
  app.add_option("--cores", flags.cores, "task threads; 0 = one per core");
  app.add_option("--memory-mb", flags.memory_mb, "memory that state may use")
      ->check(CLI::Range(16, 1 << 20))
      ->capture_default_str();
  app.add_option("--local-copies-mb", flags.local_copies_mb,
                 "disk in --data-dir for copies of state segments in S3, from which tasks restart; "
                 "0 = none")
      ->check(CLI::Range(0, 1 << 30))
      ->capture_default_str();
  app.add_option("--name", flags.name,
                 "names the worker's place, e.g. its pod: the next one of "
                 "this name replaces it at once")
      ->envname("MILLRACE_WORKER_NAME");
  app.add_option("--drain-timeout", flags.drain_timeout_s,
                 "seconds that SIGTERM waits for tasks to be taken over")
      ->check(CLI::Range(0, 86'400))
      ->capture_default_str();
  millrace::ClientSecurity& security = flags.security;
  app.add_option("--tls-ca", security.files.ca,
                 "PEM file with the CA of the coordinator and of other workers; turns TLS on")
      ->envname("MILLRACE_TLS_CA");
  app.add_option("--tls-cert", security.files.certificate,
                 "PEM file with the certificate of this worker; other workers must then have one "
                 "with the same common name")
      ->envname("MILLRACE_TLS_CERT");
  app.add_option("--tls-key", security.files.key, "PEM file with its key")
      ->envname("MILLRACE_TLS_KEY");
  app.add_option("--tls-server-name", security.server_name,
                 "name in the coordinator's certificate, where it is not the host of --coordinator")
      ->envname("MILLRACE_TLS_SERVER_NAME");
  app.add_option("--token-file", security.token_file,
                 "file with the token that the coordinator knows this worker by")
      ->envname("MILLRACE_TOKEN_FILE");
  app.add_option("--secrets-dir", flags.secrets_dir,
                 "folder with a file per secret, for ${secret:NAME} in jobs")
      ->envname("MILLRACE_SECRETS_DIR");
  app.add_option("--python-path", flags.python_path,
                 "folders, separated by colons, whose modules jobs may use as functions in Python; "
                 "none: this worker runs no such functions")
      ->envname("MILLRACE_PYTHON_PATH");
  app.add_option("--python-interpreter", flags.python_interpreter,
                 "the Python that runs them: a name in PATH, or a path")
      ->envname("MILLRACE_PYTHON_INTERPRETER")
      ->capture_default_str();
  app.add_flag("--pin", flags.pin, "pin task threads to cores");
  app.add_option("--log-format", flags.log_format, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  std::signal(SIGTERM, [](int) { millrace::stops_requested = millrace::stops_requested + 1; });
  std::signal(SIGINT, [](int) { millrace::stops_requested = millrace::stops_requested + 1; });
  return millrace::Run(flags);
}
