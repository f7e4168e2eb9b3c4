// Windows over event time: aggregates by key, and the windows of single rows.
#pragma once

#include <memory>

#include "runtime/task/operator.h"

namespace millrace {

// Tumbling, hopping, cumulating: accumulators per (pane, key); a window merges its panes when the
// watermark reaches its end. A row is late when the last window that it belongs to has been read;
// late rows go to the late output and are counted.
std::unique_ptr<Operator> MakePaneWindow();

// Sessions per key: a row opens [time, time + gap) and merges with every session that it touches.
std::unique_ptr<Operator> MakeSessionWindow();

// Each row once for every window that it belongs to and that is still open, without state.
std::unique_ptr<Operator> MakeAssignWindows();

}  // namespace millrace
