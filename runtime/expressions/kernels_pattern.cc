// LIKE, SIMILAR TO and regular expressions.
#include <algorithm>
#include <memory>
#include <optional>

#include <re2/re2.h>

#include "runtime/expressions/text.h"
#include "runtime/expressions/text_kernels.h"
#include "runtime/expressions/value.h"

namespace millrace::expressions {
namespace {

constexpr int64_t kRegexBytesMax = int64_t{8} << 20;

re2::StringPiece Piece(std::string_view text) { return {text.data(), text.size()}; }

std::unique_ptr<RE2> CompileRegex(std::string_view pattern, bool any_bytes = false) {
  RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(kRegexBytesMax);
  options.set_dot_nl(any_bytes);
  return std::make_unique<RE2>(Piece(pattern), options);
}

// --- LIKE --------------------------------------------------------------------------------------

// A LIKE pattern: the texts between its `%`, and the cheapest way to match them.
class LikeMatcher {
 public:
  // kInvalidArgument: an escape at the end, or before an ordinary character.
  static absl::StatusOr<LikeMatcher> Compile(std::string_view pattern,
                                             std::optional<std::string_view> escape) {
    LikeMatcher matcher;
    matcher.parts_.emplace_back();
    if (escape && escape->size() != 1 && !IsOneCharacter(*escape)) {
      return absl::InvalidArgumentError("ESCAPE of LIKE is not one character");
    }
    for (size_t i = 0; i < pattern.size();) {
      const std::string_view rest = pattern.substr(i);
      if (escape && rest.starts_with(*escape)) {
        i += escape->size();
        if (i == pattern.size()) {
          return absl::InvalidArgumentError("LIKE pattern ends with its escape character");
        }
        const std::string_view after = pattern.substr(i);
        if (after[0] != '%' && after[0] != '_' && !after.starts_with(*escape)) {
          return absl::InvalidArgumentError(
              "LIKE pattern escapes a character other than %, _ and the escape");
        }
        const size_t size = after[0] == '%' || after[0] == '_' ? 1 : escape->size();
        matcher.parts_.back().append(after.substr(0, size));
        matcher.wild_.back().append(size, 0);
        i += size;
      } else if (pattern[i] == '%') {
        matcher.parts_.emplace_back();
        matcher.wild_.emplace_back();
        ++i;
      } else {
        matcher.has_wild_ |= pattern[i] == '_';
        matcher.parts_.back().push_back(pattern[i]);
        matcher.wild_.back().push_back(pattern[i] == '_');
        ++i;
      }
    }
    return matcher;
  }

  // Whole text. Parts between the first and the last are found greedily from the left, which finds
  // a match if there is one.
  bool Matches(std::string_view text) const {
    if (!has_wild_ && parts_.size() == 1) return text == parts_[0];
    size_t at = 0;
    if (parts_.size() == 1) return MatchAt(text, 0, 0, at) && at == text.size();
    if (!MatchAt(text, 0, 0, at)) return false;
    for (size_t part = 1; part + 1 < parts_.size(); ++part) {
      if (!FindFrom(text, part, at)) return false;
    }
    return MatchesEnd(text, at);
  }

 private:
  LikeMatcher() : wild_(1) {}

  static bool IsOneCharacter(std::string_view text) {
    return !text.empty() && std::count_if(text.begin(), text.end(), [](char c) {
                              return (static_cast<uint8_t>(c) & 0xC0) != 0x80;
                            }) == 1;
  }

  // Moves over one character.
  static size_t Next(std::string_view text, size_t at) {
    do {
      ++at;
    } while (at < text.size() && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80);
    return at;
  }

  bool MatchAt(std::string_view text, size_t from, size_t part, size_t& end) const {
    const std::string& wanted = parts_[part];
    if (!has_wild_) {
      end = from + wanted.size();
      return text.substr(from).starts_with(wanted);
    }
    size_t at = from;
    for (size_t i = 0; i < wanted.size(); ++i) {
      if (at >= text.size()) return false;
      if (wild_[part][i]) {
        at = Next(text, at);
      } else if (text[at++] != wanted[i]) {
        return false;
      }
    }
    end = at;
    return true;
  }

  bool FindFrom(std::string_view text, size_t part, size_t& at) const {
    if (!has_wild_) {
      const size_t found = text.find(parts_[part], at);
      at = found + parts_[part].size();
      return found != std::string_view::npos;
    }
    for (size_t from = at; from <= text.size(); from = Next(text, from)) {
      if (MatchAt(text, from, part, at)) return true;
    }
    return false;
  }

  // The last part must end the text, at or after `at`.
  bool MatchesEnd(std::string_view text, size_t at) const {
    const std::string& last = parts_.back();
    if (!has_wild_) return text.size() - at >= last.size() && text.ends_with(last);
    for (size_t from = at; from <= text.size(); from = Next(text, from)) {
      size_t end = 0;
      if (MatchAt(text, from, parts_.size() - 1, end) && end == text.size()) return true;
    }
    return false;
  }

