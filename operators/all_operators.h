// The table of operators, keyed by the body of a node, and the factory that makes any node.
#pragma once

#include "runtime/task/node_factory.h"

namespace millrace {

// Constant; lives as long as the process.
const NodeFactory& AllNodes();

}  // namespace millrace
