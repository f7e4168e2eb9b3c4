#include "cli/run_command.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "cli/exit_codes.h"
#include "cli/output.h"
#include "coordinator/compile_job.h"
#include "coordinator/coordinator.h"
#include "coordinator/coordinator_metrics.h"
#include "coordinator/job_state.h"
#include "coordinator/metadata/sqlite_metadata_store.h"
#include "operators/all_operators.h"
#include "runtime/base/log.h"
#include "runtime/base/real_env.h"
#include "runtime/base/status_macros.h"
#include "runtime/checkpoint/s3/s3_storage.h"
#include "runtime/metrics/http_server.h"
#include "runtime/task/task_thread.h"
#include "sql/diagnostics.h"
#include "worker/worker.h"
#include "worker/worker_metrics.h"

namespace millrace {
namespace {

// The coordinator's way to the worker of the same process.
class InProcessLink : public WorkerLink {
 public:
  explicit InProcessLink(Worker& worker) : worker_(worker) {}
  void Send(const v1::ConnectResponse& message) override { worker_.OnMessage(message); }
  void Close() override {}

 private:
  Worker& worker_;
};

// The rows of a SELECT alone, on their way to the view; touched on the loop's thread only.
class QueryRows : public TailWatcher {
 public:
  explicit QueryRows(ResultView& view) : view_(view) {}
  bool OnRows(const v1::TailNodeResponse& response, std::function<void()> taken) override {
    view_.Add(response);
    if (taken != nullptr) taken();
    return true;
  }
  bool listening() const override { return true; }
  void OnEnd(const absl::Status&) override {}  // Of the job: LastState tells.

 private:
  ResultView& view_;
};

// Remembers the last state of the job; touched on the loop's thread only.
class LastState : public JobWatcher {
 public:
  explicit LastState(ResultView& view) : view_(view) {}
  bool OnJob(const v1::Job& job) override {
    if (job.state() != job_.state()) {
      view_.Erase();
      std::fprintf(stderr, "%s: %s%s%s\n", job.name().c_str(), JobStateText(job.state()).c_str(),
                   job.last_error().empty() ? "" : ": ", job.last_error().c_str());
    }
    job_ = job;
    return true;
  }
  void OnEnd(const absl::Status& status) override { ended_ = status; }

  const v1::Job& job() const { return job_; }
  bool ended() const { return ended_.has_value(); }

