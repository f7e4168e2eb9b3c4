// Compiles the body of one node: binds names and SQL text against the schema of its input, checks
// types, and computes the facts of its main output.
//
// Threading: pure functions.
// Errors:    diagnostics; the result then is empty, and nodes behind this one are not looked at.
#pragma once

#include <optional>
#include <string>

#include "millrace/v1/graph.pb.h"
#include "sql/diagnostics.h"
#include "sql/node_kinds.h"
#include "sql/stream_facts.h"

namespace millrace {

// A node in the course of compilation.
struct NodeContext {
  v1::Node& node;
  std::string path;                    // "nodes[2]".
  const StreamFacts* input = nullptr;  // Input 0; null for sources.
  Diagnostics& diagnostics;
  const v1::JobGraph* graph = nullptr;  // For what belongs to the whole job: its models.
  const StreamFacts* right = nullptr;   // Input 1, of nodes that have two.

  void Warning(std::string code, const std::string& at, std::string message,
               std::string hint = "") const {
    diagnostics.Warning(std::move(code), node.uid(), path + at, std::move(message),
                        std::move(hint));
  }
  void Error(std::string code, const std::string& at, std::string message,
             std::string hint = "") const {
    diagnostics.Error(std::move(code), node.uid(), path + at, std::move(message), std::move(hint));
  }
};

// The kinds, each defined beside the functions that compile it. A kind's `compile` returns the
// facts of the main output; sinks have none, theirs are empty.
extern const NodeKind kSourceNode;            // connector_nodes.cc
extern const NodeKind kSinkNode;              // connector_nodes.cc
extern const NodeKind kFilterNode;            // relational_nodes.cc
extern const NodeKind kProjectNode;           // relational_nodes.cc
extern const NodeKind kWatermarkNode;         // relational_nodes.cc
extern const NodeKind kWindowAggregateNode;   // window_aggregate_node.cc
extern const NodeKind kWindowTopNNode;        // window_top_n_node.cc
extern const NodeKind kNormalizeNode;         // changelog_nodes.cc
extern const NodeKind kGroupAggregateNode;    // changelog_nodes.cc
extern const NodeKind kInferenceNode;         // inference_node.cc
extern const NodeKind kJoinNode;              // join_node.cc
extern const NodeKind kTopNNode;              // top_n_node.cc
extern const NodeKind kProcessingTimeNode;    // processing_time_node.cc
extern const NodeKind kAssignWindowsNode;     // assign_windows_node.cc
extern const NodeKind kLookupJoinNode;        // lookup_join_node.cc
extern const NodeKind kTemporalJoinNode;      // temporal_join_node.cc
extern const NodeKind kOverAggregateNode;     // over_nodes.cc
extern const NodeKind kOverValuesNode;        // over_nodes.cc
extern const NodeKind kResolveConflictsNode;  // changelog_nodes.cc
extern const NodeKind kUnnestNode;            // unnest_node.cc
extern const NodeKind kPythonCallNode;        // python_call_node.cc

// The functions of OverValue.
bool IsOverFunction(std::string_view name);
// ROW_NUMBER, RANK or DENSE_RANK; FIRST_VALUE, LAST_VALUE or NTH_VALUE, which have a frame.
bool IsNumberFunction(std::string_view name);
bool IsFrameFunction(std::string_view name);

// Rows that a partition of a top_n may keep.
inline constexpr uint64_t kTopNLimitMax = 100'000;

// ---- pieces that several of them need ----

// Replaces SQL text by the typed tree; checks a tree that is typed already. `at` is the path within
// the node.
bool CompileExpression(const NodeContext& context, const std::string& at, const v1::Schema& schema,
                       v1::Expr& expr);
// Replaces names by ids; checks ids. The positions of the columns in the schema by `columns`.
bool CompileFields(const NodeContext& context, const std::string& at, const v1::Schema& schema,
                   v1::Fields& fields, std::vector<int>* columns);
// The same for a reference that must name exactly one column.
bool CompileField(const NodeContext& context, const std::string& at, const v1::Schema& schema,
                  v1::Fields& fields, int* column);
const v1::Field* FieldById(const v1::Schema& schema, uint32_t id);
uint32_t LargestId(const v1::Schema& schema);
// Leaves id, name, type and not_null: where a column comes from matters to its source only.
void StripSourceFields(v1::Schema& schema);
void AddField(v1::Schema& schema, uint32_t id, const std::string& name, const v1::Type& type,
              bool not_null);
// The columns of every dead-letter output.
v1::Schema LettersSchema();
// For NodeKind::reads.
void AddFields(const v1::Fields& fields, FieldIds& out);
void AddReferences(const v1::Expr& expr, FieldIds& out);
// Binds and names the aggregates of a node; `at` is the path of the list.
bool CompileAggregates(const NodeContext& context, const std::string& at,
                       google::protobuf::RepeatedPtrField<v1::Aggregate>& aggregates);
// Binds the time of a window and checks its lengths; `at` is the path of the window.
bool CompileWindow(const NodeContext& context, const std::string& at, v1::Window& window);
// "tumble(ts, 10 s)".
std::string WindowText(const v1::Window& window, const v1::Schema& input);
// Binds the order of a ranking node; `at` is the path of the list.
bool CompileOrder(const NodeContext& context, const std::string& at,
                  google::protobuf::RepeatedPtrField<v1::SortKey>& order);
// "num DESC, price".
std::string OrderText(const google::protobuf::RepeatedPtrField<v1::SortKey>& order,
                      const v1::Schema& input);
// What a ranking node does with rows that tie.
template <typename Body>
std::string TiesText(const Body& body) {
  return body.dense() ? " values" : body.with_ties() ? " with ties" : "";
}
template <typename Body>
bool CheckTies(const NodeContext& context, const std::string& at, const Body& body) {
  if (!body.dense() || body.with_ties()) return true;
  context.Error("MR1410", at + ".dense", "rows that tie count as one, and are not kept",
                "write with_ties: true");
  return false;
}
// The appended column of the number of a row; its id, which is assigned when it is 0.
uint32_t AddRank(const std::string& name, uint32_t id, v1::Schema& schema);
// Reports names that occur twice.
bool CheckNames(const NodeContext& context, const std::string& at, const v1::Schema& schema);

}  // namespace millrace
