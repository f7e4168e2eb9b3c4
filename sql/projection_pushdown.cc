#include "sql/projection_pushdown.h"

#include <map>
#include <string>
#include <vector>

#include "sql/changelog.h"
#include "sql/node_compiler.h"

namespace millrace {
namespace {

FieldIds AllOf(const v1::Schema& schema) {
  FieldIds ids;
  for (const v1::Field& field : schema.fields()) ids.insert(field.id());
  return ids;
}

bool CanLeaveColumnsOut(const v1::Source& source) {
  if (source.connector() == "nexmark" || source.connector() == "postgres-cdc") return true;
  if (source.format() == "debezium-json") return true;
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
      if (node->has_project()) PruneProject(*node);
    }
    for (auto& [uid, node] : nodes_) {
      if (!node->has_source() || !CanLeaveColumnsOut(node->source())) continue;
      const FieldIds needed = NeededOutput(*node);
      FieldIds kept = needed;
      for (const v1::Field& field : node->schema().fields()) {
        if (needed.contains(field.id())) AddReferences(field.computed(), kept);
        if (IsCaptureColumn(field)) kept.insert(field.id());
      }
      Prune(kept, *node);
      Narrow(*node);
    }
  }

 private:
  // Columns of the main output that are read somewhere behind it.
  FieldIds NeededOutput(const v1::Node& node) {
    FieldIds needed;
    for (const v1::Edge* edge : out_[node.uid()]) {
      if (edge->output() == v1::OUTPUT_PORT_DEAD_LETTER) continue;
      if (edge->output() == v1::OUTPUT_PORT_LATE) continue;  // Asked for by NeededInput.
      AddFields(edge->hash().keys(), needed);
      needed.merge(NeededInput(*nodes_.at(edge->to()), node.schema()));
    }
    return needed;
  }

  // Columns of its input, whose schema is `schema`, that a node needs for itself and to pass on.
  FieldIds NeededInput(const v1::Node& node, const v1::Schema& schema) {
    const bool is_union = inputs_[node.uid()] > 1;
    if (is_union || HasLateReader(node)) return AllOf(schema);
    const NodeKind* const kind = FindNodeKind(node.body_case());
    if (kind == nullptr || kind->reads == nullptr) return AllOf(schema);
    FieldIds needed;
    if (node.has_project()) {
      FieldIds read = NeededOutput(node);
      AddFields(node.key(), read);
      for (const v1::NamedExpr& column : node.project().columns()) {
        if (read.contains(column.id()) || MustStay(column)) AddReferences(column.expr(), needed);
      }
      return needed;
    }
    if (kind->passes_columns) needed = NeededOutput(node);
    for (const uint32_t id : AddedBy(node)) needed.erase(id);
    kind->reads(node, needed);
    return needed;
  }

  static FieldIds AddedBy(const v1::Node& node) {
    FieldIds added;
    const NodeKind* const kind = FindNodeKind(node.body_case());
    if (kind->adds != nullptr) kind->adds(node, added);
    return added;
  }

  bool HasLateReader(const v1::Node& node) {
    for (const v1::Edge* edge : out_[node.uid()]) {
      if (edge->output() == v1::OUTPUT_PORT_LATE) return true;
    }
    return false;
  }

  // At least one column stays: rows must be counted.
  static void Prune(const FieldIds& kept, v1::Node& node) {
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

  // A computed column stays although nobody reads it: a row whose value cannot be computed is a
  // dead letter, and its projection may be there for that.
  static bool MustStay(const v1::NamedExpr& column) { return !column.expr().has_field_id(); }

  // Leaves out the columns of a projection that nobody reads.
  void PruneProject(v1::Node& node) {
    FieldIds needed = NeededOutput(node);
    AddFields(node.key(), needed);  // By which its changes are told apart.
    v1::Project project;
    for (const v1::NamedExpr& column : node.project().columns()) {
      if (needed.contains(column.id()) || MustStay(column)) *project.add_columns() = column;
    }
    if (project.columns_size() == 0) *project.add_columns() = node.project().columns(0);
    if (project.columns_size() == node.project().columns_size()) return;
    FieldIds kept;
    for (const v1::NamedExpr& column : project.columns()) kept.insert(column.id());
    *node.mutable_project() = std::move(project);
    Prune(kept, node);
    Narrow(node);
  }

  // Nodes that pass rows on have the columns of their input.
  void Narrow(const v1::Node& from) {
    for (const v1::Edge* edge : out_[from.uid()]) {
      v1::Node& to = *nodes_.at(edge->to());
      const NodeKind* const kind = FindNodeKind(to.body_case());
      if (edge->output() != v1::OUTPUT_PORT_MAIN || !kind->passes_columns) continue;
      const FieldIds added = AddedBy(to);
      v1::Schema narrow;
      for (const v1::Field& field : to.schema().fields()) {
        const bool stays =
            added.contains(field.id()) || FieldById(from.schema(), field.id()) != nullptr;
        if (stays) *narrow.add_fields() = field;
      }
      *to.mutable_schema() = std::move(narrow);
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
