// The list of problems of one graph, and their text.
//
// Threading: one thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "millrace/v1/graph.pb.h"
#include "sql/source_positions.h"
#include "sql/sql_problem.h"

namespace millrace {

class Diagnostics {
 public:
  // `positions` may be null; it must outlive this.
  explicit Diagnostics(const SourcePositions* positions) : positions_(positions) {}

  // `path` is the place in the graph; `uid` may be empty.
  void Error(std::string code, std::string_view uid, std::string path, std::string message,
             std::string hint = "");
  void Warning(std::string code, std::string_view uid, std::string path, std::string message,
               std::string hint = "");
  // A problem in the SQL text `text` at `path`.
  void Error(const SqlProblem& problem, std::string_view uid, std::string path,
             std::string_view text);

  bool has_errors() const { return has_errors_; }
  // In the order of the text where positions are known, else in the order of their finding.
  std::vector<v1::Diagnostic> Take();

 private:
  v1::Diagnostic& Add(v1::Diagnostic::Severity severity, std::string code, std::string_view uid,
                      std::string path, std::string message, std::string hint);

  const SourcePositions* positions_;
  std::vector<v1::Diagnostic> list_;
  bool has_errors_ = false;
};

bool HasErrors(const std::vector<v1::Diagnostic>& diagnostics);

// job.yaml:12:5: error MR1203: column 'pricee' is unknown
//     node cheap, nodes[1].filter.predicate
//     hint: did you mean 'price'?
std::string DiagnosticText(const v1::Diagnostic& diagnostic, std::string_view file = "");

}  // namespace millrace
