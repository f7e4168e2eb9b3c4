// Checkpoint storage: one job's folder of immutable files (segments and manifests), on a disk or in
// an S3-compatible store (s3/s3_storage.h).
//
// Threading: every method, from any thread; calls block (io threads only, but for Create and
// Append, which a task thread may use: they go to the page cache).
// Errors:    kUnavailable, kDeadlineExceeded, kResourceExhausted: it may go well later; others tell
//            what a person must change.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/base/env.h"

namespace millrace {

// A name: 1 to this many letters, digits and `._%=+~-`, not beginning with a dot; the folder is
// flat.
inline constexpr size_t kStorageNameBytesMax = 200;
absl::Status CheckStorageName(std::string_view name);

class S3Access;

// A write that was begun and neither published nor dropped, perhaps because its process died.
struct UnfinishedFile {
  std::string name;  // That it would have got.
  std::string id;    // Of this try.
};

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
  // Only the coordinator removes (exactly-once.md, rule 9). Names that are not there are no error.
  virtual absl::Status Remove(absl::Span<const std::string> names) = 0;
  virtual absl::StatusOr<std::vector<UnfinishedFile>> ListUnfinished() = 0;
  // Its writer, if it still lives, cannot publish any more: kUnavailable.
  virtual absl::Status RemoveUnfinished(const UnfinishedFile& file) = 0;
};

// Where storage may be. A handle, made and copied where it is needed.
struct StoragePlaces {
  Disk* disk;                    // Outlives what is opened.
  std::shared_ptr<S3Access> s3;  // Null: s3:// is refused.
};

// Opens "file:///folder" (made when missing) or "s3://bucket/prefix?options" (without a request).
// kInvalidArgument: unknown scheme, or wrong.
absl::StatusOr<std::unique_ptr<CheckpointStorage>> OpenCheckpointStorage(
    std::string_view uri, const StoragePlaces& places);

// Writes a small file, reads and removes it: what is wrong with a place shows before it is needed.
// `id`: of the caller alone.
absl::Status TryStorage(CheckpointStorage& storage, uint64_t id);

// The URI of a folder below that of `uri`; options stay behind it.
std::string StorageUriBelow(std::string_view uri, std::string_view folder);

}  // namespace millrace
