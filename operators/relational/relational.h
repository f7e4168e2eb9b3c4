// Operators that look at one row at a time. None keeps state; each sends the rows that it cannot
// evaluate to its dead-letter output.
#pragma once

#include <memory>

#include "runtime/task/operator.h"

namespace millrace {

std::unique_ptr<Operator> MakeFilter();
std::unique_ptr<Operator> MakeProject();
// Each row once per element of an array.
std::unique_ptr<Operator> MakeUnnest();
// Observes event times per split for the task, which then moves the watermark (split_watermarks.h).
std::unique_ptr<Operator> MakeWatermark();
// Stamps rows with the time at which they pass, and may be the clock of what comes behind it: rows
// stamped after a restart are not before the watermark that was there before it.
std::unique_ptr<Operator> MakeProcessingTime();

}  // namespace millrace
