#include "sql/sql_text.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "runtime/base/text.h"

namespace millrace {
namespace {

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsWordStart(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}
bool IsWordPart(char c) { return IsWordStart(c) || IsDigit(c) || c == '$'; }

// True when every byte belongs to a well-formed UTF-8 character.
bool IsUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    const int more = c < 0x80 ? 0 : c < 0xC2 ? -1 : c < 0xE0 ? 1 : c < 0xF0 ? 2 : c < 0xF5 ? 3 : -1;
    if (more < 0 || i + static_cast<size_t>(more) >= text.size()) return false;
    uint32_t code = more == 0 ? c : c & (0x3F >> more);
    for (int k = 1; k <= more; ++k) {
      const auto next = static_cast<unsigned char>(text[i + static_cast<size_t>(k)]);
      if ((next & 0xC0) != 0x80) return false;
      code = code << 6 | (next & 0x3F);
    }
    if (more == 2 && (code < 0x800 || (code >= 0xD800 && code < 0xE000))) return false;
    if (more == 3 && (code < 0x10000 || code > 0x10FFFF)) return false;
    i += static_cast<size_t>(more) + 1;
  }
  return true;
}

class Lexer {
 public:
  Lexer(SqlText& out, SqlProblem& problem, int tokens_max)
      : text_(out.text), out_(out), problem_(problem), tokens_max_(tokens_max) {}

  bool Run() {
    while (true) {
      if (!SkipBlank()) return false;
      if (at_ >= text_.size()) return true;
      if (!Next()) return false;
    }
  }

 private:
  bool Fail(size_t offset, std::string message, std::string hint = "") {
    problem_ = {"MR1201", std::move(message), std::move(hint), static_cast<int64_t>(offset)};
    return false;
  }
  char Peek(size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }
  void Blank(size_t from, size_t to) {
    for (size_t i = from; i < to; ++i) {
      if (text_[i] != '\n') text_[i] = ' ';
    }
  }

  // White space and comments; comments nest, as in PostgreSQL.
  bool SkipBlank() {
    while (at_ < text_.size()) {
      if (IsSpace(Peek())) {
        ++at_;
      } else if (Peek() == '-' && Peek(1) == '-') {
        const size_t end = std::min(text_.find('\n', at_), text_.size());
        Blank(at_, end);
        at_ = end;
      } else if (Peek() == '/' && Peek(1) == '*') {
        const size_t begin = at_;
        int depth = 0;
        do {
          if (at_ >= text_.size()) return Fail(begin, "the comment does not end");
          const bool opens = Peek() == '/' && Peek(1) == '*';
          const bool closes = Peek() == '*' && Peek(1) == '/';
          depth += opens ? 1 : closes ? -1 : 0;
          at_ += opens || closes ? 2 : 1;
        } while (depth > 0);
        if (text_[begin + 2] == '+') {
          out_.hints.push_back(
              {text_.substr(begin + 3, at_ - begin - 5), begin, out_.tokens.size()});
        }
        Blank(begin, at_);
      } else {
        break;
      }
    }
    return true;
  }

  bool Next() {
    const char c = Peek();
    const size_t begin = at_;
    if (IsWordStart(c)) {
      while (IsWordPart(Peek())) ++at_;
      const bool escapes = at_ - begin == 1 && (c == 'e' || c == 'E') && Peek() == '\'';
      return escapes ? Quoted('\'', SqlToken::Kind::kString, true)
                     : Add(SqlToken::Kind::kWord, begin);
    }
    if (IsDigit(c) || (c == '.' && IsDigit(Peek(1)))) return Number();
    if (c == '\'') return Quoted('\'', SqlToken::Kind::kString, false);
    if (c == '"') return Quoted('"', SqlToken::Kind::kQuotedName, false);
    if (c == '`') return BackQuoted();
    if (c == '$') return Fail(at_, "parameters ($1) and $$-quotes are not supported");
    if (c == '\0') return Fail(at_, "the text contains a zero byte");
    ++at_;
    return Add(SqlToken::Kind::kSymbol, begin);
  }

  bool Number() {
    const size_t begin = at_;
    while (IsDigit(Peek()) || Peek() == '.') ++at_;
    if ((Peek() == 'e' || Peek() == 'E') &&
        (IsDigit(Peek(1)) || ((Peek(1) == '-' || Peek(1) == '+') && IsDigit(Peek(2))))) {
      at_ += 2;
      while (IsDigit(Peek())) ++at_;
    }
    return Add(SqlToken::Kind::kNumber, begin);
  }

  // Stands before the quote (an E may be before it).
  bool Quoted(char quote, SqlToken::Kind kind, bool backslash) {
    const size_t begin = backslash ? at_ - 1 : at_;
    ++at_;
    while (at_ < text_.size()) {
      if (backslash && Peek() == '\\') {
        at_ += 2;
      } else if (Peek() != quote) {
        ++at_;
      } else if (Peek(1) == quote) {
        at_ += 2;
      } else {
        ++at_;
        return Add(kind, begin);
      }
    }
    return Fail(begin, quote == '"' ? "the quoted name does not end" : "the string does not end");
  }

