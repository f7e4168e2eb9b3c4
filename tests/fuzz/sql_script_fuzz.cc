// Any bytes as a SQL script: problems are diagnostics with a place in the text, and what compiles
// compiles again to itself.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "runtime/base/check.h"
#include "sql/explain.h"
#include "sql/query/sql_compiler.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)millrace::LooksLikeSql(text);
  const millrace::CompiledGraph compiled = millrace::CompileSql(text, {{"a", "b"}});
  if (compiled.has_errors()) return 0;
  MILLRACE_CHECK(!millrace::ExplainGraph(compiled.graph).empty());
  const millrace::CompiledGraph again = millrace::CompileGraph(compiled.graph);
  MILLRACE_CHECK(!again.has_errors());
  MILLRACE_CHECK(again.graph.DebugString() == compiled.graph.DebugString());
  return 0;
}
