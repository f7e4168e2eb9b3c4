#include "cli/test_driver.h"

#include <google/protobuf/util/json_util.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/driven_nodes.h"
#include "cli/exit_codes.h"
#include "cli/manual_env.h"
#include "cli/output.h"
#include "coordinator/compile_job.h"
#include "coordinator/coordinator.h"
#include "coordinator/job_state.h"
#include "coordinator/metadata/memory_metadata_store.h"
#include "millrace/v1/test_driver.pb.h"
#include "operators/all_operators.h"
#include "runtime/base/real_env.h"
#include "runtime/base/status_macros.h"
#include "runtime/columns/time_text.h"
#include "runtime/task/graph_view.h"
#include "worker/worker.h"

namespace millrace {
namespace {

constexpr size_t kLineBytesMax = size_t{64} << 20;
constexpr uint32_t kNoCheckpointsMs = 86'400'000;  // Only those that are asked for, but once a day.
constexpr uint64_t kFutureSkewMs =
    uint64_t{1000} * 366 * 86'400'000;  // Rows of any year move time.
constexpr uint64_t kAdvanceMsMax = uint64_t{10} * 366 * 86'400'000;

// Runs its tasks when it is told to.
class ManualRunner : public TaskRunner {
 public:
  std::function<void()> waker() override {
    return [] {};
  }
  void Add(std::shared_ptr<Task> task) override { tasks_.push_back(std::move(task)); }
  void RemoveIf(std::function<bool(const Task&)> matches) override {
    std::erase_if(tasks_, [&](const std::shared_ptr<Task>& task) {
      if (!matches(*task)) return false;
      task->Stop();
      return true;
    });
  }
  size_t task_count() const override { return tasks_.size(); }
  // False: no task had anything to do.
  bool Step() {
    bool progress = false;
    for (size_t i = 0; i < tasks_.size(); ++i) {
      progress |= tasks_[i]->RunOnce() == Task::Step::kProgress;
    }
    return progress;
  }

 private:
  std::vector<std::shared_ptr<Task>> tasks_;
};

class OneWorker : public WorkerLink {
 public:
  explicit OneWorker(Worker& worker) : worker_(worker) {}
  void Send(const v1::ConnectResponse& message) override { worker_.OnMessage(message); }
  void Close() override {}

 private:
  Worker& worker_;
};

class LastJob : public JobWatcher {
 public:
  bool OnJob(const v1::Job& job) override {
    job_ = job;
    return true;
  }
  void OnEnd(const absl::Status&) override {}
  const v1::Job& job() const { return job_; }

 private:
  v1::Job job_;
};

class TestDriver {
 public:
  TestDriver(const TestDriverOptions& options, Env real, const NodeFactory& nodes,
             std::string folder)
      : options_(options),
        folder_(std::move(folder)),
        env_(real, options.start),
        nodes_(nodes, rows_) {}

  // Work of the job that is under way ends while all that it uses is there.
  ~TestDriver() {
    worker_.reset();
    while (env_.RunDue()) {
    }
  }
  TestDriver(const TestDriver&) = delete;
  TestDriver& operator=(const TestDriver&) = delete;

  // The first response; its job runs unless it says what is wrong.
  v1::TestDriverResponse Start() {
    v1::TestDriverResponse response;
    const absl::Status status = StartJob(response);
    if (!status.ok()) {
      response.set_error(std::string(status.message()));
      for (v1::Diagnostic& diagnostic : GetDiagnostics(status)) {
        *response.add_diagnostics() = std::move(diagnostic);
      }
    }
    return response;
  }

  v1::TestDriverResponse Answer(const v1::TestDriverRequest& request) {
    v1::TestDriverResponse response;
    absl::Status status = Handle(request, response);
    if (status.ok()) status = JobStatus();
    if (!status.ok()) response.set_error(std::string(status.message()));
    response.set_finished(last_->job().state() == v1::JOB_STATE_FINISHED);
    return response;
  }

  bool failed() const { return last_ != nullptr && !JobStatus().ok(); }

