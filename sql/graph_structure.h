// The shape of a graph: uids, edges, ports, order. Says nothing of columns and types.
//
// Threading: pure functions.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/v1/graph.pb.h"
#include "sql/diagnostics.h"

namespace millrace {

// "nodes[3]".
std::string NodePath(int node);

class GraphStructure {
 public:
  // Checks the graph and reports what is wrong with its shape. The graph must outlive this and keep
  // its nodes and edges.
  GraphStructure(const v1::JobGraph& graph, Diagnostics& diagnostics);

  // Every node that is on no cycle, receivers after senders; the order of the list breaks ties.
  const std::vector<int>& order() const { return order_; }
  // The edges of the graph into and out of a node, by index; only those whose ends exist.
  const std::vector<int>& edges_into(int node) const { return into_[static_cast<size_t>(node)]; }
  const std::vector<int>& edges_from(int node) const { return from_[static_cast<size_t>(node)]; }
  int sender(int edge) const { return sender_[static_cast<size_t>(edge)]; }

 private:
  void CheckNodes(Diagnostics& diagnostics);
  void CheckEdges(Diagnostics& diagnostics);
  void CheckEdge(int index, Diagnostics& diagnostics);
  void CheckInputs(Diagnostics& diagnostics);
  void Sort(Diagnostics& diagnostics);
  static uint32_t InputsOf(const v1::Node& node);
  int FindNode(const std::string& uid) const;
  void UnknownNode(int edge, const char* end, const std::string& uid, Diagnostics& diagnostics);

  const v1::JobGraph& graph_;
  std::map<std::string, int, std::less<>> index_;
  std::vector<std::vector<int>> into_, from_;
  std::vector<int> sender_;
  std::vector<int> order_;
};

}  // namespace millrace
