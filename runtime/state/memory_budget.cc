#include "runtime/state/memory_budget.h"

#include <algorithm>

namespace millrace {

uint64_t MemoryBudget::ShareOf(uint64_t own_bytes) const {
  const int64_t stores = std::max<int64_t>(1, stores_.load(std::memory_order_relaxed));
  const auto max = static_cast<int64_t>(bytes_max_);
  const int64_t others = std::max<int64_t>(0, used() - static_cast<int64_t>(own_bytes));
  return static_cast<uint64_t>(std::max(max / stores, max - others));
}

}  // namespace millrace
