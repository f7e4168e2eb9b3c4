// FROM: tables, subqueries, window functions, and joins of them.
#include <algorithm>
#include <functional>
#include <set>
#include <utility>

#include "runtime/base/check.h"
#include "runtime/base/text.h"
#include "sql/node_compiler.h"
#include "sql/query/query_planner.h"
#include "sql/type_names.h"

namespace millrace {
namespace {

using nlohmann::json;

bool Intersects(const std::set<uint32_t>& ids, const std::vector<RelationColumn>& columns) {
  return std::any_of(columns.begin(), columns.end(),
                     [&](const RelationColumn& one) { return ids.contains(one.id); });
}

// A column and a constant length of time.
struct Moment {
  uint32_t id = 0;
  int64_t us = 0;
};
std::optional<Moment> MomentOf(const v1::Expr& expr) {
  if (expr.has_field_id()) return Moment{.id = expr.field_id()};
  if (!expr.has_call() || expr.call().arguments_size() != 2) return std::nullopt;
  const bool plus = expr.call().function() == "add";
  if (!plus && expr.call().function() != "subtract") return std::nullopt;
  const v1::Expr& column = expr.call().arguments(0);
  const v1::Expr& length = expr.call().arguments(1);
  if (!column.has_field_id() || !length.has_literal() ||
      length.type().kind() != v1::Type::KIND_INTERVAL) {
    return std::nullopt;
  }
  const int64_t us = length.literal().int_value();
  return Moment{.id = column.field_id(), .us = plus ? us : -us};
}

int64_t FloorMs(int64_t us) { return us >= 0 ? us / 1000 : -((-us + 999) / 1000); }
int64_t CeilMs(int64_t us) { return -FloorMs(-us); }

// What comparisons of the two sides' times say about how far they are apart.
struct TimeBounds {
  uint32_t left = 0, right = 0;  // 0: none found yet.
  std::optional<int64_t> lower_us, upper_us;

