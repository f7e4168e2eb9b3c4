// The connectors `postgres-cdc` (source) and `postgres` (sink, lookups).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/base/env.h"
#include "runtime/task/lookup_table.h"
#include "runtime/task/sink.h"
#include "runtime/task/source.h"

namespace millrace {

absl::StatusOr<std::unique_ptr<Source>> MakePostgresCdcSource(const v1::Node& node);
absl::StatusOr<std::unique_ptr<SplitDiscovery>> MakePostgresCdcDiscovery(const v1::Node& node,
                                                                         Env& env);
// Drops the slot, and the publication if it is for this table alone. kFailedPrecondition: the slot
// is in use.
absl::StatusOr<std::vector<std::string>> CleanPostgresCdc(const v1::Node& node);
absl::StatusOr<std::unique_ptr<Sink>> MakePostgresSink(const v1::Node& node);
absl::StatusOr<std::unique_ptr<LookupTable>> MakePostgresLookup(const v1::Node& node);

}  // namespace millrace
