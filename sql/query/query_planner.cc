#include "sql/query/query_planner.h"

#include <algorithm>
#include <functional>
#include <set>
#include <utility>

#include "runtime/base/text.h"
#include "runtime/expressions/functions.h"
#include "sql/changelog.h"
#include "sql/node_compiler.h"
#include "sql/type_names.h"

namespace millrace {
namespace {

using nlohmann::json;

constexpr int kQueryDepthMax = 40;

bool IsProcessingTime(const json& node) {
  return CallName(node) == "proctime" && !node["FuncCall"].contains("args");
}

bool IsRank(const json& node) {
  return IsNumberFunction(CallName(node)) && node["FuncCall"].contains("over");
}

// Names differ: the second "id" becomes "id0", as in Flink.
void MakeUnique(std::vector<std::string>& names) {
  std::set<std::string> taken;
  for (std::string& name : names) {
    const std::string base = name;
    for (int n = 0; !taken.insert(name).second; ++n) name = Concat(base, n);
  }
}

}  // namespace

// ---- typed expressions ----

void AddConjuncts(const v1::Expr& expr, std::vector<v1::Expr>* out) {
  if (expr.has_call() && expr.call().function() == "and") {
    for (const v1::Expr& argument : expr.call().arguments()) AddConjuncts(argument, out);
    return;
  }
  out->push_back(expr);
}

v1::Expr Conjunction(const std::vector<v1::Expr>& conditions) {
  v1::Expr all = conditions.front();
  for (size_t i = 1; i < conditions.size(); ++i) {
    all = TestExpr("and", {std::move(all), conditions[i]});
  }
  return all;
}

std::set<uint32_t> ColumnIdsOf(const v1::Expr& expr) {
  FieldIds ids;
  AddReferences(expr, ids);
  return ids;
}

namespace {

void ForEachColumn(v1::Expr& expr, const std::function<void(v1::Expr&)>& column) {
  if (expr.has_field_id()) column(expr);
  if (expr.has_call()) {
    for (v1::Expr& one : *expr.mutable_call()->mutable_arguments()) ForEachColumn(one, column);
  }
  if (expr.has_case_when()) {
    v1::Case& body = *expr.mutable_case_when();
    for (v1::Expr& when : *body.mutable_when()) ForEachColumn(when, column);
    for (v1::Expr& then : *body.mutable_then()) ForEachColumn(then, column);
    if (body.has_otherwise()) ForEachColumn(*body.mutable_otherwise(), column);
  }
  if (expr.has_cast()) ForEachColumn(*expr.mutable_cast()->mutable_input(), column);
}

}  // namespace

std::set<uint32_t> ColumnIdsOf(const std::vector<v1::Expr>& exprs) {
  std::set<uint32_t> ids;
  for (const v1::Expr& expr : exprs) ids.merge(ColumnIdsOf(expr));
  return ids;
}

uint32_t OffsetAfter(const v1::Schema& schema) {
  return (LargestId(schema) / kIdStride + 1) * kIdStride;
}

v1::Expr MoveIds(v1::Expr expr, uint32_t offset) {
  ForEachColumn(expr, [&](v1::Expr& one) { one.set_field_id(one.field_id() + offset); });
  return expr;
}

v1::Expr ReplaceId(v1::Expr expr, uint32_t from, uint32_t to) {
  ForEachColumn(expr, [&](v1::Expr& one) {
    if (one.field_id() == from) one.set_field_id(to);
  });
  return expr;
}

bool SameExpr(const v1::Expr& a, const v1::Expr& b) {
  return a.SerializeAsString() == b.SerializeAsString();
}

bool IsProcessingTime(std::string_view text) {
  std::string plain = UpperText(std::string(text));
  std::erase_if(plain, [](char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; });
  return plain == "PROCTIME()";
}

std::string CallName(const json& node) {
  if (!node.is_object() || !node.contains("FuncCall")) return "";
  const json& names = node["FuncCall"]["funcname"];
  return names.empty() ? "" : names.back()["String"].value("sval", "");
}

bool ContainsAggregate(const json& node) {
  if (node.is_array()) return std::any_of(node.begin(), node.end(), &ContainsAggregate);
  if (!node.is_object()) return false;
  if (node.contains("SubLink")) return false;
  if (IsAggregateCall(node)) return true;
  return std::any_of(node.begin(), node.end(), &ContainsAggregate);
}

v1::Expr CastExpr(v1::Expr expr, const v1::Type& type) {
  if (SameType(expr.type(), type)) return expr;
  v1::Expr cast;
  *cast.mutable_type() = type;
  *cast.mutable_cast()->mutable_input() = std::move(expr);
  return cast;
}

v1::Expr CallExpr(const char* function, const v1::Type& type, std::vector<v1::Expr> arguments) {
  v1::Expr call;
  *call.mutable_type() = type;
  call.mutable_call()->set_function(function);
  call.mutable_call()->set_function_version(1);
  for (v1::Expr& argument : arguments) *call.mutable_call()->add_arguments() = std::move(argument);
  return call;
}

v1::Expr TestExpr(const char* function, std::vector<v1::Expr> arguments) {
  v1::Type boolean;
  boolean.set_kind(v1::Type::KIND_BOOL);
  return CallExpr(function, boolean, std::move(arguments));
}

bool MakeSameType(v1::Expr& a, v1::Expr& b) {
  if (SameType(a.type(), b.type())) return true;
  const auto common = CommonType(DataType::FromProto(a.type()), DataType::FromProto(b.type()));
  if (!common.ok()) return false;
  v1::Type type;
  common->ToProto(&type);
  a = CastExpr(std::move(a), type);
  b = CastExpr(std::move(b), type);
  return true;
}

// ---- problems and places ----

std::nullopt_t QueryPlanner::Report(const SqlProblem& problem) {
  assembler_.Report(problem);
  return std::nullopt;
}

std::nullopt_t QueryPlanner::Problem(std::string code, std::string message, std::string hint,
                                     int64_t offset) {
  return Report({std::move(code), std::move(message), std::move(hint), offset});
}

int64_t QueryPlanner::OffsetOf(const Block& block, const Json& body) const {
  const int64_t location = body.is_object() ? body.value("location", int64_t{-1}) : -1;
  return location < 0 ? block.tree.location_base : location + block.tree.location_base;
}

// The first place that is known in the tree below.
size_t QueryPlanner::PlaceOf(const Block& block, const Json& node) const {
  int64_t first = -1;
  const std::function<void(const Json&)> look = [&](const Json& one) {
    if (one.is_object() && one.value("location", int64_t{-1}) >= 0) {
      const int64_t at = one.value("location", int64_t{-1});
      if (first < 0 || at < first) first = at;
    }
    if (one.is_structured()) std::for_each(one.begin(), one.end(), look);
  };
  look(node);
  return static_cast<size_t>(block.tree.location_base + std::max<int64_t>(first, 0));
}

// ---- statements ----

bool QueryPlanner::DefineTable(TableDefinition table) {
  const auto offset = static_cast<int64_t>(table.offset);
  const std::string name = table.name;
  if (!views_.contains(name) && tables_.emplace(name, std::move(table)).second) return true;
  Problem("MR1215", Concat("'", name, "' is defined twice"), "choose another name", offset);
  return false;
}

bool QueryPlanner::DefineView(const std::string& name, View view, size_t offset) {
  if (!tables_.contains(name) && views_.emplace(name, std::move(view)).second) return true;
  Problem("MR1215", Concat("'", name, "' is defined twice"), "choose another name",
          static_cast<int64_t>(offset));
  return false;
}

void QueryPlanner::PlanInsert(const std::string& table, const std::vector<std::string>& columns,
                              const View& query, size_t offset,
                              const std::optional<OnConflict>& conflict) {
  if (first_target_.empty()) first_target_ = table;
  has_sink_ = true;
  const TableDefinition* target = FindTable(table);
  if (target == nullptr) {
    Problem("MR1212", Concat("table '", table, "' is unknown"), "CREATE TABLE it first",
            static_cast<int64_t>(offset));
    return;
  }
  const Block block{
      .tree = {.text = text_, .location_base = query.location_base, .functions = &functions_},
      .notes = query.notes,
      .object = target->name,
      .with = {}};
  if (const Planned rows = PlanRows(query.query, block)) {
    PlanSink(*target, columns, *rows, offset, conflict);
  }
}

void QueryPlanner::PlanSelectAlone(const View& query, size_t offset) {
  if (first_target_.empty()) first_target_ = "select";
  has_sink_ = true;
  const Block block{
      .tree = {.text = text_, .location_base = query.location_base, .functions = &functions_},
      .notes = query.notes,
      .object = "select",
      .with = {}};
  const Planned rows = PlanRows(query.query, block);
  if (!rows) return;
  v1::Node node;
  node.mutable_sink()->set_connector("print");
  (void)assembler_.Add("select", "print", std::move(node), {&*rows}, offset);
}

// ---- queries ----

QueryPlanner::Planned QueryPlanner::PlanQuery(const Json& body, const Block& outer) {
  if (depth_ >= kQueryDepthMax) {
    return Problem("MR1208", Concat("queries are nested deeper than ", kQueryDepthMax),
                   "split them by views", OffsetOf(outer, body));
  }
  ++depth_;
  Block block = outer;
  Planned result;
  bool ok = true;
  if (body.contains("withClause")) {
    for (const Json& one : body["withClause"]["ctes"]) {
      const Json& cte = one["CommonTableExpr"];
      if (body["withClause"].value("recursive", false) || cte.contains("aliascolnames")) {
        Problem("MR1202", "this form of WITH is not supported", "write WITH name AS (SELECT …)",
                OffsetOf(block, cte));
        ok = false;
        break;
      }
      Block inner = block;
      inner.object = Concat(outer.object, ".", cte.value("ctename", ""));
      Planned planned = PlanQuery(cte["ctequery"]["SelectStmt"], inner);
      ok = planned.has_value();
      if (!ok) break;
      block.with.insert_or_assign(LowerAscii(cte.value("ctename", "")), *std::move(planned));
    }
  }
  const std::string op = body.value("op", "SETOP_NONE");
  if (ok && op == "SETOP_NONE") {
    result = PlanSelect(body, block);
  } else if (ok && op == "SETOP_UNION") {
    result = PlanUnion(body, block);
  } else if (ok) {
    Problem("MR1202", "INTERSECT and EXCEPT are not supported", "", OffsetOf(block, body));
  }
  if (result && (body.contains("sortClause") || body.contains("limitCount"))) {
    result = NumberRows(std::move(result), block);
    if (result) result = PlanLimit(*std::move(result), body, block);
  }
  --depth_;
  return result;
}

// ORDER BY … LIMIT n: the first n rows of everything so far.
QueryPlanner::Planned QueryPlanner::PlanLimit(Relation relation, const Json& body,
                                              const Block& block) {
  const auto place = static_cast<int64_t>(PlaceOf(block, body.value("sortClause", Json())));
  if (!body.contains("limitCount") || !body.contains("sortClause") ||
      body.contains("limitOffset")) {
    return Problem("MR1202", "a stream has no end: ORDER BY needs LIMIT, and LIMIT ORDER BY",
                   "write ORDER BY column LIMIT 10", place);
  }
  const Json& count = body["limitCount"];
  if (!count.contains("A_Const") || !count["A_Const"].contains("ival")) {
    return Problem("MR1202", "LIMIT needs a number", "", place);
  }
  v1::Node node;
  node.mutable_top_n()->set_limit(static_cast<uint64_t>(
      std::max<int64_t>(count["A_Const"]["ival"].value("ival", int64_t{0}), 0)));
  std::vector<v1::Expr> exprs;
  const RelationScope scope(relation.columns);
  if (!ReadOrder(body["sortClause"], scope, block, &exprs, node.mutable_top_n()->mutable_order())) {
    return std::nullopt;
  }
  for (size_t i = 0; i < exprs.size(); ++i) {
    if (!exprs[i].has_field_id()) {
      return Problem("MR1202", "ORDER BY needs columns of the result", "give the value a name",
                     place);
    }
    node.mutable_top_n()
        ->mutable_order(static_cast<int>(i))
        ->mutable_field()
        ->add_ids(exprs[i].field_id());
  }
  return assembler_.Add(block.object, "top-n", std::move(node), {&relation},
                        static_cast<size_t>(place));
}

QueryPlanner::Planned QueryPlanner::PlanUnion(const Json& body, const Block& block) {
  Planned left = PlanRows(body["larg"], block);
  Planned right = PlanRows(body["rarg"], block);
  if (!left || !right) return std::nullopt;
  const size_t place = PlaceOf(block, body);
  Planned all = UniteRows(*std::move(left), *std::move(right), block, place);
  if (!all || body.value("all", false)) return all;
  return PlanDistinct(*std::move(all), block, place);
}

QueryPlanner::Planned QueryPlanner::UniteRows(Relation left_rows, Relation right_rows,
                                              const Block& block, size_t place) {
  Planned left = std::move(left_rows), right = std::move(right_rows);
  if (left->columns.size() != right->columns.size()) {
    return Problem("MR1216",
                   Concat("the sides of UNION have ", left->columns.size(), " and ",
                          right->columns.size(), " columns"),
                   "", static_cast<int64_t>(place));
  }
  // Both sides get the names of the left one, and one type.
  std::vector<Target> lefts, rights;
  for (size_t i = 0; i < left->columns.size(); ++i) {
    const std::string name = Join(left->columns[i].names, ".");
    const v1::Type &a = left->columns[i].type, &b = right->columns[i].type;
    Target one{.name = name, .expr = ColumnExpr(left->columns[i])};
    Target other{.name = name, .expr = ColumnExpr(right->columns[i])};
    if (!MakeSameType(one.expr, other.expr)) {
      return Problem("MR1216",
                     Concat("column '", name, "' has two types in the UNION: ", TypeText(a),
                            " and ", TypeText(b)),
                     "CAST one side", static_cast<int64_t>(place));
    }
    lefts.push_back(std::move(one));
    rights.push_back(std::move(other));
  }
  left = PlanProject(*left, lefts, block, place);
  // The rows of both meet in one input: the columns have the same ids.
  for (size_t i = 0; left && i < rights.size(); ++i) rights[i].id = left->columns[i].id;
  right = PlanProject(*right, rights, block, place);
  if (!left || !right) return std::nullopt;
  if (!UniteFacts(right->facts, left->facts)) {
    return Problem("MR1420", "the changes of the two sides of the UNION cannot be united", "",
                   static_cast<int64_t>(place));
  }
  v1::Node node;
  for (const RelationColumn& column : left->columns) {
    *node.mutable_project()->add_columns()->mutable_expr() = ColumnExpr(column);
  }
  return assembler_.Add(block.object, "union", std::move(node), {&*left}, place, &*right);
}

QueryPlanner::Planned QueryPlanner::PlanSelect(const Json& body, const Block& block) {
  if (body.contains("valuesLists")) {
    return PlanValues(body["valuesLists"], block, PlaceOf(block, body));
  }
  if (!body.contains("targetList")) {
    return Problem("MR1202", "the query selects nothing", "name a column, or write *",
                   OffsetOf(block, body));
  }
  // Hints are of one SELECT, not of those within.
  std::map<std::string, StateTtl> outer = std::exchange(state_ttls_, {});
  Planned result;
  if (ReadHints(body, block)) result = PlanHintedSelect(body, block);
  if (result && !CheckHintsUsed(body, block)) result.reset();
  state_ttls_ = std::move(outer);
  return result;
}

QueryPlanner::Planned QueryPlanner::PlanHintedSelect(const Json& body, const Block& block) {
  const Json* where = body.contains("whereClause") ? &body["whereClause"] : nullptr;
  if (!body.contains("fromClause") && where != nullptr) {
    return Problem("MR1202", "a query without FROM has no WHERE", "",
                   static_cast<int64_t>(PlaceOf(block, *where)));
  }
  Planned input = body.contains("fromClause")
                      ? PlanFrom(body["fromClause"], where, body, block)
                      : PlanNumbers(1, block, PlaceOf(block, body["targetList"]));
  if (!input) return std::nullopt;
  const size_t place = PlaceOf(block, body["targetList"]);
  const bool aggregates = body.contains("groupClause") || body.contains("havingClause") ||
                          ContainsAggregate(body["targetList"]);
  if (input->window && !aggregates) input = AssignWindows(*std::move(input), block, place);
  if (!input) return std::nullopt;
  std::optional<std::vector<Target>> targets = TargetsOf(body, *input, block);
  if (!targets) return std::nullopt;
  if (aggregates) {
    input = PlanGroupBy(body, *std::move(input), &*targets, block);
    if (!input) return std::nullopt;
  } else if (ContainsOver(body["targetList"]) && !RanksAlone(*targets)) {
    for (Target& target : *targets) target.is_rank = false;
    input = PlanOver(body, *std::move(input), &*targets, block);
    if (!input) return std::nullopt;
  } else {
    ScalarValues values;
    if (ContainsScalarSubquery(body["targetList"])) {
      input = PlanScalars(*std::move(input), body["targetList"], block, &values);
      if (!input) return std::nullopt;
    }
    const ScalarScope scope(input->columns, values);
    bool ok = true;
    for (Target& target : *targets) {
      if (target.node == nullptr || target.is_rank || target.is_processing_time) continue;
      SqlProblem problem;
      if (BindTree(block.tree, *target.node, scope, &target.expr, &problem)) continue;
      Report(problem);
      ok = false;
    }
    if (!ok) return std::nullopt;
  }
  const bool ranks =
      std::any_of(targets->begin(), targets->end(), [](const Target& one) { return one.is_rank; });
  Planned result =
      ranks ? PlanRank(*input, *targets, block) : PlanTargets(*input, *targets, block, place);
  if (!result || !body.contains("distinctClause")) return result;
  result = NumberRows(std::move(result), block);
  if (!result) return std::nullopt;
  const Json& distinct = body["distinctClause"];
  if (distinct.size() != 1 || !distinct[0].empty()) {
    return Problem("MR1202", "DISTINCT ON is not supported", "use ROW_NUMBER() … = 1",
                   static_cast<int64_t>(place));
  }
  return PlanDistinct(*std::move(result), block, place);
}

// ---- targets ----

// PostgreSQL has folded the case of the alias; the text still has it.
std::string QueryPlanner::AliasSpelled(const Block& block, const Json& target) const {
  const std::string name = target.value("name", "");
  const auto begin = static_cast<size_t>(OffsetOf(block, target));
  for (size_t i = 0; i < text_.tokens.size(); ++i) {
    const SqlToken& token = text_.tokens[i];
    if (token.begin < begin || token.kind == SqlToken::Kind::kString) continue;
    const std::string spelled = NameOfToken(text_, token);
    if (EqualsIgnoringCase(spelled, name) && i > 0 && !text_.IsSymbol(i - 1, '.') &&
        token.begin > begin) {
      return spelled;
    }
  }
  return name;
}

std::optional<std::vector<QueryPlanner::Target>> QueryPlanner::TargetsOf(const Json& body,
                                                                         const Relation& input,
                                                                         const Block& block) {
  std::vector<Target> targets;
  for (const Json& item : body["targetList"]) {
    const Json& target = item["ResTarget"];
    const Json& value = target["val"];
    const bool named = target.contains("name");
    if (value.contains("ColumnRef") && value["ColumnRef"]["fields"].back().contains("A_Star")) {
      const std::string table = TableOfStar(value["ColumnRef"]);
      std::vector<size_t> star = StarOf(input.columns);
      if (!table.empty()) {
        star.clear();
        for (size_t i = 0; i < input.columns.size(); ++i) {
          if (EqualsIgnoringCase(table, input.columns[i].table)) star.push_back(i);
        }
      }
      for (const size_t i : star) {
        const RelationColumn& column = input.columns[i];
        targets.push_back({.name = Join(column.names, "."), .expr = ColumnExpr(column)});
      }
      if (!star.empty()) continue;
      return Problem("MR1212", Concat("table '", table, "' is unknown"), "",
                     OffsetOf(block, value["ColumnRef"]));
    }
    Target one{.node = &value,
               .expr = {},
               .is_rank = IsRank(value),
               .is_processing_time = IsProcessingTime(value)};
    if (named) {
      one.name = AliasSpelled(block, target);
    } else if (value.contains("ColumnRef")) {
      one.name = NamePartsOf(block.tree, value["ColumnRef"]).back().name;
    } else if (value.contains("FuncCall")) {
      one.name = value["FuncCall"]["funcname"].back()["String"].value("sval", "");
    } else {
      one.name = Concat("EXPR$", targets.size());
    }
    targets.push_back(std::move(one));
  }
  std::vector<std::string> names;
  for (const Target& one : targets) names.push_back(one.name);
  MakeUnique(names);
  for (size_t i = 0; i < targets.size(); ++i) targets[i].name = names[i];
  return targets;
}

std::vector<QueryPlanner::Target> QueryPlanner::AllColumns(const v1::Schema& schema) {
  std::vector<Target> columns;
  for (const RelationColumn& column : ColumnsOf(schema, "")) {
    columns.push_back({.name = column.names[0], .expr = ColumnExpr(column), .id = column.id});
  }
  return columns;
}

QueryPlanner::Planned QueryPlanner::PlanProject(const Relation& input,
                                                const std::vector<Target>& targets,
                                                const Block& block, size_t offset) {
  bool same = targets.size() == static_cast<size_t>(input.facts.schema.fields_size());
  for (size_t i = 0; same && i < targets.size(); ++i) {
    const v1::Field& field = input.facts.schema.fields(static_cast<int>(i));
    same = targets[i].expr.field_id() == field.id() && targets[i].name == field.name() &&
           (targets[i].id == 0 || targets[i].id == field.id());
  }
  if (same) {
    Relation renamed = input;
    renamed.columns = ColumnsOf(input.facts.schema, "");
    return renamed;
  }
  v1::Node node;
  for (const Target& target : targets) {
    v1::NamedExpr& column = *node.mutable_project()->add_columns();
    column.set_name(target.name);
    column.set_id(target.id);
    *column.mutable_expr() = target.expr;
  }
  return assembler_.Add(block.object, "project", std::move(node), {&input}, offset);
}

QueryPlanner::Planned QueryPlanner::PlanTargets(const Relation& input,
                                                const std::vector<Target>& targets,
                                                const Block& block, size_t offset) {
  std::vector<Target> others;
  for (const Target& target : targets) {
    if (!target.is_processing_time) others.push_back(target);
  }
  if (others.size() == targets.size()) return PlanProject(input, targets, block, offset);
  Planned rows = input;
  if (others.empty()) {
    rows->columns.clear();
  } else {
    rows = PlanProject(input, others, block, offset);
  }
  for (size_t i = 0; rows && i < targets.size(); ++i) {
    if (!targets[i].is_processing_time) continue;
    rows = AddProcessingTime(*std::move(rows), targets[i].name, i, block.object, offset);
  }
  return rows;
}

QueryPlanner::Planned QueryPlanner::AddProcessingTime(Relation relation, const std::string& name,
                                                      size_t position, const std::string& object,
                                                      size_t offset) {
  v1::Node node;
  node.mutable_processing_time()->set_name(name);
  Planned stamped = assembler_.Add(object, "processing-time", std::move(node), {&relation}, offset);
  if (!stamped) return std::nullopt;
  const v1::Field& field = *stamped->facts.schema.fields().rbegin();
  const std::string table = relation.columns.empty() ? "" : relation.columns[0].table;
  stamped->columns = std::move(relation.columns);
  stamped->columns.insert(stamped->columns.begin() + static_cast<std::ptrdiff_t>(position),
                          {table, {name}, field.id(), field.type()});
  return stamped;
}

QueryPlanner::Planned QueryPlanner::PlanFilter(const Relation& input,
                                               const std::vector<v1::Expr>& conditions,
                                               const Block& block, size_t offset) {
  if (conditions.empty()) return input;
  v1::Node node;
  *node.mutable_filter()->mutable_predicate() = Conjunction(conditions);
  Planned filtered = assembler_.Add(block.object, "filter", std::move(node), {&input}, offset);
  if (!filtered) return std::nullopt;
  filtered->columns = input.columns;
  filtered->window = input.window;
  return filtered;
}

// ---- ROW_NUMBER ----

bool QueryPlanner::RanksAlone(const std::vector<Target>& targets) {
  size_t ranks = 0, others = 0;
  for (const Target& one : targets) {
    if (one.node == nullptr) continue;
    ranks += one.is_rank ? 1 : 0;
    others += !one.is_rank && ContainsOver(*one.node) ? 1 : 0;
  }
  return ranks == 1 && others == 0;
}

bool QueryPlanner::ReadOrder(const Json& clause, const ExpressionScope& scope, const Block& block,
                             std::vector<v1::Expr>* exprs,
                             google::protobuf::RepeatedPtrField<v1::SortKey>* order) {
  for (const Json& item : clause) {
    const Json& sort = item["SortBy"];
    SqlProblem problem;
    if (!BindTree(block.tree, sort["node"], scope, &exprs->emplace_back(), &problem)) {
      Report(problem);
      return false;
    }
    v1::SortKey& key = *order->Add();
    key.set_descending(sort.value("sortby_dir", "") == "SORTBY_DESC");
    const std::string nulls = sort.value("sortby_nulls", "");
    if (nulls == "SORTBY_NULLS_FIRST") key.set_nulls_first(true);
    if (nulls == "SORTBY_NULLS_LAST") key.set_nulls_first(false);
  }
  return true;
}

// The columns of the SELECT, and hidden ones by which the number is given; the number itself comes
// with the limit of the outer query.
QueryPlanner::Planned QueryPlanner::PlanRank(const Relation& input, std::vector<Target>& targets,
                                             const Block& block) {
  const auto numbered =
      std::find_if(targets.begin(), targets.end(), [](const Target& one) { return one.is_rank; });
  const Json& over = (*numbered->node)["FuncCall"]["over"];
  const int64_t place = OffsetOf(block, (*numbered->node)["FuncCall"]);
  const std::string function = CallName(*numbered->node);
  if (!RanksAlone(targets)) {
    return Problem("MR1202", "two numbers of rows beside GROUP BY are not supported",
                   "group in a subquery, or nest them", place);
  }
  if (!over.contains("orderClause")) {
    return Problem("MR1410", Concat(UpperText(function), "() needs an order"),
                   "OVER (PARTITION BY … ORDER BY …)", place);
  }
  PendingRank rank{.function = function,
                   .partition = {},
                   .order = {},
                   .name = numbered->name,
                   .offset = static_cast<size_t>(place)};
  const RelationScope scope(input.columns);
  std::vector<v1::Expr> by;
  if (over.contains("partitionClause")) {
    for (const Json& node : over["partitionClause"]) {
      SqlProblem problem;
      if (!BindTree(block.tree, node, scope, &by.emplace_back(), &problem)) return Report(problem);
    }
  }
  const size_t partitions = by.size();
  if (!ReadOrder(over["orderClause"], scope, block, &by, &rank.order)) return std::nullopt;
  std::vector<Target> columns;
  for (const Target& target : targets) {
    if (!target.is_rank) columns.push_back(target);
  }
  const size_t visible = columns.size();
  std::vector<size_t> at;
  for (const v1::Expr& expr : by) {
    const auto same = std::find_if(columns.begin(), columns.end(),
                                   [&](const Target& one) { return SameExpr(one.expr, expr); });
    at.push_back(static_cast<size_t>(same - columns.begin()));
    if (same == columns.end()) {
      columns.push_back({.name = Concat(rank.name, "$", columns.size()), .expr = expr});
    }
  }
  Planned rows = PlanProject(input, columns, block, static_cast<size_t>(place));
  if (!rows) return std::nullopt;
  for (size_t i = 0; i < by.size(); ++i) {
    const uint32_t id = rows->columns[at[i]].id;
    if (i < partitions) {
      rank.partition.add_ids(id);
    } else {
      rank.order.Mutable(static_cast<int>(i - partitions))->mutable_field()->add_ids(id);
    }
  }
  rows->columns.resize(visible);
  RelationColumn number{.table = "", .names = {rank.name}, .id = kRowNumberId, .type = {}};
  number.type.set_kind(v1::Type::KIND_INT64);
  const auto position = numbered - targets.begin();
  rows->columns.insert(rows->columns.begin() + position, std::move(number));
  rows->rank = std::move(rank);
  return rows;
}

}  // namespace millrace
