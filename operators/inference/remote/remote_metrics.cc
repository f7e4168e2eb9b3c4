#include "operators/inference/remote/remote_metrics.h"

namespace millrace {

RemoteMetrics::RemoteMetrics(OperatorMetrics& metrics, const std::string& model)
    : metrics_(metrics),
      model_(model),
      in_flight_(metrics.Gauge("millrace_model_requests_in_flight",
                               "Requests that wait for the server's answer.", {{"model", model}})),
      retries_(metrics.Counter("millrace_model_retries_total",
                               "Requests that were sent again after a failure.",
                               {{"model", model}})),
      slow_downs_(
          metrics.Counter("millrace_model_slow_downs_total",
                          "Answers by which the server asked for less, or was away: the rows wait.",
                          {{"model", model}})),
      fallbacks_(metrics.Counter("millrace_model_fallback_rows_total",
                                 "Rows that got the fallback values.", {{"model", model}})) {
  for (const auto state : {CircuitBreaker::State::kClosed, CircuitBreaker::State::kOpen,
                           CircuitBreaker::State::kHalfOpen}) {
    breaker_[static_cast<int>(state)] = &metrics.Gauge(
        "millrace_circuit_breaker_state", "1 for the state that the circuit breaker is in.",
        {{"model", model}, {"state", NameOf(state)}});
  }
}

void RemoteMetrics::CountAnswer(const absl::Status& status, Verdict verdict) {
  OperatorMetrics::Number*& answers = answers_[status.code()];
  if (answers == nullptr) {
    answers = &metrics_.Counter(
        "millrace_model_requests_total", "Answered requests by the code of the answer.",
        {{"model", model_}, {"code", absl::StatusCodeToString(status.code())}});
  }
  answers->Add(1);
  if (verdict == Verdict::kRetry) retries_.Add(1);
  if (verdict == Verdict::kWait) slow_downs_.Add(1);
}

void RemoteMetrics::Show(const RequestQueue& queue) {
  in_flight_.Set(queue.in_flight());
  for (int state = 0; state < 3; ++state) {
    breaker_[state]->Set(static_cast<int>(queue.breaker()) == state ? 1 : 0);
  }
}

}  // namespace millrace
