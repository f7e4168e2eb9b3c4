#include "sql/node_kinds.h"

#include "sql/node_compiler.h"

namespace millrace {
namespace {

// In the order of the cases in graph.proto.
constexpr const NodeKind* kNodeKinds[] = {
    &kSourceNode,           &kSinkNode,
    &kFilterNode,           &kProjectNode,
    &kWatermarkNode,        &kWindowAggregateNode,
    &kWindowTopNNode,       &kNormalizeNode,
    &kGroupAggregateNode,   &kJoinNode,
    &kInferenceNode,        &kTopNNode,
    &kProcessingTimeNode,   &kAssignWindowsNode,
    &kLookupJoinNode,       &kTemporalJoinNode,
    &kOverAggregateNode,    &kOverValuesNode,
    &kResolveConflictsNode, &kUnnestNode,
    &kPythonCallNode,
};

}  // namespace

const NodeKind* FindNodeKind(v1::Node::BodyCase body) {
  for (const NodeKind* kind : kNodeKinds) {
    if (kind->body == body) return kind;
  }
  return nullptr;
}

bool KeepsForEver(const v1::Node& node) {
  const NodeKind* kind = FindNodeKind(node.body_case());
  return kind != nullptr && kind->keeps_for_ever != nullptr && kind->keeps_for_ever(node);
}

std::optional<v1::Fields> KeysOf(const v1::Node& node, uint32_t input) {
  const NodeKind* kind = FindNodeKind(node.body_case());
  if (kind == nullptr || kind->keys == nullptr) return std::nullopt;
  return kind->keys(node, input);
}

}  // namespace millrace
