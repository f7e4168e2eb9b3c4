#include "operators/catalog/key_template.h"

#include <algorithm>

#include "runtime/base/text.h"

namespace millrace {

absl::StatusOr<KeyTemplate> KeyTemplate::Parse(std::string_view text) {
  KeyTemplate out;
  std::string plain;
  const auto problem = [&](const auto&... about) {
    return absl::InvalidArgumentError(Concat("'", text, "' is no template: ", about...));
  };
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool doubled = i + 1 < text.size() && text[i + 1] == c;
    if ((c == '{' || c == '}') && doubled) {
      plain += c;
      ++i;
    } else if (c == '{') {
      const size_t end = text.find('}', i);
      if (end == text.npos) return problem("{ at character ", i + 1, " is not closed");
      const std::string_view name = text.substr(i + 1, end - i - 1);
      if (name.empty() || name.find('{') != name.npos) {
        return problem("no name of a column at character ", i + 2);
      }
      if (plain.empty() && !out.pieces.empty()) {
        return problem("nothing tells column '", name, "' from the one before it");
      }
      if (!plain.empty()) out.pieces.push_back({.is_column = false, .text = std::move(plain)});
      plain.clear();
      out.pieces.push_back({.is_column = true, .text = std::string(name)});
      i = end;
    } else if (c == '}') {
      return problem("} at character ", i + 1, " closes nothing");
    } else {
      plain += c;
    }
  }
  if (!plain.empty()) out.pieces.push_back({.is_column = false, .text = std::move(plain)});
  if (std::none_of(out.pieces.begin(), out.pieces.end(),
                   [](const Piece& piece) { return piece.is_column; })) {
    return problem("it names no column");
  }
  return out;
}

KeyTemplate KeyTemplate::OfColumn(std::string_view column) {
  return {.pieces = {{.is_column = true, .text = std::string(column)}}};
}

bool CanNameKey(TypeKind kind) {
  switch (kind) {
    case TypeKind::kBool:
    case TypeKind::kInt32:
    case TypeKind::kInt64:
    case TypeKind::kString:
    case TypeKind::kBytes:
    case TypeKind::kDate:
      return true;
    default:
      return false;
  }
}

}  // namespace millrace
