// The operator of python_call nodes: gives rows the results of functions in Python. Rows are handed
// to a thread with a process of Python in batches, while further rows come in; they go out in
// their order. It keeps no state: at a barrier nothing is under way.
//
// Threading: see runtime/task/operator.h.
#pragma once

#include <memory>

#include "operators/udf/python_settings.h"
#include "runtime/task/operator.h"

namespace millrace {

std::unique_ptr<Operator> MakePythonCall(PythonSettings settings);

}  // namespace millrace
