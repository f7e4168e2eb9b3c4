// JobGraph with names and SQL text → checked JobGraph with field ids, typed expressions, schemas
// and routing; together with everything that is wrong with it, all at once. What a graph may
// contain is described in docs/job-graph.md, the codes in docs/errors.md.
//
// Compiling a compiled graph changes nothing.
//
// Threading: pure functions; the same graph gives the same result on every machine.
// Errors:    diagnostics. The graph may be used when has_errors() is false.
#pragma once

#include <string_view>
#include <vector>

#include "millrace/v1/graph.pb.h"
#include "sql/graph_loader.h"
#include "sql/source_positions.h"

namespace millrace {

class Disk;

inline constexpr uint32_t kGraphFormat = 1;
// Windows that one pane may belong to, and panes that one window may have.
inline constexpr uint64_t kPanesPerWindowMax = 10'000;

struct CompiledGraph {
  v1::JobGraph graph;
  std::vector<v1::Diagnostic> diagnostics;
  bool has_errors() const;
};

// `positions` (may be null) gives diagnostics their line and column. With a disk, the files of
// models are read and pinned by their digests (models.h); without, this is a pure function.
CompiledGraph CompileGraph(const v1::JobGraph& graph, const SourcePositions* positions = nullptr,
                           Disk* disk = nullptr);

// LoadGraph and CompileGraph. A text with errors is not compiled further.
CompiledGraph CompileYaml(std::string_view yaml, const Variables& variables, Disk* disk = nullptr);

}  // namespace millrace
