// Queries → nodes of a job graph. Tables and views are planned once, when they are first read, so
// that one scan feeds everything; the nodes are called after the table, view or target that they
// belong to and their role ("hot.window-aggregate"), never after their place in the whole.
//
// Threading: one thread.
// Errors:    reported to the assembler; the result then is empty.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "millrace/v1/graph.pb.h"
#include "nlohmann/json.hpp"
#include "sql/query/graph_assembler.h"
#include "sql/query/relation.h"
#include "sql/query/script.h"
#include "sql/query/table_definition.h"
#include "sql/tree_binder.h"

namespace millrace {

// Sees the columns of a relation, and what stands for subqueries that are values.
class ScalarScope : public RelationScope {
 public:
  // Both must outlive this.
  ScalarScope(const std::vector<RelationColumn>& columns,
              const std::map<const nlohmann::json*, v1::Expr>& values)
      : RelationScope(columns), values_(values) {}

  Replacement Replace(const nlohmann::json& node, v1::Expr* out, SqlProblem*) const override {
    const auto value = values_.find(&node);
    if (value == values_.end()) return Replacement::kNone;
    *out = value->second;
    return Replacement::kDone;
  }

 private:
  const std::map<const nlohmann::json*, v1::Expr>& values_;
};

class QueryPlanner {
 public:
  QueryPlanner(const SqlText& text, GraphAssembler& assembler)
      : text_(text), assembler_(assembler) {}

  struct View {
    nlohmann::json query;  // The body of a SelectStmt.
    int64_t location_base = 0;
    DialectNotes notes;
    std::vector<std::string> columns;  // Names given to them; empty: those of the query.
  };

  // What the expressions behind it may call.
  const SqlFunctions& functions() const { return functions_; }
  void DefineFunction(SqlFunction function) {
    std::string name = function.name;
    if (function.python) assembler_.DefineFunction(*function.python);
    functions_.emplace(std::move(name), std::move(function));
  }
  // False: the name is taken; reported.
  bool DefineTable(TableDefinition table);
  bool DefineView(const std::string& name, View view, size_t offset);

  // ON CONFLICT: which of the rows with one key of the target is written.
  struct OnConflict {
    v1::ResolveConflicts::Keep keep = v1::ResolveConflicts::KEEP_LAST;
    size_t offset = 0;
  };
  // INSERT INTO table (columns) query.
  void PlanInsert(const std::string& table, const std::vector<std::string>& columns,
                  const View& query, size_t offset, const std::optional<OnConflict>& conflict);
  // A query alone: its rows are printed.
  void PlanSelectAlone(const View& query, size_t offset);
  // A table, named by a setting at `offset`, for rows that no query sees.
  struct Letters {
    std::string table;
    size_t offset = 0;
  };
  // Behind all statements: adds it as a sink of the dead letters, or of the late rows, of all
  // nodes.
  void PlanLetters(const Letters& letters, bool late);
  // Behind all statements: reports hints that stand where nobody reads them.
  void CheckHintsRead();
  bool has_sink() const { return has_sink_; }
  const std::string& first_target() const { return first_target_; }

 private:
  using Json = nlohmann::json;
  using Planned = std::optional<Relation>;
  // Where in the script and for what a query is planned.
  struct Block {
    SqlTree tree;
    const DialectNotes& notes;
    std::string object;
    std::map<std::string, Relation> with;
  };
  struct Target {
    std::string name;
    const Json* node = nullptr;
    v1::Expr expr;
    bool is_rank = false;             // ROW_NUMBER, RANK or DENSE_RANK, alone with its OVER.
    bool is_processing_time = false;  // PROCTIME().
    uint32_t id = 0;                  // Of the output column; 0: any.
  };

  // ---- query_planner.cc ----
  std::nullopt_t Problem(std::string code, std::string message, std::string hint, int64_t offset);
  std::nullopt_t Report(const SqlProblem& problem);
  int64_t OffsetOf(const Block& block, const Json& body) const;
  size_t PlaceOf(const Block& block, const Json& node) const;

