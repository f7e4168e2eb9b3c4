// Metrics that an operator has beyond the counters that every operator has. It makes them in Open
// and writes them as rows go by; the worker's /metrics reads them (operators know no Prometheus).
// Labels of the task and the operator are added there.
//
// Threading: one writer, the task thread; Read from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace millrace {

class OperatorMetrics {
 public:
  using Labels = std::vector<std::pair<std::string, std::string>>;
  enum class Kind { kCounter, kGauge, kHistogram };

  class Number {
   public:
    // Relaxed: each value stands alone. A gauge that is NaN is not exported.
    void Set(double value) { value_.store(value, std::memory_order_relaxed); }
    void Add(double value) { Set(this->value() + value); }
    double value() const { return value_.load(std::memory_order_relaxed); }

   private:
    std::atomic<double> value_{0};
  };

  // Counts by bucket: bucket i holds values up to bounds[i], the last one the rest.
  class Histogram {
   public:
    explicit Histogram(std::vector<double> bounds);
    void Observe(double value);
    // Many values at once, already counted by bucket.
    void Add(size_t bucket, uint64_t count) {
      counts_[bucket].store(count_of(bucket) + count, std::memory_order_relaxed);
    }
    void AddToSum(double value) { sum_.Add(value); }
    const std::vector<double>& bounds() const { return bounds_; }
    uint64_t count_of(size_t bucket) const {
      return counts_[bucket].load(std::memory_order_relaxed);
    }
    double sum() const { return sum_.value(); }

   private:
    const std::vector<double> bounds_;
    std::vector<std::atomic<uint64_t>> counts_;
    Number sum_;
  };

  // What is made lives as long as this. The same name and labels again give the same metric; a
  // histogram with other bounds takes the place of the former one. Names as in docs/operations.md.
  Number& Counter(std::string name, std::string help, Labels labels);
  Number& Gauge(std::string name, std::string help, Labels labels);
  Histogram& MakeHistogram(std::string name, std::string help, Labels labels,
                           std::vector<double> bounds);

  // A copy of everything.
  struct Value {
    Kind kind;
    std::string name, help;
    Labels labels;
    double number = 0;  // Histograms: the sum.
    std::vector<double> bounds;
    std::vector<uint64_t> counts;  // Not cumulative; one more than bounds.
  };
  std::vector<Value> Read() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Entry {
    Kind kind;
    std::string name, help;
    Labels labels;
    Number number;
    std::unique_ptr<Histogram> histogram;
  };
  Entry& EntryOf(Kind kind, std::string name, std::string help, Labels labels)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable absl::Mutex mutex_;  // Held while something is made or read, never while rows go by.
  std::vector<std::unique_ptr<Entry>> entries_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace millrace
