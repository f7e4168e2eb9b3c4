// Aggregates of the rows before each row.
#pragma once

#include <memory>

#include "runtime/task/operator.h"

namespace millrace {

// In the order of event time: a row is given with its aggregates when the watermark is past it.
// Rows of one time are ordered by their other columns. Late rows go to the late output.
std::unique_ptr<Operator> MakeOverAggregate();

}  // namespace millrace
