// Where the part files of a file sink go: a folder of a disk, or a prefix of an S3-compatible
// store.
//
// A part appears whole and is never replaced. Its name is that of its slot and epoch, whose content
// is the same whoever writes it: a name that is taken means that the part is done.
//
// Threading: one thread at a time, and all calls block: the io thread of Commit.
// Errors:    kUnavailable, kDeadlineExceeded, kResourceExhausted: it may go well later; others tell
//            what a person must change.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/base/ids.h"
#include "runtime/checkpoint/storage.h"

namespace millrace {

// Not published: nothing is left but what a crash leaves.
class PartFile {
 public:
  virtual ~PartFile() = default;
  virtual absl::Status Append(std::string_view bytes) = 0;
  virtual absl::Status Publish() = 0;
};

class PartFiles {
 public:
  virtual ~PartFiles() = default;
  // The part `name` of a partition, which is a path below the place; "" without any. Null: it is
  // known to be done. `again`: an earlier attempt may have begun it; what that left is removed.
  virtual absl::StatusOr<std::unique_ptr<PartFile>> Create(const std::string& partition,
                                                           const std::string& name, bool again) = 0;
};

// `path`: "s3://BUCKET/PREFIX?options" (runtime/checkpoint/s3/s3_uri.h), without a request; else a
// folder, which is made. `writer`: writers of different generations disturb each other nowhere.
absl::StatusOr<std::unique_ptr<PartFiles>> OpenPartFiles(const std::string& path,
                                                         const StoragePlaces& places,
                                                         Generation writer);

}  // namespace millrace
