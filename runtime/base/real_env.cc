#include "runtime/base/real_env.h"

#include <sys/random.h>

#include <chrono>
#include <deque>
#include <map>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "runtime/base/check.h"
#include "runtime/base/posix_disk.h"
#include "runtime/base/tcp_network.h"

namespace millrace {
namespace {

class RealClock : public Clock {
 public:
  absl::Time Now() override { return absl::Now(); }
  int64_t MonotonicNanos() override {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }
};

// SplitMix64 (Steele, Lea, Flood 2014), seeded by the kernel.
class RealRandom : public Random {
 public:
  RealRandom() { MILLRACE_CHECK(getrandom(&state_, sizeof(state_), 0) == sizeof(state_)); }
  uint64_t Next() override ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    uint64_t z = (state_ += 0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
  }
  bool OneIn(uint32_t) override { return false; }

 private:
  absl::Mutex mutex_;
  uint64_t state_ ABSL_GUARDED_BY(mutex_);
};

// A fixed pool plus one timer thread. Timers never wait for the pool: when every io thread hangs in
// a call to a dead server, heartbeats must go on.
class ThreadPool : public Executor {
 public:
  explicit ThreadPool(int threads) {
    for (int i = 0; i < threads; ++i) {
      threads_.emplace_back([this] {
        pthread_setname_np(pthread_self(), "millrace-io");
        RunQueue();
      });
    }
    threads_.emplace_back([this] {
      pthread_setname_np(pthread_self(), "millrace-timer");
      RunTimers();
    });
  }

  ~ThreadPool() override {
    {
      absl::MutexLock lock(&mutex_);
      stopping_ = true;
    }
    for (std::thread& thread : threads_) thread.join();
  }

  void RunBlocking(absl::AnyInvocable<void() &&> work) override ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    queue_.push_back(std::move(work));
  }

  void RunAfter(absl::Duration delay, absl::AnyInvocable<void() &&> work) override
      ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    timers_.emplace(absl::Now() + delay, std::move(work));
    timers_changed_ = true;
  }

 private:
  bool HasWork() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return stopping_ || !queue_.empty(); }
  bool TimersChanged() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return stopping_ || timers_changed_;
  }

  void RunQueue() {
    while (true) {
      absl::AnyInvocable<void() &&> work;
      {
        absl::MutexLock lock(&mutex_, absl::Condition(this, &ThreadPool::HasWork));
        if (stopping_) return;
        work = std::move(queue_.front());
        queue_.pop_front();
      }
      std::move(work)();
    }
  }

  void RunTimers() {
    absl::MutexLock lock(&mutex_);
    while (!stopping_) {
      timers_changed_ = false;
      const absl::Time next = timers_.empty() ? absl::InfiniteFuture() : timers_.begin()->first;
      mutex_.AwaitWithDeadline(absl::Condition(this, &ThreadPool::TimersChanged), next);
      const absl::Time now = absl::Now();
      while (!stopping_ && !timers_.empty() && timers_.begin()->first <= now) {
        absl::AnyInvocable<void()&&> work = std::move(timers_.begin()->second);
        timers_.erase(timers_.begin());
        mutex_.Unlock();
        std::move(work)();
        work = nullptr;  // What it owns may call back, too.
        mutex_.Lock();
      }
    }
  }

  absl::Mutex mutex_;
  std::deque<absl::AnyInvocable<void() &&>> queue_ ABSL_GUARDED_BY(mutex_);
  std::multimap<absl::Time, absl::AnyInvocable<void() &&>> timers_ ABSL_GUARDED_BY(mutex_);
  bool timers_changed_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace

struct RealEnv::Parts {
  RealClock clock;
  RealRandom random;
  std::unique_ptr<Disk> disk = MakePosixDisk();
  std::unique_ptr<Network> network;
  // Last: its threads use all of the above, and end first.
  std::unique_ptr<ThreadPool> pool;
};

RealEnv::RealEnv(RealEnvOptions options) : parts_(std::make_unique<Parts>()) {
  parts_->network = MakeTcpNetwork(std::move(options.tls));
  parts_->pool = std::make_unique<ThreadPool>(options.io_threads);
}

RealEnv::~RealEnv() = default;

Env RealEnv::env() {
  return {.clock = parts_->clock,
          .disk = *parts_->disk,
          .network = *parts_->network,
          .executor = *parts_->pool,
          .random = parts_->random};
}

}  // namespace millrace
