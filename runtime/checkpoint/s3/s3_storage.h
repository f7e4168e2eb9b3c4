// Checkpoint storage in S3-compatible stores: one object per file, PREFIX/NAME.
//
// A file that is written goes to a scratch file on the local disk (Append never waits for the
// network) and is uploaded by Publish, in parts when it is large. A file that is opened is fetched
// whole into a scratch file, so that what was verified is what is read. Both are gone with their
// object; leftovers of a crash go at the next start.
//
// Never in silence over a rival's object: If-None-Match, where the store obeys it, which is tried
// with the first small file; else by looking first. Each object carries its writer and checksum, so
// that after an answer that was lost, or a refusal, the store is asked whose it is.
//
// Threading: every method, from any thread; calls block as CheckpointStorage says.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "runtime/base/env.h"
#include "runtime/checkpoint/s3/s3_client.h"
#include "runtime/checkpoint/storage.h"

namespace millrace {

class MetricsRegistry;

// The way of a process to its stores: connections, keys, counters, scratch files. What `env` and
// `options` refer to outlives it.
class S3Access {
 public:
  virtual ~S3Access() = default;
  // Empties `scratch_folder`, which is this process's alone.
  static absl::StatusOr<std::shared_ptr<S3Access>> Make(S3Options options,
                                                        std::string scratch_folder, Env env);
  // No request yet. kInvalidArgument: not a place in S3. The access outlives it.
  virtual absl::StatusOr<std::unique_ptr<CheckpointStorage>> Open(std::string_view uri) = 0;
  // Ends requests that run and wait; at the end of the process, once.
  virtual void Stop() = 0;
  virtual const S3Counters& counters(S3Operation operation) const = 0;
};

// `access` outlives the registry's use.
void ExportS3Metrics(const S3Access& access, MetricsRegistry& registry);

}  // namespace millrace
