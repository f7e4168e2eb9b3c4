// Calls with OVER: aggregates of the rows before each row, values of other rows, and numbers.
#include <algorithm>
#include <iterator>
#include <utility>

#include "runtime/base/text.h"
#include "sql/node_compiler.h"
#include "sql/query/query_planner.h"
#include "sql/type_names.h"

namespace millrace {

using nlohmann::json;

// A call that is no aggregate, and what it is called with.
struct QueryPlanner::OverCall {
  v1::OverValue value;
  v1::Expr argument, fallback;
};

// Calls with one window: they make one node, of aggregates or of others.
struct QueryPlanner::OverWindow {
  json definition;  // Of PostgreSQL's parse tree.
  json identity;    // The same without name, places and frame.
  json frame;       // Null: no call has one yet.
  int64_t place = 0;
  std::vector<v1::Aggregate> aggregates;
  std::vector<OverCall> calls;

  bool HasLead() const {
    return std::any_of(calls.begin(), calls.end(),
                       [](const OverCall& one) { return one.value.function() == "lead"; });
  }
};

namespace {

// Bits of WindowDef.frameOptions (PostgreSQL, nodes/parsenodes.h).
constexpr int64_t kNotDefault = 0x1, kRange = 0x2, kRows = 0x4, kUnboundedPreceding = 0x20,
                  kStartAtRow = 0x200, kEndAtRow = 0x400, kOffsetPreceding = 0x800;

json WithoutPlaces(json node) {
  if (node.is_object()) node.erase("location");
  for (json& one : node) {
    if (one.is_structured()) one = WithoutPlaces(std::move(one));
  }
  return node;
}

// What needs all rows of its partition.
bool NeedsTheEnd(std::string_view function) {
  return function == "ntile" || function == "percent_rank" || function == "cume_dist";
}

std::optional<SqlProblem> Wrong(std::string message, std::string hint) {
  return SqlProblem{"MR1223", std::move(message), std::move(hint), -1};
}

}  // namespace

bool IsOverCall(const json& node) {
  return !CallName(node).empty() && node["FuncCall"].contains("over");
}

bool ContainsOver(const json& node) {
  if (node.is_object() && (node.contains("SubLink") || IsOverCall(node))) {
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
    if (!IsOverCall(node)) return Replacement::kNone;
    json call = node;
    json over = call["FuncCall"]["over"];
    call["FuncCall"].erase("over");
    if (over.contains("name")) over = Named(over["name"]);
    if (over.is_null() || over.contains("refname")) {
      *problem = {"MR1223", "the window of OVER is not defined",
                  "write OVER (PARTITION BY … ORDER BY …)", -1};
      return Replacement::kProblem;
    }
    const bool is_aggregate = IsAggregateName(CallName(node));
    v1::Aggregate aggregate;
    OverCall other;
    if (is_aggregate) {
      if (!BindAggregateTree(tree_, call, input_, &aggregate, problem)) {
        return Replacement::kProblem;
      }
    } else if (!BindCall(call, over, &other, problem)) {
      return Replacement::kProblem;
    }
    const bool has_frame = is_aggregate || IsFrameFunction(other.value.function());
    OverWindow& window = WindowOf(over, is_aggregate, has_frame);
    if (window.aggregates.empty() && window.calls.empty()) {
      window.place = node["FuncCall"].value("location", int64_t{0}) + tree_.location_base;
    }
    const uint32_t id = ++next_id_;
    out->set_field_id(id);
    if (is_aggregate) {
      aggregate.set_id(id);
      aggregate.set_name(Concat(aggregate.function(), "$", id));
      *out->mutable_type() = aggregate.type();
      window.aggregates.push_back(std::move(aggregate));
    } else {
      other.value.set_id(id);
      other.value.set_name(Concat(other.value.function(), "$", id));
      *out->mutable_type() = other.value.type();
      window.calls.push_back(std::move(other));
    }
    return Replacement::kDone;
  }

 private:
  OverWindow& WindowOf(const json& over, bool is_aggregate, bool has_frame) const {
    json identity = WithoutPlaces(over);
    identity.erase("name");
    json frame = json::object();
    for (const char* part : {"frameOptions", "startOffset", "endOffset"}) {
      if (!identity.contains(part)) continue;
      frame[part] = identity[part];
      identity.erase(part);
    }
    for (OverWindow& one : windows_) {
      if (one.identity != identity || one.aggregates.empty() == is_aggregate) continue;
      if (has_frame && !one.frame.is_null() && one.frame != frame) continue;
      if (has_frame && one.frame.is_null()) one.definition = over;
      if (has_frame) one.frame = frame;
      return one;
    }
    windows_.push_back({.definition = over,
                        .identity = std::move(identity),
                        .frame = has_frame ? std::move(frame) : json(nullptr)});
    return windows_.back();
  }

  // A call that is no aggregate; without an offset of the text in the problem: it is the call's.
  bool BindCall(const json& call, const json& over, OverCall* out, SqlProblem* problem) const {
    const std::string name = CallName(call);
    const json arguments = call["FuncCall"].value("args", json::array());
    if (const auto wrong = CheckCall(name, call["FuncCall"], arguments.size(), over)) {
      *problem = *wrong;
      return false;
    }
    out->value.set_function(name);
    if (IsNumberFunction(name)) {
      out->value.mutable_type()->set_kind(v1::Type::KIND_INT64);
      return true;
    }
    if (!BindTree(tree_, arguments[0], input_, &out->argument, problem)) return false;
    if (arguments.size() > 1) {
      v1::Expr offset;
      if (!BindTree(tree_, arguments[1], input_, &offset, problem)) return false;
      const int64_t rows = offset.has_literal() ? offset.literal().int_value() : -1;
      const bool is_whole = offset.type().kind() == v1::Type::KIND_INT32 ||
                            offset.type().kind() == v1::Type::KIND_INT64;
      const int64_t least = name == "nth_value" ? 1 : 0;
      if (!is_whole || rows < least || offset.literal().is_null()) {
        *problem = {"MR1223",
                    Concat("the offset of ", UpperText(name), " is a number, from ", least),
                    name == "lag"    ? "for rows behind write LEAD(…)"
                    : name == "lead" ? "for rows before write LAG(…)"
                                     : "",
                    -1};
        return false;
      }
      out->value.set_offset(static_cast<uint64_t>(rows));
    }
    if (arguments.size() > 2) {
      if (!BindTree(tree_, arguments[2], input_, &out->fallback, problem)) return false;
      if (out->fallback.has_literal() && out->fallback.literal().is_null()) {
        out->fallback.Clear();
      } else if (const v1::Type of_value = out->argument.type(), of_default = out->fallback.type();
                 !MakeSameType(out->argument, out->fallback)) {
        *problem = {"MR1206",
                    Concat(UpperText(name), " has a value of ", TypeText(of_value),
                           " and a default of ", TypeText(of_default)),
                    "CAST one of them", -1};
        return false;
      }
    }
    *out->value.mutable_type() = out->argument.type();
    return true;
  }

  static std::optional<SqlProblem> CheckCall(const std::string& name, const json& call,
                                             size_t arguments, const json& over) {
    const std::string upper = UpperText(name);
    if (NeedsTheEnd(name)) {
      return Wrong(Concat(upper, "() needs all rows of its partition, and a stream has no end"),
                   "ROW_NUMBER(), RANK() and DENSE_RANK() are known when a row comes");
    }
    if (!IsOverFunction(name)) {
      return SqlProblem{
          "MR1205", Concat("'", name, "' is no function with OVER"),
          "COUNT, SUM, AVG, MIN, MAX, LAG, LEAD, FIRST_VALUE, LAST_VALUE, NTH_VALUE, ROW_NUMBER, "
          "RANK and DENSE_RANK are",
          -1};
    }
    const bool is_near = name == "lag" || name == "lead";
    const size_t least = IsNumberFunction(name) ? 0 : name == "nth_value" ? 2 : 1;
    const size_t most = is_near ? 3 : least;
    if (arguments < least || arguments > most || call.contains("agg_star")) {
      return SqlProblem{"MR1206", Concat(upper, "() has ", arguments, " arguments"),
                        is_near      ? Concat("write ", upper, "(value, 1, default)")
                        : least == 0 ? Concat("write ", upper, "()")
                        : least == 1 ? Concat("write ", upper, "(value)")
                                     : "write NTH_VALUE(value, 2)",
                        -1};
    }
    if (call.contains("agg_distinct") || call.contains("agg_filter") ||
        call.contains("agg_order")) {
      return Wrong(Concat(upper, "() has neither DISTINCT nor FILTER nor an order of its own"),
                   "choose the rows in a subquery with WHERE");
    }
    const bool has_frame = (over.value("frameOptions", int64_t{0}) & kNotDefault) != 0;
    if (has_frame && !IsFrameFunction(name)) {
      return Wrong(Concat(upper, "() has no frame"), "leave ROWS and RANGE out of its OVER");
    }
    return std::nullopt;
  }

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
    if (target.is_processing_time) {
      return Problem("MR1223", "PROCTIME() cannot stand beside OVER",
                     "give the rows their time in a subquery", static_cast<int64_t>(place));
    }
    SqlProblem problem;
    if (BindTree(block.tree, *target.node, scope, &target.expr, &problem)) continue;
    Report(problem);
    ok = false;
  }
  // Rows that have waited for later ones have no event time any more, by which the next ones could
  // order them.
  const auto waiting = std::stable_partition(windows.begin(), windows.end(),
                                             [](const OverWindow& one) { return !one.HasLead(); });
  if (ok && std::distance(waiting, windows.end()) > 1) {
    return Problem("MR1223", "LEAD has two windows in one SELECT",
                   "give both the same PARTITION BY, or join two queries with one each",
                   std::next(waiting)->place);
  }
  for (OverWindow& window : windows) {
    if (!ok) break;
    rows = PlanOverWindow(std::move(window), *std::move(rows), &next_id, block);
    ok = rows.has_value();
  }
  return ok ? rows : std::nullopt;
}

