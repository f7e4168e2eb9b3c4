// Strong types for the numbers that must not be mixed up. Words: docs/architecture.md, section 2.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <tuple>

namespace millrace {

// A point of event time: microseconds since 1970-01-01 00:00:00.
struct EventTime {
  int64_t us = 0;

  static constexpr EventTime Min() { return {std::numeric_limits<int64_t>::min()}; }
  // End of input: a watermark of Max() closes everything.
  static constexpr EventTime Max() { return {std::numeric_limits<int64_t>::max()}; }
  auto operator<=>(const EventTime&) const = default;
};

// Number of a checkpoint: everything between two barriers. 0 = none yet.
struct Epoch {
  uint64_t number = 0;
  auto operator<=>(const Epoch&) const = default;
};

// Fencing number of a job's controller, raised only by a conditional write.
struct Generation {
  uint64_t number = 0;
  auto operator<=>(const Generation&) const = default;
};

// One task of an attempt: a chain of the plan and the index of the task within it.
struct TaskId {
  uint32_t chain = 0;
  uint32_t index = 0;
  auto operator<=>(const TaskId&) const = default;
};

// A contiguous range of key groups; both ends inclusive.
struct KeyGroupRange {
  uint32_t first = 0;
  uint32_t last = 0;
  bool Contains(uint32_t key_group) const { return key_group >= first && key_group <= last; }
  bool Overlaps(KeyGroupRange o) const { return first <= o.last && o.first <= last; }
  auto operator<=>(const KeyGroupRange&) const = default;
};

// The range of task `index` out of `parallelism`, over `max_parallelism` key groups. The inverse of
// TaskForKeyGroup; together they partition the key groups evenly.
constexpr KeyGroupRange KeyGroupsOfTask(uint32_t index, uint32_t parallelism,
                                        uint32_t max_parallelism) {
  const uint64_t first = (uint64_t{index} * max_parallelism + parallelism - 1) / parallelism;
  const uint64_t end = (uint64_t{index + 1} * max_parallelism + parallelism - 1) / parallelism;
  return {static_cast<uint32_t>(first), static_cast<uint32_t>(end - 1)};
}

constexpr uint32_t TaskForKeyGroup(uint32_t key_group, uint32_t parallelism,
                                   uint32_t max_parallelism) {
  return static_cast<uint32_t>(uint64_t{key_group} * parallelism / max_parallelism);
}

}  // namespace millrace
