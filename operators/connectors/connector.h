// The table of connectors: one line each in all_connectors.cc. A new connector touches its folder,
// that line, one CMake line and one golden test.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/base/env.h"
#include "runtime/task/lookup_table.h"
#include "runtime/task/sink.h"
#include "runtime/task/source.h"

namespace millrace {

// Declared in operators/connectors/options.h: name, type, default and help of every option, shared
// by validation at submit and by the connector.
struct Connector {
  std::string_view name;
  absl::StatusOr<std::unique_ptr<Source>> (*make_source)(const v1::Node& node) = nullptr;
  absl::StatusOr<std::unique_ptr<SplitDiscovery>> (*make_discovery)(const v1::Node& node,
                                                                    Env& env) = nullptr;
  absl::StatusOr<std::unique_ptr<Sink>> (*make_sink)(const v1::Node& node) = nullptr;
  // Tables of lookups that are asked by key; `node` has a source for what they are. Null: the
  // connector's source is read whole instead (source_table.h), where the catalog says it can be.
  absl::StatusOr<std::unique_ptr<LookupTable>> (*make_lookup)(const v1::Node& node) = nullptr;
  // Removes what sources like this one have made outside and leave there for the job to go on, and
  // says what it was, a line each. For a job that is not to come back. Blocks. Null: nothing.
  absl::StatusOr<std::vector<std::string>> (*clean)(const v1::Node& node) = nullptr;
  // The client blocks: its task gets a thread of its own.
  bool blocking = false;
};

std::span<const Connector> AllConnectors();
// kNotFound names the nearest known connector.
absl::StatusOr<const Connector*> FindConnector(std::string_view name);

}  // namespace millrace
