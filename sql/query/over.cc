// Aggregates with OVER: of the rows before each row.
#include <algorithm>
#include <utility>

#include "runtime/base/text.h"
#include "sql/node_compiler.h"
#include "sql/query/query_planner.h"

namespace millrace {

using nlohmann::json;

// Calls with one window: they make one node.
struct QueryPlanner::OverWindow {
  json definition;  // Of PostgreSQL's parse tree.
  json identity;    // The same without name and places.
  std::vector<v1::Aggregate> aggregates;
};

namespace {

// Bits of WindowDef.frameOptions (PostgreSQL, nodes/parsenodes.h).
constexpr int64_t kRange = 0x2, kRows = 0x4, kUnboundedPreceding = 0x20, kStartAtRow = 0x200,
                  kEndAtRow = 0x400, kOffsetPreceding = 0x800;

json WithoutPlaces(json node) {
  if (node.is_object()) node.erase("location");
  for (json& one : node) {
    if (one.is_structured()) one = WithoutPlaces(std::move(one));
  }
  return node;
}

}  // namespace

bool IsOverAggregate(const json& node) {
  return IsAggregateName(CallName(node)) && node["FuncCall"].contains("over");
}

bool ContainsOver(const json& node) {
  if (node.is_object() && (node.contains("SubLink") || IsOverAggregate(node))) {
    return !node.contains("SubLink");
  }
  return node.is_structured() && std::any_of(node.begin(), node.end(), &ContainsOver);
}

// Sees the columns of the input, and calls with OVER as columns that will be there.
class QueryPlanner::OverScope : public ExpressionScope {
 public:
  OverScope(const SqlTree& tree, const Json& named, const std::vector<RelationColumn>& columns,
            std::vector<OverWindow>& windows, uint32_t& next_id)
      : tree_(tree), named_(named), input_(columns), windows_(windows), next_id_(next_id) {}

  bool FindColumn(std::span<const NamePart> parts, v1::Expr* out,
                  SqlProblem* problem) const override {
    return input_.FindColumn(parts, out, problem);
  }

  Replacement Replace(const json& node, v1::Expr* out, SqlProblem* problem) const override {
    if (!IsOverAggregate(node)) return Replacement::kNone;
    json call = node;
    json over = call["FuncCall"]["over"];
    call["FuncCall"].erase("over");
    if (over.contains("name")) over = Named(over["name"]);
    if (over.is_null() || over.contains("refname")) {
      *problem = {"MR1223", "the window of OVER is not defined",
                  "write OVER (PARTITION BY … ORDER BY …)", -1};
      return Replacement::kProblem;
    }
    v1::Aggregate aggregate;
    if (!BindAggregateTree(tree_, call, input_, &aggregate, problem)) return Replacement::kProblem;
    json identity = WithoutPlaces(over);
    identity.erase("name");
    auto window = std::find_if(windows_.begin(), windows_.end(),
                               [&](const OverWindow& one) { return one.identity == identity; });
    if (window == windows_.end()) {
      windows_.push_back({.definition = over, .identity = identity, .aggregates = {}});
      window = std::prev(windows_.end());
    }
    aggregate.set_id(++next_id_);
    aggregate.set_name(Concat(aggregate.function(), "$", next_id_));
    *out->mutable_type() = aggregate.type();
    out->set_field_id(aggregate.id());
    window->aggregates.push_back(std::move(aggregate));
    return Replacement::kDone;
  }

 private:
  // Of WINDOW w AS (…).
  json Named(const json& name) const {
    for (const json& one : named_) {
      if (one["WindowDef"].value("name", "") == name) return one["WindowDef"];
    }
    return nullptr;
  }

