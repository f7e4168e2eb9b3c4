#include "runtime/state/memory_budget.h"

#include <algorithm>

namespace millrace {

uint64_t MemoryBudget::ShareOf(uint64_t own_bytes) const {
  const int64_t stores = std::max<int64_t>(1, stores_.load(std::memory_order_relaxed));
  const uint64_t equal = bytes_max_ / static_cast<uint64_t>(stores);
  const auto used = static_cast<uint64_t>(std::max<int64_t>(0, this->used()));
  const uint64_t free = used < bytes_max_ ? bytes_max_ - used : 0;
  return std::max(equal, own_bytes + free);
}

}  // namespace millrace
