#include "sql/computed_columns.h"

#include <algorithm>
#include <set>
#include <string>

namespace millrace {
namespace {

std::string FreeUid(const v1::JobGraph& graph, const std::string& base) {
  std::set<std::string> taken;
  for (const v1::Node& node : graph.nodes()) taken.insert(node.uid());
  std::string uid = base;
  for (int n = 2; taken.contains(uid); ++n) uid = base + std::to_string(n);
  return uid;
}

v1::Node MakeProjection(const v1::Node& source, std::string uid) {
  v1::Node node;
  node.set_uid(std::move(uid));
  node.set_op_version(1);
  node.set_parallelism(source.parallelism());
  for (const v1::Field& field : source.schema().fields()) {
    v1::NamedExpr& column = *node.mutable_project()->add_columns();
    column.set_name(field.name());
    column.set_id(field.id());
    if (field.has_computed()) {
      *column.mutable_expr() = field.computed();
    } else {
      *column.mutable_expr()->mutable_type() = field.type();
      column.mutable_expr()->set_field_id(field.id());
    }
    v1::Field& out = *node.mutable_schema()->add_fields();
    out.set_id(field.id());
    out.set_name(field.name());
    *out.mutable_type() = field.type();
    out.set_not_null(field.not_null() && !field.has_computed());
  }
  return node;
}

void MoveEdges(const std::string& source, const std::string& projection, v1::JobGraph& graph) {
  const int count = graph.edges_size();
  for (int i = 0; i < count; ++i) {
    if (graph.edges(i).from() != source) continue;
    if (graph.edges(i).output() == v1::OUTPUT_PORT_DEAD_LETTER) {
      v1::Edge copy = graph.edges(i);
      copy.set_from(projection);
      *graph.add_edges() = std::move(copy);
    } else {
      graph.mutable_edges(i)->set_from(projection);
    }
  }
  v1::Edge& edge = *graph.add_edges();
  edge.set_from(source);
  edge.set_output(v1::OUTPUT_PORT_MAIN);
  edge.set_to(projection);
  edge.mutable_forward();
}

}  // namespace

void LowerComputedColumns(v1::JobGraph& graph) {
  const int count = graph.nodes_size();
  for (int i = 0; i < count; ++i) {
    v1::Node& source = *graph.mutable_nodes(i);
    auto& fields = *source.mutable_schema()->mutable_fields();
    const auto computed = [](const v1::Field& field) { return field.has_computed(); };
    if (!source.has_source() || std::none_of(fields.begin(), fields.end(), computed)) continue;
    v1::Node projection = MakeProjection(source, FreeUid(graph, source.uid() + ".computed"));
    fields.erase(std::remove_if(fields.begin(), fields.end(), computed), fields.end());
    MoveEdges(source.uid(), projection.uid(), graph);
    *graph.add_nodes() = std::move(projection);
  }
}

}  // namespace millrace
