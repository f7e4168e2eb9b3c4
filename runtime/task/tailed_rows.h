// Rows as text, one per column, for people and clients who read what a node emits.
//
// Threading: pure.
#pragma once

#include <cstdint>

#include "millrace/v1/job_service.pb.h"
#include "runtime/columns/batch.h"

namespace millrace {

// Adds rows [begin, end) of `batch`.
void AppendTailedRows(const Batch& batch, int64_t begin, int64_t end, v1::TailedRows& rows);

}  // namespace millrace
