// Values of columns as Redis has them, as text: in the names of keys, and in the fields of hashes.
//
// Threading: a RedisValueReader belongs to one thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/columns/batch.h"
#include "runtime/columns/time_text.h"

namespace millrace {

class RedisValueReader {
 public:
  // Appends the value; false: it is not one of the column's type (then nothing was appended).
  // BOOLEAN is true, false, 1 or 0; BYTES are taken as they are; a TIMESTAMP has a space or a T.
  bool Append(std::string_view text, ColumnBuilder& column);

 private:
  TimestampParser timestamps_{TimestampText::kSql};
  TimestampParser iso_timestamps_{TimestampText::kIso8601};
};

// Appends the text of a value that is not NULL, of a type that CanNameKey
// (operators/catalog/key_template.h).
void AppendRedisKeyText(const Column& column, int64_t row, std::string& out);

}  // namespace millrace
