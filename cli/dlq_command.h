// millrace dlq: dead letters of a topic, listed and replayed.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/remote_commands.h"
#include "runtime/base/env.h"

namespace millrace {

struct DlqOptions {
  std::string from;  // kafka:BROKERS/TOPIC
  std::string to;
  std::vector<std::string> properties;  // name=value, or name=@FILE.
  std::vector<std::string> codes;
  std::string job_id;
  std::string uid;
  std::string since;    // "15m" ago, or "2026-01-31 12:00:00".
  std::string offsets;  // "0:12,3:7"
  std::string name;
  uint64_t limit = 100;
  bool summary = false;
  bool dry_run = false;
};

// Exit codes. `interrupted` tells whether the user wants it to end.
int DlqList(const DlqOptions& options, OutputFormat format, Env env,
            const std::function<bool()>& interrupted);
int DlqReplay(const DlqOptions& options, OutputFormat format, Env env,
              const std::function<bool()>& interrupted);

}  // namespace millrace
