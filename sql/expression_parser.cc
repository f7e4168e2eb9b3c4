#include "sql/expression_parser.h"

#include <pg_query.h>

#include <string>

#include "runtime/base/text.h"

namespace millrace {
namespace {

// The last word before or at a syntax error may be a keyword that was meant as a column.
std::string ReservedHint(const SqlText& text, int64_t offset) {
  for (const SqlToken& token : text.tokens) {
    if (static_cast<int64_t>(token.begin) != offset || token.kind != SqlToken::Kind::kWord)
      continue;
    return Concat("if '", text.token_text(token), "' is a column, write \"", text.token_text(token),
                  "\"");
  }
  return "";
}

bool SyntaxError(const PgQueryError& error, const SqlText& text, SqlProblem* problem) {
  const std::string select = "SELECT " + text.text;
  int64_t offset = ByteOfCharacter(select, error.cursorpos) + ParsedExpression::kLocationBase;
  if (error.cursorpos <= 0 || offset < 0) offset = 0;
  std::string message = error.message == nullptr ? "syntax error" : error.message;
  if (offset >= static_cast<int64_t>(text.text.size())) message = "the expression is incomplete";
  *problem = {"MR1201", std::move(message), ReservedHint(text, offset), offset};
  return false;
}

bool NotOneExpression(const SqlText& text, SqlProblem* problem) {
  // "offset + 1" is a SELECT without columns.
  if (const std::string hint = ReservedHint(text, 0);
      !hint.empty() && (text.IsWord(0, "OFFSET") || text.IsWord(0, "LIMIT"))) {
    *problem = {"MR1201", "expected an expression", hint, 0};
    return false;
  }
  *problem = {"MR1202", "expected one expression and nothing else",
              "a comma, an alias, FROM and other clauses of SELECT have no place here", 0};
  return false;
}

// The single expression of SELECT <expression>.
bool TakeExpression(nlohmann::json& tree, ParsedExpression* out, SqlProblem* problem) {
  nlohmann::json& statements = tree["stmts"];
  if (!statements.is_array() || statements.size() != 1) return NotOneExpression(out->text, problem);
  nlohmann::json& statement = statements[0]["stmt"];
  if (!statement.contains("SelectStmt")) return NotOneExpression(out->text, problem);
  nlohmann::json& select = statement["SelectStmt"];
  for (const auto& [key, value] : select.items()) {
    if (key != "targetList" && key != "limitOption" && key != "op") {
      return NotOneExpression(out->text, problem);
    }
  }
  if (select.value("op", "") != "SETOP_NONE") return NotOneExpression(out->text, problem);
  nlohmann::json& targets = select["targetList"];
  if (!targets.is_array() || targets.size() != 1) return NotOneExpression(out->text, problem);
  nlohmann::json& target = targets[0]["ResTarget"];
  if (target.contains("name")) {
    *problem = {"MR1201",
                Concat("unexpected '", target["name"].get<std::string>(), "' after the expression"),
                "", static_cast<int64_t>(out->text.tokens.back().begin)};
    return false;
  }
  if (!target.contains("val")) return NotOneExpression(out->text, problem);
  out->tree = std::move(target["val"]);
  return true;
}

}  // namespace

int64_t ByteOfCharacter(std::string_view text, int64_t character) {
  size_t at = 0;
  for (int64_t i = 1; i < character && at < text.size(); ++i) {
    ++at;
    while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) ++at;
  }
  return static_cast<int64_t>(at);
}

bool ParseExpression(std::string_view text, ParsedExpression* out, SqlProblem* problem) {
  if (!PrepareSqlText(text, &out->text, problem)) return false;
  if (out->text.tokens.empty()) {
    *problem = {"MR1201", "the expression is empty", "", 0};
    return false;
  }
  const std::string select = "SELECT " + out->text.text;
  const PgQueryParseResult result = pg_query_parse(select.c_str());
  bool ok = false;
  if (result.error != nullptr) {
    SyntaxError(*result.error, out->text, problem);
  } else {
    nlohmann::json tree = nlohmann::json::parse(result.parse_tree, nullptr,
                                                /*allow_exceptions=*/false);
    ok = !tree.is_discarded() ? TakeExpression(tree, out, problem)
                              : NotOneExpression(out->text, problem);
  }
  pg_query_free_parse_result(result);
  return ok;
}

}  // namespace millrace