  const SqlTree tree_;
  const Json& named_;
  const RelationScope input_;
  std::vector<OverWindow>& windows_;
  uint32_t& next_id_;
};

QueryPlanner::Planned QueryPlanner::PlanOver(const Json& body, Relation input,
                                             std::vector<Target>* targets, const Block& block) {
  const size_t place = PlaceOf(block, body["targetList"]);
  // State should hold no more than what is read.
  std::set<uint32_t> read;
  for (const auto& [key, value] : body.items()) {
    if (key != "fromClause" && key != "whereClause") {
      AddReferencesOf(value, input.columns, block, &read);
    }
  }
  Planned rows = Narrow(input, read, 0, block, place);
  if (!rows) return std::nullopt;
  uint32_t next_id = LargestId(rows->facts.schema);
  std::vector<OverWindow> windows;
  const Json named = body.value("windowClause", Json::array());
  const std::vector<RelationColumn> columns = rows->columns;
  const OverScope scope(block.tree, named, columns, windows, next_id);
  bool ok = true;
  for (Target& target : *targets) {
    if (target.node == nullptr) continue;
    if (target.is_row_number || target.is_processing_time) {
      return Problem(
          "MR1223", "ROW_NUMBER() and PROCTIME() cannot stand beside aggregates with OVER",
          "give the rows their number or time in a subquery", static_cast<int64_t>(place));
    }
    SqlProblem problem;
    if (BindTree(block.tree, *target.node, scope, &target.expr, &problem)) continue;
    Report(problem);
    ok = false;
  }
  for (OverWindow& window : windows) {
    if (!ok) break;
    rows = PlanOverWindow(std::move(window), *std::move(rows), &next_id, block, place);
    ok = rows.has_value();
  }
  return ok ? rows : std::nullopt;
}

QueryPlanner::Planned QueryPlanner::PlanOverWindow(OverWindow window, Relation rows,
                                                   uint32_t* next_id, const Block& block,
                                                   size_t place) {
  const RelationScope scope(rows.columns);
  const Json& over = window.definition;
  const std::vector<RelationColumn> seen = rows.columns;
  v1::Node node;
  v1::OverAggregate& body = *node.mutable_over_aggregate();
  std::vector<v1::Expr> partition, order;
  for (const Json& one : over.value("partitionClause", Json::array())) {
    SqlProblem problem;
    if (!BindTree(block.tree, one, scope, &partition.emplace_back(), &problem)) {
      return Report(problem);
    }
  }
  google::protobuf::RepeatedPtrField<v1::SortKey> keys;
  if (!ReadOrder(over.value("orderClause", Json::array()), scope, block, &order, &keys)) {
    return std::nullopt;
  }
  if (order.size() != 1 || keys[0].descending() || !order[0].has_field_id()) {
    return Problem("MR1223", "OVER needs ORDER BY one event time, ascending",
                   "write OVER (PARTITION BY … ORDER BY ts)", static_cast<int64_t>(place));
  }
  const uint32_t time = order[0].field_id();
  body.mutable_time()->add_ids(time);
  if (!ReadFrame(over, block, place, &body)) return std::nullopt;
  Planned input = std::move(rows);
  if (input->facts.processing_times.contains(time))
    input = ByClock(*std::move(input), time, block, place);
  for (const v1::Expr& one : partition) {
    if (!input) return std::nullopt;
    uint32_t id = one.field_id();
    if (!one.has_field_id()) {
      std::vector<Target> columns = AllColumns(input->facts.schema);
      id = ++*next_id;
      columns.push_back({.name = Concat("key$", id), .expr = one, .id = id});
      input = PlanProject(*input, columns, block, place);
    }
    body.mutable_partition()->add_ids(id);
  }
  if (!input) return std::nullopt;
  for (v1::Aggregate& one : window.aggregates) *body.add_aggregates() = std::move(one);
  Planned result =
      assembler_.Add(block.object, "over-aggregate", std::move(node), {&*input}, place);
  if (result) result->columns = seen;
  return result;
}

// The frame ends with the row, or, of RANGE, with those of its time.
bool QueryPlanner::ReadFrame(const Json& over, const Block& block, size_t place,
                             v1::OverAggregate* body) {
  const int64_t options = over.value("frameOptions", int64_t{0});
  const bool by_rows = (options & kRows) != 0;
  body->set_frame(by_rows ? v1::OverAggregate::FRAME_ROWS : v1::OverAggregate::FRAME_RANGE);
  const std::string hint =
      "write ROWS BETWEEN 10 PRECEDING AND CURRENT ROW, or RANGE BETWEEN INTERVAL '1' MINUTE "
      "PRECEDING AND CURRENT ROW";
  if ((options & (kRange | kRows)) == 0 || (options & kEndAtRow) == 0) {
    Problem("MR1223", "a frame is ROWS or RANGE, and ends with the current row", hint,
            static_cast<int64_t>(place));
    return false;
  }
  if ((options & kUnboundedPreceding) != 0) return true;
  if ((options & kStartAtRow) != 0) {
    body->set_preceding(0);
    return true;
  }
  v1::Expr length;
  SqlProblem problem;
  if ((options & kOffsetPreceding) == 0 || !over.contains("startOffset") ||
      !BindTree(block.tree, over["startOffset"], RelationScope({}), &length, &problem)) {
    Problem("MR1223", "the frame does not begin before the current row", hint,
            static_cast<int64_t>(place));
    return false;
  }
  const bool is_length = length.type().kind() == v1::Type::KIND_INTERVAL;
  const int64_t value = length.has_literal() ? length.literal().int_value() : -1;
  if (is_length == by_rows || value < 0 || (is_length && value % 1000 != 0)) {
    Problem("MR1223",
            by_rows ? "ROWS are counted by a number" : "RANGE has a length of whole milliseconds",
            hint, static_cast<int64_t>(place));
    return false;
  }
  body->set_preceding(static_cast<uint64_t>(by_rows ? value : value / 1000));
  return true;
}

}  // namespace millrace
