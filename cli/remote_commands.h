// The commands that talk to a coordinator. Each prints its result and returns an exit code.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "cli/job_client_rpc.h"
#include "cli/output.h"

namespace millrace {

struct SubmitOptions {
  v1::JobSource source;
  std::string file;
  uint32_t parallelism = 0;
  uint32_t checkpoint_interval_ms = 0;
  std::string savepoint;
  v1::StateConsent consent;  // With a savepoint.
  std::string request_id;    // Empty: a new one.
};

struct UpgradeOptions {
  std::string job;
  v1::JobSource source;
  std::string file;
  v1::StateConsent consent;
  bool dry_run = false;
  std::string request_id;
};

// What `millrace get` lists.
enum class GetKind { kJobs, kWorkers, kCheckpoints };

int SubmitCommand(JobClient& client, const SubmitOptions& options, OutputFormat format);
int GetCommand(JobClient& client, GetKind kind, const std::string& job, OutputFormat format);
int DescribeCommand(JobClient& client, const std::string& job, OutputFormat format);
// The chains of causes that hold the job up.
int WhyCommand(JobClient& client, const std::string& job, OutputFormat format);
// Until the job has ended; `timeout_seconds` 0 = for ever.
int WaitCommand(JobClient& client, const std::string& job, uint32_t timeout_seconds,
                OutputFormat format);
int StopCommand(JobClient& client, const std::string& job, bool drain,
                const std::string& savepoint_directory, const std::string& request_id,
                OutputFormat format);
int CancelCommand(JobClient& client, const std::string& job, const std::string& request_id);
int SavepointCommand(JobClient& client, const std::string& job, const std::string& directory,
                     const std::string& request_id, OutputFormat format);
// `model`: name, version and file.
int UpdateModelCommand(JobClient& client, const std::string& job, const v1::Model& model,
                       const std::string& request_id, OutputFormat format);
// Returns when the job runs again.
int RescaleCommand(JobClient& client, const std::string& job, uint32_t parallelism,
                   const std::string& request_id, OutputFormat format);
// Prints what becomes of the state of each node. Returns when the new version has completed an
// epoch; with `dry_run` at once: kExitFailed when the upgrade would be refused.
int UpgradeCommand(JobClient& client, const UpgradeOptions& options, OutputFormat format);
// Returns when the job runs again.
int RestartCommand(JobClient& client, const std::string& job, bool from_checkpoint,
                   const std::string& request_id, OutputFormat format);

struct TailOptions {
  std::string job;
  std::string uid;
  uint64_t lines = 20;  // Ends after so many rows, unless `follow`.
  bool follow = false;
  uint32_t rows_per_second = 0;  // 0: what the coordinator takes.
  uint32_t timeout_seconds = 0;  // 0: for ever.
};

// Rows of a node, as it emits them.
int TailCommand(JobClient& client, const TailOptions& options, OutputFormat format,
                const std::function<bool()>& interrupted);
int LogsCommand(JobClient& client, const std::string& job, uint32_t lines_max, OutputFormat format);

}  // namespace millrace
