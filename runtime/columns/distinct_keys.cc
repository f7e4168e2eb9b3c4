#include "runtime/columns/distinct_keys.h"

#include <bit>
#include <cstring>

namespace millrace {

void DistinctKeys::Assign(const EncodedKeys& keys) {
  keys_ = &keys;
  const auto rows = static_cast<size_t>(keys.rows());
  numbers_.resize(rows);
  first_rows_.clear();
  const size_t slots = std::bit_ceil(rows * 2 + 1);
  slots_.assign(slots, 0);
  const uint64_t mask = slots - 1;
  for (size_t row = 0; row < rows; ++row) {
    const uint64_t tag = keys.hashes[row] >> 32;
    const std::string_view key = keys.key(static_cast<int64_t>(row));
    // Other bits than those that choose the key group, which all rows of a task may share.
    uint64_t at = tag & mask;
    for (; slots_[at] != 0; at = (at + 1) & mask) {
      if (slots_[at] >> 32 != tag) continue;
      const auto number = static_cast<uint32_t>(slots_[at]) - 1;
      if (this->key(number) == key) break;
    }
    if (slots_[at] == 0) {
      first_rows_.push_back(static_cast<int32_t>(row));
      slots_[at] = tag << 32 | first_rows_.size();
    }
    numbers_[row] = static_cast<uint32_t>(slots_[at]) - 1;
  }
}

}  // namespace millrace
