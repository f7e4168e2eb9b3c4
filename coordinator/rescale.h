// A job's graph with another parallelism.
//
// Threading: pure functions.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "millrace/v1/graph.pb.h"

namespace millrace {

// `compiled` to be compiled again: nodes with a parallelism of their own keep it; edges between
// nodes that were equally parallel and are no more have no routing. kInvalidArgument: not between 1
// and max_parallelism.
absl::StatusOr<v1::JobGraph> WithParallelism(v1::JobGraph compiled, uint32_t parallelism);

}  // namespace millrace
