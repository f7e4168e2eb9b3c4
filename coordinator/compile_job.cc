#include "coordinator/compile_job.h"

#include <utility>

#include "sql/explain.h"
#include "sql/graph_compiler.h"
#include "sql/query/sql_compiler.h"

namespace millrace {

CompiledJob CompileJob(const v1::JobSource& source, Disk& disk) {
  const Variables variables(source.variables().begin(), source.variables().end());
  CompiledGraph compiled;
  if (source.has_graph()) {
    compiled = CompileGraph(source.graph(), nullptr, &disk);
  } else if (!source.sql().empty()) {
    compiled = CompileSql(source.sql(), variables, &disk);
  } else {
    compiled = CompileYaml(source.yaml(), variables, &disk);
  }
  CompiledJob job{.graph = {}, .diagnostics = std::move(compiled.diagnostics), .explanation = ""};
  for (const v1::Diagnostic& diagnostic : job.diagnostics) {
    if (diagnostic.severity() == v1::Diagnostic::SEVERITY_ERROR) return job;
  }
  job.graph = std::move(compiled.graph);
  job.explanation = ExplainGraph(job.graph);
  return job;
}

v1::JobSource MakeJobSource(const std::string& text,
                            const std::map<std::string, std::string>& variables) {
  v1::JobSource source;
  if (LooksLikeSql(text)) {
    source.set_sql(text);
  } else {
    source.set_yaml(text);
  }
  source.mutable_variables()->insert(variables.begin(), variables.end());
  return source;
}

}  // namespace millrace
