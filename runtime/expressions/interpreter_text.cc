// Reference meanings: text and patterns. Text is taken apart into its characters first.
#include <locale.h>
#include <wctype.h>

#include <map>
#include <optional>

#include <re2/re2.h>

#include "runtime/expressions/interpreter.h"
#include "runtime/expressions/text.h"

namespace millrace::expressions::reference {
namespace {

using Result = absl::StatusOr<Datum>;
using In = CallInput;
using Characters = std::vector<std::string>;

constexpr size_t kBytesMax = size_t{16} << 20;

}  // namespace

Result Str(std::string text) {
  if (text.size() > kBytesMax) return RowError("the result is longer than 16 MiB");
  return Text(TypeKind::kString, std::move(text));
}

namespace {

Characters Split(std::string_view text) {
  Characters characters;
  for (const char c : text) {
    const bool continuation = (c & 0xC0) == 0x80;
    if (!continuation || characters.empty()) characters.emplace_back();
    characters.back().push_back(c);
  }
  return characters;
}

std::string Join(const Characters& characters, size_t begin, size_t end) {
  std::string text;
  for (size_t i = begin; i < end && i < characters.size(); ++i) text += characters[i];
  return text;
}

Result Number(size_t value) { return Int(TypeKind::kInt32, static_cast<int64_t>(value)); }

const std::string& S(const In& in, size_t i) { return in[i].string_value; }

int64_t CodeOf(const std::string& character) {
  const auto lead = static_cast<unsigned char>(character[0]);
  if (character.size() == 1) return lead;
  int64_t code = lead & (0xFF >> (character.size() + 1));
  for (size_t i = 1; i < character.size(); ++i) {
    code = code * 64 + (static_cast<unsigned char>(character[i]) & 0x3F);
  }
  return code;
}

std::string CharacterOf(int64_t code) {
  std::string tail;
  int64_t lead_max = 0x7F;
  int lead_mark = 0;
  while (code > lead_max) {
    tail.insert(tail.begin(), static_cast<char>(0x80 + code % 64));
    code /= 64;
    lead_max = tail.size() == 1 ? 0x1F : tail.size() == 2 ? 0x0F : 0x07;
    lead_mark = tail.size() == 1 ? 0xC0 : tail.size() == 2 ? 0xE0 : 0xF0;
  }
  return static_cast<char>(lead_mark + code) + tail;
}

Result ChangeCase(const std::string& text, wint_t (*change)(wint_t, locale_t)) {
  static const locale_t locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  std::string changed;
  for (const std::string& character : Split(text)) {
    const auto code = static_cast<wint_t>(CodeOf(character));
    changed += CharacterOf(change(code, locale));
  }
  return Str(changed);
}

Result Initcap(const In& in) {
  std::string text = S(in, 0);
  char before = ' ';
  for (char& c : text) {
    const bool in_word = IsLetter(before) || IsDigit(before) || before < 0;
    before = c;
    c = in_word ? LowerAscii(c) : UpperAscii(c);
  }
  return Str(text);
}

Result Trim(const In& in, bool left, bool right) {
  const Characters set = in.size() == 2 ? Split(S(in, 1)) : Characters{" "};
  const auto in_set = [&](const std::string& character) {
    return std::find(set.begin(), set.end(), character) != set.end();
  };
  Characters text = Split(S(in, 0));
  while (left && !text.empty() && in_set(text.front())) text.erase(text.begin());
  while (right && !text.empty() && in_set(text.back())) text.pop_back();
  return Str(Join(text, 0, text.size()));
}

Result Substring(const In& in) {
  const Characters text = Split(S(in, 0));
  const auto count = static_cast<int64_t>(text.size());
  const int64_t position = in[1].int_value;
  const int64_t length = in.size() == 3 ? in[2].int_value : count;
  const int64_t start = position > 0 ? position - 1 : position == 0 ? 0 : count + position;
  std::string part;
  for (int64_t i = start; start >= 0 && i < count && i - start < length; ++i) {
    part += text[static_cast<size_t>(i)];
  }
  return Str(part);
}

Result Left(const In& in) {
  const int64_t wanted = in[1].int_value;
  const Characters text = Split(S(in, 0));
  return Str(wanted < 1 ? "" : Join(text, 0, static_cast<size_t>(wanted)));
}

Result Right(const In& in) {
  const int64_t wanted = in[1].int_value;
  const Characters text = Split(S(in, 0));
  if (wanted < 1) return Str("");
  const auto count = static_cast<int64_t>(text.size());
  return Str(Join(text, static_cast<size_t>(std::max<int64_t>(0, count - wanted)), text.size()));
}

Result Position(const In& in) {
  const Characters needle = Split(S(in, 0)), haystack = Split(S(in, 1));
  for (size_t at = 0; at + needle.size() <= haystack.size(); ++at) {
    if (std::equal(needle.begin(), needle.end(), haystack.begin() + static_cast<long>(at))) {
      return Number(at + 1);
    }
  }
  return Number(0);
}

Result Locate(const In& in) {
  const Characters needle = Split(S(in, 0)), haystack = Split(S(in, 1));
  const int64_t start = in.size() == 3 ? in[2].int_value : 1;
  for (size_t at = 0; at + needle.size() <= haystack.size(); ++at) {
    const bool here =
        std::equal(needle.begin(), needle.end(), haystack.begin() + static_cast<long>(at));
    if (start > 0 && static_cast<int64_t>(at) + 1 >= start && here) return Number(at + 1);
  }
  return Number(0);
}

Result Overlay(const In& in) {
  const Characters text = Split(S(in, 0)), replacement = Split(S(in, 1));
  const int64_t start = in[2].int_value;
  const int64_t length =
      in.size() == 4 ? in[3].int_value : static_cast<int64_t>(replacement.size());
  if (start < 1 || start > static_cast<int64_t>(text.size())) return in[0];
  std::string overlaid;
  for (int64_t i = 0; i < static_cast<int64_t>(text.size()); ++i) {
    if (i == start - 1) overlaid += S(in, 1);
    if (i < start - 1 || i - (start - 1) >= length) overlaid += text[static_cast<size_t>(i)];
  }
  return Str(overlaid);
}

Result Translate(const In& in) {
  const Characters from = Split(S(in, 1)), to = Split(S(in, 2));
  std::map<std::string, std::string> map;
  for (size_t i = 0; i < from.size(); ++i) map.insert({from[i], i < to.size() ? to[i] : ""});
  std::string translated;
  for (const std::string& character : Split(S(in, 0))) {
    translated += map.contains(character) ? map[character] : character;
  }
  return Str(translated);
}

Result Elt(const In& in) {
  const int64_t index = in[0].int_value;
  if (in[0].is_null || index < 1 || index >= static_cast<int64_t>(in.size())) {
    return Null(in.result);
  }
  return in[static_cast<size_t>(index)];
}

Result SplitIndex(const In& in) {
  const std::string &text = S(in, 0), &separator = S(in, 1);
  std::vector<std::string> parts(text.empty() ? 0 : 1);
  for (size_t i = 0; i < text.size();) {
    if (!separator.empty() && text.compare(i, separator.size(), separator) == 0) {
      parts.emplace_back();
      i += separator.size();
    } else {
      parts.back() += text[i++];
    }
  }
  const int64_t index = in[2].int_value;
  if (index < 0 || index >= static_cast<int64_t>(parts.size())) return Null(in.result);
  return Str(parts[static_cast<size_t>(index)]);
}

Result Replace(const In& in) {
  const std::string &text = S(in, 0), &from = S(in, 1), &to = S(in, 2);
  std::string replaced;
  for (size_t i = 0; i < text.size();) {
    if (!from.empty() && text.compare(i, from.size(), from) == 0) {
      replaced += to;
      i += from.size();
    } else {
      replaced += text[i++];
    }
  }
  return Str(replaced);
}

Result Pad(const In& in, bool left) {
  const Characters text = Split(S(in, 0));
  const Characters filler = in.size() == 3 ? Split(S(in, 2)) : Characters{" "};
  const int64_t length = in[1].int_value;
  if (length < 0) return Null(in.result);
  if (length <= static_cast<int64_t>(text.size())) {
    return Str(Join(text, 0, static_cast<size_t>(length)));
  }
  if (filler.empty()) return Null(in.result);
  std::string padding;
  for (int64_t i = 0; i < length - static_cast<int64_t>(text.size()); ++i) {
    padding += filler[static_cast<size_t>(i) % filler.size()];
    if (padding.size() > kBytesMax) break;  // An error anyway.
  }
  return Str(left ? padding + S(in, 0) : S(in, 0) + padding);
}

Result Repeat(const In& in) {
  std::string text;
  if (S(in, 0).empty()) return Str("");
  for (int64_t i = 0; i < in[1].int_value && text.size() <= kBytesMax; ++i) text += S(in, 0);
  return Str(text);
}

Result Reverse(const In& in) {
  std::string text;
  for (const std::string& character : Split(S(in, 0))) text = character + text;
  return Str(text);
}

Result Chr(const In& in) {
  const int64_t code = in[0].int_value;
  return Str(code < 0 ? "" : CharacterOf(code % 256));
}

Result Concat(const In& in) {
  std::string text;
  for (const Datum& part : in.arguments) text += part.string_value;
  if (text.size() > kBytesMax) return RowError("the result is longer than 16 MiB");
  return Text(in.result, text);
}

Result ConcatWs(const In& in) {
  if (in[0].is_null) return Null(in.result);
  std::string text;
  bool first = true;
  for (size_t i = 1; i < in.size(); ++i) {
    if (in[i].is_null) continue;
    text += (first ? "" : S(in, 0)) + S(in, i);
    first = false;
  }
  return Str(text);
}

// --- Patterns ----------------------------------------------------------------------------------

struct LikeItem {
  enum { kOne, kMany, kLiteral } kind;
  std::string character;
};

bool LikeMatches(const std::vector<LikeItem>& pattern, size_t p, const Characters& text, size_t t) {
  if (p == pattern.size()) return t == text.size();
  if (pattern[p].kind == LikeItem::kMany) {
    for (size_t next = t; next <= text.size(); ++next) {
      if (LikeMatches(pattern, p + 1, text, next)) return true;
    }
    return false;
  }
  if (t == text.size()) return false;
  if (pattern[p].kind == LikeItem::kLiteral && pattern[p].character != text[t]) return false;
  return LikeMatches(pattern, p + 1, text, t + 1);
}

absl::StatusOr<bool> Like(const In& in) {
  std::optional<std::string> escape;
  if (in.size() == 3) {
    if (Split(S(in, 2)).size() != 1) return RowError("ESCAPE of LIKE is not one character");
    escape = S(in, 2);
  }
  std::vector<LikeItem> items;
  const Characters pattern = Split(S(in, 1));
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (escape && pattern[i] == *escape) {
      if (++i == pattern.size()) return RowError("LIKE pattern ends with its escape character");
      if (pattern[i] != "%" && pattern[i] != "_" && pattern[i] != *escape) {
        return RowError("LIKE pattern escapes an ordinary character");
      }
      items.push_back({LikeItem::kLiteral, pattern[i]});
    } else if (pattern[i] == "%") {
      items.push_back({LikeItem::kMany, ""});
    } else if (pattern[i] == "_") {
      items.push_back({LikeItem::kOne, ""});
    } else {
      items.push_back({LikeItem::kLiteral, pattern[i]});
    }
  }
  return LikeMatches(items, 0, Split(S(in, 0)), 0);
}

Result LikeResult(const In& in, bool wanted) {
  const absl::StatusOr<bool> matches = Like(in);
  if (!matches.ok()) return matches.status();
  return Bool(*matches == wanted);
}

RE2::Options Quiet() {
  RE2::Options options;
  options.set_log_errors(false);
  return options;
}

Result Regexp(const In& in) {
  const RE2 regex(S(in, 1), Quiet());
  if (!regex.ok()) return RowError("malformed regular expression");
  return Bool(RE2::PartialMatch(S(in, 0), regex));
}

Result RegexpExtract(const In& in) {
  const RE2 plain(S(in, 1), Quiet());
  if (!plain.ok()) return RowError("malformed regular expression");
  const int64_t wanted = in.size() == 3 ? in[2].int_value : 0;
  if (wanted < 0 || wanted > plain.NumberOfCapturingGroups()) {
    return RowError("regular expression has no such group");
  }
  // One more pair of parentheses: the whole match is group 1.
  const RE2 regex("(" + S(in, 1) + ")", Quiet());
  std::vector<re2::StringPiece> groups(static_cast<size_t>(wanted) + 1);
  std::vector<RE2::Arg> arguments;
  for (re2::StringPiece& group : groups) arguments.emplace_back(&group);
  std::vector<const RE2::Arg*> pointers;
  for (const RE2::Arg& argument : arguments) pointers.push_back(&argument);
  const bool found =
      RE2::PartialMatchN(S(in, 0), regex, pointers.data(), static_cast<int>(pointers.size()));
  if (!found || groups.back().data() == nullptr) return Null(in.result);
  return Str(groups.back().as_string());
}

// All matches from the left, also empty ones, each behind the one before.
Result RegexpCount(const In& in) {
  const RE2 regex(S(in, 1), Quiet());
  if (!regex.ok()) return RowError("malformed regular expression");
  const std::string& text = S(in, 0);
  size_t count = 0;
  re2::StringPiece match;
  for (size_t at = 0; regex.Match(text, at, text.size(), RE2::UNANCHORED, &match, 1); ++count) {
    at = static_cast<size_t>(match.data() - text.data()) + match.size();
    if (!match.empty()) continue;
    if (at >= text.size()) return Number(count + 1);
    at += Split(text.substr(at))[0].size();
  }
  return Number(count);
}

Result RegexpInstr(const In& in) {
  const RE2 regex(S(in, 1), Quiet());
  if (!regex.ok()) return RowError("malformed regular expression");
  const std::string& text = S(in, 0);
  re2::StringPiece match;
  if (!regex.Match(text, 0, text.size(), RE2::UNANCHORED, &match, 1)) return Number(0);
  return Number(Split(text.substr(0, static_cast<size_t>(match.data() - text.data()))).size() + 1);
}

Result RegexpReplace(const In& in) {
  const RE2 regex(S(in, 1), Quiet());
  if (!regex.ok()) return RowError("malformed regular expression");
  std::string why, text = S(in, 0);
  if (!regex.CheckRewriteString(S(in, 2), &why)) return RowError("malformed replacement");
  RE2::GlobalReplace(&text, regex, S(in, 2));
  return Str(text);
}

Result Similar(const In& in) {
  std::string regex = "(?s)^(?:";
  bool in_brackets = false;
  for (const std::string& character : Split(S(in, 1))) {
    if (character == "[") in_brackets = true;
    if (character == "]") in_brackets = false;
    if (!in_brackets && character == "%") {
      regex += "[\\x{0}-\\x{10FFFF}]*";
    } else if (!in_brackets && character == "_") {
      regex += "[\\x{0}-\\x{10FFFF}]";
    } else if (character == "\\" ||
               (!in_brackets && std::string(".^$").find(character) != std::string::npos)) {
      regex += RE2::QuoteMeta(character);
    } else {
      regex += character;
    }
  }
  const RE2 compiled(regex + ")$", Quiet());
  if (!compiled.ok()) return RowError("malformed SIMILAR TO pattern");
  return Bool(RE2::FullMatch(S(in, 0), compiled));
}

const std::map<std::string_view, FunctionRow>& Functions() {
  static const auto* functions = new std::map<std::string_view, FunctionRow>{
      {"upper", {[](const In& in) { return ChangeCase(S(in, 0), towupper_l); }}},
      {"lower", {[](const In& in) { return ChangeCase(S(in, 0), towlower_l); }}},
      {"initcap", {Initcap}},
      {"char_length", {[](const In& in) { return Number(Split(S(in, 0)).size()); }}},
      {"octet_length", {[](const In& in) { return Number(S(in, 0).size()); }}},
      {"substring", {Substring}},
      {"left", {Left}},
      {"right", {Right}},
      {"position", {Position}},
      {"instr", {[](const In& in) {
         const std::vector<Datum> swapped = {in[1], in[0]};
         return Position({swapped, in.result});
       }}},
      {"locate", {Locate}},
      {"overlay", {Overlay}},
      {"translate", {Translate}},
      {"elt", {Elt, false}},
      {"trim", {[](const In& in) { return Trim(in, true, true); }}},
      {"btrim", {[](const In& in) { return Trim(in, true, true); }}},
      {"ltrim", {[](const In& in) { return Trim(in, true, false); }}},
      {"rtrim", {[](const In& in) { return Trim(in, false, true); }}},
      {"split_index", {SplitIndex}},
      {"replace", {Replace}},
      {"lpad", {[](const In& in) { return Pad(in, true); }}},
      {"rpad", {[](const In& in) { return Pad(in, false); }}},
      {"repeat", {Repeat}},
      {"reverse", {Reverse}},
      {"chr", {Chr}},
      {"ascii", {[](const In& in) -> Result {
         const Characters text = Split(S(in, 0));
         return Int(in.result, text.empty() ? 0 : CodeOf(text[0]));
       }}},
      {"concat", {Concat}},
      {"concat_ws", {ConcatWs, false}},
      {"starts_with", {[](const In& in) -> Result { return Bool(S(in, 0).find(S(in, 1)) == 0); }}},
      {"ends_with", {[](const In& in) -> Result {
         const std::string &text = S(in, 0), &end = S(in, 1);
         return Bool(
             std::string(text.rbegin(), text.rend()).find(std::string(end.rbegin(), end.rend())) ==
             0);
       }}},
      {"like", {[](const In& in) { return LikeResult(in, true); }}},
      {"not_like", {[](const In& in) { return LikeResult(in, false); }}},
      {"regexp", {Regexp}},
      {"regexp_extract", {RegexpExtract}},
      {"regexp_replace", {RegexpReplace}},
      {"regexp_count", {RegexpCount}},
      {"regexp_instr", {RegexpInstr}},
      {"similar", {Similar}},
  };
  return *functions;
}

}  // namespace

FunctionRow FindTextFunction(std::string_view name) {
  const auto found = Functions().find(name);
  return found == Functions().end() ? FunctionRow{} : found->second;
}

}  // namespace millrace::expressions::reference
