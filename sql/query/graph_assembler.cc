#include "sql/query/graph_assembler.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "runtime/base/text.h"
#include "sql/changelog.h"
#include "sql/graph_structure.h"
#include "sql/node_compiler.h"

namespace millrace {
namespace {

constexpr size_t kUidBytesMax = 100;

// [a-z0-9._-]
std::string UidText(std::string_view text) {
  std::string uid;
  for (const char c : LowerAscii(text)) {
    const bool fits =
        (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
    uid += fits ? c : '-';
  }
  return uid.substr(0, kUidBytesMax);
}

}  // namespace

std::string GraphAssembler::FreshUid(const std::string& object, std::string_view role) {
  const std::string base =
      role.empty() ? UidText(object) : Concat(UidText(object), ".", std::string(role));
  std::string uid = base;
  for (int n = 2; !uids_.insert(uid).second; ++n) uid = Concat(base, ".", n);
  return uid;
}

std::optional<Relation> GraphAssembler::Add(const std::string& object, std::string_view role,
                                            v1::Node node,
                                            const std::vector<const Relation*>& inputs,
                                            size_t offset, const Relation* united) {
  if (KeepsForEver(node)) node.set_state_ttl_ms(state_ttl_ms_);
  std::string identity = node.SerializeAsString();
  for (const Relation* input : inputs) identity += "\n" + input->uid;
  if (united != nullptr) identity += "\n\n" + united->uid;
  const bool is_sink = node.has_sink();
  if (const auto known = added_.find(identity); !is_sink && known != added_.end()) {
    return known->second;
  }
  const int index = graph_.nodes_size();
  node.set_uid(FreshUid(object, role));
  positions_.Add(NodePath(index), {.begin = PositionInText(script_, static_cast<int64_t>(offset))});
  v1::Node& added = *graph_.add_nodes();
  added = std::move(node);
  for (size_t i = 0; i < inputs.size(); ++i) {
    v1::Edge& edge = *graph_.add_edges();
    edge.set_from(inputs[i]->uid);
    edge.set_output(v1::OUTPUT_PORT_MAIN);
    edge.set_to(added.uid());
    edge.set_to_input(static_cast<uint32_t>(i));
  }
  if (united != nullptr) {
    v1::Edge& edge = *graph_.add_edges();
    edge.set_from(united->uid);
    edge.set_output(v1::OUTPUT_PORT_MAIN);
    edge.set_to(added.uid());
  }
  if (added.op_version() == 0) added.set_op_version(1);
  const NodeContext context{.node = added,
                            .path = NodePath(index),
                            .input = inputs.empty() ? nullptr : &inputs[0]->facts,
                            .diagnostics = diagnostics_,
                            .graph = &graph_,
                            .right = inputs.size() > 1 ? &inputs[1]->facts : nullptr};
  const NodeKind* const kind = FindNodeKind(added.body_case());
  if (!inputs.empty() && !CheckAccepts(context, *kind)) return std::nullopt;
  std::optional<StreamFacts> facts = kind->compile(context);
  if (!facts) return std::nullopt;
  Relation relation{.uid = added.uid(), .facts = *std::move(facts), .columns = {}};
  if (!added.has_source() && !added.has_sink()) *added.mutable_schema() = relation.facts.schema;
  relation.columns = ColumnsOf(relation.facts.schema, "");
  added_.emplace(std::move(identity), relation);
  by_uid_.emplace(relation.uid, relation);
  return relation;
}

std::string GraphAssembler::AddLater(
    const std::string& object, std::string_view role, v1::Node node,
    const std::vector<std::pair<std::string, v1::OutputPort>>& inputs, size_t offset) {
  node.set_uid(FreshUid(object, role));
  positions_.Add(NodePath(graph_.nodes_size()),
                 {.begin = PositionInText(script_, static_cast<int64_t>(offset))});
  for (const auto& [from, output] : inputs) {
    v1::Edge& edge = *graph_.add_edges();
    edge.set_from(from);
    edge.set_output(output);
    edge.set_to(node.uid());
  }
  *graph_.add_nodes() = node;
  return node.uid();
}

const v1::Node* GraphAssembler::FindNode(const std::string& uid) const {
  const auto found = std::find_if(graph_.nodes().begin(), graph_.nodes().end(),
                                  [&](const v1::Node& one) { return one.uid() == uid; });
  return found == graph_.nodes().end() ? nullptr : &*found;
}

const Relation* GraphAssembler::FindRelation(const std::string& uid) const {
  const auto found = by_uid_.find(uid);
  return found == by_uid_.end() ? nullptr : &found->second;
}

const std::string& GraphAssembler::InputOf(const std::string& uid) const {
  static const std::string* const none = new std::string;
  for (const v1::Edge& edge : graph_.edges()) {
    if (edge.to() == uid && edge.to_input() == 0) return edge.from();
  }
  return *none;
}

void GraphAssembler::DropUnread() {
  std::set<std::string> read;
  for (const v1::Node& node : graph_.nodes()) {
    if (node.has_sink()) read.insert(node.uid());
  }
  for (size_t before = 0; before != read.size();) {
    before = read.size();
    for (const v1::Edge& edge : graph_.edges()) {
      if (read.contains(edge.to())) read.insert(edge.from());
    }
  }
  if (read.size() == static_cast<size_t>(graph_.nodes_size())) return;
  v1::JobGraph kept = graph_;
  kept.clear_nodes();
  kept.clear_edges();
  SourcePositions positions;
  for (int i = 0; i < graph_.nodes_size(); ++i) {
    if (!read.contains(graph_.nodes(i).uid())) continue;
    positions.Add(NodePath(kept.nodes_size()), {.begin = positions_.Find(NodePath(i))});
    *kept.add_nodes() = graph_.nodes(i);
  }
  for (const v1::Edge& edge : graph_.edges()) {
    if (read.contains(edge.to())) *kept.add_edges() = edge;
  }
  graph_ = std::move(kept);
  positions_ = std::move(positions);
}

void GraphAssembler::Report(const SqlProblem& problem) {
  v1::Diagnostic& one = problems_.emplace_back();
  one.set_severity(v1::Diagnostic::SEVERITY_ERROR);
  one.set_code(problem.code);
  one.set_message(problem.message);
  one.set_hint(problem.hint);
  const TextPosition at = PositionInText(script_, std::max<int64_t>(problem.offset, 0));
  one.set_line(at.line);
  one.set_column(at.column);
  problems_has_errors_ = true;
}

std::vector<v1::Diagnostic> GraphAssembler::TakeDiagnostics() {
  std::vector<v1::Diagnostic> all = diagnostics_.Take();
  std::move(problems_.begin(), problems_.end(), std::back_inserter(all));
  std::stable_sort(all.begin(), all.end(), [](const v1::Diagnostic& a, const v1::Diagnostic& b) {
    return std::pair(a.line(), a.column()) < std::pair(b.line(), b.column());
  });
  return all;
}

}  // namespace millrace
