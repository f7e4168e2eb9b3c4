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
  return relation;
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
