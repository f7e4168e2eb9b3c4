// Which panes and windows an event time belongs to: pure arithmetic.
//
// A pane is a slice of gcd(size, slide), named by its end; every window is a run of panes. A row is
// added to one pane, whatever the number of windows that overlap it.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"

namespace millrace {

namespace v1 {
class Window;
}

struct WindowBounds {
  int64_t start_us;
  int64_t end_us;
};

class WindowAssigner {
 public:
  // TUMBLE, HOP, CUMULATE, ATTACHED; kInvalidArgument for others and for sizes that make no sense.
  static absl::StatusOr<WindowAssigner> Make(const v1::Window& window);

  int64_t pane_us() const { return pane_us_; }
  // End of the pane that holds `time_us`.
  int64_t PaneOf(int64_t time_us) const;
  // The first and last window that contain the pane, by their ends.
  int64_t FirstWindowEnd(int64_t pane) const;
  int64_t LastWindowEnd(int64_t pane) const;
  // The first window end > `after_us` of a window that contains the pane; the caller checks it
  // against LastWindowEnd.
  int64_t NextWindowEnd(int64_t pane, int64_t after_us) const;
  // The window with this end. Its panes are those with start_us < pane <= end_us.
  WindowBounds WindowEndingAt(int64_t end_us) const;

 private:
  int64_t size_us_ = 0;
  int64_t step_us_ = 0;  // Distance of two window ends.
  int64_t offset_us_ = 0;
  int64_t pane_us_ = 0;
  bool cumulate_ = false;
  bool attached_ = false;  // A row's time is the end of its window, the pane the window itself.
};

}  // namespace millrace
