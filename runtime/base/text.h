// Small text functions over std::string_view, for code that would otherwise meet the Abseil of
// Debian 12, whose absl::string_view is a type of its own.
//
// Threading: pure functions.
#pragma once

#include <algorithm>
#include <charconv>
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace millrace {

template <typename T>
concept TextPiece = std::integral<T> || std::convertible_to<const T&, std::string_view>;

inline void AppendText(std::string& out, std::string_view piece) { out.append(piece); }
inline void AppendText(std::string& out, std::integral auto number) {
  out.append(std::to_string(number));
}

// The pieces (text and whole numbers) one after the other.
template <TextPiece... Pieces>
std::string Concat(const Pieces&... pieces) {
  std::string out;
  (AppendText(out, pieces), ...);
  return out;
}

template <typename Range>
std::string Join(const Range& pieces, std::string_view separator) {
  std::string out;
  bool first = true;
  for (const auto& piece : pieces) {
    if (!first) out.append(separator);
    first = false;
    AppendText(out, piece);
  }
  return out;
}

inline std::string_view MessageOf(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

constexpr char LowerAscii(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
inline std::string LowerAscii(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = LowerAscii(c);
  return out;
}
inline bool EqualsIgnoringCase(std::string_view a, std::string_view b) {
  return LowerAscii(a) == LowerAscii(b);
}

inline std::string_view StripSpaces(std::string_view text) {
  constexpr std::string_view kSpaces = " \t\r\n\f\v";
  const size_t first = text.find_first_not_of(kSpaces);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpaces) - first + 1);
}

// "a; b;c" as a, b, c: without the spaces around them; empty ones stay.
inline std::vector<std::string> SplitList(std::string_view text) {
  std::vector<std::string> items;
  while (true) {
    const size_t end = std::min(text.find(';'), text.size());
    items.emplace_back(StripSpaces(text.substr(0, end)));
    if (end == text.size()) return items;
    text.remove_prefix(end + 1);
  }
}

// FNV-1a of 64 bits: the same in every process and on every machine, so it may be stored. Not for
// text that somebody may choose in order to collide.
constexpr uint64_t Fnv1a(std::string_view text) {
  uint64_t hash = 14695981039346656037u;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 1099511628211u;
  return hash;
}

// The whole of `text` as a number, without spaces or a plus sign.
template <typename Number>
bool ParseNumber(std::string_view text, Number& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace millrace
