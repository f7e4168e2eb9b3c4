// Pieces of JSON text.
#pragma once

#include <charconv>
#include <string>
#include <string_view>

#include "runtime/columns/batch.h"

namespace millrace {

// `text` (UTF-8) in quotes, escaped where JSON demands it.
void AppendJsonString(std::string_view text, std::string& out);

// A whole number, or a finite floating-point number in its shortest form.
template <typename Number>
void AppendJsonNumber(Number value, std::string& out) {
  char text[32];
  const auto [end, error] = std::to_chars(text, text + sizeof(text), value);
  out.append(text, static_cast<size_t>(end - text));
}

// The DECIMAL of a row, with all digits of its scale.
inline void AppendDecimal(const Column& column, int64_t row, std::string& out) {
  char text[kDecimalTextMax];
  const Int128 unscaled = column.values<Decimal>()[row].unscaled();
  out.append(text, PrintDecimal(unscaled, column.type().scale(), text));
}

}  // namespace millrace