  // Its rank may be pending (Relation::rank): the query around it may have the limit.
  Planned PlanQuery(const Json& body, const Block& block);
  // The same for what knows nothing of ranks: their numbers are columns.
  Planned PlanRows(const Json& body, const Block& block) {
    return NumberRows(PlanQuery(body, block), block);
  }
  Planned PlanUnion(const Json& body, const Block& block);
  // The rows of both; their columns are made the same by name and type. Nothing: reported.
  Planned UniteRows(Relation left, Relation right, const Block& block, size_t place);
  Planned PlanSelect(const Json& body, const Block& block);
  Planned PlanHintedSelect(const Json& body, const Block& block);
  Planned PlanLimit(Relation relation, const Json& body, const Block& block);
  // Whether one number is the only call with OVER: the query around it may have its limit.
  static bool RanksAlone(const std::vector<Target>& targets);
  Planned PlanRank(const Relation& input, std::vector<Target>& targets, const Block& block);
  // Every column of a schema, under its name and id.
  static std::vector<Target> AllColumns(const v1::Schema& schema);
  Planned PlanProject(const Relation& input, const std::vector<Target>& targets, const Block& block,
                      size_t offset);
  // The targets, of which some may be PROCTIME().
  Planned PlanTargets(const Relation& input, const std::vector<Target>& targets, const Block& block,
                      size_t offset);
  // Adds the time at which rows pass as a column, at `position` of those that are seen.
  Planned AddProcessingTime(Relation relation, const std::string& name, size_t position,
                            const std::string& object, size_t offset);
  Planned PlanFilter(const Relation& input, const std::vector<v1::Expr>& conditions,
                     const Block& block, size_t offset);
  std::optional<std::vector<Target>> TargetsOf(const Json& body, const Relation& input,
                                               const Block& block);
  std::string AliasSpelled(const Block& block, const Json& target) const;
  bool ReadOrder(const Json& clause, const ExpressionScope& scope, const Block& block,
                 std::vector<v1::Expr>* exprs,
                 google::protobuf::RepeatedPtrField<v1::SortKey>* order);

  // ---- tables.cc ----
  const TableDefinition* FindTable(const std::string& name) const;
  Planned ReadTable(const std::string& name, const Block& block, int64_t offset);
  Planned PlanSource(const TableDefinition& definition);
  bool ReadLookupTable(const std::string& name, int64_t offset, v1::Node& node,
                       std::vector<RelationColumn>* columns);
  // Binds the text of an expression that stands at `offset` of the script.
  bool BindText(const std::string& text, size_t offset, const ExpressionScope& scope,
                v1::Expr* out);
  bool BindComputed(const TableDefinition& table, v1::Schema& schema);
  Planned PlanWatermark(const TableDefinition& table, Relation source);
  void PlanSink(const TableDefinition& table, const std::vector<std::string>& columns,
                const Relation& rows, size_t offset, const std::optional<OnConflict>& conflict);
  // The rows, at most one of each key of the table. Nothing: reported.
  Planned ResolveConflicts(const TableDefinition& table, const Relation& rows,
                           const OnConflict& conflict, const Block& block);

