// GROUP BY, with and without windows, HAVING and DISTINCT.
#include <algorithm>
#include <utility>

#include "runtime/base/text.h"
#include "sql/node_compiler.h"
#include "sql/query/query_planner.h"

namespace millrace {

using nlohmann::json;

namespace {

constexpr size_t kCubeMax = 6;
constexpr size_t kGroupingSetsMax = 64;

}  // namespace

struct QueryPlanner::Grouping {
  Relation input;
  std::vector<v1::Expr> keys;     // Over the input.
  std::vector<v1::Expr> outputs;  // What stands for each key behind the node.
  std::vector<v1::Aggregate> aggregates;
  uint32_t next_id = 0;

  uint32_t Fresh() { return ++next_id; }
};

namespace {

// What can be seen behind a GROUP BY: keys and aggregates; the latter are collected as they come.
class GroupScope : public ExpressionScope {
 public:
  GroupScope(const SqlTree& tree, const std::vector<RelationColumn>& columns,
             const std::vector<v1::Expr>& keys, const std::vector<v1::Expr>& outputs,
             const std::vector<v1::Expr>& absent, std::vector<v1::Aggregate>& aggregates,
             uint32_t& next_id, const std::map<const json*, v1::Expr>& values)
      : tree_(tree),
        input_(columns),
        keys_(keys),
        outputs_(outputs),
        absent_(absent),
        aggregates_(aggregates),
        next_id_(next_id),
        values_(values) {}

  bool FindColumn(std::span<const NamePart> parts, v1::Expr* out,
                  SqlProblem* problem) const override {
    return input_.FindColumn(parts, out, problem);
  }

  // Notes the aggregates of a tree. False: one of them cannot be bound.
  bool Collect(const json& node, SqlProblem* problem) const {
    if (!node.is_structured() || (node.is_object() && node.contains("SubLink"))) return true;
    v1::Expr ignored;
    if (node.is_object() && IsAggregateCall(node)) {
      return ReplaceAggregate(node, &ignored, problem) == Replacement::kDone;
    }
    return std::all_of(node.begin(), node.end(),
                       [&](const json& one) { return Collect(one, problem); });
  }

  Replacement Replace(const json& node, v1::Expr* out, SqlProblem* problem) const override {
    if (const auto value = values_.find(&node); value != values_.end()) {
      *out = value->second;
      return Replacement::kDone;
    }
    if (IsAggregateCall(node)) return ReplaceAggregate(node, out, problem);
    if (node.contains("A_Const")) return Replacement::kNone;
    if (const json* arguments = GroupingArguments(node)) {
      return ReplaceGrouping(*arguments, out, problem);
    }
    v1::Expr bound;
    SqlProblem ignored;  // Aggregates within: looked at piece by piece.
    if (!BindTree(tree_, node, input_, &bound, &ignored)) return Replacement::kNone;
    for (size_t i = 0; i < keys_.size(); ++i) {
      if (!SameExpr(keys_[i], bound)) continue;
      *out = outputs_[i];
      return Replacement::kDone;
    }
    if (Among(absent_, bound)) {
      *out->mutable_type() = bound.type();
      out->mutable_literal()->set_is_null(true);
      return Replacement::kDone;
    }
    if (!node.contains("ColumnRef")) return Replacement::kNone;
    std::vector<std::string> names;
    for (const NamePart& part : NamePartsOf(tree_, node["ColumnRef"])) names.push_back(part.name);
    *problem = {
        "MR1213",
        Concat("column '", Join(names, "."), "' is neither in GROUP BY nor in an aggregate"),
        "add it to GROUP BY", -1};
    return Replacement::kProblem;
  }

 private:
  static bool Among(const std::vector<v1::Expr>& exprs, const v1::Expr& expr) {
    return std::any_of(exprs.begin(), exprs.end(),
                       [&](const v1::Expr& one) { return SameExpr(one, expr); });
  }

