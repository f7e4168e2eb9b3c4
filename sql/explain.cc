#include "sql/explain.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <vector>

#include "runtime/base/text.h"
#include "runtime/columns/types.h"
#include "sql/expression_text.h"
#include "sql/type_names.h"

namespace millrace {
namespace {

std::string DurationText(uint64_t ms) {
  struct Unit {
    uint64_t ms;
    const char* name;
  };
  constexpr Unit kUnits[] = {{86'400'000, " d"}, {3'600'000, " h"}, {60'000, " min"}, {1000, " s"}};
  for (const Unit& unit : kUnits) {
    if (ms >= unit.ms && ms % unit.ms == 0) return Concat(ms / unit.ms, unit.name);
  }
  return Concat(ms, " ms");
}

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

std::string TableText(const std::string& connector, const std::string& format,
                      const google::protobuf::Map<std::string, std::string>& options) {
  const std::map<std::string, std::string> sorted(options.begin(), options.end());
  std::string text = connector;
  if (!format.empty()) text += Concat(", format ", format);
  for (const auto& [name, value] : sorted) {
    const bool secret = name.find("password") != std::string::npos ||
                        name.find("secret") != std::string::npos ||
                        name.find("jaas") != std::string::npos;
    text += Concat(", ", name, "=", secret ? "***" : value);
  }
  return text;
}

std::string WindowText(const v1::Window& window, const v1::Schema& input) {
  const std::string time = FieldsText(window.time(), input);
  std::string text;
  switch (window.kind()) {
    case v1::Window::KIND_TUMBLE:
      text = Concat("tumble(", time, ", ", DurationText(window.size_ms()));
      break;
    case v1::Window::KIND_HOP:
      text = Concat("hop(", time, ", slide ", DurationText(window.slide_ms()), ", size ",
                    DurationText(window.size_ms()));
      break;
    case v1::Window::KIND_CUMULATE:
      text = Concat("cumulate(", time, ", step ", DurationText(window.slide_ms()), ", size ",
                    DurationText(window.size_ms()));
      break;
    default:
      text = Concat("session(", time, ", gap ", DurationText(window.size_ms()));
  }
  if (window.offset_ms() != 0) text += Concat(", offset ", window.offset_ms(), " ms");
  return text + ")";
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
        graph_.parallelism() == 0 ? "of the cluster" : Concat(graph_.parallelism()),
        ", checkpoint every ", DurationText(graph_.settings().checkpoint_interval_ms()), "\n");
    for (const v1::Node* node : Ordered()) text += NodeText(*node);
    return text;
  }

 private:
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

  v1::Schema InputOf(const v1::Node& node) const {
    for (const v1::Edge& edge : graph_.edges()) {
      if (edge.to() != node.uid() || !nodes_.contains(edge.from())) continue;
      const v1::Node& from = *nodes_.at(edge.from());
      if (edge.output() == v1::OUTPUT_PORT_LATE) return InputOf(from);
      if (edge.output() != v1::OUTPUT_PORT_DEAD_LETTER) return from.schema();
    }
    return {};
  }

  std::string NodeText(const v1::Node& node) const {
    const v1::Schema input = InputOf(node);
    std::string text = Concat("\n", node.uid(), ": ", BodyText(node, input), "\n");
    for (const v1::Edge& edge : graph_.edges()) {
      if (edge.to() == node.uid()) text += Concat("  from ", EdgeText(edge), "\n");
    }
    if (node.parallelism() != 0) text += Concat("  parallelism: ", node.parallelism(), "\n");
    if (!node.has_sink()) text += Concat("  columns: ", SchemaText(node.schema()), "\n");
    const std::string state = StateText(node, input);
    if (!state.empty()) text += Concat("  state: ", state, "\n");
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

  static std::string BodyText(const v1::Node& node, const v1::Schema& input) {
    switch (node.body_case()) {
      case v1::Node::kSource:
        return Concat("source ", TableText(node.source().connector(), node.source().format(),
                                           node.source().options()));
      case v1::Node::kSink:
        return Concat(
            "sink ",
            TableText(node.sink().connector(), node.sink().format(), node.sink().options()),
            node.sink().guarantee() == v1::DELIVERY_GUARANTEE_EXACTLY_ONCE ? "; exactly-once"
                                                                           : "; at-least-once");
      case v1::Node::kFilter:
        return Concat("filter ", ExpressionText(node.filter().predicate(), input));
      case v1::Node::kProject:
        return ProjectText(node.project(), input);
      case v1::Node::kWatermark:
        return Concat(
            "watermark ", FieldsText(node.watermark().time(), input), " - ",
            DurationText(node.watermark().out_of_orderness_ms()),
            node.watermark().idle_timeout_ms() == 0
                ? ""
                : Concat(", idle after ", DurationText(node.watermark().idle_timeout_ms())));
      case v1::Node::kWindowAggregate:
        return AggregatesText(node.window_aggregate(), input);
      case v1::Node::kWindowTopN:
        return TopNText(node.window_top_n(), input);
      default:
        return "nothing";
    }
  }

  static std::string ProjectText(const v1::Project& project, const v1::Schema& input) {
    std::vector<std::string> columns;
    for (const v1::NamedExpr& column : project.columns()) {
      const std::string text = ExpressionText(column.expr(), input);
      columns.push_back(text == column.name() ? text : Concat(text, " AS ", column.name()));
    }
    return Concat("project ", Join(columns, ", "));
  }

  static std::string AggregatesText(const v1::WindowAggregate& body, const v1::Schema& input) {
    std::vector<std::string> aggregates;
    for (const v1::Aggregate& aggregate : body.aggregates()) {
      aggregates.push_back(Concat(AggregateText(aggregate, input), " AS ", aggregate.name()));
    }
    std::string text = Concat("window aggregate ", WindowText(body.window(), input));
    if (body.keys().ids_size() > 0) text += Concat(" by ", FieldsText(body.keys(), input));
    return Concat(text, ": ", Join(aggregates, ", "));
  }

  static std::string TopNText(const v1::WindowTopN& body, const v1::Schema& input) {
    std::vector<std::string> order;
    for (const v1::SortKey& key : body.order()) {
      std::string text = FieldsText(key.field(), input);
      if (key.descending()) text += " DESC";
      if (key.nulls_first() != key.descending()) {
        text += key.nulls_first() ? " NULLS FIRST" : " NULLS LAST";
      }
      order.push_back(std::move(text));
    }
    std::string text =
        Concat("window top ", body.limit(), body.with_ties() ? " with ties" : "", " by ",
               Join(order, ", "), " per ", FieldsText(body.window_end(), input));
    if (body.partition().ids_size() > 0) text += Concat(", ", FieldsText(body.partition(), input));
    return text;
  }

  // ---- state ----

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

  // Bytes of a key and its accumulators, about.
  static uint64_t RowBytes(const v1::WindowAggregate& body, const v1::Schema& input) {
    uint64_t bytes = 16;
    for (uint32_t id : body.keys().ids()) {
      for (const v1::Field& field : input.fields()) {
        if (field.id() != id) continue;
        const int width = FixedWidth(static_cast<TypeKind>(field.type().kind()));
        bytes += static_cast<uint64_t>(width == 0 ? 24 : width + 1);
      }
    }
    for (const v1::Aggregate& one : body.aggregates()) bytes += one.function() == "count" ? 8 : 24;
    return bytes;
  }

  std::string StateText(const v1::Node& node, const v1::Schema& input) const {
    if (node.has_source()) return "positions of the splits";
    if (node.has_window_top_n()) {
      return Concat("at most about ", node.window_top_n().limit(),
                    node.window_top_n().with_ties() ? " rows (more when they tie)" : " rows",
                    " per open window and partition, until its end");
    }
    if (!node.has_window_aggregate()) return "";
    const v1::WindowAggregate& body = node.window_aggregate();
    const uint64_t bytes = RowBytes(body, input);
    const bool sets = std::any_of(body.aggregates().begin(), body.aggregates().end(),
                                  [](const v1::Aggregate& one) { return one.distinct(); });
    const std::string values = sets ? "; and every distinct value" : "";
    if (body.window().kind() == v1::Window::KIND_SESSION) {
      return Concat("about ", bytes, " bytes per key and open session", values);
    }
    const uint64_t size = body.window().size_ms();
    const uint64_t slide =
        body.window().kind() == v1::Window::KIND_TUMBLE ? size : body.window().slide_ms();
    const uint64_t pane = std::max<uint64_t>(std::gcd(size, slide), 1);
    const uint64_t open = (size + LagOf(node, graph_.nodes_size()) + pane - 1) / pane + 1;
    return Concat("about ", bytes, " bytes per key and pane of ", DurationText(pane), ", ", open,
                  " panes open", values);
  }

  const v1::JobGraph& graph_;
  std::map<std::string, const v1::Node*> nodes_;
};

}  // namespace

std::string ExplainGraph(const v1::JobGraph& compiled) { return Explainer(compiled).Run(); }

}  // namespace millrace