  std::vector<std::string> parts_;
  std::vector<std::string> wild_;  // Per byte of the parts: 1 = any character.
  bool has_wild_ = false;
};

// The last pattern and its compiled form.
template <typename Compiled>
class LastPattern {
 public:
  template <typename Make>
  const Compiled& Get(std::string_view pattern, std::string_view extra, Make make) {
    if (!compiled_ || pattern != pattern_ || extra != extra_) {
      pattern_ = pattern;
      extra_ = extra;
      compiled_.emplace(make());
    }
    return *compiled_;
  }

 private:
  std::string pattern_, extra_;
  std::optional<Compiled> compiled_;
};

BoundKernel MakeLike(bool negated) {
  using Cache = LastPattern<absl::StatusOr<LikeMatcher>>;
  return {[negated, cache = std::make_shared<Cache>()](const KernelInput& in) {
            const Argument text(in.arguments[0]), pattern(in.arguments[1]);
            const bool has_escape = in.arguments.size() == 3;
            const Argument escape(in.arguments[has_escape ? 2 : 1]);
            return BoolLoop(in, [&](int64_t row, bool& out, std::string& error) {
              std::optional<std::string_view> escaped;
              if (has_escape) escaped = escape.Text(row);
              const auto& matcher = cache->Get(pattern.Text(row), escaped.value_or(""), [&] {
                return LikeMatcher::Compile(pattern.Text(row), escaped);
              });
              if (!matcher.ok()) {
                error = MessageOf(matcher.status());
                return RowOutcome::kError;
              }
              out = matcher->Matches(text.Text(row)) != negated;
              return RowOutcome::kValue;
            });
          },
          true};
}

// --- Regular expressions -----------------------------------------------------------------------

class RegexCache {
 public:
  // Null, with `error` set, when the pattern is malformed.
  const RE2* Get(std::string_view pattern, std::string& error) {
    const std::unique_ptr<RE2>& regex =
        last_.Get(pattern, "", [&] { return CompileRegex(pattern); });
    if (regex->ok()) return regex.get();
    error = Text("malformed regular expression: ", regex->error());
    return nullptr;
  }