 private:
  absl::Status StartJob(v1::TestDriverResponse& response) {
    coordinator_ = std::make_unique<Coordinator>(
        CoordinatorOptions{.coordinator_id = "test",
                           .checkpoint_uri = "file://" + folder_ + "/checkpoints",
                           .silence_timeout = absl::ZeroDuration(),
                           .registration_grace = absl::ZeroDuration()},
        env_.env(), store_, [this](const v1::JobSource& source) { return Compile(source); }, [] {});
    MILLRACE_RETURN_IF_ERROR(coordinator_->Start());
    worker_ = std::make_unique<Worker>(
        WorkerOptions{.worker_id = "test", .data_folder = folder_ + "/worker"}, env_.env(), nodes_,
        static_cast<int>(options_.parallelism),
        [this] {
          runners_.push_back(std::make_shared<ManualRunner>());
          return runners_.back();
        },
        [] {});
    MILLRACE_RETURN_IF_ERROR(worker_->Start());
    link_ = std::make_shared<OneWorker>(*worker_);
    const uint64_t link_id = coordinator_->OnWorkerConnected(link_);
    worker_->OnConnected(
        {.send = [this, link_id](
                     auto message) { coordinator_->OnWorkerMessage(link_id, std::move(message)); },
         .close = [] {}});
    Settle();
    v1::SubmitJobRequest submit;
    submit.set_parallelism(options_.parallelism);
    submit.set_checkpoint_interval_ms(kNoCheckpointsMs);
    *submit.mutable_job() = MakeJobSource(options_.job_text, options_.variables);
    MILLRACE_ASSIGN_OR_RETURN(
        const v1::SubmitJobResponse submitted,
        (Call<v1::SubmitJobRequest, v1::SubmitJobResponse>(&JobApi::SubmitJob, submit)));
    *response.mutable_diagnostics() = submitted.diagnostics();
    job_id_ = submitted.job_id();
    last_ = std::make_shared<LastJob>();
    v1::WatchJobRequest watch;
    watch.set_job(job_id_);
    coordinator_->WatchJob(watch, last_);
    Settle();
    v1::GetJobRequest get;
    get.set_job(job_id_);
    MILLRACE_ASSIGN_OR_RETURN(const v1::GetJobResponse job,
                              (Call<v1::GetJobRequest, v1::GetJobResponse>(&JobApi::GetJob, get)));
    graph_ = job.graph();
    for (const v1::Node& node : graph_.nodes()) {
      if (node.has_source()) response.add_sources(node.uid());
      if (node.has_sink()) response.add_sinks(node.uid());
    }
    return JobStatus();
  }

  CompiledJob Compile(const v1::JobSource& source) {
    CompiledJob job = CompileJob(source, env_.env().disk);
    for (v1::Node& node : *job.graph.mutable_nodes()) {
      if (node.has_watermark()) node.mutable_watermark()->set_future_skew_ms(kFutureSkewMs);
    }
    return job;
  }

  // Until nothing has anything to do at the present time.
  void Settle() {
    bool progress = true;
    while (progress) {
      progress = coordinator_->RunPosted() > 0;
      if (worker_ != nullptr) progress |= worker_->RunPosted() > 0;
      for (size_t i = 0; i < runners_.size(); ++i) progress |= runners_[i]->Step();
      progress |= env_.RunDue();
    }
  }

  template <typename Request, typename Response>
  absl::StatusOr<Response> Call(void (JobApi::*method)(Request, Reply<Response>), Request request) {
    auto answer = std::make_shared<std::optional<absl::StatusOr<Response>>>();
    (coordinator_.get()->*method)(std::move(request), [answer](absl::StatusOr<Response> response) {
      *answer = std::move(response);
    });
    Settle();
    if (!answer->has_value()) return absl::InternalError("the job does not answer");
    return **std::move(answer);
  }

  absl::Status JobStatus() const {
    const v1::Job& job = last_->job();
    const bool runs = job.state() == v1::JOB_STATE_RUNNING || job.state() == v1::JOB_STATE_FINISHED;
    if (runs && job.restarts() == 0) return absl::OkStatus();
    return absl::AbortedError(
        absl::StrCat("the job has failed (", std::string(JobStateName(job.state())),
                     job.last_error().empty() ? ")" : "): ", job.last_error()));
  }

