// Subqueries: as conditions of WHERE, semi and anti joins; as values, left joins with one row.
#include <algorithm>
#include <utility>

#include "runtime/base/text.h"
#include "runtime/expressions/functions.h"
#include "sql/node_compiler.h"
#include "sql/query/query_planner.h"
#include "sql/type_names.h"

namespace millrace {
namespace {

// The aggregates of a tree, those of subqueries within it aside.
void AddAggregatesOf(const nlohmann::json& node, std::vector<const nlohmann::json*>* out) {
  if (!node.is_structured() || (node.is_object() && node.contains("SubLink"))) return;
  if (node.is_object() && IsAggregateCall(node)) {
    out->push_back(&node);
    return;
  }
  for (const nlohmann::json& one : node) AddAggregatesOf(one, out);
}

// What a subquery computes of its aggregates: it sees those, and the columns around it; its own
// columns have gone into the aggregates.
class AggregatedScope : public ScalarScope {
 public:
  // All must outlive this.
  AggregatedScope(const std::vector<RelationColumn>& inner,
                  const std::vector<RelationColumn>& outer,
                  const std::map<const nlohmann::json*, v1::Expr>& aggregates)
      : ScalarScope(outer, aggregates), inner_(inner) {}

  bool FindColumn(std::span<const NamePart> parts, v1::Expr* out,
                  SqlProblem* problem) const override {
    SqlProblem ignored;
    if (!inner_.FindColumn(parts, out, &ignored)) {
      return ScalarScope::FindColumn(parts, out, problem);
    }
    *problem = {"MR1213", Concat("column '", parts.back().name, "' is not in an aggregate"),
                "the subquery has one row: write MAX(…) around it", -1};
    return false;
  }

