#include "sql/graph_compiler.h"

#include <algorithm>
#include <bit>
#include <iterator>
#include <map>
#include <optional>
#include <utility>

#include "runtime/base/text.h"
#include "runtime/columns/types.h"
#include "sql/changelog.h"
#include "sql/computed_columns.h"
#include "sql/diagnostics.h"
#include "sql/graph_structure.h"
#include "sql/models.h"
#include "sql/node_compiler.h"
#include "sql/projection_pushdown.h"
#include "sql/type_names.h"

namespace millrace {
namespace {

constexpr uint32_t kMaxParallelismDefault = 256;
constexpr uint32_t kMaxParallelismLimit = 32'768;
constexpr std::string_view kKnownFeatures[] = {"session_window"};

// ---- the graph as a whole ----

void CheckFormat(v1::JobGraph& graph, Diagnostics& diagnostics) {
  if (graph.format() == 0) graph.set_format(kGraphFormat);
  if (graph.format() != kGraphFormat) {
    diagnostics.Error("MR1101", "", "format",
                      Concat("format ", graph.format(), " of the job graph is unknown"),
                      "this Millrace reads format 1; is it too old for the graph?");
  }
  for (int i = 0; i < graph.required_features_size(); ++i) {
    const std::string& feature = graph.required_features(i);
    if (std::find(std::begin(kKnownFeatures), std::end(kKnownFeatures), feature) !=
        std::end(kKnownFeatures)) {
      continue;
    }
    diagnostics.Error("MR1102", "", Concat("required_features[", i, "]"),
                      Concat("feature '", feature, "' is unknown"),
                      "is this Millrace too old for the graph?");
  }
}

void CheckParallelism(v1::JobGraph& graph, Diagnostics& diagnostics) {
  if (graph.max_parallelism() == 0) graph.set_max_parallelism(kMaxParallelismDefault);
  const uint32_t max = graph.max_parallelism();
  if (!std::has_single_bit(max) || max > kMaxParallelismLimit) {
    diagnostics.Error(
        "MR1110", "", "max_parallelism",
        Concat("max_parallelism ", max, " is not a power of two up to ", kMaxParallelismLimit),
        Concat("the default is ", kMaxParallelismDefault));
    return;
  }
  const auto check = [&](uint32_t parallelism, const std::string& uid, const std::string& path) {
    if (parallelism <= max) return;
    diagnostics.Error(
        "MR1110", uid, path,
        Concat("parallelism ", parallelism, " is greater than max_parallelism ", max));
  };
  check(graph.parallelism(), "", "parallelism");
  for (int i = 0; i < graph.nodes_size(); ++i) {
    check(graph.nodes(i).parallelism(), graph.nodes(i).uid(), NodePath(i) + ".parallelism");
  }
}

void CheckSettings(v1::Settings& settings, Diagnostics& diagnostics) {
  const std::string& zone = settings.time_zone();
  if (!zone.empty() && zone != "UTC") {
    diagnostics.Error("MR1113", "", "settings.time_zone",
                      Concat("time zone '", zone, "' is not supported"), "only UTC is");
  }
  settings.set_time_zone("UTC");
  if (settings.key_hash() > 1) {
    diagnostics.Error("MR1113", "", "settings.key_hash",
                      Concat("key hash ", settings.key_hash(), " is unknown"), "1 is XXH64");
  }
  settings.set_key_hash(1);
  const auto fill = [](uint32_t value, uint32_t otherwise) {
    return value == 0 ? otherwise : value;
  };
  settings.set_checkpoint_interval_ms(fill(settings.checkpoint_interval_ms(), 1000));
  settings.set_checkpoint_timeout_ms(fill(settings.checkpoint_timeout_ms(), 600'000));
  settings.set_restart_attempts_max(fill(settings.restart_attempts_max(), 10));
  settings.set_latency_target_ms(fill(settings.latency_target_ms(), 10));
}

uint32_t ParallelismOf(const v1::JobGraph& graph, const v1::Node& node) {
  return node.parallelism() != 0 ? node.parallelism() : graph.parallelism();
}

// ---- nodes, in topological order ----

class NodesCompiler {
 public:
  NodesCompiler(v1::JobGraph& graph, const GraphStructure& structure, Diagnostics& diagnostics)
      : graph_(graph),
        structure_(structure),
        diagnostics_(diagnostics),
        inputs_(static_cast<size_t>(graph.nodes_size())),
        outputs_(static_cast<size_t>(graph.nodes_size())) {}

  void Run() {
    for (int node : structure_.order()) CompileNode(node);
  }

 private:
  void CompileNode(int index) {
    v1::Node& node = *graph_.mutable_nodes(index);
    if (node.op_version() == 0) node.set_op_version(1);
    std::optional<StreamFacts>& input = inputs_[static_cast<size_t>(index)];
    input = InputOf(index, 0);
    const std::optional<StreamFacts> right = InputOf(index, 1);
    // Without the columns of the input there is nothing to check; what is wrong was said before.
    const NodeKind* const kind = FindNodeKind(node.body_case());
    if (!node.has_source() && !input) return;
    if (kind != nullptr && kind->inputs == 2 && !right) return;
    const NodeContext context{.node = node,
                              .path = NodePath(index),
                              .input = input ? &*input : nullptr,
                              .diagnostics = diagnostics_,
                              .graph = &graph_,
                              .right = right ? &*right : nullptr};
    std::optional<StreamFacts> output;
    if (kind != nullptr && (input == std::nullopt || CheckAccepts(context, *kind))) {
      output = kind->compile(context);
    }
    if (output && node.state_ttl_ms() > 0 && !KeepsForEver(node)) {
      context.Error("MR1413", ".state_ttl_ms", "this node keeps nothing for ever",
                    "a time to live is for group aggregates and top-Ns with keys, and for joins "
                    "without times");
    }
    if (output && node.join().right_state_ttl_ms() > 0 && node.state_ttl_ms() == 0) {
      context.Error("MR1413", ".join.right_state_ttl_ms",
                    "the right side has a time to live, and the left side none",
                    "set state_ttl beside uid, if need be to a very long time");
    }
    if (output && node.has_watermark()) CheckOnlyWatermark(index, input->chain_source);
    if (output && !node.has_source() && !node.has_sink()) NoteFacts(*output, node);
    outputs_[static_cast<size_t>(index)] = std::move(output);
  }

  static void NoteFacts(const StreamFacts& facts, v1::Node& node) {
    *node.mutable_schema() = facts.schema;
    node.clear_key();
    for (const uint32_t id : facts.key) node.mutable_key()->add_ids(id);
    node.clear_changelog_mode();
    if (facts.mode != v1::CHANGELOG_MODE_APPEND) node.set_changelog_mode(facts.mode);
  }

  // A source keeps one watermark per split.
  void CheckOnlyWatermark(int index, const std::string& source) {
    const std::string& uid = graph_.nodes(index).uid();
    const auto [first, fresh] = watermark_of_.emplace(source, uid);
    if (fresh) return;
    diagnostics_.Error(
        "MR1404", uid, NodePath(index) + ".watermark",
        Concat("source '", source, "' has a watermark already: node '", first->second, "'"),
        "branch off behind the watermark");
  }

  // True when the two ends of the edge run in the same tasks.
  bool IsChained(int edge_index, int to) const {
    const v1::Edge& edge = graph_.edges(edge_index);
    const v1::Node& from = graph_.nodes(structure_.sender(edge_index));
    return structure_.edges_into(to).size() == 1 &&
           (edge.has_forward() || edge.routing_case() == v1::Edge::ROUTING_NOT_SET) &&
           ParallelismOf(graph_, from) == ParallelismOf(graph_, graph_.nodes(to));
  }

  // The rows of an edge.
  std::optional<StreamFacts> FactsOf(int edge) const {
    const auto from = static_cast<size_t>(structure_.sender(edge));
    switch (graph_.edges(edge).output()) {
      case v1::OUTPUT_PORT_DEAD_LETTER:
        return StreamFacts{.schema = LettersSchema(), .chain_source = {}};
      case v1::OUTPUT_PORT_LATE:
        if (!inputs_[from]) return std::nullopt;
        return StreamFacts{.schema = inputs_[from]->schema, .chain_source = {}};
      default:
        return outputs_[from];
    }
  }

  std::optional<StreamFacts> InputOf(int index, uint32_t input) {
    std::optional<StreamFacts> all;
    int first = -1;
    for (int edge : structure_.edges_into(index)) {
      if (graph_.edges(edge).to_input() != input) continue;
      const std::optional<StreamFacts> one = FactsOf(edge);
      if (!one) return std::nullopt;
      if (!all) {
        all = one;
        first = edge;
      } else if (!Unite(*one, edge, first, *all)) {
        return std::nullopt;
      }
      if (!IsChained(edge, index)) all->chain_source.clear();
    }
    return all;
  }

  // Rows of two edges in one input: the columns are the same, and only what both promise holds.
  bool Unite(const StreamFacts& other, int edge, int first_edge, StreamFacts& all) {
    const v1::Edge& first = graph_.edges(first_edge);
    const auto differ = [&](const std::string& what) {
      diagnostics_.Error("MR1114", graph_.edges(edge).to(), Concat("edges[", edge, "]"),
                         Concat("the columns of '", graph_.edges(edge).from(), "' and '",
                                first.from(), "' differ: ", what),
                         "give both the same columns by a project node");
      return false;
    };
    if (all.schema.fields_size() != other.schema.fields_size()) {
      return differ(
          Concat(other.schema.fields_size(), " and ", all.schema.fields_size(), " columns"));
    }
    for (int i = 0; i < all.schema.fields_size(); ++i) {
      const v1::Field& a = all.schema.fields(i);
      const v1::Field& b = other.schema.fields(i);
      if (a.name() != b.name() || !SameType(a.type(), b.type())) {
        return differ(
            Concat(b.name(), " ", TypeText(b.type()), " and ", a.name(), " ", TypeText(a.type())));
      }
    }
    if (UniteFacts(other, all)) return true;
    diagnostics_.Error("MR1420", graph_.edges(edge).to(), Concat("edges[", edge, "]"),
                       Concat(ModeText(other.mode), " of '", graph_.edges(edge).from(), "' and ",
                              ModeText(all.mode), " of '", first.from(), "' cannot be united"),
                       "give each a normalize node first");
    return false;
  }

  v1::JobGraph& graph_;
  const GraphStructure& structure_;
  Diagnostics& diagnostics_;
  std::vector<std::optional<StreamFacts>> inputs_, outputs_;
  std::map<std::string, std::string> watermark_of_;  // Source → watermark node.
};

// ---- edges ----

// The changes of one row must stay in order: they go on in the same task, or by their key.
void RouteChanges(const v1::Node& from, const v1::Node& to, bool same, const std::string& path,
                  v1::Edge& edge, Diagnostics& diagnostics) {
  const auto ids = from.key().ids();
  if (edge.routing_case() == v1::Edge::ROUTING_NOT_SET && same) {
    edge.mutable_forward();
  } else if (edge.routing_case() == v1::Edge::ROUTING_NOT_SET && !ids.empty()) {
    *edge.mutable_hash()->mutable_keys() = from.key();
  } else if (edge.has_hash() &&
             std::all_of(
                 edge.hash().keys().ids().begin(), edge.hash().keys().ids().end(),
                 [&](uint32_t id) { return std::find(ids.begin(), ids.end(), id) != ids.end(); })) {
    return;
  } else if (!edge.has_forward() && !edge.has_single()) {
    diagnostics.Error("MR1424", to.uid(), path,
                      Concat("the changes from '", from.uid(), "' would lose their order"),
                      ids.empty() ? "give both nodes the same parallelism, or keep the key"
                                  : "leave the routing out");
  }
}

// The keys of a keyed node, under the ids that they have at the sender of this edge: rows of
// several edges meet by the places of their columns, and the node names those of the first.
std::optional<v1::Fields> KeysAtSender(const v1::JobGraph& graph, const GraphStructure& structure,
                                       int to, int index) {
  const v1::Edge& edge = graph.edges(index);
  std::optional<v1::Fields> keys = KeysOf(graph.nodes(to), edge.to_input());
  if (!keys || edge.output() > v1::OUTPUT_PORT_MAIN) return keys;
  for (const int other : structure.edges_into(to)) {
    const v1::Edge& first = graph.edges(other);
    if (first.to_input() != edge.to_input()) continue;
    if (other == index || first.output() > v1::OUTPUT_PORT_MAIN) return keys;
    const v1::Schema& named = graph.nodes(structure.sender(other)).schema();
    const v1::Schema& own = graph.nodes(structure.sender(index)).schema();
    for (uint32_t& id : *keys->mutable_ids()) {
      for (int i = 0; i < named.fields_size(); ++i) {
        if (named.fields(i).id() != id) continue;
        id = own.fields(i).id();
        break;
      }
    }
    return keys;
  }
  return keys;
}

void RouteEdge(const v1::JobGraph& graph, const v1::Node& from, const v1::Node& to, int index,
               const std::optional<v1::Fields>& keys, v1::Edge& edge, Diagnostics& diagnostics) {
  const std::string path = Concat("edges[", index, "]");
  if (edge.output() == v1::OUTPUT_PORT_UNSPECIFIED) edge.set_output(v1::OUTPUT_PORT_MAIN);
  const bool same = ParallelismOf(graph, from) == ParallelismOf(graph, to);
  if (keys) {
    const bool is_hash = edge.has_hash() && (edge.hash().keys().ids_size() == 0 ||
                                             std::equal(keys->ids().begin(), keys->ids().end(),
                                                        edge.hash().keys().ids().begin(),
                                                        edge.hash().keys().ids().end()));
    if (edge.routing_case() != v1::Edge::ROUTING_NOT_SET && !is_hash) {
      diagnostics.Error("MR1111", to.uid(), path,
                        Concat("rows to '", to.uid(), "' must be spread by its keys"),
                        "leave the routing out");
    }
    *edge.mutable_hash()->mutable_keys() = *keys;
  } else if (edge.has_hash() && edge.hash().keys().ids_size() == 0) {
    diagnostics.Error("MR1111", to.uid(), path, "hash routing needs keys");
  } else if (edge.has_forward() && !same) {
    diagnostics.Error(
        "MR1111", to.uid(), path,
        Concat("forward routing needs equal parallelism: '", from.uid(), "' has ",
               ParallelismOf(graph, from), ", '", to.uid(), "' has ", ParallelismOf(graph, to)));
  } else if (from.changelog_mode() > v1::CHANGELOG_MODE_APPEND &&
             edge.output() == v1::OUTPUT_PORT_MAIN) {
    RouteChanges(from, to, same, path, edge, diagnostics);
  } else if (edge.routing_case() == v1::Edge::ROUTING_NOT_SET) {
    if (same) {
      edge.mutable_forward();
    } else {
      edge.mutable_rebalance();
    }
  }
}

// Explicit keys of an edge, by name or id; before the edge is routed.
bool BindHashKeys(v1::JobGraph& graph, const GraphStructure& structure, int index,
                  Diagnostics& diagnostics) {
  v1::Edge& edge = *graph.mutable_edges(index);
  if (!edge.has_hash()) return true;
  if (edge.output() > v1::OUTPUT_PORT_MAIN) {
    diagnostics.Error("MR1111", edge.from(), Concat("edges[", index, "]"),
                      "side outputs cannot be spread by keys", "leave the routing out");
    return false;
  }
  v1::Node& from = *graph.mutable_nodes(structure.sender(index));
  const NodeContext context{.node = from,
                            .path = Concat("edges[", index, "]"),
                            .input = nullptr,
                            .diagnostics = diagnostics};
  std::vector<int> columns;
  return CompileFields(context, ".hash.keys", from.schema(), *edge.mutable_hash()->mutable_keys(),
                       &columns);
}

void RouteEdges(v1::JobGraph& graph, const GraphStructure& structure, Diagnostics& diagnostics) {
  for (int to = 0; to < graph.nodes_size(); ++to) {
    for (int index : structure.edges_into(to)) {
      if (!BindHashKeys(graph, structure, index, diagnostics)) continue;
      RouteEdge(graph, graph.nodes(structure.sender(index)), graph.nodes(to), index,
                KeysAtSender(graph, structure, to, index), *graph.mutable_edges(index),
                diagnostics);
    }
  }
}

}  // namespace

bool CompiledGraph::has_errors() const { return HasErrors(diagnostics); }

CompiledGraph CompileGraph(const v1::JobGraph& graph, const SourcePositions* positions,
                           Disk* disk) {
  CompiledGraph out{.graph = graph, .diagnostics = {}};
  Diagnostics diagnostics(positions);
  CheckFormat(out.graph, diagnostics);
  CheckParallelism(out.graph, diagnostics);
  CheckSettings(*out.graph.mutable_settings(), diagnostics);
  CompileModels(*out.graph.mutable_models(), diagnostics);
  const GraphStructure structure(out.graph, diagnostics);
  NodesCompiler(out.graph, structure, diagnostics).Run();
  if (!diagnostics.has_errors()) RouteEdges(out.graph, structure, diagnostics);
  if (!diagnostics.has_errors()) {
    PushDownProjections(out.graph);
    LowerComputedColumns(out.graph);
    PushDownProjections(out.graph);  // Columns that only computed ones read end there.
    if (disk != nullptr) PinModelFiles(out.graph, *disk, diagnostics);
  }
  out.diagnostics = diagnostics.Take();
  return out;
}

CompiledGraph CompileYaml(std::string_view yaml, const Variables& variables, Disk* disk) {
  LoadedGraph loaded = LoadGraph(yaml, variables);
  if (HasErrors(loaded.diagnostics)) {
    return {.graph = std::move(loaded.graph), .diagnostics = std::move(loaded.diagnostics)};
  }
  return CompileGraph(loaded.graph, &loaded.positions, disk);
}

}  // namespace millrace
