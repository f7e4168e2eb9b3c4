#include "sql/column_text.h"

#include <string>

#include "millrace/v1/graph.pb.h"
#include "runtime/base/text.h"
#include "sql/sql_text.h"
#include "sql/type_names.h"

namespace millrace {
namespace {

int64_t PlaceOf(const SqlText& text, size_t token) {
  return static_cast<int64_t>(token < text.tokens.size() ? text.tokens[token].begin
                                                         : text.text.size());
}

// FROM 'text' at *at.
bool ReadFrom(const SqlText& text, size_t* at, std::string* out, SqlProblem* problem) {
  ++*at;
  const bool is_string = *at < text.tokens.size() &&
                         text.tokens[*at].kind == SqlToken::Kind::kString &&
                         text.text[text.tokens[*at].begin] == '\'';
  if (!is_string) {
    *problem = {"MR1201", "FROM needs a text in quotes", "write FROM 'bid.auction'",
                PlaceOf(text, *at)};
    return false;
  }
  *out = TextOfString(text.token_text(text.tokens[(*at)++]));
  return true;
}

}  // namespace

bool ParseColumnText(std::string_view original, v1::Field* out, SqlProblem* problem) {
  SqlText text;
  if (!PrepareSqlText(original, &text, problem)) return false;
  const bool named = !text.tokens.empty() && (text.tokens[0].kind == SqlToken::Kind::kWord ||
                                              text.tokens[0].kind == SqlToken::Kind::kQuotedName);
  if (!named) {
    *problem = {"MR1201", "a column begins with its name", "write: auction BIGINT", 0};
    return false;
  }
  out->set_name(NameOfToken(text, text.tokens[0]));
  if (text.IsWord(1, "AS")) {
    out->mutable_computed()->set_sql(std::string(StripSpaces(original.substr(text.tokens[1].end))));
    return true;
  }
  size_t at = 1;
  if (!TypeFromTokens(text, &at, out->mutable_type(), problem)) return false;
  while (at < text.tokens.size()) {
    if (text.IsWord(at, "NOT") && text.IsWord(at + 1, "NULL")) {
      out->set_not_null(true);
      at += 2;
    } else if (text.IsWord(at, "NULL")) {
      ++at;
    } else if (text.IsWord(at, "METADATA")) {
      ++at;
      std::string name = out->name();
      if (text.IsWord(at, "FROM") && !ReadFrom(text, &at, &name, problem)) return false;
      if (text.IsWord(at, "VIRTUAL")) ++at;
      out->set_metadata(name);
    } else if (text.IsWord(at, "FROM")) {
      if (!ReadFrom(text, &at, out->mutable_path(), problem)) return false;
    } else {
      *problem = {
          "MR1201", Concat("unexpected '", text.token_text(text.tokens[at]), "' in a column"),
          "after the type come NOT NULL, FROM 'path' or METADATA FROM 'name'", PlaceOf(text, at)};
      return false;
    }
  }
  return true;
}

}  // namespace millrace
