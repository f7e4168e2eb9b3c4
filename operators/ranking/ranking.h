// Operators that keep the best rows of a group.
#pragma once

#include <memory>

#include "runtime/task/operator.h"

namespace millrace {

// The first `limit` rows by `order` of each window (rows of equal window_end) and partition;
// emitted when the watermark reaches the window's end. Rows of a window that was emitted are late.
std::unique_ptr<Operator> MakeWindowTopN();

// The first `limit` rows by `order` of each partition of all rows so far; a changelog.
std::unique_ptr<Operator> MakeTopN();

}  // namespace millrace