  // ---- joins.cc ----
  // The columns that a subquery sees of the query around it, and its conditions on both.
  struct Outer {
    std::vector<RelationColumn> columns;
    std::vector<v1::Expr> conditions;
  };
  // A condition of WHERE that is a subquery: x IN (SELECT …), EXISTS (SELECT …), or NOT.
  struct SubqueryTest {
    const Json* link = nullptr;
    bool negated = false;
  };
  // `outer`: of a subquery, or null.
  Planned PlanFrom(const Json& from_clause, const Json* where, const Json& select,
                   const Block& block, Outer* outer = nullptr);
  // Tables that are joined, by what; the columns of `*`, in its order, as places in `items`.
  struct ColumnPlace {
    size_t item = 0, column = 0;
    bool operator==(const ColumnPlace&) const = default;
  };
  struct FromList {
    std::vector<Relation> items;
    std::vector<const Json*> conditions;
    std::vector<std::pair<ColumnPlace, ColumnPlace>> equals;  // Of USING.
  };
  using Star = std::vector<ColumnPlace>;
  // `readers`: what reads the columns, beside the joins in `node`. Nothing: reported.
  std::optional<Star> Flatten(const Json& node, const Block& block,
                              std::vector<const Json*> readers, FromList* list);
  // Notes the order of `star`, and hides the columns that are not in it.
  static void PlaceColumns(const Star& star, std::vector<Relation>& items);
  // The columns that USING or NATURAL of a join names, of the left and of the right, by their
  // indices; none: the join has neither. Nothing: reported.
  using Merged = std::vector<std::pair<size_t, size_t>>;
  std::optional<Merged> MergedColumns(const Json& join, const std::vector<RelationColumn>& left,
                                      const std::vector<RelationColumn>& right, const Block& block);
  bool BindConditions(const std::vector<const Json*>& texts,
                      const std::vector<RelationColumn>& columns, const Block& block,
                      std::vector<v1::Expr>* conditions, Outer* outer);
  Planned Narrow(const Relation& item, const std::set<uint32_t>& read, uint32_t offset,
                 const Block& block, size_t place);
  Planned PlanItem(const Json& node, const Block& block);
  Planned NameColumns(Relation relation, const Json& body, const Block& block);
  Planned PlanOuterJoin(const Json& body, const Block& block);
  Planned PlanTableFunction(const Json& body, const Block& block);
  Planned PlanWindowFunction(const Json& call, const Block& block);
  // Makes a processing time the event time: of what comes behind, the clock is that of the tasks
  // before it.
  Planned ByClock(Relation relation, uint32_t time, const Block& block, size_t place);
  // Each row once per window of TABLE(TUMBLE(…)): for what is not an aggregate.
  Planned AssignWindows(Relation relation, const Block& block, size_t place);
  Planned PlanJoin(v1::Join::Kind kind, Relation left, Relation right, uint32_t offset,
                   std::vector<v1::Expr> conditions, const Block& block, size_t place);
  Planned KeyColumn(Relation side, const v1::Expr& key, uint32_t* id, const Block& block,
                    size_t place);
  Planned ApplyRank(Relation relation, std::vector<v1::Expr>* conditions, bool shows_number,
                    const Block& block, size_t place);
  void AddReferencesOf(const Json& node, const std::vector<RelationColumn>& columns,
                       const Block& block, std::set<uint32_t>* out) const;

  // ---- as_of.cc ----
  // The name of a table behind which FOR SYSTEM_TIME AS OF stands.
  static bool IsAsOf(const Json& node, const Block& block);
  // a JOIN b FOR SYSTEM_TIME AS OF a.time ON …
  Planned PlanAsOf(const Json& join, const Block& block, const std::vector<const Json*>& readers);
  struct AsOf;
  std::optional<AsOf> ReadAsOf(const Json& join, const Block& block);
  Planned PlanLookup(AsOf parts, const Block& block);
  // The rows among which ROW_NUMBER() … = 1 by event time, descending, chooses the newest: each is
  // a version, also one that comes after a newer one. Nothing: `rows` are not chosen so.
  Planned VersionsOf(const Relation& rows, const Block& block, size_t place);
  Planned PlanTemporal(AsOf parts, const Block& block, const std::vector<const Json*>& readers);

