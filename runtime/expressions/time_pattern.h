// Patterns of DATE_FORMAT and TO_TIMESTAMP: the part of Java's DateTimeFormatter that is used with
// numbers. Private to runtime/expressions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace millrace::expressions {

// y M d H m s S, repeated for the width; text in single quotes, and whatever is not a letter,
// stands for itself; '' is a quote. Immutable after Compile.
class TimePattern {
 public:
  // kInvalidArgument names the letter that is not known.
  static absl::StatusOr<TimePattern> Compile(std::string_view pattern);

  // Bytes that Print writes at most.
  size_t size_max() const { return size_max_; }
  // Writes `us` and returns the end.
  char* Print(int64_t us, char* out) const;
  // All of `text` must fit; fields that the pattern lacks are those of 1970-01-01 00:00:00.
  bool Parse(std::string_view text, int64_t& us) const;

 private:
  struct Item {
    char letter;  // 0 = literal text.
    int width;
    std::string text;
  };

  std::vector<Item> items_;
  size_t size_max_ = 0;
};

}  // namespace millrace::expressions
