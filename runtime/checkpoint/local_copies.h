// Copies of state segments that this process has written to checkpoint storage that is far away. A
// task that is placed here again restores from them instead of fetching what it wrote itself.
//
// A cache, never a truth: a copy exists only once storage has published the same bytes, and is read
// only when its length and checksum are those that were written. What is missing or damaged is
// counted, forgotten and read from storage. Nothing is synced: copies do not outlive the process.
//
// Threading: every method, from any thread; reads and writes of files block like those of storage.
// Ownership: outlives the storages that it has wrapped. `disk` outlives it.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "millrace/v1/checkpoint.pb.h"
#include "runtime/base/env.h"
#include "runtime/base/ids.h"
#include "runtime/checkpoint/storage.h"

namespace millrace {

class LocalCopies {
 public:
  // Reads of state segments since the start. A missing or damaged copy is also a read from storage.
  struct Counters {
    uint64_t local_reads = 0;
    uint64_t local_bytes = 0;
    uint64_t storage_reads = 0;
    uint64_t storage_bytes = 0;
    uint64_t missing = 0;  // The file had gone.
    uint64_t damaged = 0;  // Another length or checksum than was written, or unreadable.
    uint64_t kept_bytes = 0;
  };

  // `folder` is this object's alone. The oldest copies go when there are more than `bytes_max`.
  LocalCopies(Disk& disk, std::string folder, uint64_t bytes_max);
  LocalCopies(const LocalCopies&) = delete;
  LocalCopies& operator=(const LocalCopies&) = delete;

  // Empties the folder. Once, before the rest.
  absl::Status Start();
  // `storage` with copies of the state segments that are published through it. `uri` is its own and
  // tells its names apart from those of other folders.
  std::unique_ptr<CheckpointStorage> Wrap(std::string uri,
                                          std::unique_ptr<CheckpointStorage> storage);
  // Of the copies below `uri` that `epoch` or an earlier one wrote, only those of `segments` stay:
  // with the same name, length and checksum.
  void Retain(const std::string& uri, Epoch epoch, const std::vector<v1::Segment>& segments);
  Counters counters() const;

 private:
  friend class CopyingStorage;
  friend class CopyingWriter;

  using Key = std::pair<std::string, std::string>;  // URI, name.
  struct Copy {
    std::string path;
    Epoch epoch;
    uint64_t number = 0;  // Higher is younger.
    uint64_t bytes = 0;
    std::string tail;  // The last bytes: the checksum of those before, as manifests have it.
  };

  std::string NewPath();
  void Add(const Key& key, Copy copy);
  // The verified copy; null: there is none.
  std::unique_ptr<ReadableFile> Open(const Key& key);
  void CountStorageRead(uint64_t bytes);
  void Erase(std::map<Key, Copy>::iterator at) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Disk& disk_;
  const std::string folder_;
  const uint64_t bytes_max_;
  mutable absl::Mutex mutex_;
  std::map<Key, Copy> copies_ ABSL_GUARDED_BY(mutex_);
  Counters counters_ ABSL_GUARDED_BY(mutex_);
  std::atomic<uint64_t> next_{0};  // A task thread that begins a copy waits for nobody.
};

}  // namespace millrace
