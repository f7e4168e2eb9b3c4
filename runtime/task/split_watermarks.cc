#include "runtime/task/split_watermarks.h"

#include <algorithm>

#include "runtime/base/check.h"

namespace millrace {

void SplitWatermarks::Configure(Options options) {
  MILLRACE_CHECK(!configured_);
  options_ = options;
  configured_ = true;
}

void SplitWatermarks::AddSplit(uint32_t split, EventTime watermark, int64_t now_ns) {
  if (split >= splits_.size()) splits_.resize(split + 1);
  MILLRACE_CHECK(!splits_[split].known);
  splits_[split] = {.max = EventTime::Min(),
                    .watermark = watermark,
                    .active_ns = now_ns,
                    .finished = false,
                    .known = true};
}

void SplitWatermarks::Observe(uint32_t split, EventTime max, int64_t now_ns) {
  MILLRACE_CHECK(split < splits_.size() && splits_[split].known);
  Split& s = splits_[split];
  s.active_ns = now_ns;
  if (max <= s.max) return;
  s.max = max;
  // A watermark of t promises that nothing before t follows. Saturates near the beginning of time.
  const int64_t lag = options_.out_of_orderness_us;
  const EventTime behind{max.us < EventTime::Min().us + lag ? EventTime::Min().us : max.us - lag};
  s.watermark = std::max(s.watermark, behind);
}

void SplitWatermarks::FinishSplit(uint32_t split) {
  MILLRACE_CHECK(split < splits_.size());
  splits_[split].finished = true;
}

void SplitWatermarks::ExcludeBlockedTime(int64_t from_ns, int64_t to_ns) {
  for (Split& s : splits_) {
    const int64_t begin = std::max(from_ns, s.active_ns);
    if (to_ns > begin) s.active_ns += to_ns - begin;
  }
}

bool SplitWatermarks::IsIdle(uint32_t split, int64_t now_ns) const {
  const Split& s = splits_[split];
  return options_.idle_timeout_ns > 0 && now_ns - s.active_ns >= options_.idle_timeout_ns;
}

bool SplitWatermarks::AllIdle(int64_t now_ns) const {
  for (uint32_t i = 0; i < splits_.size(); ++i) {
    if (!splits_[i].finished && !IsIdle(i, now_ns)) return false;
  }
  return true;
}

EventTime SplitWatermarks::Current(int64_t now_ns, bool ended) {
  EventTime minimum = EventTime::Max(), latest = EventTime::Min();
  bool any_active = false;
  bool all_finished = true;
  for (uint32_t i = 0; i < splits_.size(); ++i) {
    const Split& s = splits_[i];
    latest = std::max(latest, s.watermark);
    if (s.finished) continue;
    all_finished = false;
    if (IsIdle(i, now_ns)) continue;
    any_active = true;
    minimum = std::min(minimum, s.watermark);
  }
  if (all_finished && ended) {
    current_ = EventTime::Max();
  } else {
    current_ = std::max(current_, any_active ? minimum : latest);
  }
  return current_;
}

EventTime SplitWatermarks::OfSplit(uint32_t split) const { return splits_[split].watermark; }

}  // namespace millrace
