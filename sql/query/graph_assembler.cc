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
  if (united == nullptr && CallsPython(node)) {
    if (inputs.size() == 1)
      return AddBehindPython(object, role, std::move(node), *inputs[0], offset);
    if (node.join().kind() == v1::Join::KIND_INNER && CallsPython(node.join().condition())) {
      return AddJoinBeforePython(object, role, std::move(node), inputs, offset);
    }
  }
  if (!KeepsForEver(node)) {
    node.set_state_ttl_ms(0);
  } else if (node.state_ttl_ms() == 0) {
    node.set_state_ttl_ms(state_ttl_ms_);
  }
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

std::optional<Relation> GraphAssembler::AddBehindPython(const std::string& object,
                                                        std::string_view role, v1::Node node,
                                                        Relation input, size_t offset) {
  if (node.has_filter()) {  // Rows that the other conditions leave out are not asked about.
    v1::Expr before, behind;
    SplitByPython(node.filter().predicate(), &before, &behind);
    if (before.has_type()) {
      v1::Node first;
      *first.mutable_filter()->mutable_predicate() = std::move(before);
      *node.mutable_filter()->mutable_predicate() = std::move(behind);
      std::optional<Relation> filtered = Add(object, role, std::move(first), {&input}, offset);
      if (!filtered) return std::nullopt;
      input = *std::move(filtered);
    }
  }
  uint32_t next_id = std::max(LargestId(input.facts.schema), LargestIdIn(node)) + 1;
  const uint32_t first_id = next_id;
  // A call whose arguments call others comes behind them.
  while (CallsPython(node)) {
    v1::Node calls;
    *calls.mutable_python_call() = TakeReadyCalls(python_, &node, &next_id);
    if (calls.python_call().results().empty()) break;  // The node says what is wrong with them.
    std::optional<Relation> computed = Add(object, "python", std::move(calls), {&input}, offset);
    if (!computed) return std::nullopt;
    input = *std::move(computed);
  }
  const bool is_project = node.has_project();
  std::optional<Relation> added = Add(object, role, std::move(node), {&input}, offset);
  if (!added || is_project) return added;
  v1::Node seen;
  bool is_seen = true;
  for (const RelationColumn& column : added->columns) {
    if (column.id >= first_id && column.id < next_id && FieldById(input.facts.schema, column.id)) {
      is_seen = false;
      continue;
    }
    *seen.mutable_project()->add_columns()->mutable_expr() = ColumnExpr(column);
  }
  if (is_seen || seen.project().columns().empty()) return added;
  return Add(object, Concat(role, ".columns"), std::move(seen), {&*added}, offset);
}

// What the functions decide is asked of the pairs that the other conditions leave.
std::optional<Relation> GraphAssembler::AddJoinBeforePython(
    const std::string& object, std::string_view role, v1::Node node,
    const std::vector<const Relation*>& inputs, size_t offset) {
  v1::Join& join = *node.mutable_join();
  v1::Expr before, behind;
  SplitByPython(join.condition(), &before, &behind);
  if (before.has_type()) {
    *join.mutable_condition() = std::move(before);
  } else {
    join.clear_condition();
  }
  const std::optional<Relation> joined = Add(object, role, std::move(node), inputs, offset);
  if (!joined) return std::nullopt;
  v1::Node filter;
  *filter.mutable_filter()->mutable_predicate() = std::move(behind);
  return Add(object, Concat(role, ".filter"), std::move(filter), {&*joined}, offset);
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
