#include "sql/state_layout.h"

#include <cstdint>
#include <map>
#include <optional>
#include <utility>

#include "operators/catalog/catalog.h"
#include "runtime/base/text.h"
#include "sql/expression_text.h"
#include "sql/graph_structure.h"
#include "sql/node_compiler.h"
#include "sql/node_kinds.h"
#include "sql/type_names.h"

namespace millrace {
namespace {

// A text of an origin that is longer is cut, and told from others by its hash.
constexpr size_t kOriginBytesMax = 200;
constexpr size_t kOriginBytesKept = 120;

std::string Shortened(std::string text) {
  if (text.size() <= kOriginBytesMax) return text;
  return Concat(text.substr(0, kOriginBytesKept), "...#", Fnv1a(text));
}

// A node that was renamed has its first name here, so that a new name is no other origin.
const std::string& FirstUid(const v1::Node& node) {
  return node.former_uids_size() > 0 ? node.former_uids(0) : node.uid();
}

std::string OriginInSource(const v1::Node& node, const v1::Field& field) {
  if (!field.metadata().empty()) return Concat(FirstUid(node), ".metadata:", field.metadata());
  return Concat(FirstUid(node), ".", field.path().empty() ? field.name() : field.path());
}

// The nodes of a graph with the columns of their outputs and inputs, named by their origin.
class Origins {
 public:
  explicit Origins(const v1::JobGraph& graph)
      : graph_(graph), diagnostics_(nullptr), structure_(graph, diagnostics_) {
    outputs_.resize(static_cast<size_t>(graph.nodes_size()));
    inputs_.resize(outputs_.size());
    for (const int index : structure_.order()) {
      const auto at = static_cast<size_t>(index);
      const v1::Node& node = graph.nodes(index);
      const NodeKind* const kind = FindNodeKind(node.body_case());
      for (uint32_t i = 0; kind != nullptr && i < kind->inputs; ++i) {
        inputs_[at].push_back(InputOf(index, i));
      }
      outputs_[at] = node.schema();
      for (v1::Field& field : *outputs_[at].mutable_fields()) {
        field.set_name(Shortened(OriginOf(node, inputs_[at], field)));
      }
    }
  }

  const std::vector<v1::Schema>& inputs(int node) const {
    return inputs_[static_cast<size_t>(node)];
  }

 private:
  v1::Schema InputOf(int node, uint32_t input) const {
    std::optional<v1::Schema> all;
    for (const int index : structure_.edges_into(node)) {
      const v1::Edge& edge = graph_.edges(index);
      if (edge.to_input() != input) continue;
      const v1::Schema& one = RowsOf(edge, structure_.sender(index));
      if (!all) {
        all = one;
        continue;
      }
      // Rows of several edges meet by the places of their columns.
      for (int i = 0; i < all->fields_size() && i < one.fields_size(); ++i) {
        v1::Field& field = *all->mutable_fields(i);
        if (field.name() == one.fields(i).name()) continue;
        field.set_name(Shortened(Concat(field.name(), " | ", one.fields(i).name())));
      }
    }
    return all.value_or(v1::Schema());
  }

  const v1::Schema& RowsOf(const v1::Edge& edge, int sender) const {
    static const v1::Schema letters = LettersSchema();
    if (edge.output() == v1::OUTPUT_PORT_DEAD_LETTER) return letters;
    const auto at = static_cast<size_t>(sender);
    if (edge.output() == v1::OUTPUT_PORT_LATE && !inputs_[at].empty()) return inputs_[at][0];
    return outputs_[at];
  }

  static std::string OriginOf(const v1::Node& node, const std::vector<v1::Schema>& inputs,
                              const v1::Field& field) {
    if (node.has_source()) return OriginInSource(node, field);
    for (const v1::NamedExpr& column : node.project().columns()) {
      if (column.id() == field.id()) return ExpressionText(column.expr(), inputs[0]);
    }
    for (const auto* aggregates :
         {&node.window_aggregate().aggregates(), &node.group_aggregate().aggregates(),
          &node.over_aggregate().aggregates()}) {
      for (const v1::Aggregate& aggregate : *aggregates) {
        if (aggregate.id() == field.id()) return AggregateText(aggregate, inputs[0]);
      }
    }
    if (!inputs.empty()) {
      if (const v1::Field* same = FieldById(inputs[0], field.id())) return same->name();
    }
    if (inputs.size() > 1) {
      const uint32_t offset =
          node.has_join() ? node.join().right_id_offset() : node.temporal_join().right_id_offset();
      if (const v1::Field* right = FieldById(inputs[1], field.id() - offset)) return right->name();
    }
    // What the node itself adds: a number, a window, a column of a table outside.
    const NodeKind* const kind = FindNodeKind(node.body_case());
    return Concat(kind == nullptr ? "" : kind->name, ":", field.name());
  }

