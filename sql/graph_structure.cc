#include "sql/graph_structure.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <set>
#include <tuple>

#include "operators/catalog/catalog.h"
#include "runtime/base/text.h"
#include "sql/node_kinds.h"

namespace millrace {
namespace {

bool IsUid(std::string_view uid) {
  if (uid.empty() || uid.size() > 128) return false;
  return std::all_of(uid.begin(), uid.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  });
}

v1::OutputPort PortOf(const v1::Edge& edge) {
  return edge.output() == v1::OUTPUT_PORT_UNSPECIFIED ? v1::OUTPUT_PORT_MAIN : edge.output();
}

bool HasPort(const v1::Node& node, v1::OutputPort port) {
  const NodeKind* const kind = FindNodeKind(node.body_case());
  if (kind == nullptr || node.has_sink()) return false;
  if (port == v1::OUTPUT_PORT_LATE) return kind->has_late_output;
  if (port == v1::OUTPUT_PORT_DEAD_LETTER) return kind->has_dead_letter_output;
  return port == v1::OUTPUT_PORT_MAIN;
}

std::string PortName(v1::OutputPort port) {
  if (port == v1::OUTPUT_PORT_LATE) return "late";
  if (port == v1::OUTPUT_PORT_DEAD_LETTER) return "dead_letter";
  return port == v1::OUTPUT_PORT_MAIN ? "main" : std::to_string(port);
}

}  // namespace

std::string NodePath(int node) { return Concat("nodes[", node, "]"); }

GraphStructure::GraphStructure(const v1::JobGraph& graph, Diagnostics& diagnostics)
    : graph_(graph),
      into_(static_cast<size_t>(graph.nodes_size())),
      from_(static_cast<size_t>(graph.nodes_size())),
      sender_(static_cast<size_t>(graph.edges_size()), -1) {
  CheckNodes(diagnostics);
  CheckEdges(diagnostics);
  CheckInputs(diagnostics);
  Sort(diagnostics);
}

int GraphStructure::FindNode(const std::string& uid) const {
  const auto found = index_.find(uid);
  return found == index_.end() ? -1 : found->second;
}

void GraphStructure::CheckNodes(Diagnostics& diagnostics) {
  if (graph_.nodes_size() == 0) {
    diagnostics.Error("MR1115", "", "", "the graph has no nodes");
  }
  for (int i = 0; i < graph_.nodes_size(); ++i) {
    const v1::Node& node = graph_.nodes(i);
    if (node.uid().empty()) {
      diagnostics.Error("MR1103", "", NodePath(i), "the node has no uid",
                        "give every node a name that stays: its state is found by it");
    } else if (!IsUid(node.uid())) {
      diagnostics.Error("MR1103", node.uid(), NodePath(i) + ".uid",
                        Concat("'", node.uid(), "' is not a uid"),
                        "a uid has 1 to 128 of the characters a-z 0-9 . _ -");
    }
    if (node.body_case() == v1::Node::BODY_NOT_SET) {
      diagnostics.Error("MR1105", node.uid(), NodePath(i), "the node has no operator",
                        "give it one of: source, sink, filter, project, watermark, "
                        "window_aggregate, window_top_n, inference (docs/job-graph.md has all)");
    }
    if (node.op_version() > 1) {
      diagnostics.Error("MR1116", node.uid(), NodePath(i) + ".op_version",
                        Concat("version ", node.op_version(), " of this operator is unknown"),
                        "the newest is 1; is this Millrace too old for the graph?");
    }
  }
  // A former uid may not be somebody's present one: state would have two owners.
  for (int i = 0; i < graph_.nodes_size(); ++i) {
    const v1::Node& node = graph_.nodes(i);
    if (node.uid().empty()) continue;
    const auto [first, fresh] = index_.emplace(node.uid(), i);
    if (fresh) continue;
    diagnostics.Error("MR1104", node.uid(), NodePath(i) + ".uid",
                      Concat("uid '", node.uid(), "' is taken by ", NodePath(first->second)));
  }
  std::set<std::string> former;
  for (int i = 0; i < graph_.nodes_size(); ++i) {
    for (int k = 0; k < graph_.nodes(i).former_uids_size(); ++k) {
      const std::string& uid = graph_.nodes(i).former_uids(k);
      if (FindNode(uid) < 0 && former.insert(uid).second) continue;
      diagnostics.Error("MR1104", graph_.nodes(i).uid(),
                        Concat(NodePath(i), ".former_uids[", k, "]"),
                        Concat("former uid '", uid, "' belongs to another node too"));
    }
  }
}

uint32_t GraphStructure::InputsOf(const v1::Node& node) {
  const NodeKind* const kind = FindNodeKind(node.body_case());
  return kind == nullptr ? 1 : kind->inputs;
}

void GraphStructure::UnknownNode(int edge, const char* end, const std::string& uid,
                                 Diagnostics& diagnostics) {
  std::vector<std::string_view> uids;
  for (const auto& [known, node] : index_) uids.push_back(known);
  const std::string_view nearest = NearestName(uid, uids);
  diagnostics.Error("MR1106", "", Concat("edges[", edge, "].", end),
                    Concat("no node has the uid '", uid, "'"),
                    nearest.empty() ? Concat("nodes: ", Join(uids, ", "))
                                    : Concat("did you mean '", nearest, "'?"));
}