 private:
  ResultView& view_;
  v1::Job job_;
  std::optional<absl::Status> ended_;
};

constexpr uint64_t kJobBytesMax = 16 << 20;
// Of a SELECT alone whose script does not say: rows come with each checkpoint.
constexpr uint32_t kQueryIntervalMs = 250;
// Between two looks of the table on a terminal.
constexpr absl::Duration kDrawInterval = absl::Milliseconds(100);

// The sink that the script's only SELECT without INSERT prints to; null: there is none, or several.
v1::Node* FindQuerySink(v1::JobGraph& graph) {
  v1::Node* found = nullptr;
  for (v1::Node& node : *graph.mutable_nodes()) {
    const bool is_query = node.has_sink() && node.sink().connector() == "print" &&
                          (node.uid() == "select.print" || node.uid().starts_with("select.print."));
    if (!is_query) continue;
    if (found != nullptr) return nullptr;
    found = &node;
  }
  return found;
}

// A SELECT alone hands its rows to this process, which shows them.
CompiledJob CompileForRun(const v1::JobSource& source, Disk& disk) {
  CompiledJob job = CompileJob(source, disk);
  if (v1::Node* sink = FindQuerySink(job.graph)) {
    sink->mutable_sink()->set_connector("collect");
    sink->set_parallelism(1);  // One reader, one order.
    for (v1::Edge& edge : *job.graph.mutable_edges()) {
      if (edge.to() == sink->uid()) edge.mutable_single();
    }
  }
  return job;
}

bool IsQueryOnly(const v1::JobGraph& graph) {
  const auto& nodes = graph.nodes();
  return !nodes.empty() && std::all_of(nodes.begin(), nodes.end(), [](const v1::Node& node) {
    return !node.has_sink() || node.sink().connector() == "collect";
  });
}

// What makes a job of `run` another one: its text, and what --set has made of it.
std::string VariablesText(const RunOptions& options) {
  std::string text;
  for (const auto& [name, value] : options.variables)
    absl::StrAppend(&text, name, "=", value, "\n");
  return text;
}

absl::Status WriteJob(const std::string& work_dir, const RunOptions& options, Disk& disk) {
  MILLRACE_RETURN_IF_ERROR(
      disk.WriteAtomically(work_dir + "/job.variables", VariablesText(options)));
  return disk.WriteAtomically(work_dir + "/job.text", options.job_text);
}

// True: the folder has the job in another version, which is to be replaced.
absl::StatusOr<bool> UseFolder(const std::string& work_dir, const RunOptions& options, Disk& disk) {
  MILLRACE_RETURN_IF_ERROR(disk.MakeFolders(work_dir));
  const std::string job = work_dir + "/job.text";
  const std::string variables = work_dir + "/job.variables";
  if (!disk.Exists(job)) {
    MILLRACE_RETURN_IF_ERROR(WriteJob(work_dir, options, disk));
    return false;
  }
  MILLRACE_ASSIGN_OR_RETURN(const std::string text, disk.ReadAll(job, kJobBytesMax));
  MILLRACE_ASSIGN_OR_RETURN(const std::string set, disk.ReadAll(variables, kJobBytesMax));
  if (text == options.job_text && set == VariablesText(options)) return false;
  if (options.upgrade) return true;
  return absl::FailedPreconditionError(absl::StrCat(
      "folder ", work_dir, " belongs to another job", text == options.job_text ? ", by --set" : "",
      " (see ", text == options.job_text ? variables : job,
      "); --upgrade goes on with its state; or use another --work-dir, or remove the folder to "
      "begin anew"));
}

// One process's coordinator and worker, driven by one thread.
class Embedded {
 public:
  Embedded(const RunOptions& options, std::string work_dir, Env env, const NodeFactory& nodes,
           MetadataStore& store, std::shared_ptr<S3Access> s3)
      : options_(options),
        work_dir_(std::move(work_dir)),
        env_(env),
        nodes_(nodes),
        store_(store),
        s3_(std::move(s3)) {}

  absl::Status Start() {
    const auto wake = [waker = waker_] { waker->Wake(); };
    coordinator_ = std::make_unique<Coordinator>(
        CoordinatorOptions{.coordinator_id = "embedded",
                           .checkpoint_uri = CheckpointUri(),
                           .s3 = s3_,
                           .silence_timeout = absl::ZeroDuration(),
                           .registration_grace = absl::ZeroDuration()},
        env_, store_,
        [disk = &env_.disk](const v1::JobSource& job) { return CompileForRun(job, *disk); }, wake);
    MILLRACE_RETURN_IF_ERROR(coordinator_->Start());
    const int cores = options_.parallelism > 0
                          ? static_cast<int>(options_.parallelism)
                          : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
    worker_ = std::make_unique<Worker>(
        WorkerOptions{.worker_id = absl::StrCat("embedded-", absl::Hex(env_.random.Next())),
                      .data_address = "127.0.0.1:0",
                      .data_folder = work_dir_ + "/worker",
                      .state_memory_bytes = options_.memory_mb << 20,
                      .s3 = s3_,
                      .interactive = true},
        env_, nodes_, cores, [env = env_] { return std::make_shared<TaskThread>(env.clock, -1); },
        wake);
    MILLRACE_RETURN_IF_ERROR(worker_->Start());
    link_ = std::make_shared<InProcessLink>(*worker_);
    const uint64_t link_id = coordinator_->OnWorkerConnected(link_);
    worker_->OnConnected(
        {.send = [coordinator = coordinator_.get(), link_id](
                     auto message) { coordinator->OnWorkerMessage(link_id, std::move(message)); },
         .close = [] {}});
    return StartHttp();
  }

  // One round of both loops.
  void Step(absl::Duration patience) {
    const size_t ran = coordinator_->RunPosted() + worker_->RunPosted();
    if (ran == 0) waker_->Wait(patience);
  }

