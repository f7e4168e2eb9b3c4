// The table of operators, keyed by the body of a node, and the factory that makes any node.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "operators/udf/python_settings.h"
#include "runtime/base/secret.h"
#include "runtime/task/node_factory.h"

namespace millrace {

// Constant; lives as long as the process. Knows no secrets, and allows no functions in Python.
const NodeFactory& AllNodes();
// The same, with the secrets that options name, and the functions in Python that are allowed;
// `secrets` outlives it.
std::unique_ptr<NodeFactory> AllNodesWith(const SecretStore& secrets, PythonSettings python = {});
// Connector::clean of a source, with its secrets.
absl::StatusOr<std::vector<std::string>> CleanSource(const v1::Node& node,
                                                     const SecretStore& secrets);

}  // namespace millrace
