// Operators that look at one row at a time. None keeps state; each sends the rows that it cannot
// evaluate to its dead-letter output.
#pragma once

#include <memory>

#include "runtime/task/operator.h"

namespace millrace {

std::unique_ptr<Operator> MakeFilter();
std::unique_ptr<Operator> MakeProject();
// Observes event times per split for the task, which then moves the watermark (split_watermarks.h).
std::unique_ptr<Operator> MakeWatermark();

}  // namespace millrace
