// A script of SQL statements: split, and translated from Flink's dialect to what PostgreSQL's
// grammar reads. The text keeps its length, so that offsets mean the same everywhere.
//
// Threading: pure functions.
// Errors:    SqlProblem with an offset of the script.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "nlohmann/json.hpp"
#include "sql/sql_problem.h"
#include "sql/sql_text.h"

namespace millrace {

inline constexpr size_t kScriptBytesMax = 1 << 20;
inline constexpr int kScriptTokensMax = 50'000;

// Tokens [first, last) of the script, without the semicolon; never empty.
struct Statement {
  size_t first = 0;
  size_t last = 0;
};

struct Script {
  SqlText text;
  std::vector<Statement> statements;
};

// BEGIN STATEMENT SET; … END; and EXECUTE STATEMENT SET BEGIN … END; are dropped around their
// statements: all INSERTs of a script are one job anyway.
bool ReadScript(std::string_view original, Script* out, SqlProblem* problem);

// What was taken out of a query because PostgreSQL has no words for it.
struct DialectNotes {
  // Offset of a table's name → the expression behind FOR SYSTEM_TIME AS OF.
  struct Moment {
    std::string text;
    size_t offset = 0;
  };
  std::map<size_t, Moment> as_of;
  // Offsets behind subqueries in FROM that lack the name that PostgreSQL asks for.
  std::vector<size_t> nameless;
};

// Translates the query in a statement, in place:
//   TABLE(TUMBLE(TABLE t, DESCRIPTOR(c), …))  →  TUMBLE(t, DESCRIPTOR(c), …)
//   TABLE t PARTITION BY a, b                 →  t, a, b
//   t FOR SYSTEM_TIME AS OF e                 →  t, noted
//   FROM (SELECT …)                           →  noted
void TranslateDialect(const Statement& statement, SqlText* text, DialectNotes* notes);

// The parse tree of a statement that is a query, CREATE VIEW or INSERT: {"SelectStmt": {…}}. Its
// locations count from `*location_base`.
bool ParseStatement(const SqlText& text, const Statement& statement, const DialectNotes& notes,
                    nlohmann::json* tree, int64_t* location_base, SqlProblem* problem);

}  // namespace millrace