  // Calls a method of the coordinator and drives the loops until it replies.
  template <typename Request, typename Response>
  absl::StatusOr<Response> Call(void (JobApi::*method)(Request, Reply<Response>), Request request) {
    std::optional<absl::StatusOr<Response>> answer;
    (coordinator_.get()->*method)(std::move(request), [&](absl::StatusOr<Response> response) {
      answer = std::move(response);
    });
    while (!answer) Step(absl::Milliseconds(50));
    return *std::move(answer);
  }

  Coordinator& coordinator() { return *coordinator_; }
  Worker& worker() { return *worker_; }

 private:
  static std::string absolute(const std::string& path) {
    if (!path.empty() && path[0] == '/') return path;
    std::unique_ptr<char, decltype(&free)> here(getcwd(nullptr, 0), &free);
    return absl::StrCat(here.get(), "/", path);
  }

  std::string CheckpointUri() const {
    return options_.checkpoint_storage.empty() ? "file://" + absolute(work_dir_) + "/checkpoints"
                                               : options_.checkpoint_storage;
  }

  absl::Status StartHttp() {
    if (options_.http_port < 0) return absl::OkStatus();
    ExportWorkerMetrics(*worker_, registry_);
    ExportCoordinatorMetrics(*coordinator_, registry_);
    ExportS3Metrics(*s3_, registry_);
    http_ = std::make_unique<HttpServer>("millrace run", registry_);
    MILLRACE_ASSIGN_OR_RETURN(const std::string address,
                              http_->Start(absl::StrCat("127.0.0.1:", options_.http_port)));
    std::fprintf(stderr, "metrics: http://%s/metrics\n", address.c_str());
    return absl::OkStatus();
  }

