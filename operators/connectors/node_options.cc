#include "operators/connectors/node_options.h"

#include "millrace/v1/graph.pb.h"
#include "runtime/base/text.h"

namespace millrace {

absl::StatusOr<OptionMap> ReadNodeOptions(const v1::Node& node) {
  return ReadNodeOptions(node, node.has_source() ? TableUse::kSource : TableUse::kSink);
}

absl::StatusOr<OptionMap> ReadNodeOptions(const v1::Node& node, TableUse use) {
  const bool source = node.has_source();
  const auto& given = source ? node.source().options() : node.sink().options();
  const OptionMap options(given.begin(), given.end());
  std::vector<std::string> problems;
  for (const OptionProblem& problem :
       ValidateTable(source ? node.source().connector() : node.sink().connector(),
                     source ? node.source().format() : node.sink().format(), use, options)) {
    problems.push_back(problem.Text());
  }
  if (!problems.empty()) return absl::InvalidArgumentError(Join(problems, "\n"));
  return options;
}

}  // namespace millrace
