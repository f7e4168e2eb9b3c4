// The distinct keys of a batch, numbered in the order in which they come first, so that state is
// read and written once per key and batch, not once per row.
//
// Threading: one thread at a time. Reused from batch to batch: nothing is allocated per row.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/columns/keys.h"

namespace millrace {

class DistinctKeys {
 public:
  // Numbers the keys of all rows. `keys` must stay as it is while this is used; its hashes may be
  // of anything that equal keys have in common.
  void Assign(const EncodedKeys& keys);

  size_t size() const { return first_rows_.size(); }
  uint32_t number(int64_t row) const { return numbers_[static_cast<size_t>(row)]; }
  // Of key `number`: the first row that has it.
  int32_t first_row(size_t number) const { return first_rows_[number]; }
  std::string_view key(size_t number) const { return keys_->key(first_rows_[number]); }
  uint64_t hash(size_t number) const {
    return keys_->hashes[static_cast<size_t>(first_rows_[number])];
  }

 private:
  const EncodedKeys* keys_ = nullptr;
  std::vector<uint32_t> numbers_;    // By row.
  std::vector<int32_t> first_rows_;  // By number.
  std::vector<uint64_t> slots_;      // 32 bits of the hash, 1 + number; 0: free.
};

}  // namespace millrace