 private:
  LastPattern<std::unique_ptr<RE2>> last_;
};

BoundKernel MakeRegexp() {
  return {[cache = std::make_shared<RegexCache>()](const KernelInput& in) {
            const Argument text(in.arguments[0]), pattern(in.arguments[1]);
            return BoolLoop(in, [&](int64_t row, bool& out, std::string& error) {
              const RE2* regex = cache->Get(pattern.Text(row), error);
              if (regex == nullptr) return RowOutcome::kError;
              out = RE2::PartialMatch(Piece(text.Text(row)), *regex);
              return RowOutcome::kValue;
            });
          },
          true};
}

// To INT by f(regex, text).
template <typename F>
BoundKernel RegexToInt(F f) {
  return {[f, cache = std::make_shared<RegexCache>()](const KernelInput& in) {
            const Argument text(in.arguments[0]), pattern(in.arguments[1]);
            return FixedLoop<int32_t>(in, TypeKind::kInt32,
                                      [&](int64_t row, int32_t& out, std::string& error) {
                                        const RE2* regex = cache->Get(pattern.Text(row), error);
                                        if (regex == nullptr) return RowOutcome::kError;
                                        out = f(*regex, text.Text(row));
                                        return RowOutcome::kValue;
                                      });
          },
          true};
}

// The first match from the byte `from` on, as offsets of its bytes.
std::optional<std::pair<size_t, size_t>> MatchFrom(const RE2& regex, std::string_view text,
                                                   size_t from) {
  re2::StringPiece match;
  if (!regex.Match(Piece(text), from, text.size(), RE2::UNANCHORED, &match, 1)) {
    return std::nullopt;
  }
  const auto begin = static_cast<size_t>(match.data() - text.data());
  return std::pair(begin, begin + match.size());
}

// Matches do not overlap; an empty one counts, and the next begins a character later.
int32_t MatchCount(const RE2& regex, std::string_view text) {
  int32_t count = 0;
  for (size_t from = 0; from <= text.size();) {
    const auto match = MatchFrom(regex, text, from);
    if (!match) break;
    ++count;
    const auto [begin, end] = *match;
    from = begin < end ? end : end + std::max<size_t>(1, OffsetOf(text.substr(end), 1));
  }
  return count;
}

int32_t MatchPlace(const RE2& regex, std::string_view text) {
  const auto match = MatchFrom(regex, text, 0);
  return match ? static_cast<int32_t>(CountCharacters(text.substr(0, match->first))) + 1 : 0;
}

BoundKernel MakeRegexpExtract() {
  return {[cache = std::make_shared<RegexCache>()](const KernelInput& in) {
            const Argument text(in.arguments[0]), pattern(in.arguments[1]);
            const bool has_group = in.arguments.size() == 3;
            const Argument group(in.arguments[has_group ? 2 : 0]);
            std::vector<re2::StringPiece> groups;
            return StringLoop(
                in, TypeKind::kString, [&](int64_t row, StringWriter& writer, std::string& error) {
                  const RE2* regex = cache->Get(pattern.Text(row), error);
                  if (regex == nullptr) return RowOutcome::kError;
                  const int64_t wanted = has_group ? group.Int(row) : 0;
                  if (wanted < 0 || wanted > regex->NumberOfCapturingGroups()) {
                    error = Text("regular expression has no group ", wanted);
                    return RowOutcome::kError;
                  }
                  groups.assign(static_cast<size_t>(wanted) + 1, {});
                  const std::string_view subject = text.Text(row);
                  if (!regex->Match(Piece(subject), 0, subject.size(), RE2::UNANCHORED,
                                    groups.data(), static_cast<int>(groups.size())) ||
                      groups.back().data() == nullptr) {
                    return RowOutcome::kNull;
                  }
                  writer.Append({groups.back().data(), groups.back().size()});
                  return RowOutcome::kValue;
                });
          },
          true};
}

BoundKernel MakeRegexpReplace() {
  return {[cache = std::make_shared<RegexCache>()](const KernelInput& in) {
            const Argument text(in.arguments[0]), pattern(in.arguments[1]), to(in.arguments[2]);
            std::string replaced;
            return StringLoop(in, TypeKind::kString,
                              [&](int64_t row, StringWriter& writer, std::string& error) {
                                const RE2* regex = cache->Get(pattern.Text(row), error);
                                if (regex == nullptr) return RowOutcome::kError;
                                const re2::StringPiece rewrite = Piece(to.Text(row));
                                std::string why;
                                if (!regex->CheckRewriteString(rewrite, &why)) {
                                  error = Text("malformed replacement: ", why);
                                  return RowOutcome::kError;
                                }
                                replaced.assign(text.Text(row));
                                RE2::GlobalReplace(&replaced, *regex, rewrite);
                                writer.Append(replaced);
                                return RowOutcome::kValue;
                              });
          },
          true};
}

// --- SIMILAR TO --------------------------------------------------------------------------------

// SQL's regular expression in RE2's syntax: % and _ are wild outside brackets, . ^ $ and \ are
// ordinary; | * + ? {} () [] mean the same.
std::string RegexOfSimilar(std::string_view pattern) {
  std::string regex;
  bool in_brackets = false;
  for (const char c : pattern) {
    if (c == '[') in_brackets = true;
    if (c == ']') in_brackets = false;
    if (c == '\\' || (!in_brackets && (c == '.' || c == '^' || c == '$'))) {
      regex += '\\';
      regex += c;
    } else if (!in_brackets && c == '%') {
      regex += ".*";
    } else if (!in_brackets && c == '_') {
      regex += '.';
    } else {
      regex += c;
    }
  }
  return regex;
}

BoundKernel MakeSimilar() {
  using Cache = LastPattern<std::unique_ptr<RE2>>;
  return {[cache = std::make_shared<Cache>()](const KernelInput& in) {
            const Argument text(in.arguments[0]), pattern(in.arguments[1]);
            return BoolLoop(in, [&](int64_t row, bool& out, std::string& error) {
              const std::string_view wanted = pattern.Text(row);
              const auto& regex = cache->Get(
                  wanted, "", [&] { return CompileRegex(RegexOfSimilar(wanted), true); });
              if (!regex->ok()) {
                error = Text("malformed SIMILAR TO pattern: ", regex->error());
                return RowOutcome::kError;
              }
              out = RE2::FullMatch(Piece(text.Text(row)), *regex);
              return RowOutcome::kValue;
            });
          },
          true};
}

// A malformed pattern that is a literal is refused when the expression is bound.
absl::Status CheckLiteral(const KernelRequest& request) {
  const Value* literal = request.literals[1];
  if (literal == nullptr || literal->column.IsNull(0)) return absl::OkStatus();
  const std::string_view pattern = literal->column.StringAt(0);
  const auto regex = request.name == "similar" ? CompileRegex(RegexOfSimilar(pattern), true)
                                               : CompileRegex(pattern);
  if (regex->ok()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      Text("malformed regular expression '", pattern, "': ", regex->error()));
}

}  // namespace

absl::StatusOr<BoundKernel> MakePatternKernel(const KernelRequest& request) {
  const std::string_view name = request.name;
  if (name == "like" || name == "not_like") return MakeLike(name == "not_like");
  BoundKernel kernel;
  if (name == "regexp") kernel = MakeRegexp();
  if (name == "regexp_extract") kernel = MakeRegexpExtract();
  if (name == "regexp_count") kernel = RegexToInt(MatchCount);
  if (name == "regexp_instr") kernel = RegexToInt(MatchPlace);
  if (name == "regexp_replace") kernel = MakeRegexpReplace();
  if (name == "similar") kernel = MakeSimilar();
  if (kernel.run != nullptr) {
    if (absl::Status status = CheckLiteral(request); !status.ok()) return status;
  }
  return kernel;
}

}  // namespace millrace::expressions
