#include "sql/source_positions.h"

#include <algorithm>

namespace millrace {
namespace {

// "nodes[2].filter" → "nodes[2]" → "nodes" → "".
std::string_view Parent(std::string_view path) {
  const size_t end = path.find_last_of(".[");
  return end == std::string_view::npos ? std::string_view() : path.substr(0, end);
}

}  // namespace

TextPosition PositionInText(std::string_view text, int64_t offset) {
  TextPosition at{1, 1};
  const size_t end = std::min(text.size(), static_cast<size_t>(std::max<int64_t>(offset, 0)));
  for (size_t i = 0; i < end; ++i) {
    if (text[i] == '\n') {
      ++at.line;
      at.column = 1;
    } else if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80) {
      ++at.column;
    }
  }
  return at;
}

void SourcePositions::AddAlias(std::string_view path, std::string alias) {
  const auto found = entries_.find(path);
  if (found != entries_.end()) entries_[std::move(alias)] = found->second;
}

TextPosition SourcePositions::Find(std::string_view path, std::string_view text,
                                   int64_t offset) const {
  const auto exact = entries_.find(path);
  if (exact != entries_.end() && offset >= 0) {
    const Entry& entry = exact->second;
    const TextPosition inside = PositionInText(text, offset);
    if (entry.block_indent > 0) {
      return {entry.begin.line + inside.line, entry.block_indent + inside.column};
    }
    if (entry.text_begin.line > 0 && inside.line == 1) {
      return {entry.text_begin.line, entry.text_begin.column + inside.column - 1};
    }
    return entry.begin;
  }
  for (;; path = Parent(path)) {
    const auto found = entries_.find(path);
    if (found != entries_.end()) return found->second.begin;
    if (path.empty()) return {};
  }
}

}  // namespace millrace
