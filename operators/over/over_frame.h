// The frame of OVER (graph.proto, OverAggregate): which rows of a partition, in the order of event
// time, count for one of them: those before it, up to a number or to a length of time; of a frame
// by time, those of its own time, too.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "millrace/v1/graph.pb.h"
#include "operators/expiry/deadline_index.h"

namespace millrace {

struct OverFrame {
  bool by_rows = false;
  bool is_bounded = false;
  int64_t preceding = 0;  // Rows, or microseconds.

  // `Body`: OverAggregate or OverValues.
  template <typename Body>
  static OverFrame Of(const Body& body) {
    const bool by_rows = body.frame() == v1::OverAggregate::FRAME_ROWS;
    return {.by_rows = by_rows,
            .is_bounded = body.has_preceding(),
            .preceding = static_cast<int64_t>(body.preceding()) * (by_rows ? 1 : 1000)};
  }

  // How long behind its time a row goes out of all frames (PartitionRows::Add); nothing: that does
  // not depend on time.
  std::optional<int64_t> StaysUs() const {
    return is_bounded && !by_rows ? std::optional(preceding) : std::nullopt;
  }

  // Of a bounded frame: row `at` is before the frame of row `current`.
  bool IsBefore(const std::vector<int64_t>& times, size_t at, size_t current) const {
    if (by_rows) return current - at > static_cast<size_t>(preceding);
    return WatermarkPast(times[at], preceding) <= times[current];
  }

  // Of the first `end` rows, the first that is in a frame of a row behind them, whose time is
  // `next_us` at the least. What frames without a beginning are made of is kept elsewhere.
  size_t KeptFrom(const std::vector<int64_t>& times, size_t end, int64_t next_us) const {
    if (!is_bounded) return end;
    if (by_rows) return end - std::min(end, static_cast<size_t>(preceding));
    while (end > 0 && WatermarkPast(times[end - 1], preceding) > next_us) --end;
    return end;
  }
};

}  // namespace millrace
