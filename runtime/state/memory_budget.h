// The memory budget of a worker's state, shared by its tasks. A store asks before it grows and
// evicts its own cold rows when it is over its share.
#pragma once

#include <atomic>
#include <cstdint>

namespace millrace {

// Threading: every method, from any thread. Relaxed atomics: the sum is a limit, not a lock.
class MemoryBudget {
 public:
  explicit MemoryBudget(uint64_t bytes_max) : bytes_max_(bytes_max) {}

  void Charge(int64_t bytes) { used_.fetch_add(bytes, std::memory_order_relaxed); }
  void AddStore() { stores_.fetch_add(1, std::memory_order_relaxed); }
  void RemoveStore() { stores_.fetch_sub(1, std::memory_order_relaxed); }

  uint64_t bytes_max() const { return bytes_max_; }
  int64_t used() const { return used_.load(std::memory_order_relaxed); }
  // What one store may hold: an equal share, or more while the others leave room.
  uint64_t ShareOf(uint64_t own_bytes) const;

 private:
  const uint64_t bytes_max_;
  std::atomic<int64_t> used_{0};
  std::atomic<int64_t> stores_{0};
};

}  // namespace millrace
