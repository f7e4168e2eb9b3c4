// Metrics of the cold store under one operator's state, brought up to date once per epoch.
//
// Threading: the task thread. Ownership: borrows the operator's metrics.
#pragma once

#include "runtime/state/cold_store.h"
#include "runtime/task/operator_metrics.h"

namespace millrace {

class StateMetrics {
 public:
  explicit StateMetrics(OperatorMetrics& metrics);
  void Set(const ColdStore::Stats& stats);

 private:
  OperatorMetrics::Number& write_stall_seconds_;
  OperatorMetrics::Number& cache_accesses_;
  OperatorMetrics::Number& cache_misses_;
  OperatorMetrics::Number& pending_compaction_bytes_;
};

}  // namespace millrace
