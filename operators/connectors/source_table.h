// A bounded source as a table of lookups: it is read whole, each time anew.
#pragma once

#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "millrace/v1/graph.pb.h"
#include "runtime/base/env.h"
#include "runtime/task/lookup_table.h"
#include "runtime/task/source.h"

namespace millrace {

struct SourceTableParts {
  v1::Node node;  // A source, whose uid is that of the node that asks.
  std::function<absl::StatusOr<std::unique_ptr<Source>>()> make_source;
  std::function<absl::StatusOr<std::unique_ptr<SplitDiscovery>>(Env&)> make_discovery;
};

// A record that cannot be read makes the whole table unreadable (kInvalidArgument): a row that is
// missing there would be missing in silence.
std::unique_ptr<LookupTable> MakeSourceTable(SourceTableParts parts);

}  // namespace millrace
