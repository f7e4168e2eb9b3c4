// Answers of a table of lookups by key, kept for a while; those longest unused make room.
//
// Threading: one thread.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "runtime/columns/keys.h"

namespace millrace {

// The rows of one key, encoded (RowCodec); none: the table has no row with it.
using LookupRows = std::shared_ptr<const std::vector<std::string>>;
struct KeyHash {
  using is_transparent = void;
  size_t operator()(std::string_view key) const { return HashKey(key); }
};
using LookupAnswers = std::unordered_map<std::string, LookupRows, KeyHash, std::equal_to<>>;

class LookupCache {
 public:
  struct Options {
    int64_t rows_max = 0;  // 0: nothing is kept.
    int64_t lives_us = 0;
    bool keeps_missing = true;  // That a key has no row is kept, too, and counts as one.
  };
  explicit LookupCache(Options options) : options_(options) {}

  // Null: nothing is known, or it is too old.
  LookupRows Find(std::string_view key, int64_t now_us);
  void Add(std::string_view key, LookupRows rows, int64_t now_us);
  int64_t rows() const { return rows_; }

 private:
  struct Entry {
    std::string key;
    LookupRows rows;
    int64_t expires_us = 0;
  };
  void Remove(std::list<Entry>::iterator entry);
  static int64_t Weight(const Entry& entry);

  const Options options_;
  std::list<Entry> entries_;  // The last used first.
  std::unordered_map<std::string_view, std::list<Entry>::iterator, KeyHash> by_key_;
  int64_t rows_ = 0;
};

}  // namespace millrace
