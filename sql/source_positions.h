// Where the values of a graph stand in the text that it was read from, so that problems that are
// found later can name line and column.
//
// Threading: none of its own; immutable after loading.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace millrace {

struct TextPosition {
  uint32_t line = 0;  // 1-based; 0 = unknown.
  uint32_t column = 0;
};

class SourcePositions {
 public:
  // `path` as in Diagnostic.path: "nodes[2].filter.predicate". `text_begin`: where the characters
  // of a text value begin, when each of its bytes stands in the file one after the other (plain and
  // quoted scalars of one line); `block_indent` > 0: a literal block, whose lines begin after so
  // many spaces on the lines after `text_begin`'s.
  struct Entry {
    TextPosition begin;
    TextPosition text_begin;
    uint32_t block_indent = 0;
  };
  void Add(std::string path, Entry entry) { entries_[std::move(path)] = entry; }
  // `alias` stands where `path` does.
  void AddAlias(std::string_view path, std::string alias);
  bool empty() const { return entries_.empty(); }

  // The position of byte `offset` (-1: the beginning) of the text `text` at `path`, or of the
  // nearest thing around it that is known.
  TextPosition Find(std::string_view path, std::string_view text = {}, int64_t offset = -1) const;

 private:
  std::map<std::string, Entry, std::less<>> entries_;
};

// Line and column of byte `offset` within `text` alone.
TextPosition PositionInText(std::string_view text, int64_t offset);

}  // namespace millrace
