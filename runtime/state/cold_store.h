// The cold store of one task's state: rows that the memory budget had no room for, sorted by row
// key (state_format.h). It is a cache of what checkpoint segments hold, never the truth: its folder
// is wiped at each start.
//
// Threading: the task thread. Ownership: the state store owns it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace millrace {

class Disk;

class ColdStore {
 public:
  virtual ~ColdStore() = default;

  // Rows in strictly ascending key order; a later run overrides an earlier one. Visible after
  // Finish.
  class Run {
   public:
    virtual ~Run() = default;
    virtual absl::Status Put(std::string_view key, std::string_view value) = 0;
    virtual absl::Status Delete(std::string_view key) = 0;
    virtual absl::Status Finish() = 0;
  };
  virtual absl::StatusOr<std::unique_ptr<Run>> BeginRun() = 0;

  virtual absl::StatusOr<bool> Get(std::string_view key, std::string* value) = 0;

  // Sees the store as it was when it was made. Dropped panes may still appear.
  class Iterator {
   public:
    virtual ~Iterator() = default;
    virtual void Seek(std::string_view key) = 0;
    virtual bool Valid() const = 0;
    virtual void Next() = 0;
    virtual std::string_view key() const = 0;
    virtual std::string_view value() const = 0;
    virtual absl::Status status() const = 0;
  };
  virtual std::unique_ptr<Iterator> NewIterator() = 0;

  // Removes [begin, end) at once.
  virtual absl::Status DeleteRange(std::string_view begin, std::string_view end) = 0;
  // Rows of panes up to `pane` of the pane table are never read again; they go in the background.
  virtual void DropPanesUpTo(uint32_t table, int64_t pane) = 0;

  // How it works; since it was opened.
  struct Stats {
    double write_stall_s = 0;  // For which writes had to wait.
    uint64_t cache_accesses = 0, cache_misses = 0;
    uint64_t pending_compaction_bytes = 0;  // Estimated, now.
  };
  virtual Stats stats() const { return {}; }

  virtual uint64_t bytes() const = 0;
  // What it holds in memory, at most.
  virtual uint64_t memory_bytes() const = 0;
};

// Holds the rows in memory, for simulation and tests.
std::unique_ptr<ColdStore> MakeMemoryColdStore();

// Wipes `folder` and opens a RocksDB there that takes about `memory_bytes_max` of memory.
absl::StatusOr<std::unique_ptr<ColdStore>> OpenRocksdbColdStore(const std::string& folder,
                                                                Disk& disk,
                                                                uint64_t memory_bytes_max);

}  // namespace millrace
