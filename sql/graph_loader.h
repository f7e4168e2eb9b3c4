// YAML text of a job → JobGraph, by protobuf's JSON mapping rules with the shorthands that
// docs/job-graph.md lists. Nothing is checked against a catalog or typed here: that is the
// compiler's work (graph_compiler.h).
//
// Threading: pure function.
// Errors:    all problems of the text at once, as diagnostics with line and column. The graph then
//            holds what could be read.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/v1/graph.pb.h"
#include "sql/source_positions.h"

namespace millrace {

inline constexpr size_t kGraphTextBytesMax = 1 << 20;
// Values of a file after its aliases are followed.
inline constexpr int kGraphValuesMax = 100'000;

using Variables = std::map<std::string, std::string, std::less<>>;

struct LoadedGraph {
  v1::JobGraph graph;
  SourcePositions positions;
  std::vector<v1::Diagnostic> diagnostics;
};

// `variables` replace ${name} and ${name:-default} in values.
LoadedGraph LoadGraph(std::string_view yaml, const Variables& variables);

}  // namespace millrace
