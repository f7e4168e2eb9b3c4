// Operators that make exact changes (graph.proto, Normalize, GroupAggregate and ResolveConflicts).
#pragma once

#include <memory>

#include "runtime/task/operator.h"

namespace millrace {

std::unique_ptr<Operator> MakeNormalize();
std::unique_ptr<Operator> MakeGroupAggregate();
std::unique_ptr<Operator> MakeResolveConflicts();

}  // namespace millrace
