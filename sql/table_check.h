// Tables of connectors in nodes: their options and columns against the catalog, and how `explain`
// shows them.
//
// Threading: pure functions.
#pragma once

#include <string>

#include "sql/node_compiler.h"

namespace millrace {

// The table of a lookup; assigns the ids of its columns. `at`: the path of `table`.
bool CompileLookupTable(const NodeContext& context, const std::string& at, const v1::Source& table,
                        v1::Schema& schema);

// "kafka, format json, topic=orders": secrets are not shown.
std::string TableText(const std::string& connector, const std::string& format,
                      const google::protobuf::Map<std::string, std::string>& options);

}  // namespace millrace
