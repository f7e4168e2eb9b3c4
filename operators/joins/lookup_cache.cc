#include "operators/joins/lookup_cache.h"

#include <algorithm>
#include <utility>

namespace millrace {

int64_t LookupCache::Weight(const Entry& entry) {
  return std::max<int64_t>(1, static_cast<int64_t>(entry.rows->size()));
}

void LookupCache::Remove(std::list<Entry>::iterator entry) {
  rows_ -= Weight(*entry);
  by_key_.erase(entry->key);
  entries_.erase(entry);
}

LookupRows LookupCache::Find(std::string_view key, int64_t now_us) {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return nullptr;
  const auto entry = found->second;
  if (entry->expires_us <= now_us) {
    Remove(entry);
    return nullptr;
  }
  entries_.splice(entries_.begin(), entries_, entry);
  return entry->rows;
}

void LookupCache::Add(std::string_view key, LookupRows rows, int64_t now_us) {
  if (static_cast<int64_t>(rows->size()) > options_.rows_max || options_.rows_max == 0 ||
      (rows->empty() && !options_.keeps_missing)) {
    return;
  }
  if (const auto old = by_key_.find(key); old != by_key_.end()) Remove(old->second);
  entries_.push_front(
      {.key = std::string(key), .rows = std::move(rows), .expires_us = now_us + options_.lives_us});
  by_key_.emplace(entries_.front().key, entries_.begin());
  rows_ += Weight(entries_.front());
  while (rows_ > options_.rows_max && !entries_.empty()) Remove(std::prev(entries_.end()));
}

}  // namespace millrace
