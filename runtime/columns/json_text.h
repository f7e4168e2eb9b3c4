// Values and rows as JSON text, as the format `json` writes them.
//
// Threading: a printer remembers the last day, one thread each; the rest is pure.
#pragma once

#include <charconv>
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/columns/base64.h"
#include "runtime/columns/batch.h"
#include "runtime/columns/time_text.h"

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

class JsonPrinter {
 public:
  enum class Timestamps { kSql, kIso8601, kEpochMillis };
  explicit JsonPrinter(Timestamps timestamps)
      : timestamps_(timestamps),
        timestamp_(timestamps == Timestamps::kIso8601 ? TimestampText::kIso8601
                                                      : TimestampText::kSql) {}

  // A value that is not NULL.
  void Append(const Column& column, int64_t row, std::string& out) {
    switch (column.type()) {
      case TypeKind::kBool:
        out.append(column.BoolAt(row) ? "true" : "false");
        return;
      case TypeKind::kInt32:
        AppendJsonNumber(column.values<int32_t>()[row], out);
        return;
      case TypeKind::kInt64:
      case TypeKind::kInterval:
        AppendJsonNumber(column.values<int64_t>()[row], out);
        return;
      case TypeKind::kFloat64:
        AppendDouble(column.values<double>()[row], out);
        return;
      case TypeKind::kDecimal:
        AppendDecimal(column, row, out);
        return;
      case TypeKind::kString:
        AppendJsonString(column.StringAt(row), out);
        return;
      case TypeKind::kBytes:
        out.push_back('"');
        AppendBase64(column.StringAt(row), out);
        out.push_back('"');
        return;
      case TypeKind::kDate:
        out.push_back('"');
        AppendDate(column.values<int32_t>()[row], out);
        out.push_back('"');
        return;
      case TypeKind::kTimestamp:
        AppendTimestamp(column.values<int64_t>()[row], out);
        return;
      case TypeKind::kArray:
        AppendArray(column.type().element(), column.StringAt(row), out);
        return;
    }
  }

 private:
  void AppendTimestamp(int64_t us, std::string& out) {
    if (timestamps_ == Timestamps::kEpochMillis) {
      AppendJsonNumber((us >= 0 ? us : us - 999) / 1000, out);
      return;
    }
    out.push_back('"');
    timestamp_.Append(us, out);
    out.push_back('"');
  }

  void AppendArray(const ArrayElement& element, std::string_view bytes, std::string& out);

  // Shortest text that reads back as the same number. JSON has no NaN and no infinities: text.
  static void AppendDouble(double value, std::string& out) {
    if (std::isfinite(value)) {
      AppendJsonNumber(value, out);
    } else {
      out.append(std::isnan(value) ? "\"NaN\"" : value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
    }
  }

  const Timestamps timestamps_;
  TimestampPrinter timestamp_;
  // One element of the array that is printed; kept for the next one.
  const ArrayElement* element_ = nullptr;
  std::vector<ColumnBuilder> values_;
};

// The row as one object, keys in the order of the schema. For single rows: it is not fast.
std::string RowAsJson(const Batch& batch, int64_t row);

}  // namespace millrace