  // Of GROUPING(…) and GROUPING_ID(…); null: it is neither.
  static const json* GroupingArguments(const json& node) {
    if (node.contains("GroupingFunc")) return &node["GroupingFunc"]["args"];
    const bool has_arguments = CallName(node) == "grouping_id" && node["FuncCall"].contains("args");
    return has_arguments ? &node["FuncCall"]["args"] : nullptr;
  }

  // One bit per argument, the last one lowest: 1, the rows are not grouped by it.
  Replacement ReplaceGrouping(const json& arguments, v1::Expr* out, SqlProblem* problem) const {
    int64_t bits = 0;
    for (const json& argument : arguments) {
      v1::Expr bound;
      if (!BindTree(tree_, argument, input_, &bound, problem)) return Replacement::kProblem;
      const bool absent = !Among(keys_, bound);
      if (absent && !Among(absent_, bound)) {
        *problem = {"MR1213", "GROUPING() names what the rows are not grouped by", "", -1};
        return Replacement::kProblem;
      }
      bits = bits * 2 + (absent ? 1 : 0);
    }
    out->mutable_type()->set_kind(v1::Type::KIND_INT64);
    out->mutable_literal()->set_int_value(bits);
    return Replacement::kDone;
  }

  Replacement ReplaceAggregate(const json& node, v1::Expr* out, SqlProblem* problem) const {
    v1::Aggregate aggregate;
    if (!BindAggregateTree(tree_, node, input_, &aggregate, problem)) return Replacement::kProblem;
    *out->mutable_type() = aggregate.type();
    for (const v1::Aggregate& known : aggregates_) {
      v1::Aggregate plain = known;
      plain.clear_id();
      plain.clear_name();
      if (plain.SerializeAsString() != aggregate.SerializeAsString()) continue;
      out->set_field_id(known.id());
      return Replacement::kDone;
    }
    aggregate.set_id(++next_id_);
    aggregate.set_name(Concat(aggregate.function(), "$", aggregates_.size()));
    out->set_field_id(aggregate.id());
    aggregates_.push_back(std::move(aggregate));
    return Replacement::kDone;
  }

