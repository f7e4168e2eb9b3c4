// Concat: text and whole numbers, one after the other. (Debian's Abseil has a string_view of its
// own, which absl::StrCat wants.)
//
// Threading: pure functions.
#pragma once

#include <concepts>
#include <string>
#include <string_view>

namespace millrace {
namespace internal {
inline void AppendPiece(std::string& out, std::string_view piece) { out.append(piece); }
inline void AppendPiece(std::string& out, std::integral auto number) {
  out.append(std::to_string(number));
}
}  // namespace internal

template <typename... Pieces>
std::string ConcatText(const Pieces&... pieces) {
  std::string out;
  (internal::AppendPiece(out, pieces), ...);
  return out;
}

}  // namespace millrace
