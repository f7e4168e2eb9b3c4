// An environment whose clock stands still until it is told to go on, and whose work runs in one
// thread, when that is asked for: two runs of a job do the same. Files and the network are real.
//
// Threading: one thread, but for what the network calls.
// Ownership: borrows the real environment, which outlives it.
#pragma once

#include <cstdint>
#include <map>
#include <utility>

#include "absl/time/time.h"
#include "runtime/base/env.h"

namespace millrace {

class ManualEnv {
 public:
  ManualEnv(Env real, absl::Time start) : real_(real), clock_(start), executor_(clock_) {}

  Env env() { return {clock_, real_.disk, real_.network, executor_, random_}; }
  // Runs what is due by now, in the order in which it was asked for; false: nothing was.
  bool RunDue() { return executor_.RunDue(); }
  // When the next work is due; nothing: there is none.
  int64_t next_due_ns() const { return executor_.next_due_ns(); }
  int64_t now_ns() { return clock_.MonotonicNanos(); }
  void AdvanceTo(int64_t now_ns) { clock_.AdvanceTo(now_ns); }

 private:
  class ManualClock : public Clock {
   public:
    explicit ManualClock(absl::Time start) : start_(start) {}
    absl::Time Now() override { return start_ + absl::Nanoseconds(now_ns_ - kBeginNs); }
    int64_t MonotonicNanos() override { return now_ns_; }
    void AdvanceTo(int64_t now_ns) { now_ns_ = std::max(now_ns_, now_ns); }

   private:
    static constexpr int64_t kBeginNs = 1'000'000'000;  // 0 means never in some places.
    const absl::Time start_;
    int64_t now_ns_ = kBeginNs;
  };

  class ManualExecutor : public Executor {
   public:
    explicit ManualExecutor(ManualClock& clock) : clock_(clock) {}
    void RunBlocking(absl::AnyInvocable<void() &&> work) override {
      RunAfter(absl::ZeroDuration(), std::move(work));
    }
    void RunAfter(absl::Duration delay, absl::AnyInvocable<void() &&> work) override {
      const int64_t due = clock_.MonotonicNanos() + absl::ToInt64Nanoseconds(delay);
      queue_.emplace(std::pair(due, ++number_), std::move(work));
    }
    bool RunDue() {
      if (queue_.empty() || queue_.begin()->first.first > clock_.MonotonicNanos()) return false;
      auto first = queue_.extract(queue_.begin());
      std::move(first.mapped())();
      return true;
    }
    int64_t next_due_ns() const { return queue_.empty() ? INT64_MAX : queue_.begin()->first.first; }
    void Clear() { queue_.clear(); }

   private:
    ManualClock& clock_;
    uint64_t number_ = 0;
    std::map<std::pair<int64_t, uint64_t>, absl::AnyInvocable<void() &&>> queue_;
  };

  // SplitMix64 from one seed.
  class FixedRandom : public Random {
   public:
    uint64_t Next() override {
      uint64_t z = (state_ += 0x9E3779B97F4A7C15);
      z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
      z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
      return z ^ (z >> 31);
    }
    bool OneIn(uint32_t) override { return false; }

   private:
    uint64_t state_ = 1;
  };

  const Env real_;
  ManualClock clock_;
  ManualExecutor executor_;
  FixedRandom random_;
};

}  // namespace millrace
