#include "runtime/metrics/metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <sstream>

namespace millrace {
namespace {

class Families : public MetricsSink {
 public:
  using MetricsSink::Histogram;
  void Counter(std::string_view name, std::string_view help, const MetricLabels& labels,
               double value) override {
    Add(name, help, labels, prometheus::MetricType::Counter).counter.value = value;
  }
  void Gauge(std::string_view name, std::string_view help, const MetricLabels& labels,
             double value) override {
    Add(name, help, labels, prometheus::MetricType::Gauge).gauge.value = value;
  }
  void Histogram(std::string_view name, std::string_view help, const MetricLabels& labels,
                 const HistogramValues& values) override {
    auto& histogram = Add(name, help, labels, prometheus::MetricType::Histogram).histogram;
    uint64_t cumulative = 0;
    for (size_t i = 0; i < values.counts.size(); ++i) {
      cumulative += values.counts[i];
      const double bound =
          i < values.bounds.size() ? values.bounds[i] : std::numeric_limits<double>::infinity();
      histogram.bucket.push_back({.cumulative_count = cumulative, .upper_bound = bound});
    }
    histogram.sample_count = cumulative;
    histogram.sample_sum = values.sum;
  }

  std::vector<prometheus::MetricFamily> Take() {
    std::vector<prometheus::MetricFamily> all;
    for (auto& [name, family] : families_) all.push_back(std::move(family));
    return all;
  }

 private:
  prometheus::ClientMetric& Add(std::string_view name, std::string_view help,
                                const MetricLabels& labels, prometheus::MetricType type) {
    prometheus::MetricFamily& family = families_[std::string(name)];
    family.name = name;
    family.help = help;
    family.type = type;
    prometheus::ClientMetric& metric = family.metric.emplace_back();
    for (const auto& [key, value] : labels) metric.label.push_back({key, value});
    return metric;
  }

  std::map<std::string, prometheus::MetricFamily> families_;
};

void CollectProcess(MetricsSink& sink) {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  sink.Counter("process_cpu_seconds_total", "User and system time of the process.", {},
               seconds(usage.ru_utime) + seconds(usage.ru_stime));
  if (std::FILE* file = std::fopen("/proc/self/statm", "r")) {
    long pages = 0, resident = 0;
    if (std::fscanf(file, "%ld %ld", &pages, &resident) == 2) {
      const auto page = static_cast<double>(sysconf(_SC_PAGESIZE));
      sink.Gauge("process_virtual_memory_bytes", "Size of the address space.", {},
                 static_cast<double>(pages) * page);
      sink.Gauge("process_resident_memory_bytes", "Memory that is really there.", {},
                 static_cast<double>(resident) * page);
    }
    std::fclose(file);
  }
  std::error_code error;
  const auto descriptors =
      std::distance(std::filesystem::directory_iterator("/proc/self/fd", error),
                    std::filesystem::directory_iterator());
  if (!error) {
    sink.Gauge("process_open_fds", "Open file descriptors.", {}, static_cast<double>(descriptors));
  }
}

}  // namespace

const std::vector<double>& DurationHistogram::Bounds() {
  static const auto* const bounds = new std::vector<double>{
      0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 100};
  return *bounds;
}

void DurationHistogram::Observe(double seconds) {
  const std::vector<double>& bounds = Bounds();
  const auto bucket =
      static_cast<size_t>(std::lower_bound(bounds.begin(), bounds.end(), seconds) - bounds.begin());
  counts_[bucket].fetch_add(1, std::memory_order_relaxed);
  sum_us_.fetch_add(static_cast<uint64_t>(std::max(0.0, seconds) * 1e6), std::memory_order_relaxed);
}

void MetricsSink::Histogram(std::string_view name, std::string_view help,
                            const MetricLabels& labels, const DurationHistogram& values) {
  HistogramValues copy{.bounds = DurationHistogram::Bounds(), .counts = {}, .sum = values.sum()};
  for (size_t i = 0; i <= copy.bounds.size(); ++i) copy.counts.push_back(values.count(i));
  Histogram(name, help, labels, copy);
}

MetricsRegistry::MetricsRegistry() { Add(&CollectProcess); }

void MetricsRegistry::Add(Collector collector) {
  absl::MutexLock lock(&mutex_);
  collectors_.push_back(std::move(collector));
}

std::string MetricsRegistry::Text(bool open_metrics) {
  std::vector<Collector> collectors;
  {
    absl::MutexLock lock(&mutex_);
    collectors = collectors_;
  }
  Families families;
  for (const Collector& collect : collectors) collect(families);
  std::vector<prometheus::MetricFamily> all = families.Take();
  if (open_metrics) {
    // OpenMetrics names a counter's family without the suffix that its samples carry; the
    // serializer writes one name for both, so that counters go out as of unknown type.
    for (prometheus::MetricFamily& family : all) {
      if (family.type != prometheus::MetricType::Counter) continue;
      family.type = prometheus::MetricType::Untyped;
      for (auto& metric : family.metric) metric.untyped.value = metric.counter.value;
    }
  }
  std::ostringstream text;
  prometheus::TextSerializer().Serialize(text, all);
  std::string out = text.str();
  if (open_metrics) {
    for (size_t at; (at = out.find(" untyped\n")) != std::string::npos;) {
      out.replace(at, 9, " unknown\n");
    }
    out += "# EOF\n";
  }
  return out;
}

}  // namespace millrace
