// What a process exports to Prometheus. Values stay where they are counted; a collector reads them
// when somebody scrapes. The only home of prometheus-cpp is metrics.cc.
//
// Names: prefix millrace_, base units, _total for counters; labels job_id, operator, task, worker,
// never job or instance (docs/operations.md).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace millrace {

using MetricLabels = std::vector<std::pair<std::string, std::string>>;

// Durations in seconds, in fixed buckets.
// Threading: Observe from any thread. Relaxed: a scrape may see a sum without its count.
class DurationHistogram {
 public:
  // 1 ms to 100 s, two per decade and more.
  static const std::vector<double>& Bounds();

  void Observe(double seconds);
  uint64_t count(size_t bucket) const { return counts_[bucket].load(std::memory_order_relaxed); }
  double sum() const { return static_cast<double>(sum_us_.load(std::memory_order_relaxed)) / 1e6; }

 private:
  static constexpr size_t kBuckets = 16;
  std::atomic<uint64_t> counts_[kBuckets] = {};  // Not cumulative; the last has no bound.
  std::atomic<uint64_t> sum_us_{0};
};

// A histogram at one moment. `counts` by bucket, not cumulative; the last one has no bound.
struct HistogramValues {
  std::vector<double> bounds;
  std::vector<uint64_t> counts;
  double sum = 0;
};

// Receives the values of one scrape. The same name has the same help and kind everywhere.
class MetricsSink {
 public:
  virtual ~MetricsSink() = default;
  virtual void Counter(std::string_view name, std::string_view help, const MetricLabels& labels,
                       double value) = 0;
  virtual void Gauge(std::string_view name, std::string_view help, const MetricLabels& labels,
                     double value) = 0;
  virtual void Histogram(std::string_view name, std::string_view help, const MetricLabels& labels,
                         const HistogramValues& values) = 0;
  void Histogram(std::string_view name, std::string_view help, const MetricLabels& labels,
                 const DurationHistogram& values);
};

// Threading: every method, from any thread. Collectors run on the scraping thread.
class MetricsRegistry {
 public:
  using Collector = std::function<void(MetricsSink&)>;

  MetricsRegistry();  // With process_* metrics.
  void Add(Collector collector) ABSL_LOCKS_EXCLUDED(mutex_);
  // Text format 0.0.4, or OpenMetrics 1.0 (with its `# EOF`).
  std::string Text(bool open_metrics) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  absl::Mutex mutex_;
  std::vector<Collector> collectors_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace millrace
