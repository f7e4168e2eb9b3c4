// millrace run: a coordinator and a worker in one process, over in-process links: the same code as
// a cluster, with nothing to install or configure.
#pragma once

#include <csignal>
#include <cstdint>
#include <map>
#include <string>

#include "absl/time/time.h"
#include "cli/result_view.h"
#include "millrace/v1/job_service.pb.h"
#include "operators/udf/python_settings.h"
#include "runtime/base/env.h"

namespace millrace {

struct RunOptions {
  std::string job_text;  // A SQL script, or YAML.
  std::string file;      // As messages name it.
  std::string job_name;  // Of the file; names the default folder.
  std::map<std::string, std::string> variables;
  // Empty = ./.millrace/<job_name>; of a SELECT alone, a folder that is removed in the end.
  std::string work_dir;
  uint32_t parallelism = 0;             // 0 = what the job says, else one task per core.
  uint32_t checkpoint_interval_ms = 0;  // 0 = what the job says.
  int http_port = -1;                   // -1 = no metrics server.
  // The folder's job may be an earlier version: its state goes on by `consent`.
  bool upgrade = false;
  v1::StateConsent consent;
  uint64_t memory_mb = 1024;
  // How a SELECT alone shows its rows; of a table, so many are kept.
  ResultViewOptions view;
  std::string secrets_dir;         // Of ${secret:NAME}; empty: there are none.
  std::string checkpoint_storage;  // A URI; empty: in work_dir.
  PythonSettings python;
};

// Called once per process. Runs until the job has ended or `*stop` is set; returns an exit code
// (cli/exit_codes.h).
int RunEmbedded(const RunOptions& options, const volatile std::sig_atomic_t* stop);

}  // namespace millrace
