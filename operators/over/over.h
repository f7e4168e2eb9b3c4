// Aggregates of the rows before each row, and values of other rows, in the order of event time.
#pragma once

#include <memory>

#include "runtime/task/operator.h"

namespace millrace {

// In the order of event time: a row is given with its aggregates when the watermark is past it.
// Rows of one time are ordered by their other columns. Late rows go to the late output.
std::unique_ptr<Operator> MakeOverAggregate();
// The same with the values of rows before and behind, and with numbers. A row whose value is that
// of a row behind it waits for that one, or for the end of the input.
std::unique_ptr<Operator> MakeOverValues();

}  // namespace millrace
