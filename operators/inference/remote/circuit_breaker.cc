#include "operators/inference/remote/circuit_breaker.h"

namespace millrace {

bool CircuitBreaker::TryBegin(int64_t now_ns) {
  if (state_ == State::kClosed) return true;
  if (state_ == State::kOpen) {
    if (now_ns < probe_at_ns()) return false;
    state_ = State::kHalfOpen;
    probes_ = successes_ = 0;
  }
  if (probes_ + successes_ >= kProbes) return false;
  ++probes_;
  return true;
}

void CircuitBreaker::End(Outcome outcome, int64_t now_ns) {
  if (state_ == State::kOpen) return;  // It began before the others failed.
  if (state_ == State::kHalfOpen) {
    if (probes_ > 0) --probes_;
    if (outcome == Outcome::kFailure) return Open(now_ns);
    if (outcome == Outcome::kSuccess && ++successes_ >= kProbes) {
      state_ = State::kClosed;
      failed_.clear();
      failures_ = 0;
    }
    return;
  }
  if (outcome == Outcome::kNeither) return;
  const bool failed = outcome == Outcome::kFailure;
  failed_.push_back(failed);
  failures_ += failed ? 1 : 0;
  if (failed_.size() > 2 * calls_min_) {
    failures_ -= failed_.front() ? 1 : 0;
    failed_.pop_front();
  }
  if (failed_.size() >= calls_min_ && 2 * failures_ >= failed_.size()) Open(now_ns);
}

void CircuitBreaker::Open(int64_t now_ns) {
  state_ = State::kOpen;
  opened_ns_ = now_ns;
}

const char* NameOf(CircuitBreaker::State state) {
  static constexpr const char* kNames[] = {"closed", "open", "half_open"};
  return kNames[static_cast<int>(state)];
}

}  // namespace millrace
