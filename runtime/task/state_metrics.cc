#include "runtime/task/state_metrics.h"

namespace millrace {

StateMetrics::StateMetrics(OperatorMetrics& metrics)
    : write_stall_seconds_(
          metrics.Counter("millrace_rocksdb_write_stall_seconds_total",
                          "Time for which eviction waited until RocksDB took its rows.", {})),
      cache_accesses_(metrics.Counter("millrace_rocksdb_block_cache_access_total",
                                      "Blocks of evicted rows that were asked for.", {})),
      cache_misses_(metrics.Counter("millrace_rocksdb_block_cache_miss_total",
                                    "Blocks that had to be read from disk.", {})),
      pending_compaction_bytes_(metrics.Gauge("millrace_rocksdb_pending_compaction_bytes",
                                              "What compaction still has to rewrite, estimated.",
                                              {})) {}

void StateMetrics::Set(const ColdStore::Stats& stats) {
  write_stall_seconds_.Set(stats.write_stall_s);
  cache_accesses_.Set(static_cast<double>(stats.cache_accesses));
  cache_misses_.Set(static_cast<double>(stats.cache_misses));
  pending_compaction_bytes_.Set(static_cast<double>(stats.pending_compaction_bytes));
}

}  // namespace millrace