  bool BackQuoted() {
    const size_t begin = at_;
    const size_t end = text_.find('`', at_ + 1);
    if (end == std::string::npos) return Fail(begin, "the quoted name does not end");
    if (text_.find('"', at_) < end) return Fail(begin, "a name in back-quotes cannot contain \"");
    text_[begin] = text_[end] = '"';
    at_ = end + 1;
    return Add(SqlToken::Kind::kQuotedName, begin);
  }

  bool Add(SqlToken::Kind kind, size_t begin) {
    out_.tokens.push_back({kind, begin, at_});
    const bool counts =
        kind != SqlToken::Kind::kString && kind != SqlToken::Kind::kNumber && text_[begin] != ',';
    if (counts && ++counted_ > tokens_max_) {
      problem_ = {"MR1208", Concat("the text has more than ", tokens_max_, " names and operators"),
                  "split it over several project nodes", static_cast<int64_t>(begin)};
      return false;
    }
    return true;
  }

  std::string& text_;
  SqlText& out_;
  SqlProblem& problem_;
  const int tokens_max_;
  size_t at_ = 0;
  int counted_ = 0;
};

// INTERVAL '1' MINUTES: PostgreSQL reads one second, called "minutes".
bool CheckIntervals(const SqlText& out, SqlProblem* problem) {
  constexpr std::array<std::string_view, 8> kPlurals = {
      "YEARS", "MONTHS", "WEEKS", "DAYS", "HOURS", "MINUTES", "SECONDS", "MILLISECONDS"};
  for (size_t i = 0; i + 2 < out.tokens.size(); ++i) {
    if (!out.IsWord(i, "INTERVAL") || out.tokens[i + 1].kind != SqlToken::Kind::kString) continue;
    for (std::string_view plural : kPlurals) {
      if (!out.IsWord(i + 2, plural)) continue;
      const std::string value(out.token_text(out.tokens[i + 1]));
      const std::string unit(plural.substr(0, plural.size() - 1));
      const bool is_unit = unit != "WEEK" && unit != "MILLISECOND";
      *problem = {"MR1201", Concat("the unit of an interval is written in the singular: ", unit),
                  is_unit ? Concat("write INTERVAL ", value, " ", unit)
                          : Concat("write INTERVAL '", value.substr(1, value.size() - 2), " ",
                                   LowerAscii(plural), "'"),
                  static_cast<int64_t>(out.tokens[i + 2].begin)};
      return false;
    }
  }
  return true;
}

}  // namespace

std::string UpperText(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return out;
}

bool SqlText::IsWord(size_t token, std::string_view keyword) const {
  return token < tokens.size() && tokens[token].kind == SqlToken::Kind::kWord &&
         EqualsIgnoringCase(token_text(tokens[token]), keyword);
}

bool SqlText::IsSymbol(size_t token, char symbol) const {
  return token < tokens.size() && tokens[token].kind == SqlToken::Kind::kSymbol &&
         text[tokens[token].begin] == symbol;
}

bool PrepareSqlText(std::string_view original, SqlText* out, SqlProblem* problem,
                    SqlLimits limits) {
  *out = {};
  if (original.size() > limits.bytes_max) {
    *problem = {"MR1208", Concat("the text is longer than ", limits.bytes_max, " bytes"), "", -1};
    return false;
  }
  if (!IsUtf8(original)) {
    *problem = {"MR1201", "the text is not valid UTF-8", "", -1};
    return false;
  }
  out->text = std::string(original);
  if (!Lexer(*out, *problem, limits.tokens_max).Run()) return false;
  for (size_t i = 0; i + 1 < out->tokens.size(); ++i) {
    if (!out->IsWord(i, "TRY_CAST") || !out->IsSymbol(i + 1, '(')) continue;
    SqlToken& token = out->tokens[i];
    out->text.replace(token.begin, 4, "    ");
    token.begin += 4;
    out->try_casts.push_back(token.begin);
  }
  return CheckIntervals(*out, problem);
}

bool SplitAlias(const SqlText& text, size_t* expression_end, std::string* name) {
  const size_t count = text.tokens.size();
  if (count < 3 || !text.IsWord(count - 2, "AS")) return false;
  const SqlToken& last = text.tokens[count - 1];
  if (last.kind != SqlToken::Kind::kWord && last.kind != SqlToken::Kind::kQuotedName) return false;
  *expression_end = text.tokens[count - 2].begin;
  *name = NameOfToken(text, last);
  return true;
}

std::string TextOfString(std::string_view quoted) {
  std::string text;
  for (size_t i = 1; i + 1 < quoted.size(); ++i) {
    text += quoted[i];
    if (quoted[i] == '\'') ++i;
  }
  return text;
}

std::string NameOfToken(const SqlText& text, const SqlToken& token) {
  const std::string_view spelled = text.token_text(token);
  if (token.kind != SqlToken::Kind::kQuotedName) return std::string(spelled);
  std::string name;
  for (size_t i = 1; i + 1 < spelled.size(); ++i) {
    name += spelled[i];
    if (spelled[i] == '"') ++i;
  }
  return name;
}

}  // namespace millrace
