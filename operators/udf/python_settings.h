// What the operator of a worker allows of functions in Python.
//
// Threading: a value.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "millrace/v1/graph.pb.h"

namespace millrace {

struct PythonSettings {
  // Absolute folders in which modules are sought, in this order; empty: functions are refused.
  std::vector<std::string> folders;
  // A name that is sought in PATH, or a path.
  std::string interpreter = "python3";
};

// "a:b", relative paths from the folder of the process. Empty text: none.
std::vector<std::string> SplitFolders(const std::string& text);

// The folders in which the module of `function` may be; its own path must lie within one that is
// allowed. kFailedPrecondition: it does not.
absl::StatusOr<std::vector<std::string>> FoldersOf(const v1::PythonFunction& function,
                                                   const PythonSettings& settings);

// What the runner is told of a node (python_runner.py, `setup`), as JSON. `columns` are the types
// of the columns that it gets with each batch; `arguments` and `conditions` of each result are
// positions among them, -1: no condition.
struct PythonCallColumns {
  std::vector<int> arguments;
  int condition = -1;
};
absl::StatusOr<std::string> RunnerSetup(const v1::PythonCall& node,
                                        const std::vector<v1::Type>& columns,
                                        const std::vector<PythonCallColumns>& calls,
                                        const PythonSettings& settings);

}  // namespace millrace