  // ---- hints.cc ----
  struct StateTtl {
    uint64_t ms = 0;  // 0: for ever.
    bool used = false;
  };
  // Reads the hints of a SELECT into state_ttls_. False: reported.
  bool ReadHints(const Json& select, const Block& block);
  bool ReadHint(const SqlHint& hint);
  // Reports tables of hints that had no use.
  bool CheckHintsUsed(const Json& select, const Block& block);
  // The hint for a table of FROM; nothing: there is none, or the rows are of several.
  std::optional<uint64_t> StateTtlOf(const Relation& relation);
  void SetStateTtl(const Relation& rows, v1::Node& node);
  void SetStateTtls(const Relation& left, const Relation& right, v1::Node& join);

  // ---- unnest.cc ----
  static bool IsUnnest(const Json& item);
  // Which of the tables before it has the array. Nothing: reported.
  std::optional<size_t> FindUnnested(const Json& item, const std::vector<Relation>& items,
                                     const Block& block);
  // `outer`: LEFT JOIN, which keeps rows without elements.
  Planned PlanUnnest(Relation input, const Json& item, bool outer, const Block& block);
  // The outer join of `left` with an UNNEST.
  Planned PlanOuterUnnest(Relation left, const Json& join, const Block& block);

  // ---- subqueries.cc ----
  static void SplitWhere(const Json& where, std::vector<const Json*>* conditions,
                         std::vector<SubqueryTest>* tests);
  Planned PlanSubqueryTests(Relation relation, const std::vector<SubqueryTest>& tests,
                            const Block& block);
  Planned PlanMembership(Relation relation, const SubqueryTest& test, const Block& block);
  Planned PlanCorrelatedMembers(const Json& body, const Block& block, Outer* outer,
                                v1::Expr* member);
  static Outer OuterOf(const Relation& relation, uint32_t offset);
  // SELECT, FROM and WHERE alone.
  static bool IsPlainSubquery(const Json& body);
  Planned PlanExists(Relation relation, const SubqueryTest& test, const Block& block);
  // What stands for subqueries that are values, by their place in the tree.
  using ScalarValues = std::map<const Json*, v1::Expr>;
  // Gives the rows the values of all such subqueries in `tree`.
  Planned PlanScalars(Relation relation, const Json& tree, const Block& block,
                      ScalarValues* values);
  Planned PlanScalar(Relation relation, const Json& link, const Block& block, v1::Expr* value);
  Planned PlanScalarRow(const Json& body, Relation inner,
                        const std::vector<const Json*>& aggregates,
                        const std::vector<uint32_t>& keys, const Block& block, size_t place);
  Planned PlanScalarConditions(Relation relation, const std::vector<const Json*>& conditions,
                               const Block& block);

  // ---- letters.cc ----
  // The late rows of a node in the form of dead letters; the uid of the node that makes them.
  std::string LateLetters(const std::string& uid, const v1::Schema& letters, size_t offset);
  static void MakeSink(const TableDefinition& table, v1::Node& sink);

  // ---- values.cc ----
  Planned PlanValues(const Json& lists, const Block& block, size_t place);
  // So many rows, of which nothing is seen but that they are there.
  Planned PlanNumbers(size_t rows, const Block& block, size_t place);
  bool OneType(std::vector<v1::Expr>& exprs, const Block& block, size_t place, v1::Type* type);

  // ---- over.cc ----
  struct OverCall;
  struct OverWindow;
  class OverScope;
  // Binds the targets, and gives the rows the columns of their calls with OVER.
  Planned PlanOver(const Json& body, Relation input, std::vector<Target>* targets,
                   const Block& block);
  Planned PlanOverWindow(OverWindow window, Relation rows, uint32_t* next_id, const Block& block);
  // Gives rows whose rank has no limit their numbers, or reports that they cannot have them.
  Planned NumberRows(Planned rows, const Block& block);
  std::nullopt_t NeedsLimit(const PendingRank& rank);
  bool ReadFrame(const Json& over, const Block& block, size_t place, v1::OverAggregate* body);

