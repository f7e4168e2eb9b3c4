// millrace test-driver: a job in one thread, with a clock that is told the time, whose sources and
// sinks are the one who asks (proto/millrace/v1/test_driver.proto). The Python package's
// millrace.testing is the other side.
#pragma once

#include <cstdint>
#include <cstdio>
#include <map>
#include <string>

#include "absl/time/time.h"

namespace millrace {

struct TestDriverOptions {
  std::string job_text;
  std::string file;  // As messages name it.
  std::map<std::string, std::string> variables;
  uint32_t parallelism = 1;
  absl::Time start = absl::UnixEpoch();  // What the job's clock shows first.
  std::string secrets_dir;
};

// Answers requests of `in` on `out` until there are no more. Called once per process. Returns an
// exit code: kExitFailed for a job that is not valid, kExitJobFailed when it has failed.
int RunTestDriver(const TestDriverOptions& options, std::FILE* in, std::FILE* out);

}  // namespace millrace
