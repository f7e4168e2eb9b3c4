#include "cli/remote_commands.h"

#include <cstdio>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "cli/exit_codes.h"
#include "cli/output.h"
#include "cli/result_view.h"
#include "coordinator/compile_job.h"

namespace millrace {
namespace {

// Between two notes on rows that are left out.
constexpr absl::Duration kTellInterval = absl::Seconds(1);

int Failed(const absl::Status& status, const std::string& file = "") {
  PrintError(status, file);
  return ExitCodeFor(status);
}

std::string Number(uint64_t value) { return std::to_string(value); }

// As a table; for kName, the first column of each row.
int PrintRows(const std::vector<std::string>& head,
              const std::vector<std::vector<std::string>>& rows, OutputFormat format) {
  if (format != OutputFormat::kName) {
    PrintTable(head, rows);
    return kExitOk;
  }
  for (const std::vector<std::string>& row : rows) std::printf("%s\n", row[0].c_str());
  return kExitOk;
}

int PrintJobs(const v1::ListJobsResponse& response, OutputFormat format) {
  std::vector<std::vector<std::string>> rows;
  for (const v1::Job& job : response.jobs()) {
    std::vector<std::string> row = {job.job_id(),
                                    job.name(),
                                    JobStateText(job.state()),
                                    Number(job.parallelism()),
                                    Number(job.restarts()),
                                    Number(job.last_epoch()),
                                    TimeText(job.state_since_unix_us())};
    if (format == OutputFormat::kWide) {
      row.push_back(BytesText(job.last_epoch_bytes()));
      row.push_back(job.last_error());
    }
    rows.push_back(std::move(row));
  }
  std::vector<std::string> head = {"JOB",      "NAME",  "STATE", "PARALLELISM",
                                   "RESTARTS", "EPOCH", "SINCE"};
  if (format == OutputFormat::kWide) {
    head.insert(head.end(), {"SIZE", "LAST ERROR"});
  }
  return PrintRows(head, rows, format);
}

}  // namespace

int SubmitCommand(JobClient& client, const SubmitOptions& options, OutputFormat format) {
  v1::SubmitJobRequest request;
  request.set_request_id(options.request_id);
  *request.mutable_job() = options.source;
  request.set_parallelism(options.parallelism);
  request.set_checkpoint_interval_ms(options.checkpoint_interval_ms);
  request.set_savepoint(options.savepoint);
  *request.mutable_consent() = options.consent;
  absl::StatusOr<v1::SubmitJobResponse> response = client.SubmitJob(request);
  if (!response.ok()) return Failed(response.status(), options.file);
  PrintDiagnostics(response->diagnostics(), options.file);
  if (IsDocument(format)) {
    PrintDocument(*response, format);
  } else {
    std::printf("%s\n", response->job_id().c_str());
  }
  return kExitOk;
}

int GetCommand(JobClient& client, GetKind kind, const std::string& job, OutputFormat format) {
  if (kind == GetKind::kJobs) {
    absl::StatusOr<v1::ListJobsResponse> response = client.ListJobs({});
    if (!response.ok()) return Failed(response.status());
    if (IsDocument(format)) {
      PrintDocument(*response, format);
      return kExitOk;
    }
    return PrintJobs(*response, format);
  }
  if (kind == GetKind::kWorkers) {
    absl::StatusOr<v1::ListWorkersResponse> response = client.ListWorkers({});
    if (!response.ok()) return Failed(response.status());
    if (IsDocument(format)) {
      PrintDocument(*response, format);
      return kExitOk;
    }
    std::vector<std::vector<std::string>> rows;
    for (const v1::Worker& worker : response->workers()) {
      rows.push_back({worker.worker_id(), worker.data_address(), worker.http_address(),
                      Number(worker.cores()), Number(worker.tasks()), worker.version(),
                      TimeText(worker.last_heartbeat_unix_us())});
    }
    return PrintRows({"WORKER", "DATA", "HTTP", "CORES", "TASKS", "VERSION", "HEARTBEAT"}, rows,
                     format);
  }
  v1::ListCheckpointsRequest request;
  request.set_job(job);
  absl::StatusOr<v1::ListCheckpointsResponse> response = client.ListCheckpoints(request);
  if (!response.ok()) return Failed(response.status());
  if (IsDocument(format)) {
    PrintDocument(*response, format);
    return kExitOk;
  }
  std::vector<std::vector<std::string>> rows;
  for (const v1::EpochRecord& epoch : response->checkpoints()) {
    rows.push_back({Number(epoch.epoch()), TimeText(epoch.completed_unix_us()),
                    absl::StrCat(epoch.duration_us() / 1000, " ms"), BytesText(epoch.bytes()),
                    epoch.manifest_name()});
  }
  return PrintRows({"EPOCH", "COMPLETED", "DURATION", "SIZE", "MANIFEST"}, rows, format);
}

int DescribeCommand(JobClient& client, const std::string& job, OutputFormat format) {
  v1::GetJobRequest request;
  request.set_job(job);
  absl::StatusOr<v1::GetJobResponse> response = client.GetJob(request);
  if (!response.ok()) return Failed(response.status());
  if (IsDocument(format)) {
    PrintDocument(*response, format);
    return kExitOk;
  }
  const v1::Job& j = response->job();
  std::printf("Job:         %s (%s)\n", j.job_id().c_str(), j.name().c_str());
  std::printf("State:       %s since %s\n", JobStateText(j.state()).c_str(),
              TimeText(j.state_since_unix_us()).c_str());
  if (j.stalled_since_unix_us() != 0) {
    std::printf("Stalled:     since %s; see millrace why\n",
                TimeText(j.stalled_since_unix_us()).c_str());
  }
  std::printf("Created:     %s\n", TimeText(j.created_unix_us()).c_str());
  std::printf("Parallelism: %u   Generation: %llu   Attempt: %llu   Restarts: %llu\n",
              j.parallelism(), static_cast<unsigned long long>(j.generation()),
              static_cast<unsigned long long>(j.attempt()),
              static_cast<unsigned long long>(j.restarts()));
  std::printf("Checkpoint:  epoch %llu, %s, %s\n", static_cast<unsigned long long>(j.last_epoch()),
              TimeText(j.last_epoch_unix_us()).c_str(), BytesText(j.last_epoch_bytes()).c_str());
  if (!j.last_error().empty()) std::printf("Last error:  %s\n", j.last_error().c_str());
  std::printf("\n");
  std::vector<std::vector<std::string>> rows;
  for (const v1::NodeStatus& node : j.nodes()) {
    const bool has_watermark = node.watermark_us() != 0 && node.watermark_us() > INT64_MIN / 2 &&
                               node.watermark_us() < INT64_MAX / 2;
    rows.push_back({node.uid(), node.operator_(), Number(node.tasks()), Number(node.rows_in()),
                    Number(node.rows_out()), Number(node.rows_late()),
                    Number(node.rows_dead_lettered()),
                    has_watermark ? TimeText(node.watermark_us()) : "-"});
  }
  PrintTable({"NODE", "OPERATOR", "TASKS", "IN", "OUT", "LATE", "DEAD LETTERS", "WATERMARK"}, rows);
  return kExitOk;
}

int WhyCommand(JobClient& client, const std::string& job, OutputFormat format) {
  v1::GetJobRequest request;
  request.set_job(job);
  absl::StatusOr<v1::GetJobResponse> response = client.GetJob(request);
  if (!response.ok()) return Failed(response.status());
  if (IsDocument(format)) {
    response->clear_graph();
    PrintDocument(*response, format);
    return kExitOk;
  }
  const v1::Job& j = response->job();
  std::printf("%s (%s) is %s", j.name().c_str(), j.job_id().c_str(),
              JobStateText(j.state()).c_str());
  if (j.stalled_since_unix_us() != 0) {
    std::printf(", and has stood still since %s", TimeText(j.stalled_since_unix_us()).c_str());
  }
  std::printf("\n");
  if (response->why().empty()) std::printf("  nothing holds it up\n");
  for (const v1::Cause& cause : response->why()) {
    std::printf("  %*s%s%s\n", static_cast<int>(cause.depth()) * 3, "",
                cause.depth() == 0 ? "" : "because ", cause.text().c_str());
  }
  return kExitOk;
}

int WaitCommand(JobClient& client, const std::string& job, uint32_t timeout_seconds,
                OutputFormat format) {
  v1::WatchJobRequest request;
  request.set_job(job);
  v1::JobState last = v1::JOB_STATE_UNSPECIFIED;
  v1::Job ended;
  const absl::Time deadline =
      timeout_seconds == 0 ? absl::InfiniteFuture() : absl::Now() + absl::Seconds(timeout_seconds);
  const absl::Status status = client.WatchJob(request, deadline, [&](const v1::Job& seen) {
    if (seen.state() != last) std::fprintf(stderr, "%s\n", JobStateText(seen.state()).c_str());
    last = seen.state();
    ended = seen;
    return true;
  });
  if (!status.ok()) return Failed(status);
  if (IsDocument(format)) {
    PrintDocument(ended, format);
  } else {
    std::printf("%s\n", JobStateText(last).c_str());
  }
  if (last != v1::JOB_STATE_FAILED) return kExitOk;
  std::fprintf(stderr, "error: the job failed: %s\n", ended.last_error().c_str());
  return kExitJobFailed;
}

int StopCommand(JobClient& client, const std::string& job, bool drain,
                const std::string& savepoint_directory, const std::string& request_id,
                OutputFormat format) {
  v1::StopJobRequest request;
  request.set_request_id(request_id);
  request.set_job(job);
  request.set_drain(drain);
  request.set_savepoint_directory(savepoint_directory);
  absl::StatusOr<v1::StopJobResponse> response = client.StopJob(request);
  if (!response.ok()) return Failed(response.status());
  std::fprintf(stderr, "stopped at epoch %llu\n",
               static_cast<unsigned long long>(response->epoch()));
  if (IsDocument(format)) {
    PrintDocument(*response, format);
    return kExitOk;
  }
  if (!response->savepoint().empty()) std::printf("%s\n", response->savepoint().c_str());
  return kExitOk;
}

int CancelCommand(JobClient& client, const std::string& job, const std::string& request_id) {
  v1::CancelJobRequest request;
  request.set_request_id(request_id);
  request.set_job(job);
  absl::StatusOr<v1::CancelJobResponse> response = client.CancelJob(request);
  return response.ok() ? kExitOk : Failed(response.status());
}

int SavepointCommand(JobClient& client, const std::string& job, const std::string& directory,
                     const std::string& request_id, OutputFormat format) {
  v1::CreateSavepointRequest request;
  request.set_request_id(request_id);
  request.set_job(job);
  request.set_directory(directory);
  absl::StatusOr<v1::CreateSavepointResponse> response = client.CreateSavepoint(request);
  if (!response.ok()) return Failed(response.status());
  if (IsDocument(format)) {
    PrintDocument(*response, format);
  } else {
    std::printf("%s\n", response->savepoint().c_str());
  }
  return kExitOk;
}

int UpdateModelCommand(JobClient& client, const std::string& job, const v1::Model& model,
                       const std::string& request_id, OutputFormat format) {
  v1::UpdateModelRequest request;
  request.set_request_id(request_id);
  request.set_job(job);
  *request.mutable_model() = model;
  absl::StatusOr<v1::UpdateModelResponse> response = client.UpdateModel(request);
  if (!response.ok()) return Failed(response.status());
  std::fprintf(stderr, "in use from epoch %llu on\n",
               static_cast<unsigned long long>(response->epoch()));
  if (IsDocument(format)) {
    PrintDocument(*response, format);
  } else {
    std::printf("%s\n", response->sha256().c_str());
  }
  return kExitOk;
}

int RescaleCommand(JobClient& client, const std::string& job, uint32_t parallelism,
                   const std::string& request_id, OutputFormat format) {
  v1::RescaleJobRequest request;
  request.set_request_id(request_id);
  request.set_job(job);
  request.set_parallelism(parallelism);
  absl::StatusOr<v1::RescaleJobResponse> response = client.RescaleJob(request);
  if (!response.ok()) return Failed(response.status());
  std::fprintf(stderr, "runs with parallelism %u, before %u, from epoch %llu on\n", parallelism,
               response->former_parallelism(), static_cast<unsigned long long>(response->epoch()));
  if (IsDocument(format)) PrintDocument(*response, format);
  return kExitOk;
}

int UpgradeCommand(JobClient& client, const UpgradeOptions& options, OutputFormat format) {
  v1::UpgradeJobRequest request;
  request.set_request_id(options.request_id);
  request.set_job(options.job);
  *request.mutable_source() = options.source;
  *request.mutable_consent() = options.consent;
  request.set_dry_run(options.dry_run);
  absl::StatusOr<v1::UpgradeJobResponse> response = client.UpgradeJob(request);
  if (!response.ok()) return Failed(response.status(), options.file);
  PrintDiagnostics(response->diagnostics(), options.file);
  if (IsDocument(format)) {
    PrintDocument(*response, format);
  } else {
    PrintChanges(*response, stdout);
  }
  const auto epoch = static_cast<unsigned long long>(response->epoch());
  if (!options.dry_run) {
    std::fprintf(stderr, "the new version runs, from epoch %llu on\n", epoch);
  } else if (response->possible()) {
    std::fprintf(stderr, "possible, by the checkpoint of epoch %llu; nothing was changed\n", epoch);
  } else {
    std::fprintf(stderr, "refused, by the checkpoint of epoch %llu; nothing was changed\n", epoch);
    return kExitFailed;
  }
  return kExitOk;
}

int RestartCommand(JobClient& client, const std::string& job, bool from_checkpoint,
                   const std::string& request_id, OutputFormat format) {
  v1::RestartJobRequest request;
  request.set_request_id(request_id);
  request.set_job(job);
  request.set_from_checkpoint(from_checkpoint);
  absl::StatusOr<v1::RestartJobResponse> response = client.RestartJob(request);
  if (!response.ok()) return Failed(response.status());
  std::fprintf(stderr, "runs again, from epoch %llu on\n",
               static_cast<unsigned long long>(response->epoch()));
  if (IsDocument(format)) PrintDocument(*response, format);
  return kExitOk;
}

int TailCommand(JobClient& client, const TailOptions& options, OutputFormat format,
                const std::function<bool()>& interrupted) {
  v1::TailNodeRequest request;
  request.set_job(options.job);
  request.set_uid(options.uid);
  request.set_rows_per_second_max(options.rows_per_second);
  ResultViewOptions view_options = ResultViewOptionsFor(format);
  view_options.changelog = true;
  ResultView view(view_options);
  uint64_t left_out = 0, untold = 0;
  absl::Time told = absl::Now();
  const absl::Time deadline = options.timeout_seconds == 0
                                  ? absl::InfiniteFuture()
                                  : absl::Now() + absl::Seconds(options.timeout_seconds);
  const absl::Status status =
      client.TailNode(request, deadline, interrupted, [&](v1::TailNodeResponse response) {
        left_out += response.rows().rows_left_out();
        untold += response.rows().rows_left_out();
        if (!options.follow) {
          const uint64_t wanted = options.lines - view.rows_seen();
          while (static_cast<uint64_t>(response.rows().rows_size()) > wanted) {
            response.mutable_rows()->mutable_rows()->RemoveLast();
          }
        }
        view.Add(response);
        if (options.follow && untold > 0 && absl::Now() - told >= kTellInterval) {
          std::fprintf(stderr, "(%llu rows left out)\n",
                       static_cast<unsigned long long>(std::exchange(untold, 0)));
          told = absl::Now();
        }
        return !view.failed() && (options.follow || view.rows_seen() < options.lines);
      });
  if (left_out > 0) {
    std::fprintf(stderr, "%llu rows shown, %llu left out: a sample; see --rows-per-second\n",
                 static_cast<unsigned long long>(view.rows_seen()),
                 static_cast<unsigned long long>(left_out));
  }
  if (status.ok()) return kExitOk;
  // The only thing that ends like this.
  if (absl::IsAborted(status)) {
    PrintError(status, "");
    return kExitJobFailed;
  }
  return absl::IsCancelled(status) ? static_cast<int>(kExitInterrupted) : Failed(status);
}

int LogsCommand(JobClient& client, const std::string& job, uint32_t lines_max,
                OutputFormat format) {
  v1::GetLogsRequest request;
  request.set_job(job);
  request.set_lines_max(lines_max);
  absl::StatusOr<v1::GetLogsResponse> response = client.GetLogs(request);
  if (!response.ok()) return Failed(response.status());
  if (IsDocument(format)) {
    PrintDocument(*response, format);
    return kExitOk;
  }
  for (const v1::JobLogLine& line : response->lines()) {
    std::printf("%s %-7s %s%s%s %s\n", TimeText(line.unix_us()).c_str(), line.level().c_str(),
                line.source().c_str(), line.uid().empty() ? "" : " ", line.uid().c_str(),
                line.text().c_str());
  }
  return kExitOk;
}

}  // namespace millrace