QueryPlanner::Planned QueryPlanner::PlanOverWindow(OverWindow window, Relation rows,
                                                   uint32_t* next_id, const Block& block) {
  const auto place = static_cast<size_t>(window.place);
  const RelationScope scope(rows.columns);
  const Json& over = window.definition;
  const std::vector<RelationColumn> seen = rows.columns;
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
  const bool has_number =
      std::any_of(window.calls.begin(), window.calls.end(),
                  [](const OverCall& one) { return IsNumberFunction(one.value.function()); });
  const auto is_time = [&](const v1::Expr& expr) {
    return rows.facts.event_times.contains(expr.field_id()) ||
           rows.facts.processing_times.contains(expr.field_id());
  };
  if (order.size() != 1 || keys[0].descending() || !order[0].has_field_id() ||
      (has_number && !is_time(order[0]))) {
    return Problem("MR1223", "OVER needs ORDER BY one event time, ascending",
                   has_number
                       ? "in another order a number stands alone, and needs WHERE rn <= 10 in "
                         "a query around it"
                       : "write OVER (PARTITION BY … ORDER BY ts)",
                   static_cast<int64_t>(place));
  }
  const uint32_t time = order[0].field_id();
  v1::OverAggregate frame;
  if (!window.frame.is_null() && !ReadFrame(over, block, place, &frame)) return std::nullopt;
  Planned input = std::move(rows);
  if (input->facts.processing_times.contains(time)) {
    input = ByClock(*std::move(input), time, block, place);
    if (!input) return std::nullopt;
  }
  // What is computed becomes columns first.
  std::vector<Target> columns = AllColumns(input->facts.schema);
  const size_t bare = columns.size();
  const auto column_of = [&](const v1::Expr& expr, const char* role) {
    if (expr.has_field_id()) return expr.field_id();
    const uint32_t id = ++*next_id;
    columns.push_back({.name = Concat(role, "$", id), .expr = expr, .id = id});
    return id;
  };
  v1::Fields by;
  for (const v1::Expr& one : partition) by.add_ids(column_of(one, "key"));
  for (OverCall& call : window.calls) {
    if (IsNumberFunction(call.value.function())) continue;
    call.value.mutable_column()->add_ids(column_of(call.argument, "value"));
    if (call.fallback.kind_case() == v1::Expr::KIND_NOT_SET) continue;
    call.value.mutable_fallback()->add_ids(column_of(call.fallback, "default"));
  }
  if (columns.size() > bare) input = PlanProject(*input, columns, block, place);
  if (!input) return std::nullopt;
  v1::Node node;
  const auto fill = [&](auto& body) {
    *body.mutable_partition() = by;
    body.mutable_time()->add_ids(time);
    if (window.frame.is_null()) return;
    body.set_frame(frame.frame());
    if (frame.has_preceding()) body.set_preceding(frame.preceding());
  };
  const bool aggregates = !window.aggregates.empty();
  if (aggregates) {
    v1::OverAggregate& body = *node.mutable_over_aggregate();
    fill(body);
    for (v1::Aggregate& one : window.aggregates) *body.add_aggregates() = std::move(one);
  } else {
    v1::OverValues& body = *node.mutable_over_values();
    fill(body);
    for (OverCall& one : window.calls) *body.add_values() = std::move(one.value);
  }
  Planned result = assembler_.Add(block.object, aggregates ? "over-aggregate" : "over-values",
                                  std::move(node), {&*input}, place);
  if (result) result->columns = seen;
  return result;
}

