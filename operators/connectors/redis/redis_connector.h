// The connector `redis`: lookups.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "runtime/task/lookup_table.h"

namespace millrace {

namespace v1 {
class Node;
}

absl::StatusOr<std::unique_ptr<LookupTable>> MakeRedisLookup(const v1::Node& node);

}  // namespace millrace
