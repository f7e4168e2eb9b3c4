// Stable codes of messages that could not become rows, the same for all formats.
#pragma once

#include <string>
#include <string_view>

namespace millrace {

inline constexpr std::string_view kBadSyntax = "MR3101";     // Not the format at all.
inline constexpr std::string_view kBadValue = "MR3102";      // A value of the wrong type or range.
inline constexpr std::string_view kMissingField = "MR3103";  // No value for a NOT NULL column.
inline constexpr std::string_view kNullMessage = "MR3104";   // A tombstone where a row is needed.
inline constexpr std::string_view kMessageTooLong = "MR3105";
inline constexpr std::string_view kMessageTooDeep = "MR3106";
inline constexpr std::string_view kUnknownField = "MR3107";

// `text` for a message: cut to 64 bytes at a character boundary, control characters replaced.
inline std::string Excerpt(std::string_view text) {
  constexpr size_t kBytesMax = 64;
  std::string out;
  size_t length = text.size();
  if (length > kBytesMax) {
    length = kBytesMax;
    while (length > 0 && (static_cast<unsigned char>(text[length]) & 0xC0) == 0x80) --length;
  }
  for (const char c : text.substr(0, length)) {
    out.push_back(static_cast<unsigned char>(c) < 0x20 ? ' ' : c);
  }
  if (length < text.size()) out += "...";
  return out;
}

}  // namespace millrace
