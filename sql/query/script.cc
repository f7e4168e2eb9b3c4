#include "sql/query/script.h"

#include <pg_query.h>

#include <algorithm>
#include <iterator>

#include "runtime/base/text.h"
#include "sql/expression_parser.h"

namespace millrace {
namespace {

void Blank(size_t begin, size_t end, std::string& text) {
  for (size_t i = begin; i < end; ++i) {
    if (text[i] != '\n') text[i] = ' ';
  }
}

// The token that closes the parenthesis at `open`; `last` when none does.
size_t ClosingOf(const SqlText& text, size_t open, size_t last) {
  int depth = 0;
  for (size_t i = open; i < last; ++i) {
    if (text.IsSymbol(i, '(')) ++depth;
    if (text.IsSymbol(i, ')') && --depth == 0) return i;
  }
  return last;
}

// Tokens that only frame a set of statements.
size_t SkipStatementSet(const SqlText& text, size_t at, size_t last) {
  if (text.IsWord(at, "EXECUTE") && text.IsWord(at + 1, "STATEMENT") &&
      text.IsWord(at + 2, "SET")) {
    at += 3;
    return text.IsWord(at, "BEGIN") ? at + 1 : at;
  }
  if (text.IsWord(at, "BEGIN") && text.IsWord(at + 1, "STATEMENT") && text.IsWord(at + 2, "SET")) {
    return at + 3;
  }
  return text.IsWord(at, "END") && at + 1 == last ? last : at;
}

// Behind FOR SYSTEM_TIME AS OF: a dotted name, or a call.
size_t EndOfMoment(const SqlText& text, size_t at, size_t last) {
  while (at < last) {
    ++at;
    if (text.IsSymbol(at, '(')) at = std::min(ClosingOf(text, at, last) + 1, last);
    if (!text.IsSymbol(at, '.')) return at;
    ++at;
  }
  return last;
}

// A name for a subquery; what is put behind the subqueries that have none.
constexpr std::string_view kName = " AS \"-\"";

bool IsNamed(const SqlText& text, size_t at, size_t last) {
  constexpr std::string_view kNext[] = {"WHERE",   "GROUP", "HAVING", "ORDER",    "LIMIT", "UNION",
                                        "JOIN",    "INNER", "LEFT",   "RIGHT",    "FULL",  "CROSS",
                                        "NATURAL", "ON",    "EXCEPT", "INTERSECT"};
  if (at >= last || text.tokens[at].kind == SqlToken::Kind::kSymbol) return false;
  return std::none_of(std::begin(kNext), std::end(kNext),
                      [&](std::string_view word) { return text.IsWord(at, word); });
}

// Offsets in the text with names put in → offsets in the text.
void MoveLocations(const std::vector<int64_t>& named, nlohmann::json& node) {
  if (node.is_object()) {
    if (const auto location = node.find("location");
        location != node.end() && location->is_number_integer()) {
      int64_t at = location->get<int64_t>();
      int64_t before = 0;
      for (const int64_t name : named) {
        if (name + before < at) before += static_cast<int64_t>(kName.size());
      }
      if (at >= 0) *location = at - before;
    }
  }
  if (node.is_structured()) {
    for (nlohmann::json& one : node) MoveLocations(named, one);
  }
}

}  // namespace

bool ReadScript(std::string_view original, Script* out, SqlProblem* problem) {
  *out = {};
  if (!PrepareSqlText(original, &out->text, problem,
                      {.bytes_max = kScriptBytesMax, .tokens_max = kScriptTokensMax})) {
    return false;
  }
  const size_t count = out->text.tokens.size();
  size_t first = 0;
  while (first < count) {
    size_t last = first;
    while (last < count && !out->text.IsSymbol(last, ';')) ++last;
    first = SkipStatementSet(out->text, first, last);
    if (first < last) out->statements.push_back({first, last});
    first = last + 1;
  }
  return true;
}

void TranslateDialect(const Statement& statement, SqlText* text, DialectNotes* notes) {
  for (size_t i = statement.first; i < statement.last; ++i) {
    const SqlToken& token = text->tokens[i];
    if (text->IsSymbol(i, '(') && i > statement.first &&
        (text->IsWord(i - 1, "FROM") || text->IsWord(i - 1, "JOIN")) &&
        (text->IsWord(i + 1, "SELECT") || text->IsWord(i + 1, "WITH"))) {
      const size_t close = ClosingOf(*text, i, statement.last);
      if (close < statement.last && !IsNamed(*text, close + 1, statement.last)) {
        notes->nameless.push_back(text->tokens[close].end);
      }
    }
    if (text->IsWord(i, "TABLE")) {
      if (text->IsSymbol(i + 1, '(') && i + 3 < statement.last && text->IsSymbol(i + 3, '(')) {
        const size_t close = ClosingOf(*text, i + 1, statement.last);
        if (close < statement.last)
          Blank(text->tokens[close].begin, text->tokens[close].end, text->text);
        Blank(text->tokens[i + 1].begin, text->tokens[i + 1].end, text->text);
      }
      Blank(token.begin, token.end, text->text);
    } else if (text->IsWord(i, "PARTITION") && text->IsWord(i + 1, "BY") && i > statement.first &&
               !text->IsSymbol(i - 1, '(')) {
      // Within OVER ( … ) it stands right behind the parenthesis.
      Blank(token.begin, text->tokens[i + 1].end, text->text);
      text->text[token.begin] = ',';
    } else if (text->IsWord(i, "FOR") && text->IsWord(i + 1, "SYSTEM_TIME") &&
               text->IsWord(i + 2, "AS") && text->IsWord(i + 3, "OF") && i > statement.first) {
      const size_t end = EndOfMoment(*text, i + 4, statement.last);
      const size_t begin = text->tokens[std::min(i + 4, end - 1)].begin;
      notes->as_of[text->tokens[i - 1].begin] = {
          .text = text->text.substr(begin, text->tokens[end - 1].end - begin), .offset = begin};
      Blank(token.begin, text->tokens[end - 1].end, text->text);
      i = end - 1;
    }
  }
}

bool ParseStatement(const SqlText& text, const Statement& statement, const DialectNotes& notes,
                    nlohmann::json* tree, int64_t* location_base, SqlProblem* problem) {
  const size_t begin = text.tokens[statement.first].begin;
  const size_t end = text.tokens[statement.last - 1].end;
  *location_base = static_cast<int64_t>(begin);
  if (statement.last - statement.first > 2 * static_cast<size_t>(kSqlTokensMax)) {
    *problem = {"MR1208", "the statement is too long", "split it by views",
                static_cast<int64_t>(begin)};
    return false;
  }
  std::string sql = text.text.substr(begin, end - begin);
  std::vector<int64_t> named;
  for (const size_t offset : notes.nameless) named.push_back(static_cast<int64_t>(offset - begin));
  std::sort(named.begin(), named.end());
  for (size_t i = named.size(); i-- > 0;) sql.insert(static_cast<size_t>(named[i]), kName);
  const PgQueryParseResult result = pg_query_parse(sql.c_str());
  bool ok = false;
  if (result.error != nullptr) {
    int64_t offset = ByteOfCharacter(sql, result.error->cursorpos);
    nlohmann::json place = {{"location", offset}};
    MoveLocations(named, place);
    offset = place["location"].get<int64_t>();
    *problem = {"MR1201", result.error->message == nullptr ? "syntax error" : result.error->message,
                "", offset + *location_base};
  } else {
    nlohmann::json parsed =
        nlohmann::json::parse(result.parse_tree, nullptr, /*allow_exceptions=*/false);
    ok = !parsed.is_discarded() && parsed["stmts"].is_array() && parsed["stmts"].size() == 1;
    if (ok) {
      *tree = std::move(parsed["stmts"][0]["stmt"]);
      MoveLocations(named, *tree);
    } else {
      *problem = {"MR1202", "expected one statement", "", *location_base};
    }
  }
  pg_query_free_parse_result(result);
  return ok;
}

}  // namespace millrace
