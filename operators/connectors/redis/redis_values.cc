#include "operators/connectors/redis/redis_values.h"

#include <optional>

#include "operators/formats/utf8.h"
#include "runtime/base/text.h"
#include "runtime/columns/decimal.h"

namespace millrace {

bool RedisValueReader::Append(std::string_view text, ColumnBuilder& column) {
  switch (column.type()) {
    case TypeKind::kBool: {
      const bool is_true = text == "1" || EqualsIgnoringCase(text, "true");
      if (!is_true && text != "0" && !EqualsIgnoringCase(text, "false")) return false;
      column.AppendBool(is_true);
      return true;
    }
    case TypeKind::kInt32: {
      int32_t value;
      if (!ParseNumber(text, value)) return false;
      column.AppendInt32(value);
      return true;
    }
    case TypeKind::kInt64: {
      int64_t value;
      if (!ParseNumber(text, value)) return false;
      column.AppendInt64(value);
      return true;
    }
    case TypeKind::kFloat64: {
      double value;
      if (!ParseNumber(text, value)) return false;
      column.AppendFloat64(value);
      return true;
    }
    case TypeKind::kDecimal: {
      const auto value = ParseDecimal(text, column.type());
      if (value) column.AppendDecimal(*value);
      return value.has_value();
    }
    case TypeKind::kString:
      if (!IsUtf8(text)) return false;
      column.AppendString(text);
      return true;
    case TypeKind::kBytes:
      column.AppendString(text);
      return true;
    case TypeKind::kDate: {
      const auto value = ParseDate(text);
      if (value) column.AppendInt32(*value);
      return value.has_value();
    }
    case TypeKind::kTimestamp: {
      const bool is_iso = text.size() > 10 && text[10] == 'T';
      const auto value = (is_iso ? iso_timestamps_ : timestamps_).Parse(text);
      if (value) column.AppendInt64(*value);
      return value.has_value();
    }
    case TypeKind::kInterval:
    case TypeKind::kArray:
      return false;
  }
  return false;
}

void AppendRedisKeyText(const Column& column, int64_t row, std::string& out) {
  switch (column.type()) {
    case TypeKind::kInt32:
      AppendText(out, column.values<int32_t>()[row]);
      break;
    case TypeKind::kInt64:
      AppendText(out, column.values<int64_t>()[row]);
      break;
    case TypeKind::kBool:
      AppendText(out, column.BoolAt(row) ? "true" : "false");
      break;
    case TypeKind::kDate:
      AppendDate(column.values<int32_t>()[row], out);
      break;
    default:
      AppendText(out, column.StringAt(row));
  }
}

}  // namespace millrace
