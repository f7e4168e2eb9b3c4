#include "operators/inference/drift.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "millrace/v1/graph.pb.h"

namespace millrace {
namespace {

constexpr double kSmallestFraction = 1e-4;

void ToDoubles(const Column& column, std::vector<double>& out) {
  const auto rows = static_cast<size_t>(column.length());
  out.resize(rows);
  if (column.type() == TypeKind::kFloat64) {
    std::copy_n(column.values<double>(), rows, out.begin());
  } else if (column.type() == TypeKind::kInt32) {
    std::copy_n(column.values<int32_t>(), rows, out.begin());
  } else {
    std::transform(column.values<int64_t>(), column.values<int64_t>() + rows, out.begin(),
                   [](int64_t value) { return static_cast<double>(value); });
  }
  if (!column.has_nulls()) return;
  for (size_t i = 0; i < rows; ++i) {
    if (column.IsNull(static_cast<int64_t>(i))) out[i] = std::numeric_limits<double>::quiet_NaN();
  }
}

}  // namespace

double PopulationStability(std::span<const double> fractions, std::span<const uint64_t> counts) {
  const auto rows = static_cast<double>(std::accumulate(counts.begin(), counts.end(), uint64_t{0}));
  double sum = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    const double then = fractions[i] == 0 ? kSmallestFraction : fractions[i];
    const double now = counts[i] == 0 ? kSmallestFraction : static_cast<double>(counts[i]) / rows;
    sum += (now - then) * std::log(now / then);
  }
  return sum;
}

DriftMonitor::DriftMonitor(const v1::Baseline& baseline, uint64_t turn_rows, uint64_t rows_min,
                           OperatorMetrics::Histogram& values, OperatorMetrics::Number& psi)
    : edges_(baseline.edges().begin(), baseline.edges().end()),
      fractions_(baseline.fractions().begin(), baseline.fractions().end()),
      turn_rows_(turn_rows),
      rows_min_(rows_min),
      values_(values),
      psi_(psi),
      counts_(edges_.size() + 1) {
  psi_.Set(std::numeric_limits<double>::quiet_NaN());
}

void DriftMonitor::Observe(const Column& column) {
  ToDoubles(column, scratch_);
  // Edge by edge over all rows: a comparison and an addition that run on vectors.
  bins_.assign(scratch_.size(), 0);
  for (const double edge : edges_) {
    for (size_t i = 0; i < scratch_.size(); ++i) bins_[i] += scratch_[i] > edge ? 1 : 0;
  }
  std::vector<uint64_t> counts(counts_.size());
  double sum = 0;
  for (size_t i = 0; i < scratch_.size(); ++i) {
    if (std::isnan(scratch_[i])) continue;
    ++counts[static_cast<size_t>(bins_[i])];
    sum += scratch_[i];
  }
  values_.AddToSum(sum);
  for (size_t bin = 0; bin < counts.size(); ++bin) {
    values_.Add(bin, counts[bin]);
    counts_[bin] += counts[bin];
    rows_ += counts[bin];
  }
  if (rows_ >= rows_min_) psi_.Set(PopulationStability(fractions_, counts_));
  if (rows_ < turn_rows_) return;
  rows_ = 0;
  std::fill(counts_.begin(), counts_.end(), 0);
}

}  // namespace millrace
