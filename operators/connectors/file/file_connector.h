// The `file` connector: what it offers to the table in all_connectors.cc.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "operators/connectors/connector.h"

namespace millrace {

absl::StatusOr<std::unique_ptr<Source>> MakeFileSource(const v1::Node& node);
absl::StatusOr<std::unique_ptr<SplitDiscovery>> MakeFileDiscovery(const v1::Node& node, Env& env);
absl::StatusOr<std::unique_ptr<Sink>> MakeFileSink(const v1::Node& node);

}  // namespace millrace
