// The `collect` connector: what it offers to the table in all_connectors.cc.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "operators/connectors/connector.h"

namespace millrace {

absl::StatusOr<std::unique_ptr<Sink>> MakeCollectSink(const v1::Node& node);

}  // namespace millrace
