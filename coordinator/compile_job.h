// How a coordinator turns what a user wrote into a typed graph: sql/ behind one function.
#pragma once

#include "coordinator/coordinator.h"

namespace millrace {

// A CompileFunction. Pure; io threads.
CompiledJob CompileJob(const v1::JobSource& source);

}  // namespace millrace
