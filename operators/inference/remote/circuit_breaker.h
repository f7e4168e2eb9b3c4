// Keeps calls away from a server that fails: closed (calls go), open (none goes), half open (a few
// probes decide).
//
// Threading: one task. Times are those of Clock::MonotonicNanos.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>

namespace millrace {

class CircuitBreaker {
 public:
  enum class State { kClosed, kOpen, kHalfOpen };
  static constexpr int kProbes = 3;

  // Opens when half of the latest 2 * calls_min calls, and of at least calls_min, have failed.
  CircuitBreaker(size_t calls_min, int64_t open_ns) : calls_min_(calls_min), open_ns_(open_ns) {}

  // Asked before a call; true counts it as begun. Becomes half open when its time has come.
  bool TryBegin(int64_t now_ns);
  // How a call that was begun ended. kNeither: it says nothing about the server's health.
  enum class Outcome { kSuccess, kFailure, kNeither };
  void End(Outcome outcome, int64_t now_ns);

  State state() const { return state_; }
  // When an open one lets the first probe pass.
  int64_t probe_at_ns() const { return opened_ns_ + open_ns_; }

 private:
  void Open(int64_t now_ns);

  const size_t calls_min_;
  const int64_t open_ns_;
  State state_ = State::kClosed;
  std::deque<bool> failed_;  // The latest calls.
  size_t failures_ = 0;      // Among them.
  int64_t opened_ns_ = 0;
  int probes_ = 0;     // Under way.
  int successes_ = 0;  // Of probes.
};

const char* NameOf(CircuitBreaker::State state);

}  // namespace millrace
