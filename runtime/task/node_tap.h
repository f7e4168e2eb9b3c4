// How many of the rows that a node emits are shown to somebody who looks on: so many per second at
// most. The job never waits for it; what is not shown is counted.
//
// Threading: the task thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

namespace millrace {

class NodeTap {
 public:
  // At least 1.
  explicit NodeTap(uint32_t rows_per_second_max)
      : rows_per_second_max_(rows_per_second_max), allowance_(rows_per_second_max) {}

  struct Share {
    int64_t rows = 0;       // To be shown.
    uint64_t left_out = 0;  // Since the last share with rows in it, and not yet told.
  };

  // Of the next `rows` rows, the first ones that may be shown. Those left out are told with a later
  // share. `now_ns` is monotonic.
  Share Take(int64_t rows, int64_t now_ns) {
    Refill(now_ns);
    const int64_t shown = std::min(rows, static_cast<int64_t>(allowance_));
    Share share{.rows = shown, .left_out = 0};
    if (shown > 0) {
      allowance_ -= static_cast<double>(shown);
      share.left_out = std::exchange(left_out_, 0);
      told_ns_ = now_ns;
    }
    left_out_ += static_cast<uint64_t>(rows - shown);
    return share;
  }

  // Rows left out that nobody was told of for a second, because no row followed; 0 = none.
  uint64_t TakeLeftOut(int64_t now_ns) {
    if (left_out_ == 0 || now_ns - told_ns_ < kSecondNs) return 0;
    told_ns_ = now_ns;
    return std::exchange(left_out_, 0);
  }

 private:
  static constexpr int64_t kSecondNs = 1'000'000'000;

  void Refill(int64_t now_ns) {
    if (refilled_ns_ != 0) {
      const double seconds = static_cast<double>(now_ns - refilled_ns_) / kSecondNs;
      allowance_ = std::min(rows_per_second_max_, allowance_ + seconds * rows_per_second_max_);
    }
    refilled_ns_ = now_ns;
  }

  const double rows_per_second_max_;
  double allowance_;  // Rows; at most those of one second.
  uint64_t left_out_ = 0;
  int64_t refilled_ns_ = 0;
  int64_t told_ns_ = 0;
};

}  // namespace millrace