  // ---- aggregates.cc ----
  struct Grouping;
  // By what is grouped.
  struct GroupBy {
    std::vector<uint32_t> columns;
    std::vector<const Json*> keys;
    // Keys of other grouping sets: NULL in this one.
    std::vector<const Json*> absent;
  };
  // Binds the targets behind the aggregates.
  Planned PlanAggregate(const Json& body, Relation input, std::vector<Target>* targets,
                        const Block& block, GroupBy by);
  // GROUP BY with one set of keys, or with several, whose results are united.
  Planned PlanGroupBy(const Json& body, Relation input, std::vector<Target>* targets,
                      const Block& block);
  std::optional<std::vector<std::vector<const Json*>>> GroupingSetsOf(const Json& node,
                                                                      const Block& block);
  Planned PlanDistinct(Relation input, const Block& block, size_t offset);
  Planned AddAggregateNode(Grouping& grouping, const Block& block, size_t place);

  const SqlText& text_;
  GraphAssembler& assembler_;
  std::map<std::string, TableDefinition> tables_;
  std::map<std::string, View> views_;
  SqlFunctions functions_;
  std::map<std::string, Relation> planned_;     // Tables and views that are read.
  std::map<std::string, StateTtl> state_ttls_;  // Of the SELECT that is planned, by table.
  std::set<size_t> hints_read_;
  std::vector<std::string> planning_;  // Views being planned: none reads itself.
  int depth_ = 0;
  bool has_sink_ = false;
  std::string first_target_;
};

// ---- typed expressions ----

// The operands of AND, and of the ANDs within.
void AddConjuncts(const v1::Expr& expr, std::vector<v1::Expr>* out);
v1::Expr Conjunction(const std::vector<v1::Expr>& conditions);
// The ids of columns; every id moved by `offset` (may wrap round to go back).
std::set<uint32_t> ColumnIdsOf(const v1::Expr& expr);
std::set<uint32_t> ColumnIdsOf(const std::vector<v1::Expr>& exprs);
v1::Expr MoveIds(v1::Expr expr, uint32_t offset);
v1::Expr ReplaceId(v1::Expr expr, uint32_t from, uint32_t to);
bool SameExpr(const v1::Expr& a, const v1::Expr& b);
// Ids of the columns of one item of FROM are moved apart by this, so that all can be told in what
// they make together.
inline constexpr uint32_t kIdStride = 10'000;
// The expressions of the left and of the right that a condition says are equal; nothing: it is no
// equality of the two. Ids of the right are those behind the join.
std::optional<std::pair<v1::Expr, v1::Expr>> SidesOfEquality(
    const v1::Expr& condition, const std::vector<RelationColumn>& left,
    const std::vector<RelationColumn>& right);
// What names of right columns need in front so that all differ.
std::string RightPrefix(const v1::Schema& left, const v1::Schema& right, const std::string& alias,
                        uint32_t offset);
// By what the ids of the next item are moved.
uint32_t OffsetAfter(const v1::Schema& schema);
// "PROCTIME()", however it is written.
bool IsProcessingTime(std::string_view text);
// The name of the function that a node of a parse tree calls; empty: it calls none.
std::string CallName(const nlohmann::json& node);
// Of a parse tree; aggregates of subqueries do not count.
bool ContainsAggregate(const nlohmann::json& node);
// A call with OVER; a tree that has one, subqueries aside.
bool IsOverCall(const nlohmann::json& node);
bool ContainsOver(const nlohmann::json& node);
// A subquery that is a value: (SELECT …).
bool IsScalarSubquery(const nlohmann::json& node);
bool ContainsScalarSubquery(const nlohmann::json& node);
// As it is where it has the type.
v1::Expr CastExpr(v1::Expr expr, const v1::Type& type);
v1::Expr CallExpr(const char* function, const v1::Type& type, std::vector<v1::Expr> arguments);
// A call that is true or not.
v1::Expr TestExpr(const char* function, std::vector<v1::Expr> arguments);
// Casts both to their common type; false: there is none.
bool MakeSameType(v1::Expr& a, v1::Expr& b);

}  // namespace millrace
