#include "runtime/task/operator_metrics.h"

#include <algorithm>
#include <cmath>

namespace millrace {

OperatorMetrics::Histogram::Histogram(std::vector<double> bounds)
    : bounds_(std::move(bounds)), counts_(bounds_.size() + 1) {}

void OperatorMetrics::Histogram::Observe(double value) {
  const auto at = std::lower_bound(bounds_.begin(), bounds_.end(), value);
  Add(static_cast<size_t>(at - bounds_.begin()), 1);
  AddToSum(value);
}

OperatorMetrics::Entry& OperatorMetrics::EntryOf(Kind kind, std::string name, std::string help,
                                                 Labels labels) {
  for (const auto& entry : entries_) {
    if (entry->name == name && entry->labels == labels) return *entry;
  }
  auto entry = std::make_unique<Entry>();
  entry->kind = kind;
  entry->name = std::move(name);
  entry->help = std::move(help);
  entry->labels = std::move(labels);
  entries_.push_back(std::move(entry));
  return *entries_.back();
}

OperatorMetrics::Number& OperatorMetrics::Counter(std::string name, std::string help,
                                                  Labels labels) {
  absl::MutexLock lock(&mutex_);
  return EntryOf(Kind::kCounter, std::move(name), std::move(help), std::move(labels)).number;
}

OperatorMetrics::Number& OperatorMetrics::Gauge(std::string name, std::string help, Labels labels) {
  absl::MutexLock lock(&mutex_);
  return EntryOf(Kind::kGauge, std::move(name), std::move(help), std::move(labels)).number;
}

OperatorMetrics::Histogram& OperatorMetrics::MakeHistogram(std::string name, std::string help,
                                                           Labels labels,
                                                           std::vector<double> bounds) {
  absl::MutexLock lock(&mutex_);
  Entry& entry = EntryOf(Kind::kHistogram, std::move(name), std::move(help), std::move(labels));
  if (entry.histogram == nullptr || entry.histogram->bounds() != bounds) {
    entry.histogram = std::make_unique<Histogram>(std::move(bounds));
  }
  return *entry.histogram;
}

std::vector<OperatorMetrics::Value> OperatorMetrics::Read() const {
  absl::MutexLock lock(&mutex_);
  std::vector<Value> values;
  for (const auto& entry : entries_) {
    Value value{.kind = entry->kind,
                .name = entry->name,
                .help = entry->help,
                .labels = entry->labels,
                .number = entry->number.value(),
                .bounds = {},
                .counts = {}};
    if (const Histogram* histogram = entry->histogram.get()) {
      value.number = histogram->sum();
      value.bounds = histogram->bounds();
      for (size_t i = 0; i <= value.bounds.size(); ++i) {
        value.counts.push_back(histogram->count_of(i));
      }
    } else if (entry->kind == Kind::kGauge && std::isnan(value.number)) {
      continue;
    }
    values.push_back(std::move(value));
  }
  return values;
}

}  // namespace millrace
