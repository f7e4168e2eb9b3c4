#include "sql/explain.h"

#include <algorithm>
#include <map>
#include <vector>

#include "runtime/base/text.h"
#include "runtime/columns/types.h"
#include "sql/changelog.h"
#include "sql/expression_text.h"
#include "sql/node_kinds.h"
#include "sql/time_literals.h"
#include "sql/type_names.h"

namespace millrace {
namespace {

std::string SchemaText(const v1::Schema& schema) {
  std::vector<std::string> columns;
  for (const v1::Field& field : schema.fields()) {
    std::string text = Concat(field.name(), " ", TypeText(field.type()));
    if (field.not_null()) text += " NOT NULL";
    if (!field.path().empty()) text += Concat(" FROM '", field.path(), "'");
    if (!field.metadata().empty()) text += Concat(" METADATA FROM '", field.metadata(), "'");
    columns.push_back(std::move(text));
  }
  return Join(columns, ", ");
}

class Explainer {
 public:
  explicit Explainer(const v1::JobGraph& graph) : graph_(graph) {
    for (const v1::Node& node : graph.nodes()) nodes_[node.uid()] = &node;
  }

  std::string Run() {
    std::string text = Concat(
        "Job ", graph_.name().empty() ? "(without a name)" : graph_.name(), "\n  ",
        graph_.nodes_size(), " nodes, ", graph_.max_parallelism(), " key groups, parallelism ",
        graph_.parallelism() == 0 ? "of the cluster" : Concat(graph_.parallelism()), ", ",
        Checkpoints(), "\n");
    for (const v1::Node* node : Ordered()) text += NodeText(*node);
    return text;
  }

 private:
  std::string Checkpoints() const {
    const v1::Settings& settings = graph_.settings();
    std::string text = Concat("checkpoint every ", DurationText(settings.checkpoint_interval_ms()));
    if (settings.checkpoint_min_pause_ms() > 0) {
      text +=
          Concat(" and ", DurationText(settings.checkpoint_min_pause_ms()), " behind the last one");
    }
    if (settings.aligned_checkpoint_timeout_ms() > 0) {
      text += Concat(", unaligned after ", DurationText(settings.aligned_checkpoint_timeout_ms()));
    }
    if (settings.has_checkpoint_failures_max()) {
      text += Concat(", restart after more than ", settings.checkpoint_failures_max(),
                     " abandoned in a row");
    }
    return text;
  }

  // Senders before receivers, else as in the graph.
  std::vector<const v1::Node*> Ordered() const {
    std::vector<const v1::Node*> order;
    std::map<std::string, bool> done;
    bool progress = true;
    while (progress) {
      progress = false;
      for (const v1::Node& node : graph_.nodes()) {
        if (done[node.uid()] || !InputsDone(node, done)) continue;
        done[node.uid()] = progress = true;
        order.push_back(&node);
      }
    }
    for (const v1::Node& node : graph_.nodes()) {
      if (!done[node.uid()]) order.push_back(&node);
    }
    return order;
  }

  bool InputsDone(const v1::Node& node, std::map<std::string, bool>& done) const {
    return std::all_of(graph_.edges().begin(), graph_.edges().end(), [&](const v1::Edge& edge) {
      return edge.to() != node.uid() || done[edge.from()];
    });
  }

  v1::Schema InputOf(const v1::Node& node, uint32_t input = 0) const {
    for (const v1::Edge& edge : graph_.edges()) {
      if (edge.to() != node.uid() || edge.to_input() != input || !nodes_.contains(edge.from())) {
        continue;
      }
      const v1::Node& from = *nodes_.at(edge.from());
      if (edge.output() == v1::OUTPUT_PORT_LATE) return InputOf(from);
      return edge.output() == v1::OUTPUT_PORT_DEAD_LETTER ? LettersSchema() : from.schema();
    }
    return {};
  }

  std::string NodeText(const v1::Node& node) const {
    const NodeKind* const kind = FindNodeKind(node.body_case());
    const v1::Schema input = kind != nullptr && kind->sides != nullptr
                                 ? kind->sides(node, InputOf(node), InputOf(node, 1))
                                 : InputOf(node);
    std::string text =
        Concat("\n", node.uid(), ": ", kind == nullptr ? "nothing" : kind->text(node, input), "\n");
    for (const v1::Edge& edge : graph_.edges()) {
      if (edge.to() == node.uid()) text += Concat("  from ", EdgeText(edge), "\n");
    }
    if (node.parallelism() != 0) text += Concat("  parallelism: ", node.parallelism(), "\n");
    if (!node.has_sink()) text += Concat("  columns: ", SchemaText(node.schema()), "\n");
    if (node.changelog_mode() > v1::CHANGELOG_MODE_APPEND && !node.has_sink()) {
      text += Concat("  rows: ", ModeText(node.changelog_mode()), ", key ",
                     node.key().ids_size() == 0 ? "unknown" : FieldsText(node.key(), node.schema()),
                     "\n");
    }
    if (node.has_sink() && node.key().ids_size() > 0) {
      text += Concat("  key: ", FieldsText(node.key(), input), "\n");
    }
    if (kind != nullptr && kind->state_text != nullptr) {
      const uint64_t lag_ms = LagOf(node, graph_.nodes_size());
      text += Concat("  state: ", kind->state_text(node, input, lag_ms));
      if (node.state_ttl_ms() > 0) {
        text += Concat(", until unused for ", DurationText(node.state_ttl_ms()));
      } else if (KeepsForEver(node)) {
        text += ", for ever";
      }
      text += "\n";
    }
    return text;
  }

  std::string EdgeText(const v1::Edge& edge) const {
    std::string text = edge.from();
    if (edge.output() == v1::OUTPUT_PORT_LATE) text += ".late";
    if (edge.output() == v1::OUTPUT_PORT_DEAD_LETTER) text += ".dead_letter";
    switch (edge.routing_case()) {
      case v1::Edge::kForward:
        return text + ", forward";
      case v1::Edge::kBroadcast:
        return text + ", broadcast";
      case v1::Edge::kRebalance:
        return text + ", rebalance";
      case v1::Edge::kSingle:
        return text + ", single";
      case v1::Edge::kHash: {
        const std::string keys =
            nodes_.contains(edge.from())
                ? FieldsText(edge.hash().keys(), edge.output() == v1::OUTPUT_PORT_LATE
                                                     ? InputOf(*nodes_.at(edge.from()))
                                                     : nodes_.at(edge.from())->schema())
                : "";
        return Concat(text, ", hash(", keys, ")");
      }
      default:
        return text;
    }
  }

  // Out-of-orderness of the watermark above a node.
  uint64_t LagOf(const v1::Node& node, int depth) const {
    if (node.has_watermark()) return node.watermark().out_of_orderness_ms();
    uint64_t lag = 0;
    for (const v1::Edge& edge : graph_.edges()) {
      if (edge.to() != node.uid() || depth == 0 || !nodes_.contains(edge.from())) continue;
      lag = std::max(lag, LagOf(*nodes_.at(edge.from()), depth - 1));
    }
    return lag;
  }

  const v1::JobGraph& graph_;
  std::map<std::string, const v1::Node*> nodes_;
};

}  // namespace

std::string ExplainGraph(const v1::JobGraph& compiled) { return Explainer(compiled).Run(); }

}  // namespace millrace
