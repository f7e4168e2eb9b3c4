// Questions about a compiled graph that both the worker and the task ask.
#pragma once

#include <string_view>
#include <vector>

#include "millrace/v1/graph.pb.h"
#include "runtime/columns/types.h"
#include "runtime/task/emitter.h"

namespace millrace {

// Null when there is none.
const v1::Node* FindNode(const v1::JobGraph& graph, std::string_view uid);

// The output that an edge leaves; unspecified means main.
OutputPort PortOf(const v1::Edge& edge);

// Columns of one output: the node's own, those of its input for late rows, or dead letters.
SchemaPtr OutputSchema(const v1::JobGraph& graph, std::string_view uid, OutputPort port);

// Columns of each input of a node, by input number.
std::vector<SchemaPtr> InputSchemas(const v1::JobGraph& graph, std::string_view uid);

}  // namespace millrace
