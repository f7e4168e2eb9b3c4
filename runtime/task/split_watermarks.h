// Watermarks of the splits of one source task: bounded out-of-orderness per split, the minimum over
// all splits, idleness that does not count time in which the task itself was blocked.
//
// The watermark operator observes event times per split; the task, after each poll of the source,
// asks for the current minimum and passes it on from the watermark operator downstream.
// Threading: the task thread.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "runtime/base/ids.h"

namespace millrace {

class SplitWatermarks {
 public:
  struct Options {
    int64_t out_of_orderness_us = 0;
    int64_t idle_timeout_ns = 0;  // 0 = a split is never idle.
  };

  // Called by the watermark operator in Open. Without it the source has no event time and sends
  // only the watermark of the end.
  void Configure(Options options);
  bool configured() const { return configured_; }

  // `split` begins (or goes on after a restart) with `watermark`; Min() when it never had one.
  void AddSplit(uint32_t split, EventTime watermark, int64_t now_ns);
  // The split has delivered rows up to event time `max`; also makes it active again.
  void Observe(uint32_t split, EventTime max, int64_t now_ns);
  void FinishSplit(uint32_t split);
  // Time between `from_ns` and `to_ns` does not count towards idleness: the task was blocked.
  void ExcludeBlockedTime(int64_t from_ns, int64_t to_ns);

  // The minimum over active splits; the newest of any when none is active, so that it does not
  // matter which fell silent first. Never goes back. Max() when all splits have finished and
  // `ended` (no more splits can come).
  EventTime Current(int64_t now_ns, bool ended);
  // The watermark of one split, to be checkpointed.
  EventTime OfSplit(uint32_t split) const;
  bool IsIdle(uint32_t split, int64_t now_ns) const;
  // All unfinished splits are idle: downstream must not wait for this task.
  bool AllIdle(int64_t now_ns) const;

 private:
  struct Split {
    EventTime max = EventTime::Min();
    EventTime watermark = EventTime::Min();
    int64_t active_ns = 0;
    bool finished = false;
    bool known = false;
  };
  Options options_;
  bool configured_ = false;
  EventTime current_ = EventTime::Min();
  std::vector<Split> splits_;
};

}  // namespace millrace
