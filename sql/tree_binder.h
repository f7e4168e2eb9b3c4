// PostgreSQL's parse tree of an expression → typed proto Expr, in any scope: the columns of one
// schema (expression_binder.h), or what a SELECT can see (query/).
//
// Threading: pure functions, as far as the scope is.
// Errors:    SqlProblem with an offset of the text, false returned.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "sql/sql_functions.h"
#include "sql/sql_problem.h"
#include "sql/sql_text.h"

namespace millrace {

namespace v1 {
class Aggregate;
class Expr;
}  // namespace v1

// One part of a dotted name.
struct NamePart {
  std::string name;  // As it is written.
  bool quoted = false;
};

// Where a tree comes from: the text, and what must be added to a "location" of the tree to give an
// offset of the text.
struct SqlTree {
  const SqlText& text;
  int64_t location_base = 0;
  const SqlFunctions* functions = nullptr;  // Those that the script defines; null: none.
};

// What names, and pieces that were computed elsewhere, mean.
class ExpressionScope {
 public:
  virtual ~ExpressionScope() = default;
  // The column with this name, typed. False: `problem` says why, without an offset.
  virtual bool FindColumn(std::span<const NamePart> parts, v1::Expr* out,
                          SqlProblem* problem) const = 0;
  enum class Replacement { kNone, kDone, kProblem };
  // Asked first for every node of the tree: an expression that stands for it.
  virtual Replacement Replace(const nlohmann::json& /*node*/, v1::Expr*, SqlProblem*) const {
    return Replacement::kNone;
  }
};

// The expressions that stand for the parameters of a function of the script, in their order.
class ArgumentScope : public ExpressionScope {
 public:
  // Both must outlive this.
  ArgumentScope(const SqlFunction& function, const std::vector<v1::Expr>& arguments)
      : function_(function), arguments_(arguments) {}

  bool FindColumn(std::span<const NamePart> parts, v1::Expr* out,
                  SqlProblem* problem) const override;

 private:
  const SqlFunction& function_;
  const std::vector<v1::Expr>& arguments_;
};

bool BindTree(const SqlTree& tree, const nlohmann::json& node, const ExpressionScope& scope,
              v1::Expr* out, SqlProblem* problem);
// A call of an aggregate: fills function, argument, distinct, filter and type.
bool BindAggregateTree(const SqlTree& tree, const nlohmann::json& node,
                       const ExpressionScope& scope, v1::Aggregate* out, SqlProblem* problem);
bool IsAggregateCall(const nlohmann::json& node);
bool IsAggregateName(std::string_view name);

// The parts of a ColumnRef, as they are written; empty when it ends in '*'.
std::vector<NamePart> NamePartsOf(const SqlTree& tree, const nlohmann::json& column_ref);

}  // namespace millrace