  const RunOptions& options_;
  const std::string work_dir_;
  Env env_;
  const NodeFactory& nodes_;
  MetadataStore& store_;
  const std::shared_ptr<S3Access> s3_;
  const std::shared_ptr<Waker> waker_ = std::make_shared<Waker>();
  MetricsRegistry registry_;
  std::unique_ptr<Coordinator> coordinator_;
  std::unique_ptr<Worker> worker_;
  std::shared_ptr<InProcessLink> link_;
  std::unique_ptr<HttpServer> http_;  // Last: its threads read all of the above.
};

absl::Status Upgrade(Embedded& embedded, const std::string& job_id, const RunOptions& options,
                     Env env) {
  v1::UpgradeJobRequest request;
  request.set_request_id(absl::StrCat("run-", absl::Hex(env.random.Next())));
  request.set_job(job_id);
  *request.mutable_source() = MakeJobSource(options.job_text, options.variables);
  *request.mutable_consent() = options.consent;
  MILLRACE_ASSIGN_OR_RETURN(const v1::UpgradeJobResponse response,
                            (embedded.Call<v1::UpgradeJobRequest, v1::UpgradeJobResponse>(
                                &JobApi::UpgradeJob, std::move(request))));
  PrintDiagnostics(response.diagnostics(), options.file);
  PrintChanges(response, stderr);
  return absl::OkStatus();
}

// The job of the folder: the one that is there, or a new one.
absl::StatusOr<std::string> FindOrSubmit(Embedded& embedded, const RunOptions& options,
                                         bool upgrades, Env env) {
  MILLRACE_ASSIGN_OR_RETURN(
      v1::ListJobsResponse jobs,
      (embedded.Call<v1::ListJobsRequest, v1::ListJobsResponse>(&JobApi::ListJobs, {})));
  for (const v1::Job& job : jobs.jobs()) {
    if (IsTerminal(job.state())) {
      std::fprintf(stderr,
                   "%s: the job of this folder has ended; to run it again, use another --work-dir "
                   "or remove the folder\n",
                   job.name().c_str());
      return job.job_id();
    }
    std::fprintf(stderr, "%s: resumes from epoch %llu\n", job.name().c_str(),
                 static_cast<unsigned long long>(job.last_epoch()));
    if (upgrades) MILLRACE_RETURN_IF_ERROR(Upgrade(embedded, job.job_id(), options, env));
    if (options.parallelism > 0 && options.parallelism != job.parallelism()) {
      v1::RescaleJobRequest request;
      request.set_request_id(absl::StrCat("run-", absl::Hex(env.random.Next())));
      request.set_job(job.job_id());
      request.set_parallelism(options.parallelism);
      MILLRACE_ASSIGN_OR_RETURN(const v1::RescaleJobResponse response,
                                (embedded.Call<v1::RescaleJobRequest, v1::RescaleJobResponse>(
                                    &JobApi::RescaleJob, std::move(request))));
      std::fprintf(stderr, "%s: runs with parallelism %u, before %u\n", job.name().c_str(),
                   options.parallelism, response.former_parallelism());
    }
    return job.job_id();
  }
  v1::SubmitJobRequest request;
  request.set_request_id("run");
  request.set_parallelism(options.parallelism);
  *request.mutable_job() = MakeJobSource(options.job_text, options.variables);
  request.set_checkpoint_interval_ms(options.checkpoint_interval_ms);
  MILLRACE_ASSIGN_OR_RETURN(v1::SubmitJobResponse response,
                            (embedded.Call<v1::SubmitJobRequest, v1::SubmitJobResponse>(
                                &JobApi::SubmitJob, std::move(request))));
  PrintDiagnostics(response.diagnostics(), options.file);
  return response.job_id();
}

constexpr absl::Duration kLastEpochPatience = absl::Seconds(60);

// As a worker that leaves a cluster: a last epoch, committed. Another interrupt ends the wait.
void TakeLastEpoch(Embedded& embedded, Clock& clock, const LastState& job,
                   const volatile std::sig_atomic_t* interrupts) {
  embedded.worker().Leave();
  const int64_t begin_ns = clock.MonotonicNanos();
  while (!embedded.worker().may_leave() && !job.ended() && *interrupts < 2 &&
         absl::Nanoseconds(clock.MonotonicNanos() - begin_ns) < kLastEpochPatience) {
    embedded.Step(absl::Milliseconds(20));
  }
}

int ReportFailure(const absl::Status& status, const std::string& file) {
  PrintError(status, file);
  return ExitCodeFor(status);
}

// Shows the rows of the SELECT alone, if the job has one.
absl::Status ShowQuery(Embedded& embedded, const std::string& job_id, ResultView& view) {
  v1::GetJobRequest request;
  request.set_job(job_id);
  MILLRACE_ASSIGN_OR_RETURN(
      const v1::GetJobResponse job,
      (embedded.Call<v1::GetJobRequest, v1::GetJobResponse>(&JobApi::GetJob, std::move(request))));
  for (const v1::Node& node : job.graph().nodes()) {
    if (!node.has_sink() || node.sink().connector() != "collect") continue;
    v1::TailNodeRequest tail;
    tail.set_job(job_id);
    tail.set_uid(node.uid());
    embedded.coordinator().TailNode(std::move(tail), std::make_shared<QueryRows>(view));
  }
  return absl::OkStatus();
}

// Drives both loops until the job has ended or the user wants it to.
void RunToTheEnd(Embedded& embedded, const LastState& job, ResultView& view, Clock& clock,
                 const volatile std::sig_atomic_t* stop) {
  int64_t drawn_ns = 0;
  while (!job.ended() && *stop == 0 && !view.failed()) {
    embedded.Step(kDrawInterval);
    const int64_t now_ns = clock.MonotonicNanos();
    if (absl::Nanoseconds(now_ns - drawn_ns) < kDrawInterval) continue;
    view.Draw();
    drawn_ns = now_ns;
  }
}

// Exit code of a job that has ended, or is to be interrupted.
int HowItEnded(Embedded& embedded, Clock& clock, const LastState& job, bool forgets,
               const volatile std::sig_atomic_t* stop) {
  if (!job.ended()) {
    if (forgets) return kExitInterrupted;
    TakeLastEpoch(embedded, clock, job, stop);
    std::fprintf(stderr, "interrupted; run the same command again to go on from epoch %llu\n",
                 static_cast<unsigned long long>(job.job().last_epoch()));
    return kExitInterrupted;
  }
  switch (job.job().state()) {
    case v1::JOB_STATE_FINISHED:
    case v1::JOB_STATE_STOPPED:
      return kExitOk;
    default:
      return kExitJobFailed;
  }
}

// What a SELECT alone needs that does not say it: rows soon, and no folder, since nothing goes on.
RunOptions Completed(RunOptions options, const CompiledJob& job, Env env, bool& removes_folder) {
  removes_folder = false;
  if (!IsQueryOnly(job.graph)) {
    if (options.work_dir.empty()) options.work_dir = "./.millrace/" + options.job_name;
    return options;
  }
  if (options.checkpoint_interval_ms == 0 && job.graph.settings().checkpoint_interval_ms() == 0) {
    options.checkpoint_interval_ms = kQueryIntervalMs;
  }
  if (options.work_dir.empty()) {
    options.work_dir = absl::StrCat("./.millrace/query-", absl::Hex(env.random.Next()));
    removes_folder = true;
  }
  return options;
}

}  // namespace

int RunEmbedded(const RunOptions& given, const volatile std::sig_atomic_t* stop) {
  std::unique_ptr<MetadataStore> store;
  RealEnv real_env({});  // After the store: its work, to the last, uses it.
  const Env env = real_env.env();
  const CompiledJob compiled =
      CompileForRun(MakeJobSource(given.job_text, given.variables), env.disk);
  if (HasErrors(compiled.diagnostics)) {
    PrintDiagnostics({compiled.diagnostics.begin(), compiled.diagnostics.end()}, given.file);
    return kExitFailed;
  }
  bool removes_folder = false;
  const RunOptions options = Completed(given, compiled, env, removes_folder);
  const std::string& work_dir = options.work_dir;
  const absl::StatusOr<bool> upgrades = UseFolder(work_dir, options, env.disk);
  if (!upgrades.ok()) return ReportFailure(upgrades.status(), options.file);
  const auto remove_folder = absl::MakeCleanup([&] {
    if (removes_folder)
      (void)env.disk.RemoveFolder(work_dir);  // A query has failed by then, or not.
  });
  if (auto opened = OpenSqliteMetadataStore(work_dir); opened.ok()) {
    store = *std::move(opened);
  } else {
    return ReportFailure(opened.status(), options.file);
  }
  // Static: io work of the environment may use them to its end, after all that is made here.
  static const std::unique_ptr<SecretStore> secrets =
      OpenSecretFolder(options.secrets_dir, env.disk);
  static const std::unique_ptr<NodeFactory> nodes = AllNodesWith(*secrets, options.python);
  const auto s3 =
      S3Access::Make({.environment = S3Environment::OfProcess(), .secrets = secrets.get()},
                     work_dir + "/s3-scratch", env);
  if (!s3.ok()) return ReportFailure(s3.status(), options.file);
  const auto stop_s3 = absl::MakeCleanup([&s3] { (*s3)->Stop(); });
  Embedded embedded(options, work_dir, env, *nodes, *store, *s3);
  if (absl::Status status = embedded.Start(); !status.ok()) {
    return ReportFailure(status, options.file);
  }
  const absl::StatusOr<std::string> job_id = FindOrSubmit(embedded, options, *upgrades, env);
  if (!job_id.ok()) {
    // Without a job the folder may be used for the corrected one.
    if (!*upgrades) (void)env.disk.Remove(work_dir + "/job.text");
    return ReportFailure(job_id.status(), options.file);
  }
  if (*upgrades) {
    if (absl::Status status = WriteJob(work_dir, options, env.disk); !status.ok()) {
      return ReportFailure(status, options.file);
    }
  }
  ResultView view(options.view);
  if (absl::Status status = ShowQuery(embedded, *job_id, view); !status.ok()) {
    return ReportFailure(status, options.file);
  }
  auto last = std::make_shared<LastState>(view);
  v1::WatchJobRequest watch;
  watch.set_job(*job_id);
  embedded.coordinator().WatchJob(watch, last);
  RunToTheEnd(embedded, *last, view, env.clock, stop);
  const int code = HowItEnded(embedded, env.clock, *last, removes_folder, stop);
  view.Finish();
  if (!view.failed()) return code;
  std::fprintf(stderr, "error: cannot write to standard output\n");
  return kExitFailed;
}

}  // namespace millrace
