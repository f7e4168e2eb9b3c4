// The simulator's world: virtual time, one event queue, one seed. Everything that the product does
// through Env happens here in one thread, in an order that the seed alone decides.
//
// The disk forgets what was not synced when its machine crashes. The network delays, keeps order
// per connection, and can be cut. Work for the io pool becomes an event a little later.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "runtime/base/env.h"

namespace millrace {

// SplitMix64: the same numbers on every machine.
class SimRandom : public Random {
 public:
  explicit SimRandom(uint64_t seed) : state_(seed) {}
  uint64_t Next() override;
  bool OneIn(uint32_t n) override { return Next() % n == 0; }
  uint64_t Below(uint64_t n) { return Next() % n; }

 private:
  uint64_t state_;
};

class SimClock : public Clock {
 public:
  // 2026-01-01 00:00:00 UTC.
  absl::Time Now() override {
    return absl::FromUnixSeconds(1'767'225'600) + absl::Nanoseconds(now_ns_);
  }
  int64_t MonotonicNanos() override { return now_ns_; }
  void AdvanceTo(int64_t now_ns) { now_ns_ = std::max(now_ns_, now_ns); }

 private:
  int64_t now_ns_ = 0;
};

// The queue of everything that is going to happen.
class SimEvents : public Executor {
 public:
  SimEvents(SimClock& clock, SimRandom& random) : clock_(clock), random_(random) {}

  void RunBlocking(absl::AnyInvocable<void() &&> work) override;
  void RunAfter(absl::Duration delay, absl::AnyInvocable<void() &&> work) override;
  // Runs `work` up to `jitter` after `delay`.
  void At(absl::Duration delay, absl::Duration jitter, absl::AnyInvocable<void() &&> work);

  // Forgets what was going to happen, and what it owns.
  void Clear() { queue_.clear(); }
  // Runs the next event; false when there is none.
  bool RunOne();
  // Of all events so far: equal for equal runs.
  uint64_t trace_hash() const { return trace_hash_; }
  uint64_t count() const { return count_; }
  // Adds what happened to the trace.
  void Trace(uint64_t value);

 private:
  struct Key {
    int64_t at_ns;
    uint64_t sequence;
    auto operator<=>(const Key&) const = default;
  };
  SimClock& clock_;
  SimRandom& random_;
  std::map<Key, absl::AnyInvocable<void() &&>> queue_;
  uint64_t sequence_ = 0;
  uint64_t count_ = 0;
  uint64_t trace_hash_ = 0;
};

// Files in memory. Content is durable after Sync; names at once (the product syncs folders, the
// simulator does not check that yet).
class SimDisk : public Disk {
 public:
  explicit SimDisk(SimRandom& random) : random_(random) {}

  // Whoever creates a file now is this machine.
  void SetMachine(int machine) { machine_ = machine; }
  int machine() const { return machine_; }
  // The machine crashed: what it wrote and did not sync is gone, or a part of it.
  void Crash(int machine);
  // A file of the folder is lost, cut, damaged, or has what another one has; false: it has none.
  bool SpoilOne(const std::string& folder);
  // Asked before each change of a file; what it returns is the error of that call.
  void SetFaults(std::function<absl::Status()> plan) { faults_ = std::move(plan); }

  absl::StatusOr<std::unique_ptr<WritableFile>> Create(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<ReadableFile>> Open(const std::string& path) override;
  absl::Status MakeFolders(const std::string& path) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status HardLink(const std::string& from, const std::string& to) override;
  absl::Status Remove(const std::string& path) override;
  absl::Status RemoveFolder(const std::string& path) override;
  absl::Status SyncFolder(const std::string& path) override;
  absl::StatusOr<std::vector<std::string>> List(const std::string& path) override;
  bool Exists(const std::string& path) override;

 private:
  friend class SimWritableFile;
  struct Content {
    std::string bytes;
    size_t synced = 0;
    int machine = 0;
  };
  absl::Status NextFault() { return faults_ == nullptr ? absl::OkStatus() : faults_(); }

  SimRandom& random_;
  std::function<absl::Status()> faults_;
  int machine_ = 0;
  std::map<std::string, std::shared_ptr<Content>> files_;
  std::set<std::string> folders_;
};

class SimNetwork : public Network {
 public:
  SimNetwork(SimEvents& events, SimClock& clock, SimRandom& random)
      : events_(events), clock_(clock), random_(random) {}
  ~SimNetwork() override;