  absl::Status Handle(const v1::TestDriverRequest& request, v1::TestDriverResponse& response) {
    switch (request.request_case()) {
      case v1::TestDriverRequest::kFeed:
        return Feed(request.feed());
      case v1::TestDriverRequest::kAdvanceWatermark:
        return AdvanceWatermark(request.advance_watermark());
      case v1::TestDriverRequest::kAdvanceTime:
        return AdvanceTime(request.advance_time().ms());
      case v1::TestDriverRequest::kEnd:
        return End(request.end());
      case v1::TestDriverRequest::kOutput:
        return Output(request.output(), response);
      case v1::TestDriverRequest::kRestart: {
        v1::RestartJobRequest restart;
        restart.set_job(job_id_);
        return Call<v1::RestartJobRequest, v1::RestartJobResponse>(&JobApi::RestartJob, restart)
            .status();
      }
      case v1::TestDriverRequest::REQUEST_NOT_SET:
        return absl::InvalidArgumentError("the request asks for nothing");
    }
    return absl::OkStatus();
  }

  // The nodes of a table: "bid" is "bid.scan", "bid.scan.2".
  absl::StatusOr<std::vector<std::string>> Find(const std::string& name, bool sinks) const {
    std::vector<std::string> found, all;
    for (const v1::Node& node : graph_.nodes()) {
      if (sinks ? !node.has_sink() : !node.has_source()) continue;
      all.push_back(node.uid());
      if (node.uid() == name || node.uid().starts_with(name + ".")) found.push_back(node.uid());
    }
    if (!found.empty()) return found;
    return absl::NotFoundError(absl::StrCat("the job has no ", sinks ? "sink " : "source ", name,
                                            "; it has ", absl::StrJoin(all, ", ")));
  }

  absl::Status Feed(const v1::TestDriverRequest::Feed& feed) {
    MILLRACE_ASSIGN_OR_RETURN(const std::vector<std::string> uids, Find(feed.source(), false));
    std::vector<std::string> problems;
    for (const std::string& uid : uids) {
      DrivenRows::Input& input = rows_.inputs[uid];
      if (input.ended) {
        return absl::FailedPreconditionError(absl::StrCat("the input of ", uid, " has ended"));
      }
      for (const std::string& row : feed.rows()) input.rows.push_back(row);
    }
    Settle();
    for (const std::string& uid : uids) {
      for (std::string& problem : std::exchange(rows_.inputs[uid].problems, {})) {
        problems.push_back(std::move(problem));
      }
    }
    if (problems.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat(feed.source(), ": ", absl::StrJoin(problems, "; ")));
  }

  // Of the first watermark behind the source on each way.
  absl::Status AdvanceWatermark(const v1::TestDriverRequest::AdvanceWatermark& advance) {
    MILLRACE_ASSIGN_OR_RETURN(const std::vector<std::string> uids, Find(advance.source(), false));
    const std::optional<int64_t> to = TimestampParser(TimestampText::kSql).Parse(advance.to());
    if (!to) {
      return absl::InvalidArgumentError(
          absl::StrCat("not a time: '", advance.to(), "' (write 2026-01-31 12:00:00)"));
    }
    std::set<std::string> watermarks;
    for (const std::string& uid : uids) FindWatermarks(uid, watermarks);
    if (watermarks.empty()) {
      return absl::FailedPreconditionError(
          absl::StrCat("source ", advance.source(), " has no watermark"));
    }
    for (const std::string& uid : watermarks) {
      EventTime& time = rows_.watermarks.try_emplace(uid, EventTime::Min()).first->second;
      time = std::max(time, EventTime{*to});
    }
    Settle();
    return absl::OkStatus();
  }

  void FindWatermarks(const std::string& uid, std::set<std::string>& found) const {
    for (const v1::Edge& edge : graph_.edges()) {
      if (edge.from() != uid) continue;
      const v1::Node* const next = FindNode(graph_, edge.to());
      if (next == nullptr) continue;
      if (next->has_watermark()) {
        found.insert(next->uid());
      } else {
        FindWatermarks(next->uid(), found);
      }
    }
  }

  absl::Status AdvanceTime(uint64_t ms) {
    if (ms > kAdvanceMsMax) return absl::InvalidArgumentError("at most ten years at once");
    const int64_t to = env_.now_ns() + static_cast<int64_t>(ms) * 1'000'000;
    while (env_.next_due_ns() <= to) {
      env_.AdvanceTo(env_.next_due_ns());
      Settle();
    }
    env_.AdvanceTo(to);
    Settle();
    return absl::OkStatus();
  }

  absl::Status End(const std::string& source) {
    std::vector<std::string> uids;
    if (source.empty()) {
      for (const v1::Node& node : graph_.nodes()) {
        if (node.has_source()) uids.push_back(node.uid());
      }
    } else {
      MILLRACE_ASSIGN_OR_RETURN(uids, Find(source, false));
    }
    for (const std::string& uid : uids) rows_.inputs[uid].ended = true;
    Settle();
    return absl::OkStatus();
  }

