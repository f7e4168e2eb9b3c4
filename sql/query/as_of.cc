// FOR SYSTEM_TIME AS OF: joins with a table as it is (lookups), or as it was at an event time.
#include <algorithm>
#include <set>
#include <utility>

#include "runtime/base/text.h"
#include "sql/node_compiler.h"
#include "sql/query/query_planner.h"

namespace millrace {

// The parts of such a join.
struct QueryPlanner::AsOf {
  v1::Join::Kind kind = v1::Join::KIND_INNER;
  Relation left;
  std::string table, alias;
  int64_t table_offset = 0;
  const Json* quals = nullptr;
  uint32_t time = 0;  // The event time of the left side; 0: its processing time.
  uint32_t id_offset = 0;
  size_t place = 0;
};

bool QueryPlanner::IsAsOf(const Json& node, const Block& block) {
  if (!node.contains("RangeVar")) return false;
  const int64_t location = node["RangeVar"].value("location", int64_t{-1});
  return location >= 0 &&
         block.notes.as_of.contains(static_cast<size_t>(location + block.tree.location_base));
}

std::optional<QueryPlanner::AsOf> QueryPlanner::ReadAsOf(const Json& join, const Block& block) {
  const Json& range = join["rarg"]["RangeVar"];
  const std::string type = join.value("jointype", "JOIN_INNER");
  AsOf parts{.kind = type == "JOIN_LEFT" ? v1::Join::KIND_LEFT : v1::Join::KIND_INNER,
             .left = {},
             .table = range.value("relname", ""),
             .alias = {},
             .table_offset = OffsetOf(block, range),
             .quals = join.contains("quals") ? &join["quals"] : nullptr,
             .place = PlaceOf(block, join)};
  parts.alias = range.contains("alias") ? range["alias"].value("aliasname", "") : parts.table;
  if (type != "JOIN_LEFT" && type != "JOIN_INNER") {
    return Problem("MR1222", "FOR SYSTEM_TIME AS OF needs an inner or a left join",
                   "turn the sides round", parts.table_offset);
  }
  if (parts.quals == nullptr) {
    return Problem("MR1222", "a join with FOR SYSTEM_TIME AS OF needs ON", "write ON a.id = b.id",
                   parts.table_offset);
  }
  Planned left = PlanFrom(Json::array({join["larg"]}), nullptr, Json::object(), block);
  if (left && left->window) left = AssignWindows(*std::move(left), block, parts.place);
  if (!left) return std::nullopt;
  parts.left = *std::move(left);
  parts.id_offset = OffsetAfter(parts.left.facts.schema);

  const DialectNotes::Moment& moment =
      block.notes.as_of.at(static_cast<size_t>(parts.table_offset));
  if (IsProcessingTime(moment.text)) return parts;
  v1::Expr time;
  if (!BindText(moment.text, moment.offset, RelationScope(parts.left.columns), &time)) {
    return std::nullopt;
  }
  const StreamFacts& facts = parts.left.facts;
  if (facts.processing_times.contains(time.field_id())) return parts;
  if (time.has_field_id() && facts.has_watermark && facts.event_times.contains(time.field_id())) {
    parts.time = time.field_id();
    return parts;
  }
  return Problem("MR1222", "FOR SYSTEM_TIME AS OF needs a time of the left side",
                 "its event time (the column of WATERMARK FOR), or a column that is PROCTIME()",
                 static_cast<int64_t>(moment.offset));
}

QueryPlanner::Planned QueryPlanner::PlanAsOf(const Json& join, const Block& block,
                                             const std::vector<const Json*>& readers) {
  std::optional<AsOf> parts = ReadAsOf(join, block);
  if (!parts) return std::nullopt;
  return parts->time == 0 ? PlanLookup(*std::move(parts), block)
                          : PlanTemporal(*std::move(parts), block, readers);
}

QueryPlanner::Planned QueryPlanner::PlanLookup(AsOf parts, const Block& block) {
  v1::Node node;
  v1::LookupJoin& body = *node.mutable_lookup_join();
  std::vector<RelationColumn> right;
  if (!ReadLookupTable(parts.table, parts.table_offset, node, &right)) return std::nullopt;
  for (RelationColumn& column : right) {
    column.table = parts.alias;
    column.id += parts.id_offset;
  }
  std::vector<RelationColumn> columns = parts.left.columns;
  columns.insert(columns.end(), right.begin(), right.end());
  std::vector<v1::Expr> conditions, rest;
  if (!BindConditions({parts.quals}, columns, block, &conditions, nullptr)) return std::nullopt;
  for (const v1::Expr& condition : conditions) {
    const auto sides = SidesOfEquality(condition, parts.left.columns, right);
    if (!sides || !sides->second.has_field_id()) {
      rest.push_back(condition);
      continue;
    }
    uint32_t id = 0;
    Planned with_key = KeyColumn(std::move(parts.left), sides->first, &id, block, parts.place);
    if (!with_key) return std::nullopt;
    parts.left = *std::move(with_key);
    body.mutable_left_keys()->add_ids(id);
    body.mutable_right_keys()->add_ids(sides->second.field_id() - parts.id_offset);
  }
  if (body.left_keys().ids_size() == 0) {
    return Problem("MR1222",
                   Concat("the join does not say which rows of '", parts.table, "' are looked up"),
                   "compare a column of it with =; where types differ, CAST the other side",
                   static_cast<int64_t>(parts.place));
  }
  if (!rest.empty()) *body.mutable_condition() = Conjunction(rest);
  body.set_kind(parts.kind);
  body.set_right_id_offset(parts.id_offset);
  body.set_right_prefix(
      RightPrefix(parts.left.facts.schema, body.table_schema(), parts.alias, parts.id_offset));
  Planned joined =
      assembler_.Add(block.object, "lookup", std::move(node), {&parts.left}, parts.place);
  if (joined) joined->columns = std::move(columns);
  return joined;
}

QueryPlanner::Planned QueryPlanner::VersionsOf(const Relation& rows, const Block& block,
                                               size_t place) {
  const v1::Node* node = assembler_.FindNode(rows.uid);
  const Relation* input = assembler_.FindRelation(assembler_.InputOf(rows.uid));
  if (node == nullptr || input == nullptr) return std::nullopt;
  Planned versions;
  if (node->has_project()) {
    v1::Node project;
    *project.mutable_project() = node->project();
    const Planned before = VersionsOf(*input, block, place);
    if (!before) return std::nullopt;
    versions = assembler_.Add(block.object, "versions", std::move(project), {&*before}, place);
  } else if (node->has_top_n() && node->top_n().limit() == 1 && !node->top_n().with_ties() &&
             node->top_n().rank_name().empty() && input->facts.mode == v1::CHANGELOG_MODE_APPEND &&
             node->top_n().order(0).descending() &&
             input->facts.event_times.contains(node->top_n().order(0).field().ids(0))) {
    versions = *input;
  }
  if (versions) versions->columns = rows.columns;
  return versions;
}

QueryPlanner::Planned QueryPlanner::PlanTemporal(AsOf parts, const Block& block,
                                                 const std::vector<const Json*>& readers) {
  Planned right = ReadTable(parts.table, block, parts.table_offset);
  if (!right) return std::nullopt;
  if (right->rank) {
    return Problem("MR1217", "ROW_NUMBER() needs a limit before its rows are joined",
                   Concat("write WHERE ", right->rank->name, " = 1"),
                   static_cast<int64_t>(right->rank->offset));
  }
  std::vector<uint32_t> key = right->facts.key;
  if (Planned versions = VersionsOf(*right, block, parts.place)) right = std::move(versions);
  if (!right->facts.has_watermark || right->facts.event_times.empty()) {
    return Problem("MR1222",
                   Concat("'", parts.table, "' has no event time: its versions have none"),
                   "give the table WATERMARK FOR column AS …", parts.table_offset);
  }
  const uint32_t right_time = *right->facts.event_times.begin();
  std::vector<RelationColumn> columns = parts.left.columns;
  std::vector<RelationColumn> moved = right->columns;
  for (RelationColumn& column : right->columns) column.table = parts.alias;
  for (RelationColumn& column : moved) {
    column.table = parts.alias;
    column.id += parts.id_offset;
  }
  columns.insert(columns.end(), moved.begin(), moved.end());
  std::vector<v1::Expr> conditions;
  if (!BindConditions({parts.quals}, columns, block, &conditions, nullptr)) return std::nullopt;
  // State should hold no more than what is read.
  std::set<uint32_t> read = ColumnIdsOf(conditions);
  read.insert({parts.time, right_time + parts.id_offset});
  for (const uint32_t id : key) read.insert(id + parts.id_offset);
  for (const Json* reader : readers) {
    if (reader == nullptr) continue;
    if (reader->empty()) {
      for (const RelationColumn& column : columns) read.insert(column.id);
    }
    AddReferencesOf(*reader, columns, block, &read);
  }
  Planned left = Narrow(parts.left, read, 0, block, parts.place);
  if (left) right = Narrow(*right, read, parts.id_offset, block, parts.place);
  if (!left || !right) return std::nullopt;

  v1::Node node;
  v1::TemporalJoin& body = *node.mutable_temporal_join();
  std::vector<v1::Expr> rest;
  for (const v1::Expr& condition : conditions) {
    const auto sides = SidesOfEquality(condition, parts.left.columns, moved);
    // Versions are told apart by the key alone; what else is equal is asked of the one that held.
    const auto in_key = [&](const v1::Expr& right_side) {
      return key.empty() || std::find(key.begin(), key.end(),
                                      right_side.field_id() - parts.id_offset) != key.end();
    };
    if (!sides || !in_key(sides->second)) {
      rest.push_back(condition);
      continue;
    }
    uint32_t left_id = 0, right_id = 0;
    left = KeyColumn(*std::move(left), sides->first, &left_id, block, parts.place);
    right = KeyColumn(*std::move(right), MoveIds(sides->second, -parts.id_offset), &right_id, block,
                      parts.place);
    if (!left || !right) return std::nullopt;
    body.mutable_left_keys()->add_ids(left_id);
    body.mutable_right_keys()->add_ids(right_id);
  }
  const auto compared = static_cast<size_t>(body.right_keys().ids_size());
  if (compared == 0 || compared < key.size()) {
    return Problem("MR1222",
                   Concat("the join does not compare ",
                          key.empty() ? "a column" : "every column of the primary key", " of '",
                          parts.table, "'"),
                   "write ON a.id = b.id", static_cast<int64_t>(parts.place));
  }
  if (!rest.empty()) *body.mutable_condition() = Conjunction(rest);
  body.set_kind(parts.kind);
  body.mutable_left_time()->add_ids(parts.time);
  body.mutable_right_time()->add_ids(right_time);
  body.set_right_id_offset(parts.id_offset);
  body.set_right_prefix(
      RightPrefix(left->facts.schema, right->facts.schema, parts.alias, parts.id_offset));
  Planned joined = assembler_.Add(block.object, "temporal-join", std::move(node), {&*left, &*right},
                                  parts.place);
  if (!joined) return std::nullopt;
  joined->columns = std::move(left->columns);
  for (RelationColumn column : right->columns) {
    column.id += parts.id_offset;
    joined->columns.push_back(std::move(column));
  }
  return joined;
}

}  // namespace millrace