// ROW_NUMBER, RANK or DENSE_RANK without a limit: known when the rows are ordered by event time.
QueryPlanner::Planned QueryPlanner::NumberRows(Planned rows, const Block& block) {
  if (!rows || !rows->rank) return rows;
  const PendingRank rank = *std::exchange(rows->rank, std::nullopt);
  const auto is_time = [&](const std::set<uint32_t>& times) {
    return rank.order.size() == 1 && !rank.order[0].descending() &&
           times.contains(rank.order[0].field().ids(0));
  };
  if (rows->facts.mode != v1::CHANGELOG_MODE_APPEND ||
      (!is_time(rows->facts.processing_times) &&
       !(rows->facts.has_watermark && is_time(rows->facts.event_times)))) {
    return NeedsLimit(rank);
  }
  const std::vector<RelationColumn> seen = rows->columns;
  const uint32_t time = rank.order[0].field().ids(0);
  if (rows->facts.processing_times.contains(time)) {
    rows = ByClock(*std::move(rows), time, block, rank.offset);
    if (!rows) return std::nullopt;
  }
  v1::Node node;
  v1::OverValues& body = *node.mutable_over_values();
  *body.mutable_partition() = rank.partition;
  body.mutable_time()->add_ids(time);
  v1::OverValue& value = *body.add_values();
  value.set_function(rank.function);
  value.set_name(rank.name);
  const uint32_t id = LargestId(rows->facts.schema) + 1;
  value.set_id(id);
  Planned numbered =
      assembler_.Add(block.object, "over-values", std::move(node), {&*rows}, rank.offset);
  if (!numbered) return std::nullopt;
  // Without the columns that only gave the order.
  std::vector<RelationColumn> columns = seen;
  std::vector<Target> targets;
  for (RelationColumn& column : columns) {
    if (column.id == kRowNumberId) column.id = id;
    targets.push_back(
        {.name = Join(column.names, "."), .expr = ColumnExpr(column), .id = column.id});
  }
  numbered = PlanProject(*numbered, targets, block, rank.offset);
  if (numbered) numbered->columns = std::move(columns);
  return numbered;
}

std::nullopt_t QueryPlanner::NeedsLimit(const PendingRank& rank) {
  return Problem(
      "MR1217", Concat(UpperText(rank.function), "() needs a limit in the query around it"),
      Concat("write WHERE ", rank.name, " <= 10, or ORDER BY the event time alone, ascending"),
      static_cast<int64_t>(rank.offset));
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
