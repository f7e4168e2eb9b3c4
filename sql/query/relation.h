// What a part of a query gives while it is planned: the node that makes the rows, what is known of
// them, and the names by which a SELECT sees their columns.
//
// Threading: none of its own.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "millrace/v1/graph.pb.h"
#include "sql/stream_facts.h"
#include "sql/tree_binder.h"

namespace millrace {

struct RelationColumn {
  std::string table;               // Name or alias of the table; empty: none.
  std::vector<std::string> names;  // {"price"}, or {"bid", "price"} of a nested value.
  uint32_t id = 0;
  v1::Type type;  // Unspecified: the rows are grouped, and not by this column.
  // Among the columns of `*`, once USING has moved one; kHidden: USING shows another in its place,
  // and it is seen behind the name of its table only.
  static constexpr int kHidden = -1;
  int place = 0;
};

// Columns that exist only until the node that makes them is known.
inline constexpr uint32_t kWindowStartId = UINT32_MAX - 1;
inline constexpr uint32_t kWindowEndId = UINT32_MAX - 2;
inline constexpr uint32_t kRowNumberId = UINT32_MAX - 3;

// ROW_NUMBER() OVER (PARTITION BY … ORDER BY …) of a subquery, or RANK or DENSE_RANK, whose limit
// the outer query has.
struct PendingRank {
  std::string function;  // "row_number".
  v1::Fields partition;
  google::protobuf::RepeatedPtrField<v1::SortKey> order;
  std::string name;
  size_t offset = 0;
};

struct Relation {
  std::string uid;
  StreamFacts facts;
  std::vector<RelationColumn> columns;
  std::optional<v1::Window> window;  // TABLE(TUMBLE(…)): not aggregated yet.
  std::optional<PendingRank> rank;
};

// Sees the columns of a relation.
class RelationScope : public ExpressionScope {
 public:
  // `columns` must outlive this.
  explicit RelationScope(const std::vector<RelationColumn>& columns) : columns_(columns) {}

  bool FindColumn(std::span<const NamePart> parts, v1::Expr* out,
                  SqlProblem* problem) const override;

 private:
  const std::vector<RelationColumn>& columns_;
};

// The columns of a subquery, and behind them those of the query around it.
class SubqueryScope : public ExpressionScope {
 public:
  // Both must outlive this.
  SubqueryScope(const std::vector<RelationColumn>& inner, const std::vector<RelationColumn>& outer)
      : inner_(inner), outer_(outer), outer_columns_(outer) {}

  bool FindColumn(std::span<const NamePart> parts, v1::Expr* out,
                  SqlProblem* problem) const override;

 private:
  const RelationScope inner_, outer_;
  const std::vector<RelationColumn>& outer_columns_;
};

// The indices of the columns of `*`, in its order.
std::vector<size_t> StarOf(const std::vector<RelationColumn>& columns);
// The table before the '*' at the end of a ColumnRef; empty: that of all tables.
std::string TableOfStar(const nlohmann::json& column_ref);
// The columns of a schema, as a table `name`.
std::vector<RelationColumn> ColumnsOf(const v1::Schema& schema, const std::string& table);
v1::Expr ColumnExpr(const RelationColumn& column);

}  // namespace millrace
