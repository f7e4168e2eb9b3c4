// Metrics of the calls to one remote model.
//
// Threading: the task thread.
#pragma once

#include <map>
#include <string>

#include "operators/inference/remote/request_queue.h"
#include "runtime/task/operator_metrics.h"

namespace millrace {

class RemoteMetrics {
 public:
  RemoteMetrics(OperatorMetrics& metrics, const std::string& model);

  void CountAnswer(const absl::Status& status, Verdict verdict);
  void CountFallbacks(int64_t rows) { fallbacks_.Add(static_cast<double>(rows)); }
  // What is now.
  void Show(const RequestQueue& queue);

 private:
  OperatorMetrics& metrics_;
  const std::string model_;
  std::map<absl::StatusCode, OperatorMetrics::Number*> answers_;  // Made when they first come.
  OperatorMetrics::Number& in_flight_;
  OperatorMetrics::Number& retries_;
  OperatorMetrics::Number& slow_downs_;
  OperatorMetrics::Number& fallbacks_;
  OperatorMetrics::Number* breaker_[3];  // By state.
};

}  // namespace millrace
