// The operator that asks a model. Rows whose features are missing or cannot be used, and rows on
// which the model fails, go to the dead-letter output.
#pragma once

#include <memory>

#include "runtime/task/operator.h"

namespace millrace {

// A local model is asked on the task's own thread; a remote one as remote/remote_inference.h says.
std::unique_ptr<Operator> MakeInference();

}  // namespace millrace