  const SqlTree tree_;
  const RelationScope input_;
  const std::vector<v1::Expr>& keys_;
  const std::vector<v1::Expr>& outputs_;
  const std::vector<v1::Expr>& absent_;  // Keys of other grouping sets.
  std::vector<v1::Aggregate>& aggregates_;
  uint32_t& next_id_;
  const std::map<const json*, v1::Expr>& values_;  // Of subqueries.
};

}  // namespace

QueryPlanner::Planned QueryPlanner::PlanAggregate(const Json& body, Relation input,
                                                  std::vector<Target>* targets, const Block& block,
                                                  GroupBy by) {
  const size_t place = PlaceOf(block, body["targetList"]);
  Grouping grouping{.input = std::move(input), .keys = {}, .outputs = {}, .aggregates = {}};
  grouping.next_id = LargestId(grouping.input.facts.schema);
  const std::vector<RelationColumn> columns = grouping.input.columns;
  const RelationScope scope(columns);
  for (const RelationColumn& column : columns) {
    if (std::find(by.columns.begin(), by.columns.end(), column.id) == by.columns.end()) continue;
    grouping.keys.push_back(ColumnExpr(column));
    grouping.outputs.push_back(ColumnExpr(column));
  }
  const auto bind = [&](const Json& key, v1::Expr* bound) {
    SqlProblem problem;
    if (BindTree(block.tree, key, scope, bound, &problem)) return true;
    Report(problem);
    return false;
  };
  for (const Json* key : by.keys) {
    v1::Expr bound;
    if (!bind(*key, &bound)) return std::nullopt;
    if (std::any_of(grouping.keys.begin(), grouping.keys.end(),
                    [&](const v1::Expr& one) { return SameExpr(one, bound); })) {
      continue;
    }
    grouping.keys.push_back(bound);
    v1::Expr output;
    *output.mutable_type() = bound.type();
    // The window's columns and values that are computed get columns of their own.
    const bool is_column = bound.has_field_id() && bound.field_id() < kRowNumberId;
    output.set_field_id(is_column ? bound.field_id() : grouping.Fresh());
    grouping.outputs.push_back(std::move(output));
  }
  std::vector<v1::Expr> absent;
  for (const Json* key : by.absent) {
    if (!bind(*key, &absent.emplace_back())) return std::nullopt;
  }
  ScalarValues values;
  const GroupScope behind(block.tree, columns, grouping.keys, grouping.outputs, absent,
                          grouping.aggregates, grouping.next_id, values);
  // Subqueries that are values see the groups: these are made first.
  const Json having_clause = body.value("havingClause", Json());
  Planned result;
  if (ContainsScalarSubquery(body["targetList"]) || ContainsScalarSubquery(having_clause)) {
    SqlProblem problem;
    if (!behind.Collect(body["targetList"], &problem) || !behind.Collect(having_clause, &problem)) {
      return Report(problem);
    }
    result = AddAggregateNode(grouping, block, place);
    if (!result) return std::nullopt;
    result->columns = columns;
    for (RelationColumn& column : result->columns) {
      const auto key = std::find_if(
          grouping.keys.begin(), grouping.keys.end(),
          [&](const v1::Expr& one) { return one.field_id() == column.id && one.has_field_id(); });
      if (key == grouping.keys.end()) {
        column.type.Clear();
      } else {
        column.id = grouping.outputs[static_cast<size_t>(key - grouping.keys.begin())].field_id();
      }
    }
    result = PlanScalars(*std::move(result), body["targetList"], block, &values);
    if (result && body.contains("havingClause")) {
      result = PlanScalars(*std::move(result), body["havingClause"], block, &values);
    }
    if (!result) return std::nullopt;
  }
  bool ok = true;
  for (Target& target : *targets) {
    if (target.node == nullptr) {
      return Problem("MR1213", "'*' cannot stand beside GROUP BY", "name the columns",
                     static_cast<int64_t>(place));
    }
    if (target.is_rank) continue;
    if (target.is_processing_time) {
      return Problem("MR1205", "PROCTIME() cannot stand beside aggregates",
                     "give the rows their time in a subquery: SELECT *, PROCTIME() AS p FROM …",
                     static_cast<int64_t>(place));
    }
    SqlProblem problem;
    if (BindTree(block.tree, *target.node, behind, &target.expr, &problem)) continue;
    Report(problem);
    ok = false;
  }
  v1::Expr having;
  if (body.contains("havingClause")) {
    SqlProblem problem;
    if (!BindTree(block.tree, body["havingClause"], behind, &having, &problem)) {
      Report(problem);
      ok = false;
    }
  }
  if (!ok) return std::nullopt;
  if (!result) result = AddAggregateNode(grouping, block, place);
  if (!result || !body.contains("havingClause")) return result;
  return PlanFilter(*result, {having}, block, PlaceOf(block, body["havingClause"]));
}

// The sets of keys that an element of GROUP BY names.
std::optional<std::vector<std::vector<const nlohmann::json*>>> QueryPlanner::GroupingSetsOf(
    const Json& node, const Block& block) {
  using Sets = std::vector<std::vector<const Json*>>;
  const auto keys_of = [](const Json& one) {
    std::vector<const Json*> keys;
    if (!one.contains("RowExpr")) return std::vector<const Json*>{&one};
    for (const Json& key : one["RowExpr"]["args"]) keys.push_back(&key);
    return keys;
  };
  if (!node.contains("GroupingSet")) return Sets{keys_of(node)};
  const Json& set = node["GroupingSet"];
  const std::string kind = set.value("kind", "");
  if (kind == "GROUPING_SET_EMPTY") return Sets{{}};
  Sets parts;
  for (const Json& one : set["content"]) {
    if (kind != "GROUPING_SET_SETS") {
      parts.push_back(keys_of(one));
      continue;
    }
    const auto inner = GroupingSetsOf(one, block);
    if (!inner) return std::nullopt;
    parts.insert(parts.end(), inner->begin(), inner->end());
  }
  if (kind == "GROUPING_SET_SETS") return parts;
  Sets sets;
  const auto add = [&](const auto& takes) {
    std::vector<const Json*>& keys = sets.emplace_back();
    for (size_t i = 0; i < parts.size(); ++i) {
      if (takes(i)) keys.insert(keys.end(), parts[i].begin(), parts[i].end());
    }
  };
  if (kind == "GROUPING_SET_ROLLUP") {
    for (size_t size = parts.size() + 1; size-- > 0;) add([&](size_t i) { return i < size; });
    return sets;
  }
  if (parts.size() > kCubeMax) {
    return Problem("MR1208", Concat("CUBE has more than ", kCubeMax, " keys"), "",
                   static_cast<int64_t>(PlaceOf(block, node)));
  }
  for (size_t bits = size_t{1} << parts.size(); bits-- > 0;) {
    add([&](size_t i) { return (bits >> (parts.size() - 1 - i) & 1) != 0; });
  }
  return sets;
}

QueryPlanner::Planned QueryPlanner::PlanGroupBy(const Json& body, Relation input,
                                                std::vector<Target>* targets, const Block& block) {
  const size_t place = PlaceOf(block, body["targetList"]);
  std::vector<std::vector<const Json*>> sets = {{}};
  bool is_plain = true;
  const Json none = Json::array();
  for (const Json& node : body.contains("groupClause") ? body["groupClause"] : none) {
    const Json* key = &node;
    if (node.contains("A_Const") && node["A_Const"].contains("ival")) {
      const int64_t number = node["A_Const"]["ival"].value("ival", int64_t{0});
      if (number < 1 || number > static_cast<int64_t>(targets->size()) ||
          (*targets)[static_cast<size_t>(number - 1)].node == nullptr) {
        return Problem("MR1213", Concat("there is no column ", number, " in the SELECT"), "",
                       static_cast<int64_t>(PlaceOf(block, node)));
      }
      key = (*targets)[static_cast<size_t>(number - 1)].node;
    }
    is_plain &= !key->contains("GroupingSet");
    const auto more = GroupingSetsOf(*key, block);
    if (!more) return std::nullopt;
    std::vector<std::vector<const Json*>> product;
    for (const std::vector<const Json*>& first : sets) {
      for (const std::vector<const Json*>& second : *more) {
        std::vector<const Json*>& both = product.emplace_back(first);
        both.insert(both.end(), second.begin(), second.end());
      }
    }
    sets = std::move(product);
    if (sets.size() > kGroupingSetsMax) {
      return Problem("MR1208", Concat("there are more than ", kGroupingSetsMax, " grouping sets"),
                     "", static_cast<int64_t>(place));
    }
  }
  if (is_plain) {
    return PlanAggregate(body, std::move(input), targets, block,
                         {.columns = {}, .keys = sets[0], .absent = {}});
  }
  Planned all;
  for (const std::vector<const Json*>& keys : sets) {
    GroupBy by{.columns = {}, .keys = keys, .absent = {}};
    for (const std::vector<const Json*>& others : sets) {
      for (const Json* key : others) {
        if (std::find(keys.begin(), keys.end(), key) == keys.end()) by.absent.push_back(key);
      }
    }
    std::vector<Target> bound = *targets;
    Planned one = PlanAggregate(body, input, &bound, block, std::move(by));
    if (one) one = PlanProject(*one, bound, block, place);
    if (one && all) one = UniteRows(*std::move(all), *std::move(one), block, place);
    if (!one) return std::nullopt;
    all = std::move(one);
  }
  for (size_t i = 0; i < targets->size(); ++i) (*targets)[i].expr = ColumnExpr(all->columns[i]);
  return all;
}

QueryPlanner::Planned QueryPlanner::AddAggregateNode(Grouping& grouping, const Block& block,
                                                     size_t place) {
  Relation& input = grouping.input;
  // Keys that are computed become columns first.
  std::vector<Target> columns = AllColumns(input.facts.schema);
  const size_t bare = columns.size();
  v1::Fields keys;
  uint32_t window_start = 0, window_end = 0, attached = 0;
  for (size_t i = 0; i < grouping.keys.size(); ++i) {
    const v1::Expr& key = grouping.keys[i];
    const uint32_t id = grouping.outputs[i].field_id();
    if (key.field_id() == kWindowStartId) {
      window_start = id;
    } else if (key.field_id() == kWindowEndId) {
      window_end = id;
    } else if (key.has_field_id() && attached == 0 && !input.window &&
               input.facts.window_ends.contains(id) &&
               input.facts.mode == v1::CHANGELOG_MODE_APPEND) {
      attached = id;
    } else {
      if (!key.has_field_id()) {
        columns.push_back({.name = Concat("key$", id), .expr = key, .id = id});
      }
      keys.add_ids(id);
    }
  }
  if (input.window && window_start == 0 && window_end == 0) {
    return Problem("MR1214", "the rows of a window function are grouped without their window",
                   "GROUP BY window_start, window_end", static_cast<int64_t>(place));
  }
  if (columns.size() > bare) {
    Planned with_keys = PlanProject(input, columns, block, place);
    if (!with_keys) return std::nullopt;
    with_keys->window = input.window;
    input = *std::move(with_keys);
  }
  if (grouping.aggregates.empty()) {
    v1::Aggregate& rows = grouping.aggregates.emplace_back();
    rows.set_function("count");
    rows.set_name("rows$");
    rows.set_id(grouping.Fresh());
    rows.mutable_type()->set_kind(v1::Type::KIND_INT64);
  }
  v1::Node node;
  std::string role = "group-aggregate";
  const auto add = [&grouping](auto& body) {
    for (const v1::Aggregate& one : grouping.aggregates) *body.add_aggregates() = one;
  };
  if (input.window || attached != 0) {
    role = "window-aggregate";
    v1::WindowAggregate& body = *node.mutable_window_aggregate();
    if (input.window) {
      *body.mutable_window() = *input.window;
      body.set_window_start_id(window_start != 0 ? window_start : grouping.Fresh());
      body.set_window_end_id(window_end != 0 ? window_end : grouping.Fresh());
    } else {
      body.mutable_window()->set_kind(v1::Window::KIND_ATTACHED);
      body.mutable_window()->mutable_time()->add_ids(attached);
      body.set_window_end_id(attached);
    }
    *body.mutable_keys() = keys;
    add(body);
  } else {
    *node.mutable_group_aggregate()->mutable_keys() = keys;
    add(*node.mutable_group_aggregate());
    SetStateTtl(grouping.input, node);
  }
  return assembler_.Add(block.object, role, std::move(node), {&input}, place);
}

QueryPlanner::Planned QueryPlanner::PlanDistinct(Relation input, const Block& block, size_t place) {
  Grouping grouping{.input = std::move(input), .keys = {}, .outputs = {}, .aggregates = {}};
  grouping.next_id = LargestId(grouping.input.facts.schema);
  std::vector<Target> columns;
  for (const RelationColumn& column : grouping.input.columns) {
    grouping.keys.push_back(ColumnExpr(column));
    grouping.outputs.push_back(ColumnExpr(column));
    columns.push_back({.name = Join(column.names, "."), .expr = ColumnExpr(column)});
  }
  Planned distinct = AddAggregateNode(grouping, block, place);
  if (!distinct) return std::nullopt;
  return PlanProject(*distinct, columns, block, place);
}

}  // namespace millrace
