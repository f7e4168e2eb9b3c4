// Subqueries as conditions of WHERE: semi and anti joins.
#include <utility>

#include "runtime/base/text.h"
#include "runtime/expressions/functions.h"
#include "sql/node_compiler.h"
#include "sql/query/query_planner.h"
#include "sql/type_names.h"

namespace millrace {
namespace {

v1::Expr CallOf(const char* function, std::vector<v1::Expr> arguments) {
  v1::Expr call;
  call.mutable_type()->set_kind(v1::Type::KIND_BOOL);
  call.mutable_call()->set_function(function);
  call.mutable_call()->set_function_version(1);
  for (v1::Expr& argument : arguments) *call.mutable_call()->add_arguments() = std::move(argument);
  return call;
}

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
  Planned members = PlanQuery(link["subselect"]["SelectStmt"], block);
  if (!members) return std::nullopt;
  if (members->columns.size() != 1) {
    return Problem("MR1216", "IN needs a query with one column", "", place);
  }
  const v1::Type of_members = members->columns[0].type;
  const auto common =
      CommonType(DataType::FromProto(value.type()), DataType::FromProto(of_members));
  if (!common.ok()) {
    return Problem("MR1216",
                   Concat("IN compares ", TypeText(value.type()), " with ", TypeText(of_members)),
                   "CAST one side", place);
  }
  const uint32_t offset = OffsetAfter(relation.facts.schema);
  const auto is_nullable = [](const v1::Schema& schema, uint32_t id) {
    const v1::Field* field = FieldById(schema, id);
    return field == nullptr || !field->not_null();
  };
  const bool nulls = is_nullable(relation.facts.schema, value.field_id()) ||
                     is_nullable(members->facts.schema, members->columns[0].id);
  v1::Expr member = MoveIds(ColumnExpr(members->columns[0]), offset);
  v1::Type type = value.type();
  if (!SameType(value.type(), of_members)) common->ToProto(&type);
  if (!SameType(value.type(), type)) value = CastExpr(std::move(value), type);
  if (!SameType(of_members, type)) member = CastExpr(std::move(member), type);
  v1::Expr matches = CallOf("eq", {value, member});
  // Unknown is not true, with NOT either: a NULL on one side counts as a partner of every row.
  if (test.negated && nulls) {
    matches = CallOf("or", {matches, CallOf("is_null", {value}), CallOf("is_null", {member})});
  }
  return PlanJoin(test.negated ? v1::Join::KIND_ANTI : v1::Join::KIND_SEMI, std::move(relation),
                  *std::move(members), offset, {std::move(matches)}, block,
                  static_cast<size_t>(place));
}

// EXISTS (SELECT … FROM … WHERE …), whose WHERE may name columns of `relation`.
QueryPlanner::Planned QueryPlanner::PlanExists(Relation relation, const SubqueryTest& test,
                                               const Block& block) {
  const Json& link = *test.link;
  const size_t place = PlaceOf(block, link);
  const Json& body = link["subselect"]["SelectStmt"];
  // Any limit but 0 changes nothing.
  const bool limits_to_none =
      body.contains("limitCount") &&
      body["limitCount"].value(Json::json_pointer("/A_Const/ival/ival"), int64_t{0}) <= 0;
  const bool is_plain = body.contains("fromClause") && !limits_to_none &&
                        !body.contains("groupClause") && !body.contains("havingClause") &&
                        !body.contains("withClause") && !body.contains("limitOffset") &&
                        body.value("op", "") == "SETOP_NONE" &&
                        !ContainsAggregate(body["targetList"]);
  if (!is_plain) {
    return Problem("MR1202", "EXISTS needs a query of SELECT, FROM and WHERE alone",
                   "write a join with a subquery in FROM", static_cast<int64_t>(place));
  }
  const uint32_t offset = OffsetAfter(relation.facts.schema);
  // Under ids that are right again when those of the subquery are moved behind these.
  Outer outer{.columns = relation.columns, .conditions = {}};
  for (RelationColumn& column : outer.columns) column.id -= offset;
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

}  // namespace millrace
