// Operators with two inputs: rows of one side with those of the other that belong to them.
#pragma once

#include <memory>

#include "runtime/task/operator.h"

namespace millrace {

std::unique_ptr<Operator> MakeJoin();

}  // namespace millrace
