#include "sql/projection_pushdown.h"

#include <map>
#include <set>
#include <string>
#include <vector>

#include "sql/node_compiler.h"

namespace millrace {
namespace {

using Ids = std::set<uint32_t>;

void AddFields(const v1::Fields& fields, Ids& out) {
  out.insert(fields.ids().begin(), fields.ids().end());
}

void AddReferences(const v1::Expr& expr, Ids& out) {
  if (expr.has_field_id()) out.insert(expr.field_id());
  for (const v1::Expr& argument : expr.call().arguments()) AddReferences(argument, out);
  for (const v1::Expr& when : expr.case_when().when()) AddReferences(when, out);
  for (const v1::Expr& then : expr.case_when().then()) AddReferences(then, out);
  if (expr.case_when().has_otherwise()) AddReferences(expr.case_when().otherwise(), out);
  if (expr.has_cast()) AddReferences(expr.cast().input(), out);
}

Ids AllOf(const v1::Schema& schema) {
  Ids ids;
  for (const v1::Field& field : schema.fields()) ids.insert(field.id());
  return ids;
}

bool CanLeaveColumnsOut(const v1::Source& source) {
  if (source.connector() == "nexmark") return true;
  if (source.format() != "json") return false;
  const auto is = [&source](const char* option, const char* value) {
    const auto found = source.options().find(option);
    return found != source.options().end() && found->second == value;
  };
  return !is("json.fail-on-missing-field", "true") && !is("json.ignore-unknown-fields", "false");
}

class Pushdown {
 public:
  explicit Pushdown(v1::JobGraph& graph) : graph_(graph) {
    for (v1::Node& node : *graph.mutable_nodes()) nodes_[node.uid()] = &node;
    for (const v1::Edge& edge : graph.edges()) {
      ++inputs_[edge.to()];
      out_[edge.from()].push_back(&edge);
    }
  }

  void Run() {
    for (auto& [uid, node] : nodes_) {
      if (!node->has_source() || !CanLeaveColumnsOut(node->source())) continue;
      const Ids needed = NeededOutput(*node);
      Ids kept = needed;
      for (const v1::Field& field : node->schema().fields()) {
        if (needed.contains(field.id())) AddReferences(field.computed(), kept);
      }
      Prune(kept, *node);
      Narrow(*node);
    }
  }

 private:
  // Columns of the main output that are read somewhere behind it.
  Ids NeededOutput(const v1::Node& node) {
    Ids needed;
    for (const v1::Edge* edge : out_[node.uid()]) {
      if (edge->output() == v1::OUTPUT_PORT_DEAD_LETTER) continue;
      if (edge->output() == v1::OUTPUT_PORT_LATE) continue;  // Asked for by NeededInput.
      needed.merge(NeededInput(*nodes_.at(edge->to()), node.schema()));
    }
    return needed;
  }

  // Columns of its input, whose schema is `schema`, that a node needs for itself and to pass on.
  Ids NeededInput(const v1::Node& node, const v1::Schema& schema) {
    const bool is_union = inputs_[node.uid()] > 1;
    if (is_union || node.has_sink() || HasLateReader(node)) return AllOf(schema);
    Ids needed;
    switch (node.body_case()) {
      case v1::Node::kFilter:
        needed = NeededOutput(node);
        AddReferences(node.filter().predicate(), needed);
        return needed;
      case v1::Node::kWatermark:
        needed = NeededOutput(node);
        AddFields(node.watermark().time(), needed);
        return needed;
      case v1::Node::kProject:
        for (const v1::NamedExpr& column : node.project().columns()) {
          AddReferences(column.expr(), needed);
        }
        return needed;
      case v1::Node::kWindowAggregate:
        AddFields(node.window_aggregate().window().time(), needed);
        AddFields(node.window_aggregate().keys(), needed);
        for (const v1::Aggregate& aggregate : node.window_aggregate().aggregates()) {
          AddReferences(aggregate.argument(), needed);
          AddReferences(aggregate.filter(), needed);
        }
        return needed;
      default:
        return AllOf(schema);
    }
  }

  bool HasLateReader(const v1::Node& node) {
    for (const v1::Edge* edge : out_[node.uid()]) {
      if (edge->output() == v1::OUTPUT_PORT_LATE) return true;
    }
    return false;
  }

  // At least one column stays: rows must be counted.
  static void Prune(const Ids& kept, v1::Node& node) {
    v1::Schema schema;
    for (const v1::Field& field : node.schema().fields()) {
      if (kept.contains(field.id())) *schema.add_fields() = field;
    }
    if (schema.fields_size() == 0) *schema.add_fields() = PlainestOf(node.schema());
    *node.mutable_schema() = std::move(schema);
  }

  // A column that needs no other one.
  static const v1::Field& PlainestOf(const v1::Schema& schema) {
    for (const v1::Field& field : schema.fields()) {
      if (!field.has_computed()) return field;
    }
    return schema.fields(0);
  }

  // Nodes that pass rows on have the columns of their input.
  void Narrow(const v1::Node& from) {
    for (const v1::Edge* edge : out_[from.uid()]) {
      v1::Node& to = *nodes_.at(edge->to());
      if (edge->output() != v1::OUTPUT_PORT_MAIN || (!to.has_filter() && !to.has_watermark())) {
        continue;
      }
      *to.mutable_schema() = from.schema();
      StripSourceFields(*to.mutable_schema());
      Narrow(to);
    }
  }

  v1::JobGraph& graph_;
  std::map<std::string, v1::Node*> nodes_;
  std::map<std::string, int> inputs_;
  std::map<std::string, std::vector<const v1::Edge*>> out_;
};

}  // namespace

void PushDownProjections(v1::JobGraph& graph) { Pushdown(graph).Run(); }

}  // namespace millrace
