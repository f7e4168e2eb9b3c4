// How far the values of a column are from those that the model was trained on: the population
// stability index, PSI = sum over bins of (now - then) * ln(now / then), where a fraction of 0
// counts as 0.0001 (as Evidently does). By convention more than 0.1 is a shift, more than 0.25 a
// large one; on few rows it is noise.
//
// Threading: the task thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/columns/batch.h"
#include "runtime/task/operator_metrics.h"

namespace millrace {

namespace v1 {
class Baseline;
}

// Fractions of then, counts of now, bin by bin; at least one count.
double PopulationStability(std::span<const double> fractions, std::span<const uint64_t> counts);

// Watches one column. Rows are measured in turns of `turn_rows`; the index is known from `rows_min`
// rows of a turn on, and stays until the next turn has as many.
class DriftMonitor {
 public:
  // `values` has the bounds of the baseline's edges. Both metrics outlive this.
  DriftMonitor(const v1::Baseline& baseline, uint64_t turn_rows, uint64_t rows_min,
               OperatorMetrics::Histogram& values, OperatorMetrics::Number& psi);

  // NULL and NaN are not counted. BIGINT, INT and DOUBLE columns.
  void Observe(const Column& column);

 private:
  const std::vector<double> edges_, fractions_;
  const uint64_t turn_rows_, rows_min_;
  OperatorMetrics::Histogram& values_;
  OperatorMetrics::Number& psi_;
  std::vector<uint64_t> counts_;  // Of this turn.
  uint64_t rows_ = 0;
  std::vector<double> scratch_;
  std::vector<int32_t> bins_;
};

}  // namespace millrace
