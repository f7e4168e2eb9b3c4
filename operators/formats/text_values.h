// Strings as values of columns whose type has a text form: STRING, BYTES, DATE, TIMESTAMP.
// Private to this folder.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "runtime/columns/base64.h"
#include "runtime/columns/batch.h"
#include "runtime/columns/time_text.h"

namespace millrace {

// Threading: one thread; it remembers the last day.
class TextValues {
 public:
  explicit TextValues(TimestampText timestamps) : timestamps_(timestamps) {}
  // False: `text` is no value of the column's type, and nothing is appended.
  bool Append(std::string_view text, ColumnBuilder& column) {
    switch (column.type()) {
      case TypeKind::kString:
        column.AppendString(text);
        return true;
      case TypeKind::kTimestamp: {
        const std::optional<int64_t> us = timestamps_.Parse(text);
        if (us) column.AppendInt64(*us);
        return us.has_value();
      }
      case TypeKind::kDate: {
        const std::optional<int32_t> days = ParseDate(text);
        if (days) column.AppendInt32(*days);
        return days.has_value();
      }
      default:
        if (!DecodeBase64(text, scratch_)) return false;
        column.AppendString(scratch_);
        return true;
    }
  }

 private:
  TimestampParser timestamps_;
  std::string scratch_;
};

}  // namespace millrace
