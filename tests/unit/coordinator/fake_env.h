// An Env in one thread with virtual time, for tests of event loops.
//
// Threading: one thread.
#pragma once

#include <deque>
#include <map>
#include <utility>

#include "runtime/base/env.h"
#include "tests/unit/checkpoint/memory_disk.h"

namespace millrace {

class FakeClock final : public Clock {
 public:
  absl::Time Now() override { return absl::FromUnixSeconds(1'700'000'000) + elapsed; }
  int64_t MonotonicNanos() override { return absl::ToInt64Nanoseconds(elapsed); }
  absl::Duration elapsed = absl::Seconds(1);
};

// Work runs when the test says so, in the order of its time, then of its arrival.
class FakeExecutor final : public Executor {
 public:
  explicit FakeExecutor(FakeClock& clock) : clock_(clock) {}

  void RunBlocking(absl::AnyInvocable<void() &&> work) override {
    ready_.push_back(std::move(work));
  }
  void RunAfter(absl::Duration delay, absl::AnyInvocable<void() &&> work) override {
    timers_.emplace(clock_.elapsed + delay, std::move(work));
  }

  // False when nothing is ready.
  bool RunOne() {
    if (ready_.empty()) return false;
    auto work = std::move(ready_.front());
    ready_.pop_front();
    std::move(work)();
    return true;
  }
  // The process is gone.
  void DropAll() {
    ready_.clear();
    timers_.clear();
  }
  // Moves the clock to the next timer that is due by `end` and makes it ready.
  bool NextTimer(absl::Duration end) {
    if (timers_.empty() || timers_.begin()->first > end) return false;
    clock_.elapsed = std::max(clock_.elapsed, timers_.begin()->first);
    ready_.push_back(std::move(timers_.begin()->second));
    timers_.erase(timers_.begin());
    return true;
  }

 private:
  FakeClock& clock_;
  std::deque<absl::AnyInvocable<void() &&>> ready_;
  std::multimap<absl::Duration, absl::AnyInvocable<void() &&>> timers_;
};

class FakeRandom final : public Random {
 public:
  uint64_t Next() override {  // splitmix64
    uint64_t z = (state_ += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }
  bool OneIn(uint32_t) override { return false; }

 private:
  uint64_t state_ = 1;
};

class NoNetwork final : public Network {
 public:
  absl::StatusOr<std::unique_ptr<Listener>> Listen(const std::string&, Accept) override {
    return absl::UnimplementedError("no network");
  }
  std::shared_ptr<Connection> Connect(const std::string&, ConnectionHandlers) override {
    return nullptr;
  }
};

struct FakeEnv {
  FakeClock clock;
  MemoryDisk disk;
  NoNetwork network;
  FakeExecutor executor{clock};
  FakeRandom random;
  Env env() { return {clock, disk, network, executor, random}; }
};

}  // namespace millrace
