// Letters: rows of DeadLetterSchema(). Operators have DeadLetterRows (operator.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "runtime/columns/batch.h"

namespace millrace {

struct DeadLetter {
  std::string_view uid;
  int64_t time_us = 0;
  std::string_view code;
  std::string_view error;
  std::optional<RowOrigin> origin = std::nullopt;      // Of the record, where it is known; else:
  std::optional<std::string_view> row = std::nullopt;  // The row as text, and what it has.
  std::optional<std::string_view> columns = std::nullopt;
};

void AppendDeadLetter(const DeadLetter& letter, BatchBuilder& letters);

}  // namespace millrace
