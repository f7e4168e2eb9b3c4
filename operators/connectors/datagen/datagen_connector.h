// The `datagen` connector: what it offers to the table in all_connectors.cc.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "operators/connectors/connector.h"

namespace millrace {

absl::StatusOr<std::unique_ptr<Source>> MakeDatagenSource(const v1::Node& node);
absl::StatusOr<std::unique_ptr<SplitDiscovery>> MakeDatagenDiscovery(const v1::Node& node,
                                                                     Env& env);

}  // namespace millrace
