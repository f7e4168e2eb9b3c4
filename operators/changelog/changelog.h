// Operators that make exact changes (graph.proto, Normalize and GroupAggregate).
#pragma once

#include <memory>

#include "runtime/task/operator.h"

namespace millrace {

std::unique_ptr<Operator> MakeNormalize();
std::unique_ptr<Operator> MakeGroupAggregate();

}  // namespace millrace
