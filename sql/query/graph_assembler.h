// Builds a job graph node by node; each node is compiled as it is added, so that the planner knows
// the columns, the watermark and the changes of what it has.
//
// Threading: one thread.
// Errors:    diagnostics, with the place of the statement's part that the node comes from.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/v1/graph.pb.h"
#include "sql/diagnostics.h"
#include "sql/query/python_calls.h"
#include "sql/query/relation.h"
#include "sql/source_positions.h"

namespace millrace {

class GraphAssembler {
 public:
  // `script` must outlive this.
  explicit GraphAssembler(std::string_view script) : script_(script) {}

  // Adds `node` (its body and, of sources, its schema), called "<object>.<role>", with a number
  // where that is taken. Its inputs are `inputs`, one relation each; `united` comes into input 0
  // too, whose relation then has what is known of both. A node that is there already, with the same
  // inputs, serves again. Nothing: reported.
  std::optional<Relation> Add(const std::string& object, std::string_view role, v1::Node node,
                              const std::vector<const Relation*>& inputs, size_t offset,
                              const Relation* united = nullptr);

  // A function in Python, by the name in it. Nodes whose expressions call it get their input from a
  // python_call node, which is added before them; what it has computed is not seen behind them.
  void DefineFunction(const v1::PythonFunction& function) {
    python_.insert_or_assign(function.name(), function);
  }

  // The same for a node that is compiled with the whole graph alone, and with any outputs as its
  // inputs, all in input 0. Its uid.
  std::string AddLater(const std::string& object, std::string_view role, v1::Node node,
                       const std::vector<std::pair<std::string, v1::OutputPort>>& inputs,
                       size_t offset);

  // A node that was added, and what it gives; null: there is none of this uid.
  const v1::Node* FindNode(const std::string& uid) const;
  const Relation* FindRelation(const std::string& uid) const;
  // The node whose rows come into input 0.
  const std::string& InputOf(const std::string& uid) const;
  // Takes out nodes from which no way leads to a sink: read instead of them was what they read.
  void DropUnread();

  // Of the nodes added from here on that would keep their state for ever and say nothing
  // themselves; 0: never.
  void set_state_ttl_ms(uint64_t ms) { state_ttl_ms_ = ms; }
  uint64_t state_ttl_ms() const { return state_ttl_ms_; }

  // A problem of the script's text.
  void Report(const SqlProblem& problem);
  bool has_errors() const { return diagnostics_.has_errors() || problems_has_errors_; }
  std::vector<v1::Diagnostic> TakeDiagnostics();

  v1::JobGraph& graph() { return graph_; }
  const SourcePositions& positions() const { return positions_; }

 private:
  std::string FreshUid(const std::string& object, std::string_view role);
  std::optional<Relation> AddBehindPython(const std::string& object, std::string_view role,
                                          v1::Node node, Relation input, size_t offset);
  std::optional<Relation> AddJoinBeforePython(const std::string& object, std::string_view role,
                                              v1::Node node,
                                              const std::vector<const Relation*>& inputs,
                                              size_t offset);

  const std::string_view script_;
  v1::JobGraph graph_;
  SourcePositions positions_;
  Diagnostics diagnostics_{&positions_};
  std::vector<v1::Diagnostic> problems_;
  bool problems_has_errors_ = false;
  uint64_t state_ttl_ms_ = 0;
  std::set<std::string> uids_;
  std::map<std::string, Relation> added_;  // By what the node is and reads.
  std::map<std::string, Relation> by_uid_;
  PythonFunctions python_;
};

}  // namespace millrace
