#include "operators/connectors/postgres/pg_values.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "runtime/base/text.h"

namespace millrace {
namespace {

// pg_type.oid of built-in types.
enum : uint32_t {
  kBoolOid = 16,
  kByteaOid = 17,
  kInt8Oid = 20,
  kInt2Oid = 21,
  kInt4Oid = 23,
  kFloat4Oid = 700,
  kFloat8Oid = 701,
  kDateOid = 1082,
  kTextOid = 25,
  kBpcharOid = 1042,
  kVarcharOid = 1043,
  kTimestampOid = 1114,
  kTimestamptzOid = 1184,
  kIntervalOid = 1186,
  kNumericOid = 1700,
};

template <typename T>
std::optional<T> Number(std::string_view text) {
  T value;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<double> Float(std::string_view text) {
  if (text == "NaN") return std::numeric_limits<double>::quiet_NaN();
  if (text == "Infinity") return std::numeric_limits<double>::infinity();
  if (text == "-Infinity") return -std::numeric_limits<double>::infinity();
  return Number<double>(text);
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

std::optional<std::string> Hex(std::string_view text) {
  if (text.substr(0, 2) != "\\x" || text.size() % 2 != 0) return std::nullopt;
  std::string bytes;
  for (size_t i = 2; i < text.size(); i += 2) {
    const int high = HexDigit(text[i]), low = HexDigit(text[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(high * 16 + low));
  }
  return bytes;
}

// "P-3DT4H5M-6.789S", as IntervalStyle iso_8601 has it; a day has 24 hours. Months and years have
// no length.
std::optional<int64_t> Interval(std::string_view text) {
  constexpr int64_t kSecondUs = 1'000'000;
  if (text.size() < 3 || text[0] != 'P') return std::nullopt;
  text.remove_prefix(1);
  bool time = false;
  int64_t total = 0;
  while (!text.empty()) {
    if (text[0] == 'T' && !time && text.size() > 1) {
      time = true;
      text.remove_prefix(1);
    }
    const size_t end = text.find_first_not_of("-0123456789.");
    if (end == 0 || end == std::string_view::npos) return std::nullopt;
    const char unit = text[end];
    const int64_t unit_us = !time && unit == 'D'  ? 86'400 * kSecondUs
                            : time && unit == 'H' ? 3'600 * kSecondUs
                            : time && unit == 'M' ? 60 * kSecondUs
                            : time && unit == 'S' ? kSecondUs
                                                  : 0;
    if (unit_us == 0) return std::nullopt;
    const std::string_view number = text.substr(0, end);
    const size_t point = unit == 'S' ? std::min(number.find('.'), number.size()) : number.size();
    const auto whole = Number<int64_t>(number.substr(0, point));
    int64_t us = 0;
    if (!whole || __builtin_mul_overflow(*whole, unit_us, &us)) return std::nullopt;
    if (point < number.size()) {
      std::string digits(number.substr(point + 1));
      if (digits.empty() || digits.size() > 6) return std::nullopt;
      digits.resize(6, '0');
      const auto fraction = Number<int64_t>(digits);
      if (!fraction || *fraction < 0) return std::nullopt;
      us += number[0] == '-' ? -*fraction : *fraction;
    }
    if (__builtin_add_overflow(total, us, &total)) return std::nullopt;
    text.remove_prefix(end + 1);
  }
  return total;
}

// Any year that PostgreSQL knows, or refuses: "12024-01-31", "0044-03-15" with `bc`.
std::string DateText(int32_t days, bool& bc) {
  int year = 0, month = 0, day = 0;
  DateFromDays(days, year, month, day);
  bc = year <= 0;
  if (bc) year = 1 - year;
  const auto padded = [](int number, size_t width) {
    std::string digits = std::to_string(number);
    return std::string(width > digits.size() ? width - digits.size() : 0, '0') + digits;
  };
  return Concat(padded(year, 4), "-", padded(month, 2), "-", padded(day, 2));
}

std::string PgTimestampText(int64_t us) {
  constexpr int64_t kDayUs = 86'400'000'000;
  int64_t day = us / kDayUs, rest = us % kDayUs;
  if (rest < 0) {
    rest += kDayUs;
    --day;
  }
  bool bc = false;
  const std::string date = DateText(static_cast<int32_t>(day), bc);
  // Within a day the printer is exact.
  std::string time;
  TimestampPrinter(TimestampText::kSql).Append(rest, time);
  return Concat(date, std::string_view(time).substr(10), bc ? " BC" : "");
}

template <typename T>
std::string NumberText(T value) {
  char text[40];
  return {text, std::to_chars(text, text + sizeof(text), value).ptr};
}

}  // namespace

bool CanReadPgType(uint32_t oid, TypeKind kind) {
  switch (kind) {
    case TypeKind::kBool:
      return oid == kBoolOid;
    case TypeKind::kInt32:
      return oid == kInt2Oid || oid == kInt4Oid;
    case TypeKind::kInt64:
      return oid == kInt2Oid || oid == kInt4Oid || oid == kInt8Oid || oid == kNumericOid;
    case TypeKind::kFloat64:
      return oid == kFloat4Oid || oid == kFloat8Oid || oid == kNumericOid || oid == kInt2Oid ||
             oid == kInt4Oid;
    case TypeKind::kDecimal:
      return oid == kNumericOid || oid == kInt2Oid || oid == kInt4Oid || oid == kInt8Oid;
    case TypeKind::kBytes:
      return oid == kByteaOid;
    case TypeKind::kDate:
      return oid == kDateOid;
    case TypeKind::kTimestamp:
      return oid == kTimestampOid || oid == kTimestamptzOid;
    case TypeKind::kInterval:
      return oid == kIntervalOid;
    case TypeKind::kString:
      return true;
    case TypeKind::kArray:
      return false;  // Refused at submit, as everywhere here.
  }
  return false;
}

bool CanWritePgType(uint32_t oid, TypeKind kind) {
  if (oid == kTextOid || oid == kVarcharOid || oid == kBpcharOid) return true;
  switch (kind) {
    case TypeKind::kInt32:
      return oid == kInt2Oid || oid == kInt4Oid || oid == kInt8Oid || oid == kNumericOid ||
             oid == kFloat8Oid;
    case TypeKind::kInt64:  // Not the floats: they would round it.
      return oid == kInt2Oid || oid == kInt4Oid || oid == kInt8Oid || oid == kNumericOid;
    case TypeKind::kFloat64:
      return oid == kFloat4Oid || oid == kFloat8Oid || oid == kNumericOid;
    case TypeKind::kDecimal:  // Neither the floats nor the integers: they would round it.
      return oid == kNumericOid;
    default:
      return CanReadPgType(oid, kind);
  }
}

int NumericScale(int modifier) {
  if (modifier < 4) return std::numeric_limits<int>::max();
  // numeric.c: eleven bits, signed.
  return (((modifier - 4) & 0x7ff) ^ 1024) - 1024;
}

std::string PgTypeFor(DataType type) {
  switch (type) {
    case TypeKind::kBool:
      return "boolean";
    case TypeKind::kInt32:
      return "integer";
    case TypeKind::kInt64:
      return "bigint";
    case TypeKind::kFloat64:
      return "double precision";
    case TypeKind::kDecimal:
      return Concat("numeric(", type.precision(), ", ", type.scale(), ")");
    case TypeKind::kBytes:
      return "bytea";
    case TypeKind::kDate:
      return "date";
    case TypeKind::kTimestamp:
      return "timestamp";
    case TypeKind::kInterval:
      return "interval";
    default:
      return "text";
  }
}

bool PgValueReader::Append(std::string_view text, ColumnBuilder& column) {
  switch (column.type()) {
    case TypeKind::kBool:
      if (text != "t" && text != "f") return false;
      column.AppendBool(text == "t");
      return true;
    case TypeKind::kInt32: {
      const auto value = Number<int32_t>(text);
      if (value) column.AppendInt32(*value);
      return value.has_value();
    }
    case TypeKind::kInt64: {
      const auto value = Number<int64_t>(text);
      if (value) column.AppendInt64(*value);
      return value.has_value();
    }
    case TypeKind::kFloat64: {
      const auto value = Float(text);
      if (value) column.AppendFloat64(*value);
      return value.has_value();
    }
    case TypeKind::kDecimal: {
      const auto value = ParseDecimal(text, column.type());
      if (value) column.AppendDecimal(*value);
      return value.has_value();
    }
    case TypeKind::kString:
      column.AppendString(text);
      return true;
    case TypeKind::kBytes: {
      const auto value = Hex(text);
      if (value) column.AppendString(*value);
      return value.has_value();
    }
    case TypeKind::kDate: {
      const auto value = ParseDate(text);
      if (value) column.AppendInt32(*value);
      return value.has_value();
    }
    case TypeKind::kTimestamp: {
      // Of a timestamptz: the zone of the session is UTC.
      if (text.size() > 3 && text.substr(text.size() - 3) == "+00") text.remove_suffix(3);
      const auto value = timestamps_.Parse(text);
      if (value) column.AppendInt64(*value);
      return value.has_value();
    }
    case TypeKind::kInterval: {
      const auto value = Interval(text);
      if (value) column.AppendInt64(*value);
      return value.has_value();
    }
    case TypeKind::kArray:
      return false;
  }
  return false;
}

std::optional<std::string> PgText(const Column& column, int64_t row) {
  if (column.IsNull(row)) return std::nullopt;
  switch (column.type()) {
    case TypeKind::kBool:
      return column.BoolAt(row) ? "t" : "f";
    case TypeKind::kInt32:
      return NumberText(column.values<int32_t>()[row]);
    case TypeKind::kInt64:
      return NumberText(column.values<int64_t>()[row]);
    case TypeKind::kFloat64: {
      const double value = column.values<double>()[row];
      if (std::isnan(value)) return "NaN";
      if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
      return NumberText(value);
    }
    case TypeKind::kDecimal:
      return ValueText(column, row);
    case TypeKind::kString:
      return std::string(column.StringAt(row));
    case TypeKind::kBytes: {
      static constexpr char kDigits[] = "0123456789abcdef";
      std::string text = "\\x";
      for (const char c : column.StringAt(row)) {
        text.push_back(kDigits[static_cast<uint8_t>(c) >> 4]);
        text.push_back(kDigits[static_cast<uint8_t>(c) & 15]);
      }
      return text;
    }
    case TypeKind::kDate: {
      bool bc = false;
      const std::string text = DateText(column.values<int32_t>()[row], bc);
      return bc ? text + " BC" : text;
    }
    case TypeKind::kTimestamp: {
      return PgTimestampText(column.values<int64_t>()[row]);
    }
    case TypeKind::kInterval:
      return NumberText(column.values<int64_t>()[row]) + " microseconds";
    case TypeKind::kArray:
      return std::nullopt;
  }
  return std::nullopt;
}

void AppendPgArrayElement(const std::optional<std::string>& value, std::string& out) {
  if (!value) {
    out.append("NULL");
    return;
  }
  out.push_back('"');
  for (const char c : *value) {
    if (c == '"' || c == '\\') out.push_back('\\');
    out.push_back(c);
  }
  out.push_back('"');
}

bool SplitCopyRow(std::string_view row, size_t columns, std::vector<PgField>& fields) {
  fields.clear();
  fields.emplace_back();
  for (size_t i = 0; i < row.size(); ++i) {
    if (row[i] == '\t') {
      fields.emplace_back();
      continue;
    }
    if (fields.back().is_null) return false;
    if (row[i] != '\\') {
      fields.back().text.push_back(row[i]);
      continue;
    }
    if (++i == row.size()) return false;
    switch (row[i]) {
      case 'N':
        if (!fields.back().text.empty()) return false;
        fields.back().is_null = true;
        break;
      case 'b':
        fields.back().text.push_back('\b');
        break;
      case 'f':
        fields.back().text.push_back('\f');
        break;
      case 'n':
        fields.back().text.push_back('\n');
        break;
      case 'r':
        fields.back().text.push_back('\r');
        break;
      case 't':
        fields.back().text.push_back('\t');
        break;
      case 'v':
        fields.back().text.push_back('\v');
        break;
      default:  // The server writes no octal escapes.
        fields.back().text.push_back(row[i]);
    }
  }
  return fields.size() == columns;
}

}  // namespace millrace
