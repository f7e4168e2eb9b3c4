// Characters of text, and the drivers of kernels over text. A character is a code point; in text
// that is not UTF-8, every byte that is not a continuation byte begins one. Private to
// runtime/expressions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/expressions/value.h"

namespace millrace::expressions {

inline bool IsContinuation(char c) { return (static_cast<uint8_t>(c) & 0xC0) == 0x80; }

inline int64_t CountCharacters(std::string_view text) {
  int64_t count = 0;
  for (const char c : text) count += IsContinuation(c) ? 0 : 1;
  return count;
}

// Offset of the character with index `index`; the size of the text if it has fewer.
inline size_t OffsetOf(std::string_view text, int64_t index) {
  if (index <= 0) return 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (!IsContinuation(text[i]) && index-- == 0) return i;
  }
  return text.size();
}

// `count` characters from the character `start`.
inline std::string_view Characters(std::string_view text, int64_t start, int64_t count) {
  if (count <= 0) return {};
  const std::string_view rest = text.substr(OffsetOf(text, start));
  return rest.substr(0, OffsetOf(rest, count));
}

// --- Drivers -----------------------------------------------------------------------------------

using Arguments = std::vector<Argument>;

// Strict functions to STRING by f(arguments, row, writer).
template <typename F>
BoundKernel TextToText(F f) {
  return {[f](const KernelInput& in) mutable {
            const Arguments arguments(in.arguments.begin(), in.arguments.end());
            return StringLoop(in, TypeKind::kString,
                              [&](int64_t row, StringWriter& writer, std::string&) {
                                return f(arguments, row, writer);
                              });
          },
          true};  // The result may become too long.
}

template <typename F>
BoundKernel TextToInt(F f) {
  return {[f](const KernelInput& in) {
    const Arguments arguments(in.arguments.begin(), in.arguments.end());
    return FixedLoop<int32_t>(in, TypeKind::kInt32, [&](int64_t row, int32_t& out, std::string&) {
      out = static_cast<int32_t>(f(arguments, row));
      return RowOutcome::kValue;
    });
  }};
}

inline RowOutcome Put(StringWriter& writer, std::string_view text) {
  writer.Append(text);
  return RowOutcome::kValue;
}

}  // namespace millrace::expressions
