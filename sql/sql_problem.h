// What is wrong with a piece of SQL text: one problem, with its place in the text.
#pragma once

#include <cstdint>
#include <string>

namespace millrace {

struct SqlProblem {
  std::string code;     // "MR1203"; all codes are in docs/errors.md.
  std::string message;  // "column 'pricee' is unknown"
  std::string hint;     // "did you mean 'price'?"; may be empty.
  int64_t offset = -1;  // Byte of the text, 0-based; -1: the text as a whole.
};

}  // namespace millrace
