// What the table of connectors needs to know of `kafka`.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "runtime/base/env.h"
#include "runtime/task/sink.h"
#include "runtime/task/source.h"

namespace millrace {

absl::StatusOr<std::unique_ptr<Source>> MakeKafkaSource(const v1::Node& node);
absl::StatusOr<std::unique_ptr<SplitDiscovery>> MakeKafkaDiscovery(const v1::Node& node, Env& env);
absl::StatusOr<std::unique_ptr<Sink>> MakeKafkaSink(const v1::Node& node);
// Source and discovery of `upsert-kafka` are those of `kafka`.
absl::StatusOr<std::unique_ptr<Sink>> MakeUpsertKafkaSink(const v1::Node& node);

}  // namespace millrace
