// Any bytes as a job file and as a serialised JobGraph: problems are diagnostics, and what compiles
// compiles again to itself.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "runtime/base/check.h"
#include "sql/explain.h"
#include "sql/graph_compiler.h"

namespace {

void CompileAgain(const millrace::CompiledGraph& compiled) {
  if (compiled.has_errors()) return;
  MILLRACE_CHECK(!millrace::ExplainGraph(compiled.graph).empty());
  const millrace::CompiledGraph again = millrace::CompileGraph(compiled.graph);
  MILLRACE_CHECK(!again.has_errors());
  MILLRACE_CHECK(again.graph.DebugString() == compiled.graph.DebugString());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  CompileAgain(millrace::CompileYaml(text, {{"a", "b"}}));
  millrace::v1::JobGraph graph;
  if (graph.ParseFromArray(data, static_cast<int>(size))) {
    CompileAgain(millrace::CompileGraph(graph));
  }
  return 0;
}