  absl::StatusOr<std::unique_ptr<Listener>> Listen(const std::string& address,
                                                   Accept accept) override;
  std::shared_ptr<Connection> Connect(const std::string& address,
                                      ConnectionHandlers handlers) override;
  // Cuts one open connection, chosen by chance.
  void CutOne();

 private:
  class End;
  class SimListener;
  friend class SimListener;

  int64_t clock_ns() const;

  SimEvents& events_;
  SimClock& clock_;
  SimRandom& random_;
  std::map<std::string, Accept> listeners_;
  std::vector<std::weak_ptr<End>> ends_;
  int next_port_ = 1;
};

// The clock of one machine: set wrong, or faster or slower than the world's. It never goes back but
// for its wall time.
class SimMachineClock : public Clock {
 public:
  explicit SimMachineClock(SimClock& world) : world_(world) {}

  absl::Time Now() override { return world_.Now() + Ahead() + wrong_by_; }
  int64_t MonotonicNanos() override {
    return world_.MonotonicNanos() + absl::ToInt64Nanoseconds(Ahead());
  }
  // Wall time alone jumps, as when somebody sets it.
  void SetWrongBy(absl::Duration wrong_by) { wrong_by_ = wrong_by; }
  // From now on so many of its seconds pass in one of the world's.
  void SetRate(double rate);
  // How long the world waits for a delay of this machine's.
  absl::Duration InWorld(absl::Duration delay) const { return delay / rate_; }

 private:
  absl::Duration Ahead() const;

  SimClock& world_;
  absl::Duration wrong_by_;
  double rate_ = 1;
  int64_t since_ns_ = 0;  // Of the world: when the rate was set, and how far ahead it was then.
  absl::Duration ahead_then_;
};

// The executor of one machine: drops what was under way when the machine has crashed, and keeps it
// while the machine is paused.
class SimMachine : public Executor {
 public:
  SimMachine(int number, SimEvents& events, SimClock& world_clock, SimDisk& disk)
      : number_(number), events_(events), clock_(world_clock), disk_(disk) {}

  void RunBlocking(absl::AnyInvocable<void() &&> work) override {
    events_.RunBlocking(Guarded(std::move(work)));
  }
  void RunAfter(absl::Duration delay, absl::AnyInvocable<void() &&> work) override {
    events_.RunAfter(clock_.InWorld(delay), Guarded(std::move(work)));
  }
  SimMachineClock& clock() { return clock_; }
  void Post(absl::AnyInvocable<void() &&> work) {
    events_.At(absl::Microseconds(1), absl::Microseconds(20), Guarded(std::move(work)));
  }
  int number() const { return number_; }
  // `work`, run as this machine, if it is still alive then.
  absl::AnyInvocable<void() &&> Guarded(absl::AnyInvocable<void() &&> work);
  void Crash();
  // Nothing of it runs for so long; what was due runs then, in order.
  void Pause(absl::Duration duration);

 private:
  struct Life {
    bool alive = true;
    bool paused = false;
    std::vector<absl::AnyInvocable<void() &&>> held;
  };
  const int number_;
  SimEvents& events_;
  SimMachineClock clock_;
  SimDisk& disk_;
  const std::shared_ptr<Life> life_ = std::make_shared<Life>();
};

// All of it.
struct SimWorld {
  explicit SimWorld(uint64_t seed) : random(seed) {}
  std::shared_ptr<SimMachine> MakeMachine() {
    return std::make_shared<SimMachine>(++machines, events, clock, disk);
  }
  Env env(SimMachine& machine) { return {machine.clock(), disk, network, machine, random}; }

  SimRandom random;
  SimClock clock;
  SimEvents events{clock, random};
  SimDisk disk{random};
  SimNetwork network{events, clock, random};
  int machines = 0;
};

}  // namespace millrace
