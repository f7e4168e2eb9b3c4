// Keys of an operator by the time when their state is due to go: by event time, or by the clock for
// state with a time to live.
//
// State: deadline, key -> nothing, in a keyed table of its own.
// Threading: the task thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/base/ids.h"
#include "runtime/state/state_store.h"

namespace millrace {

// The least watermark that is past a time, and `more_us` behind it; the greatest there is, where
// it would be greater.
constexpr int64_t WatermarkPast(int64_t time_us, int64_t more_us = 0) {
  int64_t past = 0;
  if (__builtin_add_overflow(time_us, more_us, &past) || __builtin_add_overflow(past, 1, &past)) {
    return EventTime::Max().us;
  }
  return past;
}

class DeadlineIndex {
 public:
  // `table`: borrowed, and no one else's.
  static absl::StatusOr<DeadlineIndex> Open(KeyedTable* table, KeyGroupRange key_groups);
  // Before Open: changes the keys that a former version of the operator has noted.
  static absl::Status ConvertKeys(KeyedTable& table, KeyGroupRange key_groups,
                                  const std::function<absl::Status(std::string& key)>& convert);

  // A key may be there with several deadlines.
  absl::Status Add(uint32_t key_group, std::string_view key, int64_t deadline_us);

  struct Due {
    uint32_t key_group;
    int64_t deadline_us;
    std::string key;
  };
  // Takes out keys whose deadline is at or before `now_us` and appends them to `due`, until it has
  // `size_max`. False: there are no more.
  absl::StatusOr<bool> Take(int64_t now_us, size_t size_max, std::vector<Due>& due);

 private:
  DeadlineIndex(KeyedTable* table, KeyGroupRange key_groups);
  absl::Status TakeOf(uint32_t key_group, int64_t now_us, size_t size_max, std::vector<Due>& due);
  std::optional<int64_t>& First(uint32_t key_group) {
    return first_[key_group - key_groups_.first];
  }

  KeyedTable* table_;
  KeyGroupRange key_groups_;
  std::vector<std::optional<int64_t>> first_;  // Deadline of each key group; a lower bound.
};

}  // namespace millrace
