// The operator that asks a model at a server. Rows gather into requests by size and age; some
// requests are under way at once; results come in the order of the rows, or as they come.
//
// What the server answers decides: it asks for less (RESOURCE_EXHAUSTED) or is away (UNAVAILABLE):
// the rows wait and the task slows down. It refuses the rows (INVALID_ARGUMENT, halves find out
// which) or the model (NOT_FOUND and the like): they fail. Anything else is tried again until the
// deadline, then they fail. Failed rows get the fallback values, or are dead letters, or fail the
// job, as the job says.
#pragma once

#include <memory>

#include "operators/inference/remote/inference_transport.h"
#include "runtime/task/operator.h"

namespace millrace {

std::unique_ptr<Operator> MakeRemoteInference(MakeInferenceTransport make_transport);

}  // namespace millrace
