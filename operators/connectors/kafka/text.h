// Debian's Abseil has a string_view of its own: the two conversions, and a StrCat that takes both.
//
// Threading: pure functions.
#pragma once

#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace millrace {

inline absl::string_view ToAbsl(std::string_view text) { return {text.data(), text.size()}; }
inline std::string_view ToStd(absl::string_view text) { return {text.data(), text.size()}; }

namespace internal {
template <typename T>
const T& TextPart(const T& part) {
  return part;
}
inline absl::string_view TextPart(const std::string_view& part) { return ToAbsl(part); }
}  // namespace internal

// The parts, one after the other.
template <typename... Parts>
std::string Text(const Parts&... parts) {
  return absl::StrCat(internal::TextPart(parts)...);
}

}  // namespace millrace
