// SQL text of one expression → PostgreSQL's parse tree, by libpg_query.
//
// Threading: any thread; libpg_query keeps its memory per thread.
// Errors:    SqlProblem with the byte of the text.
#pragma once

#include <cstdint>
#include <string_view>

#include "nlohmann/json.hpp"
#include "sql/sql_problem.h"
#include "sql/sql_text.h"

namespace millrace {

struct ParsedExpression {
  SqlText text;
  nlohmann::json tree;  // The node of the expression: {"A_Expr": {...}}.
  // Added to a node's "location" gives the offset in `text`.
  static constexpr int64_t kLocationBase = -7;  // "SELECT "
};

// Byte offset of a character of the text, 1-based, as PostgreSQL counts.
int64_t ByteOfCharacter(std::string_view text, int64_t character);

// Nothing but one expression is accepted: no alias, no list, no clauses.
bool ParseExpression(std::string_view text, ParsedExpression* out, SqlProblem* problem);

}  // namespace millrace
