// A script of SQL statements → checked JobGraph, by the same rules as graph_compiler.h; together
// with everything that is wrong with it, with line and column. What a script may contain is
// described in docs/sql.md.
//
// Threading: pure function; the same script gives the same graph on every machine.
// Errors:    diagnostics. The graph may be used when has_errors() is false.
#pragma once

#include <string_view>

#include "sql/graph_compiler.h"

namespace millrace {

// `variables` replace ${name} and ${name:-default} in the whole text. `disk` as for CompileGraph.
CompiledGraph CompileSql(std::string_view script, const Variables& variables, Disk* disk = nullptr);

// True when the text begins as a SQL script does, not as a YAML file.
bool LooksLikeSql(std::string_view text);

}  // namespace millrace
