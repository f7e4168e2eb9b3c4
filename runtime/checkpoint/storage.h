// Checkpoint storage: one job's folder of immutable files (segments and manifests).
//
// Threading: every method, from any thread; calls block (io threads only, but for Create and
// Append, which a task thread may use: they go to the page cache).
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/base/env.h"

namespace millrace {

// A name: 1 to this many letters, digits and `._%=+~-`, not beginning with a dot; the folder is
// flat.
inline constexpr size_t kStorageNameBytesMax = 200;

class CheckpointStorage {
 public:
  virtual ~CheckpointStorage() = default;

  // A new file. It gets its name only by Publish; a file that is dropped before leaves nothing. One
  // thread at a time. Create: kInvalidArgument for a bad name.
  class Writer {
   public:
    virtual ~Writer() = default;
    virtual absl::Status Append(std::string_view bytes) = 0;
    // Makes content and name durable; kAlreadyExists when the name is taken.
    virtual absl::Status Publish() = 0;
  };
  virtual absl::StatusOr<std::unique_ptr<Writer>> Create(const std::string& name) = 0;
  virtual absl::StatusOr<std::unique_ptr<ReadableFile>> Open(const std::string& name) = 0;
  virtual absl::StatusOr<std::vector<std::string>> List() = 0;  // Sorted names.
  // Only the coordinator removes (exactly-once.md, rule 9).
  virtual absl::Status Remove(const std::string& name) = 0;
};

// Opens "file:///folder" (made when missing). kInvalidArgument: unknown scheme. `disk` outlives it.
absl::StatusOr<std::unique_ptr<CheckpointStorage>> OpenCheckpointStorage(std::string_view uri,
                                                                         Disk& disk);

}  // namespace millrace