  // right - left is at least (most) `us`.
  void Bound(bool at_least, int64_t us) {
    if (at_least) {
      lower_us = std::max(lower_us.value_or(us), us);
    } else {
      upper_us = std::min(upper_us.value_or(us), us);
    }
  }
  bool complete() const { return lower_us && upper_us && *lower_us <= *upper_us; }
};

std::set<uint32_t> TimesOf(const StreamFacts& facts) {
  std::set<uint32_t> times = facts.window_ends;
  if (facts.has_watermark) times.insert(facts.event_times.begin(), facts.event_times.end());
  return times;
}

void NoteBounds(const v1::Expr& condition, const std::set<uint32_t>& left_times,
                const std::set<uint32_t>& right_times, TimeBounds* bounds) {
  if (!condition.has_call() || condition.call().arguments_size() != 2) return;
  const std::string& function = condition.call().function();
  const bool at_least = function == "ge" || function == "gt";
  const bool equal = function == "eq";
  if (!at_least && !equal && function != "le" && function != "lt") return;
  std::optional<Moment> a = MomentOf(condition.call().arguments(0));
  std::optional<Moment> b = MomentOf(condition.call().arguments(1));
  if (!a || !b) return;
  const bool turned = left_times.contains(a->id) && right_times.contains(b->id);
  if (turned) std::swap(a, b);
  if (!right_times.contains(a->id) || !left_times.contains(b->id)) return;
  if (bounds->left != 0 && (bounds->left != b->id || bounds->right != a->id)) return;
  bounds->left = b->id;
  bounds->right = a->id;
  // right + a.us (at least | at most) left + b.us.
  const int64_t apart = b->us - a->us;
  if (equal || at_least != turned) bounds->Bound(true, apart);
  if (equal || at_least == turned) bounds->Bound(false, apart);
}

// Of two columns that have a common type.
v1::Expr Equality(v1::Expr a, v1::Expr b) {
  MILLRACE_CHECK(MakeSameType(a, b));
  return TestExpr("eq", {std::move(a), std::move(b)});
}

}  // namespace

std::optional<std::pair<v1::Expr, v1::Expr>> SidesOfEquality(
    const v1::Expr& condition, const std::vector<RelationColumn>& left,
    const std::vector<RelationColumn>& right) {
  if (!condition.has_call() || condition.call().function() != "eq") return std::nullopt;
  for (int turn = 0; turn < 2; ++turn) {
    const v1::Expr& a = condition.call().arguments(turn);
    const v1::Expr& b = condition.call().arguments(1 - turn);
    const std::set<uint32_t> a_ids = ColumnIdsOf(a), b_ids = ColumnIdsOf(b);
    if (!a_ids.empty() && !b_ids.empty() && !Intersects(a_ids, right) && !Intersects(b_ids, left)) {
      return std::pair(a, b);
    }
  }
  return std::nullopt;
}

// Queries see the columns by their table.
std::string RightPrefix(const v1::Schema& left, const v1::Schema& right, const std::string& alias,
                        uint32_t offset) {
  for (const v1::Field& field : right.fields()) {
    if (std::any_of(left.fields().begin(), left.fields().end(),
                    [&](const v1::Field& one) { return one.name() == field.name(); })) {
      return alias.empty() ? Concat("r", offset / kIdStride, ".") : alias + ".";
    }
  }
  return "";
}

void QueryPlanner::AddReferencesOf(const Json& node, const std::vector<RelationColumn>& columns,
                                   const Block& block, std::set<uint32_t>* out) const {
  if (node.is_array()) {
    for (const Json& one : node) AddReferencesOf(one, columns, block, out);
    return;
  }
  if (!node.is_object()) return;
  if (node.contains("ColumnRef") && node["ColumnRef"].contains("fields")) {
    const std::vector<NamePart> parts = NamePartsOf(block.tree, node["ColumnRef"]);
    if (parts.empty()) {
      const std::string table = TableOfStar(node["ColumnRef"]);
      for (const RelationColumn& column : columns) {
        if (table.empty() || EqualsIgnoringCase(table, column.table)) out->insert(column.id);
      }
      return;
    }
    v1::Expr expr;
    SqlProblem ignored;  // Told when the reference is bound.
    if (RelationScope(columns).FindColumn(parts, &expr, &ignored)) {
      out->insert(expr.field_id());
      return;
    }
    // It may be one of several: all of them have to be there to be told.
    for (const RelationColumn& column : columns) {
      const std::vector<RelationColumn> alone = {column};
      if (RelationScope(alone).FindColumn(parts, &expr, &ignored)) out->insert(column.id);
    }
    return;
  }
  for (const auto& [key, value] : node.items()) {
    if (key != "fromClause") AddReferencesOf(value, columns, block, out);
  }
}

QueryPlanner::Planned QueryPlanner::PlanFrom(const Json& from_clause, const Json* where,
                                             const Json& select, const Block& block, Outer* outer) {
  FromList list;
  Star star;
  for (const Json& node : from_clause) {
    const auto more = Flatten(node, block, {&select, where}, &list);
    if (!more) return std::nullopt;
    star.insert(star.end(), more->begin(), more->end());
  }
  std::vector<Relation>& items = list.items;
  std::vector<const Json*>& texts = list.conditions;
  if (!list.equals.empty()) PlaceColumns(star, items);
  std::vector<SubqueryTest> tests;
  if (where != nullptr) SplitWhere(*where, &texts, &tests);
  const auto with_scalars = std::stable_partition(
      texts.begin(), texts.end(), [](const Json* one) { return !ContainsScalarSubquery(*one); });
  const std::vector<const Json*> scalars(with_scalars, texts.end());
  texts.erase(with_scalars, texts.end());
  const size_t place = PlaceOf(block, from_clause);
  for (Relation& item : items) {
    if (item.rank && items.size() > 1) {
      Planned numbered = NumberRows(std::move(item), block);
      if (!numbered) return std::nullopt;
      item = *std::move(numbered);
    }
    if (!item.window) continue;
    std::set<uint32_t> tested;
    if (where != nullptr) AddReferencesOf(*where, item.columns, block, &tested);
    if (items.size() == 1 && tests.empty() && scalars.empty() && !tested.contains(kWindowStartId) &&
        !tested.contains(kWindowEndId)) {
      continue;
    }
    Planned assigned = AssignWindows(std::move(item), block, place);
    if (!assigned) return std::nullopt;
    item = *std::move(assigned);
  }
  // Every item's columns under the ids that they will have behind the joins.
  std::vector<uint32_t> offsets;
  std::vector<RelationColumn> columns;
  uint32_t next = 0;
  for (const Relation& item : items) {
    offsets.push_back(next);
    for (RelationColumn column : item.columns) {
      if (items.size() > 1 && column.id >= kRowNumberId) continue;
      column.id += next;
      columns.push_back(std::move(column));
    }
    next += OffsetAfter(item.facts.schema);
  }
  std::vector<v1::Expr> conditions;
  if (!BindConditions(texts, columns, block, &conditions, outer)) return std::nullopt;
  for (const auto& [left, right] : list.equals) {
    const auto column_of = [&](const ColumnPlace& at) {
      return MoveIds(ColumnExpr(items[at.item].columns[at.column]), offsets[at.item]);
    };
    conditions.push_back(Equality(column_of(left), column_of(right)));
  }
  std::set<uint32_t> read;
  if (outer != nullptr) read = ColumnIdsOf(outer->conditions);
  for (const auto& [key, value] : select.items()) {
    if (key != "fromClause" && key != "whereClause") AddReferencesOf(value, columns, block, &read);
  }
  for (const SubqueryTest& test : tests) {
    if (test.link->contains("testexpr")) {
      AddReferencesOf((*test.link)["testexpr"], columns, block, &read);
    }
    const Json& inner = (*test.link)["subselect"]["SelectStmt"];
    if (inner.contains("whereClause")) AddReferencesOf(inner["whereClause"], columns, block, &read);
  }
  for (const Json* scalar : scalars) AddReferencesOf(*scalar, columns, block, &read);
  if (select.empty()) {
    for (const RelationColumn& column : columns) read.insert(column.id);
  }
  const auto finish = [&](Planned rows) {
    if (rows) rows = PlanSubqueryTests(*std::move(rows), tests, block);
    return rows ? PlanScalarConditions(*std::move(rows), scalars, block) : std::nullopt;
  };
  if (items.size() == 1 && items[0].rank) {
    return finish(
        ApplyRank(std::move(items[0]), &conditions, read.contains(kRowNumberId), block, place));
  }
  // Conditions on one item filter it; the others belong to the first join that has their columns.
  std::vector<v1::Expr> across;
  std::vector<std::vector<v1::Expr>> own(items.size());
  for (const v1::Expr& condition : conditions) {
    const std::set<uint32_t> ids = ColumnIdsOf(condition);
    size_t touched = 0, last = 0;
    for (size_t i = 0; i < items.size(); ++i) {
      const bool here = std::any_of(ids.begin(), ids.end(), [&](uint32_t id) {
        return id > offsets[i] && (i + 1 == items.size() || id <= offsets[i + 1]);
      });
      touched += here ? 1 : 0;
      if (here) last = i;
    }
    if (touched <= 1) {
      own[last].push_back(MoveIds(condition, -offsets[last]));
    } else {
      across.push_back(condition);
      read.insert(ids.begin(), ids.end());
    }
  }
  for (size_t i = 0; i < items.size(); ++i) {
    Planned filtered = PlanFilter(items[i], own[i], block, place);
    if (!filtered) return std::nullopt;
    items[i] = *std::move(filtered);
    if (items.size() == 1 && tests.empty() && scalars.empty()) continue;
    Planned narrow = Narrow(items[i], read, offsets[i], block, place);
    if (!narrow) return std::nullopt;
    items[i] = *std::move(narrow);
  }
  Relation joined = std::move(items[0]);
  for (size_t i = 1; i < items.size(); ++i) {
    std::vector<v1::Expr> here, later;
    for (v1::Expr& condition : across) {
      const std::set<uint32_t> ids = ColumnIdsOf(condition);
      const bool fits = i + 1 == items.size() || *ids.rbegin() <= offsets[i + 1];
      (fits ? here : later).push_back(std::move(condition));
    }
    across = std::move(later);
    Planned next_joined = PlanJoin(v1::Join::KIND_INNER, std::move(joined), std::move(items[i]),
                                   offsets[i], std::move(here), block, place);
    if (!next_joined) return std::nullopt;
    joined = *std::move(next_joined);
  }
  return finish(std::move(joined));
}

bool QueryPlanner::BindConditions(const std::vector<const Json*>& texts,
                                  const std::vector<RelationColumn>& columns, const Block& block,
                                  std::vector<v1::Expr>* conditions, Outer* outer) {
  bool ok = true;
  for (const Json* text : texts) {
    SqlProblem problem;
    v1::Expr bound;
    bool is_bound = BindTree(block.tree, *text, RelationScope(columns), &bound, &problem);
    const bool reaches_out =
        !is_bound && outer != nullptr &&
        BindTree(block.tree, *text, SubqueryScope(columns, outer->columns), &bound, &problem);
    is_bound |= reaches_out;
    if (!is_bound) {
      Report(problem);
      ok = false;
    } else if (bound.type().kind() != v1::Type::KIND_BOOL) {
      Problem("MR1402", "the condition is not a BOOLEAN", "compare the value with something",
              static_cast<int64_t>(PlaceOf(block, *text)));
      ok = false;
    } else {
      AddConjuncts(bound, reaches_out ? &outer->conditions : conditions);
    }
  }
  return ok;
}

// What a join keeps should be no more than what is read: ids of columns, moved by `offset`.
QueryPlanner::Planned QueryPlanner::Narrow(const Relation& item, const std::set<uint32_t>& read,
                                           uint32_t offset, const Block& block, size_t place) {
  std::vector<Target> kept;
  std::vector<RelationColumn> seen;
  for (const RelationColumn& column : item.columns) {
    if (!read.contains(column.id + offset)) continue;
    kept.push_back({.name = Join(column.names, "."), .expr = ColumnExpr(column), .id = column.id});
    seen.push_back(column);
  }
  if (kept.empty()) kept.push_back({.name = "any", .expr = ColumnExpr(item.columns.front())});
  Planned narrow = PlanProject(item, kept, block, place);
  if (narrow) narrow->columns = std::move(seen);
  return narrow;
}

// Inner joins and commas become one list; other joins are items of it.
std::optional<QueryPlanner::Star> QueryPlanner::Flatten(const Json& node, const Block& block,
                                                        std::vector<const Json*> readers,
                                                        FromList* list) {
  const bool is_join = node.contains("JoinExpr");
  const bool is_as_of = is_join && IsAsOf(node["JoinExpr"]["rarg"], block);
  if (is_join && !is_as_of && node["JoinExpr"].value("jointype", "JOIN_INNER") == "JOIN_INNER") {
    const Json& join = node["JoinExpr"];
    if (join.contains("quals")) readers.push_back(&join["quals"]);
    const auto left = Flatten(join["larg"], block, readers, list);
    const auto right = left ? Flatten(join["rarg"], block, readers, list) : std::nullopt;
    if (!right) return std::nullopt;
    if (join.contains("quals")) list->conditions.push_back(&join["quals"]);
    const auto columns_of = [list](const Star& star) {
      std::vector<RelationColumn> columns;
      for (const ColumnPlace& at : star) columns.push_back(list->items[at.item].columns[at.column]);
      return columns;
    };
    const auto merged = MergedColumns(join, columns_of(*left), columns_of(*right), block);
    if (!merged) return std::nullopt;
    // First what both have, then the rest of each side.
    Star star, rest = *left, others = *right;
    for (const auto& [l, r] : *merged) {
      star.push_back((*left)[l]);
      list->equals.emplace_back((*left)[l], (*right)[r]);
    }
    const auto is_merged = [&](const ColumnPlace& at) {
      return std::any_of(list->equals.begin(), list->equals.end(),
                         [&](const auto& one) { return one.first == at || one.second == at; });
    };
    if (!merged->empty()) {
      std::erase_if(rest, is_merged);
      std::erase_if(others, is_merged);
    }
    star.insert(star.end(), rest.begin(), rest.end());
    star.insert(star.end(), others.begin(), others.end());
    return star;
  }
  if (IsUnnest(node)) {
    const auto at = FindUnnested(node, list->items, block);
    if (!at) return std::nullopt;
    Relation& before = list->items[*at];
    const size_t columns = before.columns.size();
    Planned unnested = PlanUnnest(std::move(before), node, /*outer=*/false, block);
    if (!unnested) return std::nullopt;
    before = *std::move(unnested);
    Star added;
    for (size_t i = columns; i < before.columns.size(); ++i) added.push_back({*at, i});
    return added;
  }
  Planned item = is_as_of ? PlanAsOf(node["JoinExpr"], block, readers) : PlanItem(node, block);
  if (!item) return std::nullopt;
  Star star;
  for (const size_t column : StarOf(item->columns)) star.push_back({list->items.size(), column});
  list->items.push_back(*std::move(item));
  return star;
}

void QueryPlanner::PlaceColumns(const Star& star, std::vector<Relation>& items) {
  for (Relation& item : items) {
    for (RelationColumn& column : item.columns) column.place = RelationColumn::kHidden;
  }
  for (size_t i = 0; i < star.size(); ++i) {
    items[star[i].item].columns[star[i].column].place = static_cast<int>(i);
  }
}

std::optional<QueryPlanner::Merged> QueryPlanner::MergedColumns(
    const Json& join, const std::vector<RelationColumn>& left,
    const std::vector<RelationColumn>& right, const Block& block) {
  const auto place = static_cast<int64_t>(PlaceOf(block, join));
  // The index of the column of that name; nothing: reported.
  const auto find = [&](const std::string& name, std::vector<RelationColumn> side,
                        const char* of_side) -> std::optional<size_t> {
    for (size_t i = 0; i < side.size(); ++i) side[i].id = static_cast<uint32_t>(i);
    const NamePart part{.name = name};
    SqlProblem problem;
    v1::Expr found;
    if (RelationScope(side).FindColumn({&part, 1}, &found, &problem)) return found.field_id();
    return Problem(problem.code, Concat(problem.message, " on the ", of_side, " of USING"),
                   problem.hint, place);
  };
  std::vector<std::string> names;
  if (join.contains("usingClause")) {
    for (const Json& name : join["usingClause"]) names.push_back(name["String"].value("sval", ""));
  } else if (join.value("isNatural", false)) {
    for (const RelationColumn& one : left) {
      const auto same = [&](const RelationColumn& other) {
        return other.place != RelationColumn::kHidden && other.names == one.names;
      };
      const bool both = one.place != RelationColumn::kHidden && one.names.size() == 1 &&
                        std::any_of(right.begin(), right.end(), same);
      if (both) names.push_back(one.names[0]);
    }
    if (names.empty()) {
      return Problem("MR1203", "the sides of NATURAL JOIN have no column in common",
                     "write ON a.id = b.id, or CROSS JOIN", place);
    }
  }
  Merged merged;
  for (const std::string& name : names) {
    const auto l = find(name, left, "left");
    const auto r = l ? find(name, right, "right") : std::nullopt;
    if (!r) return std::nullopt;
    v1::Expr a = ColumnExpr(left[*l]), b = ColumnExpr(right[*r]);
    if (!MakeSameType(a, b)) {
      return Problem("MR1216",
                     Concat("column '", name, "' of USING is ", TypeText(left[*l].type),
                            " on the left and ", TypeText(right[*r].type), " on the right"),
                     "CAST one side in a subquery", place);
    }
    merged.emplace_back(*l, *r);
  }
  return merged;
}

QueryPlanner::Planned QueryPlanner::PlanItem(const Json& node, const Block& block) {
  const auto alias_of = [](const Json& body, const std::string& otherwise) {
    return body.contains("alias") ? body["alias"].value("aliasname", "") : otherwise;
  };
  Planned item;
  std::string name;
  if (node.contains("RangeVar")) {
    const Json& body = node["RangeVar"];
    const int64_t offset = OffsetOf(block, body);
    if (block.notes.as_of.contains(static_cast<size_t>(offset))) {
      return Problem("MR1222", "FOR SYSTEM_TIME AS OF stands behind the right side of a JOIN",
                     "write a JOIN b FOR SYSTEM_TIME AS OF a.time ON a.id = b.id", offset);
    }
    name = alias_of(body, body.value("relname", ""));
    item = ReadTable(body.value("relname", ""), block, offset);
  } else if (node.contains("RangeSubselect")) {
    const Json& body = node["RangeSubselect"];
    name = alias_of(body, "");
    item = PlanQuery(body["subquery"]["SelectStmt"], block);
  } else if (node.contains("RangeFunction")) {
    const Json& body = node["RangeFunction"];
    name = alias_of(body, "");
    item = PlanTableFunction(body, block);
    if (name.empty()) return item;  // The columns keep the name of the table.
  } else if (node.contains("JoinExpr")) {
    return PlanOuterJoin(node["JoinExpr"], block);
  } else {
    return Problem("MR1202", "this form of FROM is not supported", "",
                   static_cast<int64_t>(PlaceOf(block, node)));
  }
  if (!item) return std::nullopt;
  for (RelationColumn& column : item->columns) column.table = name;
  return NameColumns(*std::move(item), node.front(), block);
}

// AS t (a, b)
QueryPlanner::Planned QueryPlanner::NameColumns(Relation relation, const Json& body,
                                                const Block& block) {
  if (!body.contains("alias") || !body["alias"].contains("colnames")) return relation;
  const Json& names = body["alias"]["colnames"];
  if (names.size() > relation.columns.size()) {
    return Problem("MR1216",
                   Concat("'", body["alias"].value("aliasname", ""), "' names ", names.size(),
                          " columns of ", relation.columns.size()),
                   "", static_cast<int64_t>(PlaceOf(block, body)));
  }
  for (size_t i = 0; i < names.size(); ++i) {
    relation.columns[i].names = {names[i]["String"].value("sval", "")};
  }
  return relation;
}

QueryPlanner::Planned QueryPlanner::PlanOuterJoin(const Json& body, const Block& block) {
  const std::string type = body.value("jointype", "");
  const v1::Join::Kind kind = type == "JOIN_LEFT"    ? v1::Join::KIND_LEFT
                              : type == "JOIN_RIGHT" ? v1::Join::KIND_RIGHT
                                                     : v1::Join::KIND_FULL;
  const size_t place = PlaceOf(block, body);
  const bool merges = body.contains("usingClause") || body.value("isNatural", false);
  Planned left = PlanFrom(Json::array({body["larg"]}), nullptr, Json::object(), block);
  if (IsUnnest(body["rarg"])) return left ? PlanOuterUnnest(*std::move(left), body, block) : left;
  Planned right = PlanFrom(Json::array({body["rarg"]}), nullptr, Json::object(), block);
  if (left && left->window) left = AssignWindows(*std::move(left), block, place);
  if (right && right->window) right = AssignWindows(*std::move(right), block, place);
  if (!left || !right) return std::nullopt;
  const uint32_t offset = OffsetAfter(left->facts.schema);
  const size_t lefts = left->columns.size();
  std::vector<RelationColumn> columns = left->columns;
  for (RelationColumn column : right->columns) {
    column.id += offset;
    columns.push_back(std::move(column));
  }
  std::vector<v1::Expr> conditions;
  const auto merged = MergedColumns(body, left->columns, right->columns, block);
  if (!merged) return std::nullopt;
  for (const auto& [l, r] : *merged) {
    conditions.push_back(Equality(ColumnExpr(columns[l]), ColumnExpr(columns[lefts + r])));
  }
  if (body.contains("quals") &&
      !BindConditions({&body["quals"]}, columns, block, &conditions, nullptr)) {
    return std::nullopt;
  }
  const std::vector<size_t> left_star = StarOf(left->columns), right_star = StarOf(right->columns);
  Planned joined = PlanJoin(kind, *std::move(left), *std::move(right), offset,
                            std::move(conditions), block, place);
  if (!joined || !merges) return joined;
  // First what both have, from the side that is always there; FULL: from that which is.
  std::vector<size_t> star, hidden;
  for (const auto& [l, r] : *merged) {
    star.push_back(kind == v1::Join::KIND_RIGHT ? lefts + r : l);
    hidden.push_back(kind == v1::Join::KIND_RIGHT ? l : lefts + r);
    if (kind != v1::Join::KIND_FULL) continue;
    hidden.push_back(l);
    v1::Expr a = ColumnExpr(columns[l]), b = ColumnExpr(columns[lefts + r]);
    MILLRACE_CHECK(MakeSameType(a, b));
    RelationColumn both{.table = "", .names = columns[l].names, .type = a.type()};
    joined = KeyColumn(*std::move(joined), CallExpr("coalesce", both.type, {a, b}), &both.id, block,
                       place);
    if (!joined) return std::nullopt;
    star.back() = joined->columns.size();
    joined->columns.push_back(std::move(both));
  }
  const auto add = [&](size_t column) {
    const bool there = std::find(star.begin(), star.end(), column) != star.end() ||
                       std::find(hidden.begin(), hidden.end(), column) != hidden.end();
    if (!there) star.push_back(column);
  };
  for (const size_t column : left_star) add(column);
  for (const size_t column : right_star) add(lefts + column);
  for (RelationColumn& column : joined->columns) column.place = RelationColumn::kHidden;
  for (size_t i = 0; i < star.size(); ++i) joined->columns[star[i]].place = static_cast<int>(i);
  return joined;
}

// The column with the value of `key`: one that is there, or a new one. Nothing: reported.
QueryPlanner::Planned QueryPlanner::KeyColumn(Relation side, const v1::Expr& key, uint32_t* id,
                                              const Block& block, size_t place) {
  if (key.has_field_id()) {
    *id = key.field_id();
    return side;
  }
  std::vector<Target> columns = AllColumns(side.facts.schema);
  *id = LargestId(side.facts.schema) + 1;
  columns.push_back({.name = Concat("key$", *id), .expr = key, .id = *id});
  Planned with_key = PlanProject(side, columns, block, place);
  if (with_key) with_key->columns = std::move(side.columns);
  return with_key;
}

QueryPlanner::Planned QueryPlanner::PlanJoin(v1::Join::Kind kind, Relation left, Relation right,
                                             uint32_t offset, std::vector<v1::Expr> conditions,
                                             const Block& block, size_t place) {
  std::vector<RelationColumn> right_columns = right.columns;
  for (RelationColumn& column : right_columns) column.id += offset;
  v1::Node node;
  v1::Join& join = *node.mutable_join();
  join.set_kind(kind);
  join.set_right_id_offset(offset);
  const std::set<uint32_t> left_times = TimesOf(left.facts);
  std::set<uint32_t> right_times;
  for (const uint32_t id : TimesOf(right.facts)) right_times.insert(id + offset);
  TimeBounds bounds;
  std::vector<v1::Expr> rest;
  for (const v1::Expr& condition : conditions) {
    NoteBounds(condition, left_times, right_times, &bounds);
    const auto sides = SidesOfEquality(condition, left.columns, right_columns);
    if (!sides) {
      rest.push_back(condition);
      continue;
    }
    uint32_t left_id = 0, right_id = 0;
    Planned left_side = KeyColumn(std::move(left), sides->first, &left_id, block, place);
    Planned right_side =
        KeyColumn(std::move(right), MoveIds(sides->second, -offset), &right_id, block, place);
    if (!left_side || !right_side) return std::nullopt;
    left = *std::move(left_side);
    right = *std::move(right_side);
    join.mutable_left_keys()->add_ids(left_id);
    join.mutable_right_keys()->add_ids(right_id);
  }
  if (!rest.empty()) *join.mutable_condition() = Conjunction(rest);
  const bool appends =
      left.facts.mode == v1::CHANGELOG_MODE_APPEND && right.facts.mode == v1::CHANGELOG_MODE_APPEND;
  if (bounds.complete() && appends) {
    join.mutable_left_time()->add_ids(bounds.left);
    join.mutable_right_time()->add_ids(bounds.right - offset);
    join.set_lower_ms(FloorMs(*bounds.lower_us));
    join.set_upper_ms(CeilMs(*bounds.upper_us));
  }
  join.set_right_prefix(RightPrefix(left.facts.schema, right.facts.schema,
                                    right.columns.empty() ? "" : right.columns[0].table, offset));
  SetStateTtls(left, right, node);
  Planned joined = assembler_.Add(block.object, "join", std::move(node), {&left, &right}, place);
  if (!joined) return std::nullopt;
  joined->columns = std::move(left.columns);
  if (kind == v1::Join::KIND_SEMI || kind == v1::Join::KIND_ANTI) return joined;
  joined->columns.insert(joined->columns.end(), right_columns.begin(), right_columns.end());
  return joined;
}

// ---- TABLE(TUMBLE(…)) ----

QueryPlanner::Planned QueryPlanner::PlanTableFunction(const Json& body, const Block& block) {
  const Json& functions = body["functions"];
  const Json* call = nullptr;
  if (functions.size() == 1 && functions[0].contains("List")) {
    call = &functions[0]["List"]["items"][0];
  }
  if (call == nullptr || !call->contains("FuncCall")) {
    return Problem("MR1202", "this form of FROM is not supported", "",
                   static_cast<int64_t>(PlaceOf(block, body)));
  }
  return PlanWindowFunction((*call)["FuncCall"], block);
}

QueryPlanner::Planned QueryPlanner::PlanWindowFunction(const Json& call, const Block& block) {
  const int64_t place = OffsetOf(block, call);
  const std::string name = call["funcname"].back()["String"].value("sval", "");
  v1::Window window;
  if (name == "tumble") {
    window.set_kind(v1::Window::KIND_TUMBLE);
  } else if (name == "hop") {
    window.set_kind(v1::Window::KIND_HOP);
  } else if (name == "cumulate") {
    window.set_kind(v1::Window::KIND_CUMULATE);
  } else if (name == "session") {
    window.set_kind(v1::Window::KIND_SESSION);
  } else {
    return Problem("MR1205", Concat("table function '", name, "' is unknown"),
                   "table functions: TUMBLE, HOP, CUMULATE, SESSION", place);
  }
  std::vector<const Json*> arguments;
  if (call.contains("args")) {
    for (const Json& argument : call["args"]) {
      arguments.push_back(argument.contains("NamedArgExpr") ? &argument["NamedArgExpr"]["arg"]
                                                            : &argument);
    }
  }
  const std::string usage =
      Concat("write TABLE(", UpperText(name), "(TABLE t, DESCRIPTOR(time), INTERVAL '10' SECOND",
             name == "hop" || name == "cumulate" ? ", INTERVAL '1' MINUTE" : "", "))");
  size_t time = 1;
  while (time < arguments.size() &&
         !(arguments[time]->contains("FuncCall") &&
           (*arguments[time])["FuncCall"]["funcname"].back()["String"].value("sval", "") ==
               "descriptor")) {
    ++time;
  }
  if (arguments.empty() || time + 1 >= arguments.size()) {
    return Problem("MR1206", Concat(UpperText(name), " lacks arguments"), usage, place);
  }
  if (time > 1 && window.kind() != v1::Window::KIND_SESSION) {
    return Problem("MR1202", "only SESSION has PARTITION BY",
                   "the keys of the other windows are those of GROUP BY", place);
  }
  Planned input;
  const Json& table = *arguments[0];
  if (table.contains("ColumnRef")) {
    const std::vector<NamePart> parts = NamePartsOf(block.tree, table["ColumnRef"]);
    if (parts.size() != 1) return Problem("MR1212", "expected the name of a table", usage, place);
    input = NumberRows(ReadTable(parts[0].name, block, OffsetOf(block, table["ColumnRef"])), block);
    if (input) {
      for (RelationColumn& column : input->columns) column.table = parts[0].name;
    }
  } else if (table.contains("SubLink")) {
    input = PlanRows(table["SubLink"]["subselect"]["SelectStmt"], block);
  } else {
    return Problem("MR1206", "the first argument is not a table", usage, place);
  }
  if (!input) return std::nullopt;
  const Json& descriptor = (*arguments[time])["FuncCall"];
  SqlProblem problem;
  v1::Expr column;
  if (!descriptor.contains("args") || descriptor["args"].size() != 1 ||
      !BindTree(block.tree, descriptor["args"][0], RelationScope(input->columns), &column,
                &problem)) {
    return problem.message.empty() ? Problem("MR1206", "DESCRIPTOR names one column", usage, place)
                                   : Report(problem);
  }
  if (input->facts.processing_times.contains(column.field_id())) {
    input = ByClock(*std::move(input), column.field_id(), block, static_cast<size_t>(place));
    if (!input) return std::nullopt;
  }
  window.mutable_time()->add_ids(column.field_id());
  std::vector<int64_t> lengths;
  for (size_t i = time + 1; i < arguments.size(); ++i) {
    v1::Expr length;
    if (!BindTree(block.tree, *arguments[i], RelationScope({}), &length, &problem)) {
      return Report(problem);
    }
    if (!length.has_literal() || length.type().kind() != v1::Type::KIND_INTERVAL) {
      return Problem("MR1206", "the lengths of a window are INTERVALs", usage, place);
    }
    if (length.literal().int_value() % 1000 != 0) {
      return Problem("MR1406", "windows have whole milliseconds", "", place);
    }
    lengths.push_back(length.literal().int_value() / 1000);
  }
  const bool has_slide = name == "hop" || name == "cumulate";
  const size_t needed = has_slide ? 2 : 1;
  if (lengths.size() < needed || lengths.size() > needed + (name == "session" ? 0 : 1) ||
      *std::min_element(lengths.begin(), lengths.begin() + static_cast<ptrdiff_t>(needed)) <= 0) {
    return Problem("MR1206", Concat(UpperText(name), " has a wrong number of lengths, or one of 0"),
                   usage, place);
  }
  if (has_slide) window.set_slide_ms(static_cast<uint64_t>(lengths[0]));
  window.set_size_ms(static_cast<uint64_t>(lengths[has_slide ? 1 : 0]));
  if (lengths.size() > needed) window.set_offset_ms(lengths.back());
  v1::Type timestamp = column.type();
  const std::string alias = input->columns.empty() ? "" : input->columns[0].table;
  input->columns.push_back({alias, {"window_start"}, kWindowStartId, timestamp});
  input->columns.push_back({alias, {"window_end"}, kWindowEndId, timestamp});
  input->window = std::move(window);
  return input;
}

QueryPlanner::Planned QueryPlanner::ByClock(Relation relation, uint32_t time, const Block& block,
                                            size_t place) {
  v1::Node node;
  v1::ProcessingTime& body = *node.mutable_processing_time();
  body.set_name(FieldById(relation.facts.schema, time)->name());
  body.set_gives_watermark(true);
  Planned timed =
      assembler_.Add(block.object, "processing-time", std::move(node), {&relation}, place);
  if (timed) timed->columns = std::move(relation.columns);
  return timed;
}

QueryPlanner::Planned QueryPlanner::AssignWindows(Relation relation, const Block& block,
                                                  size_t place) {
  v1::Node node;
  v1::AssignWindows& body = *node.mutable_assign_windows();
  *body.mutable_window() = *relation.window;
  const uint32_t start = LargestId(relation.facts.schema) + 1;
  body.set_window_start_id(start);
  body.set_window_end_id(start + 1);
  // Rows of a window may have columns of these names: of another window.
  const auto taken = [&](const std::string& name) {
    return std::any_of(relation.facts.schema.fields().begin(), relation.facts.schema.fields().end(),
                       [&](const v1::Field& one) { return one.name() == name; });
  };
  const auto fresh = [&](std::string name) {
    while (taken(name)) name += "0";
    return name;
  };
  body.set_window_start_name(fresh("window_start"));
  body.set_window_end_name(fresh("window_end"));
  Planned assigned = assembler_.Add(block.object, "windows", std::move(node), {&relation}, place);
  if (!assigned) return std::nullopt;
  assigned->columns = std::move(relation.columns);
  for (RelationColumn& column : assigned->columns) {
    if (column.id == kWindowStartId) column.id = start;
    if (column.id == kWindowEndId) column.id = start + 1;
  }
  return assigned;
}

// ---- WHERE row_number <= n ----

QueryPlanner::Planned QueryPlanner::ApplyRank(Relation relation, std::vector<v1::Expr>* conditions,
                                              bool shows_number, const Block& block, size_t place) {
  int64_t limit = -1;
  std::vector<v1::Expr> rest;
  for (const v1::Expr& condition : *conditions) {
    const std::string& function = condition.call().function();
    int64_t here = -1;
    for (int turn = 0; turn < 2 && condition.call().arguments_size() == 2; ++turn) {
      const v1::Expr& number = condition.call().arguments(turn);
      const v1::Expr& bound = condition.call().arguments(1 - turn);
      if (number.field_id() != kRowNumberId || !bound.has_literal()) continue;
      const int64_t value = bound.literal().int_value();
      if (function == (turn == 0 ? "le" : "ge")) here = value;
      if (function == (turn == 0 ? "lt" : "gt")) here = value - 1;
      if (function == "eq" && value == 1) here = 1;
    }
    if (here < 0) {
      rest.push_back(condition);
    } else {
      limit = limit < 0 ? here : std::min(limit, here);
    }
  }
  if (limit < 0) {
    Planned numbered = NumberRows(std::move(relation), block);
    if (!numbered) return std::nullopt;
    const auto number = std::max_element(
        numbered->columns.begin(), numbered->columns.end(),
        [](const RelationColumn& a, const RelationColumn& b) { return a.id < b.id; });
    for (v1::Expr& one : rest) one = ReplaceId(one, kRowNumberId, number->id);
    return PlanFilter(*numbered, rest, block, place);
  }
  const PendingRank rank = *std::exchange(relation.rank, std::nullopt);
  for (const v1::Expr& one : rest) shows_number |= ColumnIdsOf(one).contains(kRowNumberId);
  v1::Node node;
  const auto& partition = rank.partition.ids();
  const auto end = std::find_if(partition.begin(), partition.end(), [&](uint32_t id) {
    return relation.facts.window_ends.contains(id);
  });
  const bool per_window =
      end != partition.end() && relation.facts.mode == v1::CHANGELOG_MODE_APPEND;
  uint32_t rank_id = LargestId(relation.facts.schema) + 1;
  if (per_window) {
    v1::WindowTopN& body = *node.mutable_window_top_n();
    body.mutable_window_end()->add_ids(*end);
    for (const uint32_t id : partition) {
      if (id != *end) body.mutable_partition()->add_ids(id);
    }
    *body.mutable_order() = rank.order;
    body.set_limit(static_cast<uint64_t>(limit));
    body.set_with_ties(rank.function != "row_number");
    body.set_dense(rank.function == "dense_rank");
    if (shows_number) body.set_rank_name(rank.name);
    if (shows_number) body.set_rank_id(rank_id);
  } else {
    v1::TopN& body = *node.mutable_top_n();
    *body.mutable_partition() = rank.partition;
    *body.mutable_order() = rank.order;
    body.set_limit(static_cast<uint64_t>(limit));
    body.set_with_ties(rank.function != "row_number");
    body.set_dense(rank.function == "dense_rank");
    if (shows_number) body.set_rank_name(rank.name);
    if (shows_number) body.set_rank_id(rank_id);
  }
  Planned ranked = assembler_.Add(block.object, per_window ? "window-top-n" : "top-n",
                                  std::move(node), {&relation}, place);
  if (!ranked) return std::nullopt;
  ranked->columns.clear();
  for (RelationColumn column : relation.columns) {
    if (column.id == kRowNumberId) {
      if (!shows_number) continue;
      column.id = rank_id;
    }
    ranked->columns.push_back(std::move(column));
  }
  for (v1::Expr& one : rest) one = ReplaceId(one, kRowNumberId, rank_id);
  return PlanFilter(*ranked, rest, block, place);
}

}  // namespace millrace
