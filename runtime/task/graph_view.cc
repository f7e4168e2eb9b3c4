#include "runtime/task/graph_view.h"

#include "runtime/base/check.h"

namespace millrace {

const v1::Node* FindNode(const v1::JobGraph& graph, std::string_view uid) {
  for (const v1::Node& node : graph.nodes()) {
    if (node.uid() == uid) return &node;
  }
  return nullptr;
}

OutputPort PortOf(const v1::Edge& edge) {
  return edge.output() == v1::OUTPUT_PORT_UNSPECIFIED ? OutputPort::kMain
                                                      : static_cast<OutputPort>(edge.output());
}

SchemaPtr OutputSchema(const v1::JobGraph& graph, std::string_view uid, OutputPort port) {
  if (port == OutputPort::kDeadLetter) return DeadLetterSchema();
  if (port == OutputPort::kLate) return InputSchemas(graph, uid).at(0);
  const v1::Node* node = FindNode(graph, uid);
  MILLRACE_CHECK(node != nullptr);
  return Schema::FromProto(node->schema());
}

std::vector<SchemaPtr> InputSchemas(const v1::JobGraph& graph, std::string_view uid) {
  std::vector<SchemaPtr> schemas;
  for (const v1::Edge& edge : graph.edges()) {
    if (edge.to() != uid) continue;
    if (schemas.size() <= edge.to_input()) schemas.resize(edge.to_input() + 1);
    // Rows of several edges meet by the places of their columns; the node names those of the first.
    SchemaPtr& schema = schemas[edge.to_input()];
    if (schema == nullptr) schema = OutputSchema(graph, edge.from(), PortOf(edge));
  }
  return schemas;
}

}  // namespace millrace
