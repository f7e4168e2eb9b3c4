// The options of a node as the catalog reads them.
#pragma once

#include "absl/status/statusor.h"
#include "operators/catalog/catalog.h"

namespace millrace {

namespace v1 {
class Node;
}

// Options of the source or sink that the node is, checked against the catalog: kInvalidArgument
// names every problem. A table of lookups is a node with a source, too.
absl::StatusOr<OptionMap> ReadNodeOptions(const v1::Node& node);
absl::StatusOr<OptionMap> ReadNodeOptions(const v1::Node& node, TableUse use);

// Where the column is in the messages of the source: its path, or its name.
template <typename AnyField>
std::string_view PathOfField(const AnyField& field) {
  if constexpr (requires { field.path; }) {
    if (!field.path.empty()) return field.path;
  }
  return field.name;
}

}  // namespace millrace
