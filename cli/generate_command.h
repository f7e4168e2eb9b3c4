// millrace generate nexmark: deterministic events to a file or a topic.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "runtime/base/env.h"

namespace millrace {

struct GenerateOptions {
  uint64_t events = 0;
  uint64_t seed = 1;
  uint64_t rate = 100'000;
  uint64_t first = 0;
  std::string to;  // file:PATH or kafka:BROKERS/TOPIC; "-" is standard output.
  int partitions = 1;
  bool progress = false;  // A line on stderr now and then.
};

absl::Status GenerateNexmark(const GenerateOptions& options, Env env);

}  // namespace millrace
