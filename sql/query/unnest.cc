// UNNEST(array) in FROM: each row of what stands before it once per element.
#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "runtime/base/text.h"
#include "sql/node_compiler.h"
#include "sql/query/query_planner.h"
#include "sql/type_names.h"

namespace millrace {
namespace {

using nlohmann::json;

// The call of UNNEST that the item is, or null.
const json* CallOf(const json& item) {
  if (!item.contains("RangeFunction")) return nullptr;
  const json& functions = item["RangeFunction"]["functions"];
  if (functions.size() != 1 || !functions[0].contains("List")) return nullptr;
  const json& call = functions[0]["List"]["items"][0];
  if (!call.contains("FuncCall")) return nullptr;
  const json& body = call["FuncCall"];
  return body["funcname"].back()["String"].value("sval", "") == "unnest" ? &body : nullptr;
}

bool HasName(const v1::Schema& schema, const std::string& name) {
  return std::any_of(schema.fields().begin(), schema.fields().end(),
                     [&](const v1::Field& one) { return one.name() == name; });
}

}  // namespace

bool QueryPlanner::IsUnnest(const Json& item) { return CallOf(item) != nullptr; }

std::optional<size_t> QueryPlanner::FindUnnested(const Json& item,
                                                 const std::vector<Relation>& items,
                                                 const Block& block) {
  const Json& call = *CallOf(item);
  std::vector<size_t> read;
  for (size_t i = 0; i < items.size(); ++i) {
    std::set<uint32_t> ids;
    AddReferencesOf(call["args"], items[i].columns, block, &ids);
    if (!ids.empty()) read.push_back(i);
  }
  if (read.size() == 1 || (read.empty() && items.size() == 1)) return read.empty() ? 0 : read[0];
  return Problem("MR1202",
                 read.empty() ? "UNNEST reads no column of what stands before it"
                              : "UNNEST reads columns of more than one table",
                 read.empty() ? "write FROM orders CROSS JOIN UNNEST(orders.items) AS i"
                              : "join them in a subquery, and UNNEST its column",
                 OffsetOf(block, call));
}

QueryPlanner::Planned QueryPlanner::PlanUnnest(Relation input, const Json& item, bool outer,
                                               const Block& block) {
  const Json& body = item["RangeFunction"];
  const Json& call = *CallOf(item);
  const int64_t offset = OffsetOf(block, call);
  const auto place = static_cast<size_t>(std::max<int64_t>(offset, 0));
  if (!call.contains("args") || call["args"].size() != 1) {
    return Problem("MR1206", "UNNEST takes one array", "UNNEST(a) AS t (x), UNNEST(b) AS u (y)",
                   offset);
  }
  if (input.rank) {
    Planned numbered = NumberRows(std::move(input), block);
    if (!numbered) return std::nullopt;
    input = *std::move(numbered);
  }
  if (input.window) {
    Planned assigned = AssignWindows(std::move(input), block, place);
    if (!assigned) return std::nullopt;
    input = *std::move(assigned);
  }
  SqlProblem problem;
  v1::Expr array;
  if (!BindTree(block.tree, call["args"][0], RelationScope(input.columns), &array, &problem)) {
    return Report(problem);
  }
  if (array.type().kind() != v1::Type::KIND_ARRAY) {
    return Problem("MR1206", Concat("UNNEST needs an ARRAY, not ", TypeText(array.type())),
                   "SPLIT(text, ',') makes an array of a text", offset);
  }
  uint32_t array_id = 0;
  Planned rows = KeyColumn(std::move(input), array, &array_id, block, place);
  if (!rows) return std::nullopt;
  // What the query calls the table and its columns.
  const Json none = Json::object();
  const Json& alias = body.contains("alias") ? body["alias"] : none;
  const std::string table = alias.value("aliasname", "");
  std::vector<std::string> names;
  const v1::Type& element = array.type().element();
  if (element.kind() == v1::Type::KIND_ROW) {
    for (const v1::TypeField& field : element.fields()) names.push_back(field.name());
  } else {  // As in PostgreSQL: a table of one column is called as the column.
    names.push_back(table.empty() ? "unnest" : table);
  }
  const bool has_ordinality = body.value("ordinality", false);
  if (has_ordinality) names.push_back("ordinality");
  const Json no_names = Json::array();
  const Json& given = alias.contains("colnames") ? alias["colnames"] : no_names;
  if (given.size() > names.size()) {
    return Problem("MR1216",
                   Concat("'", table, "' names ", given.size(), " columns of ", names.size()), "",
                   offset);
  }
  for (size_t i = 0; i < given.size(); ++i) names[i] = given[i]["String"].value("sval", "");
  v1::Node node;
  v1::Unnest& unnest = *node.mutable_unnest();
  unnest.mutable_array()->add_ids(array_id);
  unnest.set_outer(outer);
  const uint32_t first = LargestId(rows->facts.schema) + 1;
  for (size_t i = 0; i < names.size(); ++i) {
    // Of several tables, columns may have one name.
    std::string name = names[i];
    while (HasName(rows->facts.schema, name)) name = Concat(table.empty() ? "u" : table, ".", name);
    if (has_ordinality && i + 1 == names.size()) {
      unnest.set_ordinality_name(name);
    } else {
      unnest.add_names(name);
    }
    unnest.add_ids(first + static_cast<uint32_t>(i));
  }
  Planned unnested = assembler_.Add(block.object, "unnest", std::move(node), {&*rows}, place);
  if (!unnested) return std::nullopt;
  unnested->columns = std::move(rows->columns);
  for (size_t i = 0; i < names.size(); ++i) {
    RelationColumn column{
        .table = table, .names = {names[i]}, .id = first + static_cast<uint32_t>(i)};
    column.type = FieldById(unnested->facts.schema, column.id)->type();
    unnested->columns.push_back(std::move(column));
  }
  return unnested;
}

QueryPlanner::Planned QueryPlanner::PlanOuterUnnest(Relation left, const Json& join,
                                                    const Block& block) {
  const bool always = join.contains("quals") && join["quals"].contains("A_Const") &&
                      join["quals"]["A_Const"].contains("boolval") &&
                      join["quals"]["A_Const"]["boolval"].value("boolval", false);
  if (join.value("jointype", "") != "JOIN_LEFT" || !always) {
    return Problem("MR1202", "UNNEST has no other condition and no other side than its array",
                   "write CROSS JOIN UNNEST(a) AS t, or LEFT JOIN UNNEST(a) AS t ON TRUE",
                   static_cast<int64_t>(PlaceOf(block, join)));
  }
  return PlanUnnest(std::move(left), join["rarg"], /*outer=*/true, block);
}

}  // namespace millrace