  const v1::JobGraph& graph_;
  Diagnostics diagnostics_;
  const GraphStructure structure_;
  std::vector<v1::Schema> outputs_;
  std::vector<std::vector<v1::Schema>> inputs_;
};

// Positions belong to what the options name.
v1::StateLayout LayoutOfSource(const v1::Node& node) {
  v1::StateLayout out;
  AddFact(out, "connector", node.source().connector());
  const auto spec = FindConnectorSpec(node.source().connector());
  if (!spec.ok()) return out;
  for (const OptionSpec& option : (*spec)->source_options) {
    if (!option.names_data) continue;
    const auto given = node.source().options().find(std::string(option.name));
    const bool set = given != node.source().options().end();
    AddFact(out, std::string(option.name),
            set ? given->second : std::string(option.default_value.value_or("not set")));
  }
  return out;
}

// A target that is given each change with its kind has the old rows until they are taken back, as
// they were written. One that promises less than exactly once, or has nothing to name, has no table
// to keep right.
bool KeepsChanges(const v1::Node& node) {
  if (!node.has_sink() || node.changelog_mode() != v1::CHANGELOG_MODE_RETRACT) return false;
  const auto spec = FindConnectorSpec(node.sink().connector());
  return spec.ok() && (*spec)->sink_key == SinkKey::kNever &&
         (*spec)->sink_guarantee == Guarantee::kExactlyOnce && !(*spec)->sink_options.empty();
}

}  // namespace

void AddFact(v1::StateLayout& out, const std::string& name, std::string value) {
  v1::StateFact& fact = *out.add_facts();
  fact.set_name(name);
  fact.set_value(std::move(value));
}

std::string TypedFieldsText(const v1::Fields& fields, const v1::Schema& schema) {
  v1::Schema chosen;
  for (const uint32_t id : fields.ids()) {
    if (const v1::Field* field = FieldById(schema, id)) *chosen.add_fields() = *field;
  }
  return ColumnsText(chosen);
}

std::string ColumnsText(const v1::Schema& schema) {
  std::vector<std::string> columns;
  for (const v1::Field& field : schema.fields()) {
    columns.push_back(Concat(field.name(), " ", TypeText(field.type())));
  }
  return columns.empty() ? "nothing" : Join(columns, ", ");
}

std::string AggregatesText(const google::protobuf::RepeatedPtrField<v1::Aggregate>& aggregates,
                           const v1::Schema& schema) {
  std::vector<std::string> texts;
  for (const v1::Aggregate& aggregate : aggregates) {
    texts.push_back(Concat(AggregateText(aggregate, schema), " ", TypeText(aggregate.type())));
  }
  return texts.empty() ? "nothing" : Join(texts, ", ");
}

void AddRows(v1::StateLayout& out, const std::string& table, const v1::Schema& columns) {
  v1::StateRows& rows = *out.add_rows();
  rows.set_table(table);
  for (const v1::Field& field : columns.fields()) {
    v1::Field& column = *rows.mutable_columns()->add_fields();
    column.set_name(field.name());
    *column.mutable_type() = field.type();
    column.set_not_null(field.not_null());
  }
  // A name that two columns have would find the first of them twice.
  std::map<std::string, int> seen;
  for (v1::Field& column : *rows.mutable_columns()->mutable_fields()) {
    if (const int before = seen[column.name()]++; before > 0) {
      column.set_name(Concat(column.name(), " (", before + 1, ")"));
    }
  }
}

std::vector<v1::StateLayout> StateLayoutsOf(const v1::JobGraph& graph) {
  const Origins origins(graph);
  std::vector<v1::StateLayout> out;
  for (int i = 0; i < graph.nodes_size(); ++i) {
    const v1::Node& node = graph.nodes(i);
    const NodeKind* const kind = FindNodeKind(node.body_case());
    if (node.has_source()) {
      out.push_back(LayoutOfSource(node));
    } else if (KeepsChanges(node)) {
      AddFact(out.emplace_back(), "columns", ColumnsText(origins.inputs(i)[0]));
    } else if (kind != nullptr && kind->layout != nullptr) {
      v1::StateLayout layout;
      AddFact(layout, "operator", std::string(kind->name));
      kind->layout(node, origins.inputs(i), layout);
      if (KeepsForEver(node)) {
        AddFact(layout, "time to live", node.state_ttl_ms() > 0 ? "set" : "none");
      }
      out.push_back(std::move(layout));
    } else {
      continue;
    }
    out.back().set_uid(node.uid());
  }
  return out;
}

}  // namespace millrace