 private:
  const RelationScope inner_;
};

}  // namespace

// The operands of AND.
void QueryPlanner::SplitWhere(const Json& where, std::vector<const Json*>* conditions,
                              std::vector<SubqueryTest>* tests) {
  const auto is_logic = [&where](const char* kind) {
    return where.contains("BoolExpr") && where["BoolExpr"].value("boolop", "") == kind;
  };
  const bool negated = is_logic("NOT_EXPR");
  const Json& tested = negated ? where["BoolExpr"]["args"][0] : where;
  if (is_logic("AND_EXPR")) {
    for (const Json& one : where["BoolExpr"]["args"]) SplitWhere(one, conditions, tests);
    return;
  }
  if (tested.contains("SubLink")) {
    const std::string type = tested["SubLink"].value("subLinkType", "");
    const bool is_in = type == "ANY_SUBLINK" && !tested["SubLink"].contains("operName");
    if (is_in || type == "EXISTS_SUBLINK") {
      tests->push_back({&tested["SubLink"], negated});
      return;
    }
  }
  conditions->push_back(&where);
}

QueryPlanner::Planned QueryPlanner::PlanSubqueryTests(Relation relation,
                                                      const std::vector<SubqueryTest>& tests,
                                                      const Block& block) {
  for (const SubqueryTest& test : tests) {
    const bool exists = test.link->value("subLinkType", "") == "EXISTS_SUBLINK";
    Planned kept = exists ? PlanExists(std::move(relation), test, block)
                          : PlanMembership(std::move(relation), test, block);
    if (!kept) return std::nullopt;
    relation = *std::move(kept);
  }
  return relation;
}

// x IN (SELECT …): the rows that have a partner there; with NOT, those that have none.
QueryPlanner::Planned QueryPlanner::PlanMembership(Relation relation, const SubqueryTest& test,
                                                   const Block& block) {
  const Json& link = *test.link;
  const auto place = static_cast<int64_t>(PlaceOf(block, link));
  SqlProblem problem;
  v1::Expr value;
  if (!BindTree(block.tree, link["testexpr"], RelationScope(relation.columns), &value, &problem)) {
    return Report(problem);
  }
  const Json& body = link["subselect"]["SelectStmt"];
  const uint32_t offset = OffsetAfter(relation.facts.schema);
  Outer outer = OuterOf(relation, offset);
  v1::Expr member;
  Planned members;
  if (IsPlainSubquery(body) && !body.contains("limitCount") && !ContainsOver(body) &&
      body.value("targetList", Json()).size() == 1) {
    members = PlanCorrelatedMembers(body, block, &outer, &member);
    if (!members) return std::nullopt;
  }
  if (outer.conditions.empty()) {
    members = PlanRows(body, block);
    if (!members) return std::nullopt;
    if (members->columns.size() != 1) {
      return Problem("MR1216", "IN needs a query with one column", "", place);
    }
    member = ColumnExpr(members->columns[0]);
  }
  const auto is_nullable = [](const v1::Schema& schema, uint32_t id) {
    const v1::Field* field = FieldById(schema, id);
    return field == nullptr || !field->not_null();
  };
  const bool nulls = is_nullable(relation.facts.schema, value.field_id()) ||
                     is_nullable(members->facts.schema, member.field_id());
  const v1::Type of_value = value.type(), of_member = member.type();
  member = MoveIds(std::move(member), offset);
  if (!MakeSameType(value, member)) {
    return Problem("MR1216",
                   Concat("IN compares ", TypeText(of_value), " with ", TypeText(of_member)),
                   "CAST one side", place);
  }
  v1::Expr matches = TestExpr("eq", {value, member});
  // Unknown is not true, with NOT either: a NULL on one side counts as a partner of every row.
  if (test.negated && nulls) {
    matches =
        TestExpr("or", {matches, TestExpr("is_null", {value}), TestExpr("is_null", {member})});
  }
  std::vector<v1::Expr> conditions = {std::move(matches)};
  for (const v1::Expr& condition : outer.conditions) {
    conditions.push_back(MoveIds(condition, offset));
  }
  return PlanJoin(test.negated ? v1::Join::KIND_ANTI : v1::Join::KIND_SEMI, std::move(relation),
                  *std::move(members), offset, std::move(conditions), block,
                  static_cast<size_t>(place));
}

// The rows of x IN (SELECT …), with what their conditions compare with the query around it, if
// there are any.
QueryPlanner::Planned QueryPlanner::PlanCorrelatedMembers(const Json& body, const Block& block,
                                                          Outer* outer, v1::Expr* member) {
  const size_t place = PlaceOf(block, body);
  const Json* where = body.contains("whereClause") ? &body["whereClause"] : nullptr;
  Planned rows = PlanFrom(body["fromClause"], where, body, block, outer);
  if (!rows || outer->conditions.empty()) return rows;
  if (rows->window) rows = AssignWindows(*std::move(rows), block, place);
  if (!rows) return std::nullopt;
  const Json& selected = body["targetList"][0]["ResTarget"]["val"];
  SqlProblem problem;
  if (!BindTree(block.tree, selected, RelationScope(rows->columns), member, &problem)) {
    return Report(problem);
  }
  std::set<uint32_t> read = ColumnIdsOf(outer->conditions);
  if (!member->has_field_id()) {
    const v1::Type type = member->type();
    RelationColumn computed{.table = "", .names = {"member"}, .type = type};
    rows = KeyColumn(*std::move(rows), *member, &computed.id, block, place);
    if (!rows) return std::nullopt;
    *member = ColumnExpr(computed);
    rows->columns.push_back(std::move(computed));
  }
  read.insert(member->field_id());
  return Narrow(*rows, read, 0, block, place);
}

// What a subquery sees of the query around it: under ids that are right again when those of the
// subquery are moved behind these.
QueryPlanner::Outer QueryPlanner::OuterOf(const Relation& relation, uint32_t offset) {
  Outer outer{.columns = relation.columns, .conditions = {}};
  for (RelationColumn& column : outer.columns) column.id -= offset;
  return outer;
}

bool QueryPlanner::IsPlainSubquery(const Json& body) {
  // Any limit but 0 changes nothing.
  const bool limits_to_none =
      body.contains("limitCount") &&
      body["limitCount"].value(Json::json_pointer("/A_Const/ival/ival"), int64_t{0}) <= 0;
  return body.contains("fromClause") && !limits_to_none && !body.contains("groupClause") &&
         !body.contains("havingClause") && !body.contains("withClause") &&
         !body.contains("limitOffset") && body.value("op", "") == "SETOP_NONE" &&
         !ContainsAggregate(body.value("targetList", Json()));
}

// EXISTS (SELECT … FROM … WHERE …), whose WHERE may name columns of `relation`.
QueryPlanner::Planned QueryPlanner::PlanExists(Relation relation, const SubqueryTest& test,
                                               const Block& block) {
  const Json& link = *test.link;
  const size_t place = PlaceOf(block, link);
  const Json& body = link["subselect"]["SelectStmt"];
  if (!IsPlainSubquery(body)) {
    return Problem("MR1202", "EXISTS needs a query of SELECT, FROM and WHERE alone",
                   "write a join with a subquery in FROM", static_cast<int64_t>(place));
  }
  const uint32_t offset = OffsetAfter(relation.facts.schema);
  Outer outer = OuterOf(relation, offset);
  const Json* where = body.contains("whereClause") ? &body["whereClause"] : nullptr;
  const Json reads_nothing = {{"exists", true}};
  Planned partners = PlanFrom(body["fromClause"], where, reads_nothing, block, &outer);
  if (!partners) return std::nullopt;
  partners = Narrow(*partners, ColumnIdsOf(outer.conditions), 0, block, place);
  if (!partners) return std::nullopt;
  std::vector<v1::Expr> conditions;
  for (const v1::Expr& condition : outer.conditions) {
    conditions.push_back(MoveIds(condition, offset));
  }
  return PlanJoin(test.negated ? v1::Join::KIND_ANTI : v1::Join::KIND_SEMI, std::move(relation),
                  *std::move(partners), offset, std::move(conditions), block, place);
}

// ---- (SELECT …) as a value ----

bool IsScalarSubquery(const nlohmann::json& node) {
  return node.is_object() && node.contains("SubLink") &&
         node["SubLink"].value("subLinkType", "") == "EXPR_SUBLINK";
}

bool ContainsScalarSubquery(const nlohmann::json& node) {
  if (node.is_object() && node.contains("SubLink")) return IsScalarSubquery(node);
  return node.is_structured() && std::any_of(node.begin(), node.end(), &ContainsScalarSubquery);
}

QueryPlanner::Planned QueryPlanner::PlanScalars(Relation relation, const Json& tree,
                                                const Block& block, ScalarValues* values) {
  if (IsScalarSubquery(tree)) {
    return PlanScalar(std::move(relation), tree["SubLink"], block, &(*values)[&tree]);
  }
  Planned rows = std::move(relation);
  if (!tree.is_structured() || (tree.is_object() && tree.contains("SubLink"))) return rows;
  for (const Json& one : tree) {
    if (rows) rows = PlanScalars(*std::move(rows), one, block, values);
  }
  return rows;
}

// The rows of the query around it, each with the row of its values of what both compare; a
// subquery without such comparisons is one row for all.
QueryPlanner::Planned QueryPlanner::PlanScalar(Relation relation, const Json& link,
                                               const Block& block, v1::Expr* value) {
  const size_t place = PlaceOf(block, link);
  const Json& body = link["subselect"]["SelectStmt"];
  if (!body.contains("fromClause") || body.contains("groupClause") ||
      body.contains("havingClause") || body.contains("withClause") || body.contains("limitCount") ||
      body.contains("distinctClause") || body.value("op", "") != "SETOP_NONE" ||
      body.value("targetList", Json()).size() != 1) {
    return Problem("MR1202", "a subquery that is a value has one column, FROM and WHERE alone",
                   "write a join with a subquery in FROM", static_cast<int64_t>(place));
  }
  const uint32_t offset = OffsetAfter(relation.facts.schema);
  Outer outer = OuterOf(relation, offset);
  const Json* where = body.contains("whereClause") ? &body["whereClause"] : nullptr;
  Planned inner = PlanFrom(body["fromClause"], where, body, block, &outer);
  if (!inner) return std::nullopt;
  if (inner->window) inner = AssignWindows(*std::move(inner), block, place);
  std::vector<v1::Expr> outers;
  std::vector<uint32_t> keys;
  for (const v1::Expr& condition : outer.conditions) {
    if (!inner) return std::nullopt;
    const auto sides = SidesOfEquality(condition, outer.columns, inner->columns);
    if (!sides) {
      return Problem("MR1202",
                     "a subquery that is a value compares columns of the query around it with =",
                     "join the tables on all of the conditions, and aggregate by GROUP BY",
                     static_cast<int64_t>(place));
    }
    outers.push_back(MoveIds(sides->first, offset));
    const std::vector<RelationColumn> seen = inner->columns;
    inner = KeyColumn(*std::move(inner), sides->second, &keys.emplace_back(), block, place);
    if (inner && !sides->second.has_field_id()) {
      const v1::Field& key = *inner->facts.schema.fields().rbegin();
      inner->columns.push_back({"", {key.name()}, key.id(), key.type()});
    }
  }
  if (!inner) return std::nullopt;
  const Json& node = body["targetList"][0]["ResTarget"]["val"];
  std::vector<const Json*> aggregates;
  AddAggregatesOf(node, &aggregates);
  for (const Json* one : aggregates) {
    v1::Aggregate bound;
    SqlProblem problem, ignored;
    const SubqueryScope all(inner->columns, outer.columns);
    if (BindAggregateTree(block.tree, *one, RelationScope(inner->columns), &bound, &problem) ||
        !BindAggregateTree(block.tree, *one, all, &bound, &ignored)) {
      continue;
    }
    return Problem(
        "MR1202", "an aggregate of a subquery that is a value has columns of the subquery alone",
        "compute with the others outside of the aggregate, or write a join with GROUP BY",
        static_cast<int64_t>(PlaceOf(block, *one)));
  }
  const std::vector<RelationColumn> inner_columns = inner->columns;
  Planned row = PlanScalarRow(body, *std::move(inner), aggregates, keys, block, place);
  if (!row) return std::nullopt;
  const size_t values = std::max<size_t>(aggregates.size(), 1);
  std::vector<v1::Expr> conditions;
  for (size_t i = 0; i < keys.size(); ++i) {
    conditions.push_back(
        TestExpr("eq", {outers[i], MoveIds(ColumnExpr(row->columns[values + i]), offset)}));
  }
  ScalarValues found;
  for (size_t i = 0; i < aggregates.size(); ++i) {
    v1::Expr& one = found[aggregates[i]];
    one = MoveIds(ColumnExpr(row->columns[i]), offset);
    if (CallName(*aggregates[i]) != "count") continue;
    // Of no rows there is no row here; their number is 0.
    v1::Expr zero;
    *zero.mutable_type() = one.type();
    zero.mutable_literal()->set_int_value(0);
    one = CallExpr("coalesce", zero.type(), {one, zero});
  }
  const std::vector<RelationColumn> seen = relation.columns;
  if (aggregates.empty()) {
    *value = MoveIds(ColumnExpr(row->columns[0]), offset);
  } else if (SqlProblem problem; !BindTree(
                 block.tree, node, AggregatedScope(inner_columns, seen, found), value, &problem)) {
    return Report(problem);
  }
  Planned joined = PlanJoin(v1::Join::KIND_LEFT, std::move(relation), *std::move(row), offset,
                            std::move(conditions), block, place);
  if (joined) joined->columns = seen;
  return joined;
}

// The aggregates, or the value, then the keys; at most one row of each.
QueryPlanner::Planned QueryPlanner::PlanScalarRow(const Json& body, Relation inner,
                                                  const std::vector<const Json*>& aggregates,
                                                  const std::vector<uint32_t>& keys,
                                                  const Block& block, size_t place) {
  const Json& node = body["targetList"][0]["ResTarget"]["val"];
  std::vector<Target> targets;
  for (const Json* one : aggregates) {
    targets.push_back({.name = Concat("value$", targets.size()), .node = one, .expr = {}});
  }
  Planned rows;
  if (!aggregates.empty()) {
    rows = PlanAggregate(body, std::move(inner), &targets, block,
                         {.columns = keys, .keys = {}, .absent = {}});
    if (!rows) return std::nullopt;
  } else {
    const std::vector<uint32_t>& unique = inner.facts.key;
    if (unique.empty() || !std::all_of(unique.begin(), unique.end(), [&](uint32_t id) {
          return std::find(keys.begin(), keys.end(), id) != keys.end();
        })) {
      return Problem("MR1202", "the subquery may give more than one row",
                     "aggregate it: SELECT MAX(…)", static_cast<int64_t>(place));
    }
    SqlProblem problem;
    targets.push_back({.name = "value", .node = &node, .expr = {}});
    if (!BindTree(block.tree, node, RelationScope(inner.columns), &targets[0].expr, &problem)) {
      return Report(problem);
    }
    rows = std::move(inner);
  }
  for (const uint32_t key : keys) {
    const v1::Field& field = *FieldById(rows->facts.schema, key);
    Target& one = targets.emplace_back(Target{.name = Concat("key$", targets.size()), .expr = {}});
    *one.expr.mutable_type() = field.type();
    one.expr.set_field_id(key);
  }
  return PlanProject(*rows, targets, block, place);
}

QueryPlanner::Planned QueryPlanner::PlanScalarConditions(Relation relation,
                                                         const std::vector<const Json*>& conditions,
                                                         const Block& block) {
  Planned rows = std::move(relation);
  for (const Json* condition : conditions) {
    ScalarValues values;
    rows = PlanScalars(*std::move(rows), *condition, block, &values);
    if (!rows) return std::nullopt;
    const size_t place = PlaceOf(block, *condition);
    SqlProblem problem;
    v1::Expr bound;
    if (!BindTree(block.tree, *condition, ScalarScope(rows->columns, values), &bound, &problem)) {
      return Report(problem);
    }
    if (bound.type().kind() != v1::Type::KIND_BOOL) {
      return Problem("MR1402", "the condition is not a BOOLEAN", "compare the value with something",
                     static_cast<int64_t>(place));
    }
    rows = PlanFilter(*rows, {bound}, block, place);
    if (!rows) return std::nullopt;
  }
  return rows;
}

}  // namespace millrace
