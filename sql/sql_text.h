// The text of a SQL expression before it is parsed: limits that keep the parser's stack small, the
// few words that PostgreSQL's grammar lacks or would silently read in another way.
//
// Threading: pure functions.
// Errors:    SqlProblem by out parameter, false returned.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "sql/sql_problem.h"

namespace millrace {

inline constexpr size_t kSqlTextBytesMax = 64 * 1024;
// Names, keywords and operators of one expression; constants and commas do not count.
inline constexpr int kSqlTokensMax = 2000;

struct SqlLimits {
  size_t bytes_max = kSqlTextBytesMax;
  int tokens_max = kSqlTokensMax;
};

struct SqlToken {
  enum class Kind { kWord, kQuotedName, kString, kNumber, kSymbol };
  Kind kind;
  size_t begin;
  size_t end;
};

// What stands between /*+ and */: words to the planner, which the grammar does not know.
struct SqlHint {
  std::string text;
  size_t begin;       // Of the comment.
  size_t next_token;  // Index of the token behind it.
};

// Text of the same length as the original, so that offsets mean the same in both: comments are
// blank, `name` is "name", TRY_CAST is CAST.
struct SqlText {
  std::string text;
  std::vector<SqlToken> tokens;
  std::vector<SqlHint> hints;
  std::vector<size_t> try_casts;  // Offsets of CASTs that were TRY_CASTs.

  std::string_view token_text(const SqlToken& token) const {
    return std::string_view(text).substr(token.begin, token.end - token.begin);
  }
  // True when the token is this keyword (given in upper case).
  bool IsWord(size_t token, std::string_view keyword) const;
  bool IsSymbol(size_t token, char symbol) const;
};

// Splits into tokens, checks limits, rewrites. Refuses what would be misread: INTERVAL '1' MINUTES,
// parameters.
bool PrepareSqlText(std::string_view original, SqlText* out, SqlProblem* problem,
                    SqlLimits limits = {});
// 'it''s' → it's; for kString tokens without an E in front.
std::string TextOfString(std::string_view quoted);

// "expression AS name" → the offset where AS begins, and the name; false when the text does not end
// so.
bool SplitAlias(const SqlText& text, size_t* expression_end, std::string* name);

// The name that a kWord or kQuotedName token spells.
std::string NameOfToken(const SqlText& text, const SqlToken& token);

std::string UpperText(std::string_view text);

}  // namespace millrace
