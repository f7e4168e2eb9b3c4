// Folders of a partitioned file sink: "dt=2026-01-31/hm=12%3A00", as Hive, Flink and Spark name
// them.
//
// Threading: pure functions.
#pragma once

#include <string>
#include <vector>

#include "runtime/columns/batch.h"

namespace millrace {

// The folder of the row by the values of `columns`, without a slash at its ends. Characters that
// mean something in paths are escaped (%3A); NULL and "" are `__DEFAULT_PARTITION__`, Flink's name.
std::string PartitionPath(const Batch& batch, const std::vector<int>& columns, int64_t row);

}  // namespace millrace
