// Counters of one operator in one task.
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>

#include "runtime/task/operator_metrics.h"

namespace millrace {

// A counter with one writer (the task thread) and readers on other threads (metrics, heartbeats).
// Relaxed: each value stands alone, no other memory is published with it.
class TaskCounter {
 public:
  void Add(uint64_t n) {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  void Set(uint64_t n) { value_.store(n, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

// The first six count since the job's first start, because they are part of the checkpoint, whose
// sums the coordinator compares (coordinator/conservation.h): what is emitted at a port arrives at
// the other end of the edge; and where an operator gives one row for each, in = out + dead-lettered
// + skipped.
struct OperatorCounters {
  TaskCounter rows_in;
  TaskCounter rows_out;
  TaskCounter rows_late;
  TaskCounter rows_dead_lettered;
  TaskCounter rows_skipped;   // End here on purpose: filtered out, messages without a row.
  TaskCounter truncates_out;  // Of rows_out: truncates, of which every keyed task gets one.
  TaskCounter bytes_in;       // Sources: bytes read. Others: batch bytes, at the head of a chain.
  TaskCounter bytes_out;
  TaskCounter lag_rows;  // Sources: rows known to wait at the source; a gauge.
  TaskCounter sink_errors;
  TaskCounter commits;  // Sinks: epochs made visible, and the time that it took.
  TaskCounter commit_ns;
  TaskCounter rows_unchanged;  // Normalize: changes that came again or changed nothing.
  TaskCounter rows_future;     // Rows too far in the future to move the watermark.
  OperatorMetrics metrics;     // What only this kind of operator has.
};

// Counts `rows` sent to the dead-letter output for the reason `code` ("MR3102"). Task thread.
void CountDeadLetters(OperatorCounters& counters, std::string_view code, uint64_t rows);

// Splits of a source task by what they do now; gauges.
struct SplitCounts {
  TaskCounter active, idle, finished;
};

}  // namespace millrace