  absl::Status Output(const std::string& sink, v1::TestDriverResponse& response) {
    MILLRACE_ASSIGN_OR_RETURN(const std::vector<std::string> uids, Find(sink, true));
    for (const std::string& uid : uids) {
      for (const v1::Edge& edge : graph_.edges()) {
        if (edge.to() != uid) continue;
        const v1::Node* const input = FindNode(graph_, edge.from());
        *response.mutable_columns()->mutable_schema() = input->schema();
        response.mutable_columns()->set_changelog_mode(
            std::max(input->changelog_mode(), v1::CHANGELOG_MODE_APPEND));
      }
      v1::TailedRows rows;
      rows.Swap(&rows_.outputs[uid]);
      for (v1::TailedRow& row : *rows.mutable_rows()) *response.add_rows() = std::move(row);
    }
    return absl::OkStatus();
  }

  const TestDriverOptions& options_;
  const std::string folder_;
  DrivenRows rows_;
  MemoryMetadataStore store_;
  ManualEnv env_;
  const DrivenNodes nodes_;
  std::vector<std::shared_ptr<ManualRunner>> runners_;
  std::unique_ptr<Coordinator> coordinator_;
  std::unique_ptr<Worker> worker_;
  std::shared_ptr<OneWorker> link_;
  std::shared_ptr<LastJob> last_;
  std::string job_id_;
  v1::JobGraph graph_;  // Planned.
};

bool Write(const v1::TestDriverResponse& response, std::FILE* out) {
  std::string line = MessageAsJson(response, false);
  line.push_back('\n');
  return std::fwrite(line.data(), 1, line.size(), out) == line.size() && std::fflush(out) == 0;
}

// False at the end. A line that is too long is an error of its own.
absl::StatusOr<bool> ReadLine(std::FILE* in, std::string& line) {
  line.clear();
  int c = 0;
  while ((c = std::getc(in)) != EOF && c != '\n') {
    if (line.size() == kLineBytesMax) {
      return absl::ResourceExhaustedError(
          absl::StrCat("a request is longer than ", kLineBytesMax, " bytes"));
    }
    line.push_back(static_cast<char>(c));
  }
  return c != EOF || !line.empty();
}

int Serve(TestDriver& driver, std::FILE* in, std::FILE* out) {
  std::string line;
  while (true) {
    const absl::StatusOr<bool> more = ReadLine(in, line);
    if (more.ok() && !*more) return driver.failed() ? kExitJobFailed : kExitOk;
    v1::TestDriverResponse response;
    v1::TestDriverRequest request;
    if (!more.ok()) {
      response.set_error(std::string(more.status().message()));
    } else if (const auto parsed = google::protobuf::util::JsonStringToMessage(line, &request);
               !parsed.ok()) {
      response.set_error(absl::StrCat("not a request: ", std::string(parsed.message())));
    } else {
      response = driver.Answer(request);
    }
    if (!Write(response, out)) return kExitFailed;
    if (!more.ok()) return kExitUsage;
  }
}

}  // namespace

int RunTestDriver(const TestDriverOptions& options, std::FILE* in, std::FILE* out) {
  RealEnv real_env({.io_threads = 1});
  const Env env = real_env.env();
  const char* const temporary = std::getenv("TMPDIR");
  std::string folder =
      absl::StrCat(temporary == nullptr ? "/tmp" : temporary, "/millrace-test-XXXXXX");
  if (mkdtemp(folder.data()) == nullptr) {
    std::fprintf(stderr, "error: cannot make a folder in %s\n", folder.c_str());
    return kExitFailed;
  }
  const auto remove = absl::MakeCleanup([&] { (void)env.disk.RemoveFolder(folder); });
  const std::unique_ptr<SecretStore> secrets = OpenSecretFolder(options.secrets_dir, env.disk);
  const std::unique_ptr<NodeFactory> nodes = AllNodesWith(*secrets);
  TestDriver driver(options, env, *nodes, folder);
  const v1::TestDriverResponse started = driver.Start();
  if (!Write(started, out)) return kExitFailed;
  if (!started.error().empty()) return kExitFailed;
  return Serve(driver, in, out);
}

}  // namespace millrace
