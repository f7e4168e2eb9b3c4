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
#include "sql/stream_facts.h"

namespace millrace {

// A node in the course of compilation.
struct NodeContext {
  v1::Node& node;
  std::string path;                    // "nodes[2]".
  const StreamFacts* input = nullptr;  // Null for sources.
  Diagnostics& diagnostics;

  void Error(std::string code, const std::string& at, std::string message,
             std::string hint = "") const {
    diagnostics.Error(std::move(code), node.uid(), path + at, std::move(message), std::move(hint));
  }
};

std::optional<StreamFacts> CompileSource(const NodeContext& context);
// Sinks have no output: the facts are empty.
std::optional<StreamFacts> CompileSink(const NodeContext& context);
std::optional<StreamFacts> CompileFilter(const NodeContext& context);
std::optional<StreamFacts> CompileProject(const NodeContext& context);
std::optional<StreamFacts> CompileWatermark(const NodeContext& context);
std::optional<StreamFacts> CompileWindowAggregate(const NodeContext& context);
std::optional<StreamFacts> CompileWindowTopN(const NodeContext& context);

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
// Reports names that occur twice.
bool CheckNames(const NodeContext& context, const std::string& at, const v1::Schema& schema);

}  // namespace millrace