void GraphStructure::CheckEdge(int index, Diagnostics& diagnostics) {
  const v1::Edge& edge = graph_.edges(index);
  const std::string path = Concat("edges[", index, "]");
  const int from = FindNode(edge.from());
  const int to = FindNode(edge.to());
  if (from < 0) UnknownNode(index, "from", edge.from(), diagnostics);
  if (to < 0) UnknownNode(index, "to", edge.to(), diagnostics);
  if (from < 0 || to < 0) return;
  sender_[static_cast<size_t>(index)] = from;
  if (edge.to_input() >= InputsOf(graph_.nodes(to))) {
    diagnostics.Error("MR1108", edge.to(), path + ".to_input",
                      Concat("node '", edge.to(), "' has no input ", edge.to_input()),
                      InputsOf(graph_.nodes(to)) == 1 ? "it has one input, number 0"
                                                      : "a join has inputs 0 and 1");
    return;
  }
  if (graph_.nodes(to).has_source()) {
    diagnostics.Error("MR1108", edge.to(), path, Concat("source '", edge.to(), "' takes no input"));
    return;
  }
  if (graph_.nodes(from).body_case() != v1::Node::BODY_NOT_SET &&
      !HasPort(graph_.nodes(from), PortOf(edge))) {
    diagnostics.Error(
        "MR1108", edge.from(), path,
        graph_.nodes(from).has_sink()
            ? Concat("sink '", edge.from(), "' has no output")
            : Concat("node '", edge.from(), "' has no output '", PortName(PortOf(edge)), "'"),
        PortOf(edge) == v1::OUTPUT_PORT_LATE ? "nodes of windows have late rows" : "");
    return;
  }
  into_[static_cast<size_t>(to)].push_back(index);
  from_[static_cast<size_t>(from)].push_back(index);
}

void GraphStructure::CheckEdges(Diagnostics& diagnostics) {
  std::set<std::tuple<std::string, int, std::string, uint32_t>> seen;
  for (int i = 0; i < graph_.edges_size(); ++i) {
    const v1::Edge& edge = graph_.edges(i);
    if (!seen.emplace(edge.from(), PortOf(edge), edge.to(), edge.to_input()).second) {
      diagnostics.Error(
          "MR1112", edge.to(), Concat("edges[", i, "]"),
          Concat("the edge from '", edge.from(), "' to '", edge.to(), "' is given twice"),
          "every row would come twice");
      continue;
    }
    CheckEdge(i, diagnostics);
  }
}

void GraphStructure::CheckInputs(Diagnostics& diagnostics) {
  for (int i = 0; i < graph_.nodes_size(); ++i) {
    const v1::Node& node = graph_.nodes(i);
    if (node.body_case() == v1::Node::BODY_NOT_SET) continue;
    const bool named = std::any_of(
        graph_.edges().begin(), graph_.edges().end(),
        [&](const v1::Edge& edge) { return !node.uid().empty() && edge.to() == node.uid(); });
    if (!node.has_source() && !named) {
      diagnostics.Error("MR1108", node.uid(), NodePath(i), "the node has no input",
                        "write 'inputs: [uid]' in the node, or an edge");
    }
    if (named && InputsOf(node) > 1) {
      for (uint32_t input = 0; input < InputsOf(node); ++input) {
        const bool given =
            std::any_of(graph_.edges().begin(), graph_.edges().end(), [&](const v1::Edge& edge) {
              return edge.to() == node.uid() && edge.to_input() == input;
            });
        if (given) continue;
        diagnostics.Error("MR1108", node.uid(), NodePath(i), Concat("input ", input, " is missing"),
                          "name both sides: inputs: [left, right]");
      }
    }
    const auto& out = edges_from(i);
    const bool used = std::any_of(out.begin(), out.end(), [&](int edge) {
      return PortOf(graph_.edges(edge)) == v1::OUTPUT_PORT_MAIN;
    });
    if (!node.has_sink() && !used) {
      diagnostics.Warning("MR1109", node.uid(), NodePath(i),
                          "nothing reads the output of the node; its rows are dropped");
    }
  }
}

void GraphStructure::Sort(Diagnostics& diagnostics) {
  std::vector<size_t> inputs_left(into_.size());
  for (size_t i = 0; i < into_.size(); ++i) inputs_left[i] = into_[i].size();
  std::priority_queue<int, std::vector<int>, std::greater<>> free;
  for (size_t i = 0; i < into_.size(); ++i) {
    if (inputs_left[i] == 0) free.push(static_cast<int>(i));
  }
  while (!free.empty()) {
    const int node = free.top();
    free.pop();
    order_.push_back(node);
    for (int edge : edges_from(node)) {
      const int to = FindNode(graph_.edges(edge).to());
      if (--inputs_left[static_cast<size_t>(to)] == 0) free.push(to);
    }
  }
  if (order_.size() == into_.size()) return;
  // Walk against the edges from a node that is left until one comes again: that is a cycle.
  const auto left =
      std::find_if(inputs_left.begin(), inputs_left.end(), [](size_t count) { return count > 0; });
  std::vector<int> walk;
  int node = static_cast<int>(left - inputs_left.begin());
  while (std::find(walk.begin(), walk.end(), node) == walk.end()) {
    walk.push_back(node);
    const auto& into = edges_into(node);
    node = sender(*std::find_if(into.begin(), into.end(), [&](int edge) {
      return inputs_left[static_cast<size_t>(sender(edge))] > 0;
    }));
  }
  walk.erase(walk.begin(), std::find(walk.begin(), walk.end(), node));
  walk.push_back(node);
  std::reverse(walk.begin(), walk.end());
  std::vector<std::string> uids;
  for (int one : walk) uids.push_back(graph_.nodes(one).uid());
  diagnostics.Error("MR1107", uids[0], NodePath(walk[0]),
                    Concat("the graph has a cycle: ", Join(uids, " -> ")));
}

}  // namespace millrace
