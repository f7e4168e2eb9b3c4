#include <rocksdb/cache.h>
#include <rocksdb/compaction_filter.h>
#include <rocksdb/convenience.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/options.h>
#include <rocksdb/sst_file_writer.h>
#include <rocksdb/statistics.h>
#include <rocksdb/table.h>

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"

#include "absl/synchronization/mutex.h"
#include "runtime/base/env.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"
#include "runtime/state/cold_store.h"
#include "runtime/state/state_format.h"

namespace millrace {
namespace {

// A run below this goes through the memtable, a longer one becomes files of its own.
constexpr size_t kBatchBytesMax = 256 << 10;
constexpr uint64_t kFileBytesMax = 32 << 20;

rocksdb::Slice ToSlice(std::string_view bytes) { return {bytes.data(), bytes.size()}; }
std::string_view FromSlice(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

absl::Status FromRocksdb(const rocksdb::Status& status, std::string_view attempted) {
  if (status.ok()) return absl::OkStatus();
  const std::string message = Concat("cannot ", attempted, ": ", status.ToString());
  if (status.IsNoSpace()) return absl::ResourceExhaustedError(message);
  if (status.IsCorruption()) return absl::DataLossError(message);
  return absl::UnavailableError(message);
}

// Forgets rows of dropped panes when files are compacted. Called on RocksDB's threads.
class DroppedPanes final : public rocksdb::CompactionFilter {
 public:
  const char* Name() const override { return "millrace.DroppedPanes"; }
  // Snapshots only ever read panes that are alive.
  bool IgnoreSnapshots() const override { return true; }
  bool Filter(int, const rocksdb::Slice& key, const rocksdb::Slice&, std::string*,
              bool*) const override ABSL_LOCKS_EXCLUDED(mutex_) {
    const std::string_view row_key = FromSlice(key);
    if (row_key.size() < kPanePrefixBytes) return false;
    const absl::ReaderMutexLock lock(&mutex_);
    const auto found = horizons_.find(TableOfRow(row_key));
    return found != horizons_.end() && PaneOfRow(row_key) <= found->second;
  }
  void Drop(uint32_t table, int64_t pane) ABSL_LOCKS_EXCLUDED(mutex_) {
    const absl::MutexLock lock(&mutex_);
    const auto [at, added] = horizons_.try_emplace(table, pane);
    at->second = std::max(at->second, pane);
  }

 private:
  mutable absl::Mutex mutex_;
  std::map<uint32_t, int64_t> horizons_ ABSL_GUARDED_BY(mutex_);
};

class RocksdbColdStore final : public ColdStore {
 public:
  RocksdbColdStore(std::string folder, Disk& disk, uint64_t memory_bytes_max)
      : folder_(std::move(folder)), disk_(disk), memory_bytes_(memory_bytes_max) {}

  ~RocksdbColdStore() override {
    if (db_ != nullptr) {
      rocksdb::CancelAllBackgroundWork(db_.get(), /*wait=*/true);
      db_.reset();
    }
    (void)disk_.RemoveFolder(folder_);  // A leftover is wiped by the next start.
  }

  absl::Status Open() {
    MILLRACE_RETURN_IF_ERROR(disk_.RemoveFolder(folder_));
    MILLRACE_RETURN_IF_ERROR(disk_.MakeFolders(folder_));
    rocksdb::BlockBasedTableOptions table;
    table.block_cache = rocksdb::NewLRUCache(memory_bytes_ / 2);
    table.cache_index_and_filter_blocks = true;
    table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
    table.block_size = 16 << 10;
    table.format_version = 5;
    options_.create_if_missing = true;
    options_.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
    options_.compression = Compression();
    options_.write_buffer_size = std::clamp<uint64_t>(memory_bytes_ / 8, 1 << 20, 16 << 20);
    options_.max_write_buffer_number = 2;
    options_.target_file_size_base = kFileBytesMax;
    options_.level0_file_num_compaction_trigger = 8;
    // Eviction must not wait for compaction; reads only get slower.
    options_.level0_slowdown_writes_trigger = 1 << 20;
    options_.level0_stop_writes_trigger = 1 << 20;
    options_.soft_pending_compaction_bytes_limit = 0;
    options_.hard_pending_compaction_bytes_limit = 0;
    options_.max_background_jobs = 2;
    options_.max_open_files = 256;
    options_.avoid_flush_during_shutdown = true;
    options_.compaction_filter = &dropped_;
    options_.keep_log_file_num = 1;
    options_.info_log_level = rocksdb::WARN_LEVEL;
    options_.stats_dump_period_sec = 0;
    options_.statistics = rocksdb::CreateDBStatistics();
    options_.statistics->set_stats_level(rocksdb::StatsLevel::kExceptTimers);
    write_.disableWAL = true;
    rocksdb::DB* db = nullptr;
    MILLRACE_RETURN_IF_ERROR(
        FromRocksdb(rocksdb::DB::Open(options_, folder_, &db), "open the cold store"));
    db_.reset(db);
    return absl::OkStatus();
  }

  class RocksdbRun final : public Run {
   public:
    explicit RocksdbRun(RocksdbColdStore& store) : store_(store) {}

    absl::Status Put(std::string_view key, std::string_view value) override {
      return Add(true, key, value);
    }
    absl::Status Delete(std::string_view key) override { return Add(false, key, {}); }

    absl::Status Finish() override {
      if (file_ != nullptr) MILLRACE_RETURN_IF_ERROR(FinishFile());
      if (!files_.empty()) {
        rocksdb::IngestExternalFileOptions ingest;
        ingest.move_files = true;
        ingest.write_global_seqno = false;
        return FromRocksdb(store_.db_->IngestExternalFile(files_, ingest), "add cold files");
      }
      if (batch_.Count() == 0) return absl::OkStatus();
      return FromRocksdb(store_.db_->Write(store_.write_, &batch_), "write cold rows");
    }

   private:
    // Moves a batch that grew too large into a file.
    class Mover final : public rocksdb::WriteBatch::Handler {
     public:
      explicit Mover(rocksdb::SstFileWriter& file) : file_(file) {}
      rocksdb::Status PutCF(uint32_t, const rocksdb::Slice& key,
                            const rocksdb::Slice& value) override {
        return file_.Put(key, value);
      }
      rocksdb::Status DeleteCF(uint32_t, const rocksdb::Slice& key) override {
        return file_.Delete(key);
      }

     private:
      rocksdb::SstFileWriter& file_;
    };

    absl::Status Add(bool exists, std::string_view key, std::string_view value) {
      if (file_ == nullptr && files_.empty()) {
        const rocksdb::Status status =
            exists ? batch_.Put(ToSlice(key), ToSlice(value)) : batch_.Delete(ToSlice(key));
        MILLRACE_RETURN_IF_ERROR(FromRocksdb(status, "buffer cold rows"));
        if (batch_.GetDataSize() < kBatchBytesMax) return absl::OkStatus();
        MILLRACE_RETURN_IF_ERROR(BeginFile());
        Mover mover(*file_);
        MILLRACE_RETURN_IF_ERROR(FromRocksdb(batch_.Iterate(&mover), "write a cold file"));
        batch_.Clear();
        return absl::OkStatus();
      }
      if (file_ == nullptr) MILLRACE_RETURN_IF_ERROR(BeginFile());
      MILLRACE_RETURN_IF_ERROR(FromRocksdb(
          exists ? file_->Put(ToSlice(key), ToSlice(value)) : file_->Delete(ToSlice(key)),
          "write a cold file"));
      return file_->FileSize() < kFileBytesMax ? absl::OkStatus() : FinishFile();
    }

    absl::Status BeginFile() {
      files_.push_back(Concat(store_.folder_, "/run-", store_.next_file_++, ".evicted"));
      file_ = std::make_unique<rocksdb::SstFileWriter>(rocksdb::EnvOptions(), store_.options_);
      return FromRocksdb(file_->Open(files_.back()), "create a cold file");
    }

    absl::Status FinishFile() {
      const absl::Status status = FromRocksdb(file_->Finish(), "finish a cold file");
      file_.reset();
      return status;
    }

    RocksdbColdStore& store_;
    rocksdb::WriteBatch batch_;
    std::unique_ptr<rocksdb::SstFileWriter> file_;
    std::vector<std::string> files_;
  };

  class RocksdbIterator final : public Iterator {
   public:
    explicit RocksdbIterator(rocksdb::Iterator* at) : at_(at) {}
    void Seek(std::string_view key) override { at_->Seek(ToSlice(key)); }
    bool Valid() const override { return at_->Valid(); }
    void Next() override { at_->Next(); }
    std::string_view key() const override { return FromSlice(at_->key()); }
    std::string_view value() const override { return FromSlice(at_->value()); }
    absl::Status status() const override {
      return FromRocksdb(at_->status(), "read the cold store");
    }

   private:
    const std::unique_ptr<rocksdb::Iterator> at_;
  };

  absl::StatusOr<std::unique_ptr<Run>> BeginRun() override {
    return std::make_unique<RocksdbRun>(*this);
  }

  absl::StatusOr<bool> Get(std::string_view key, std::string* value) override {
    const rocksdb::Status status = db_->Get(rocksdb::ReadOptions(), ToSlice(key), value);
    if (status.IsNotFound()) return false;
    MILLRACE_RETURN_IF_ERROR(FromRocksdb(status, "read a cold row"));
    return true;
  }

  std::unique_ptr<Iterator> NewIterator() override {
    rocksdb::ReadOptions read;
    read.fill_cache = false;
    read.readahead_size = 256 << 10;
    return std::make_unique<RocksdbIterator>(db_->NewIterator(read));
  }

  absl::Status DeleteRange(std::string_view begin, std::string_view end) override {
    return FromRocksdb(
        db_->DeleteRange(write_, db_->DefaultColumnFamily(), ToSlice(begin), ToSlice(end)),
        "remove cold rows");
  }

  void DropPanesUpTo(uint32_t table, int64_t pane) override { dropped_.Drop(table, pane); }

  Stats stats() const override {
    const rocksdb::Statistics& statistics = *options_.statistics;
    const uint64_t misses = statistics.getTickerCount(rocksdb::BLOCK_CACHE_MISS);
    Stats stats{.write_stall_s =
                    static_cast<double>(statistics.getTickerCount(rocksdb::STALL_MICROS)) / 1e6,
                .cache_accesses = misses + statistics.getTickerCount(rocksdb::BLOCK_CACHE_HIT),
                .cache_misses = misses};
    db_->GetIntProperty(rocksdb::DB::Properties::kEstimatePendingCompactionBytes,
                        &stats.pending_compaction_bytes);
    return stats;
  }

  uint64_t bytes() const override {
    uint64_t files = 0;
    uint64_t memtables = 0;
    db_->GetIntProperty(rocksdb::DB::Properties::kLiveSstFilesSize, &files);
    db_->GetIntProperty(rocksdb::DB::Properties::kSizeAllMemTables, &memtables);
    return files + memtables;
  }
  uint64_t memory_bytes() const override { return memory_bytes_; }

 private:
  static rocksdb::CompressionType Compression() {
    const auto known = rocksdb::GetSupportedCompressions();
    const bool lz4 = std::find(known.begin(), known.end(), rocksdb::kLZ4Compression) != known.end();
    return lz4 ? rocksdb::kLZ4Compression : rocksdb::kNoCompression;
  }

  const std::string folder_;
  Disk& disk_;
  const uint64_t memory_bytes_;
  DroppedPanes dropped_;  // Outlives db_.
  rocksdb::Options options_;
  rocksdb::WriteOptions write_;
  std::unique_ptr<rocksdb::DB> db_;
  uint64_t next_file_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ColdStore>> OpenRocksdbColdStore(const std::string& folder,
                                                                Disk& disk,
                                                                uint64_t memory_bytes_max) {
  auto store = std::make_unique<RocksdbColdStore>(folder, disk, memory_bytes_max);
  MILLRACE_RETURN_IF_ERROR(store->Open());
  return store;
}

}  // namespace millrace
