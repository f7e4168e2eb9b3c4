// Columns to JSON objects, one per row, keys in the order of the schema.
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "operators/catalog/catalog.h"
#include "operators/formats/base64.h"
#include "operators/formats/bytes32.h"
#include "operators/formats/formats.h"
#include "operators/formats/json_text.h"
#include "operators/formats/time_text.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

enum class TimestampForm { kSql, kIso8601, kEpochMillis };

class JsonEncoder : public Encoder {
 public:
  JsonEncoder(const SchemaPtr& schema, TimestampForm timestamps, bool skip_nulls)
      : timestamps_(timestamps),
        skip_nulls_(skip_nulls),
        printer_(timestamps == TimestampForm::kIso8601 ? TimestampText::kIso8601
                                                       : TimestampText::kSql) {
    for (const Field& field : schema->fields()) {
      std::string& key = keys_.emplace_back(",");
      AppendJsonString(field.name, key);
      key.push_back(':');
    }
  }

  absl::Status Encode(const Batch& batch, EncodedRows& out) override {
    out.Clear();
    for (int64_t row = 0; row < batch.rows(); ++row) {
      const size_t begin = out.bytes.size();
      for (int i = 0; i < batch.column_count(); ++i) {
        const Column& column = batch.column(i);
        const bool is_null = column.IsNull(row);
        if (is_null && skip_nulls_) continue;
        out.bytes.append(keys_[static_cast<size_t>(i)]);
        if (is_null) {
          out.bytes.append("null");
        } else {
          AppendValue(column, row, out.bytes);
        }
      }
      if (out.bytes.size() == begin) out.bytes.push_back('{');
      out.bytes[begin] = '{';  // For the first comma.
      out.bytes.push_back('}');
      if (out.bytes.size() > UINT32_MAX) {
        return absl::ResourceExhaustedError("encoded batch is larger than 4 GiB");
      }
      out.offsets.push_back(static_cast<uint32_t>(out.bytes.size()));
    }
    return absl::OkStatus();
  }

 private:
  void AppendValue(const Column& column, int64_t row, std::string& out) {
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
    }
  }

  void AppendTimestamp(int64_t us, std::string& out) {
    if (timestamps_ == TimestampForm::kEpochMillis) {
      AppendJsonNumber((us >= 0 ? us : us - 999) / 1000, out);
      return;
    }
    out.push_back('"');
    printer_.Append(us, out);
    out.push_back('"');
  }

  // Shortest text that reads back as the same number. JSON has no NaN and no infinities: text.
  static void AppendDouble(double value, std::string& out) {
    if (std::isfinite(value)) {
      AppendJsonNumber(value, out);
    } else {
      out.append(std::isnan(value) ? "\"NaN\"" : value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
    }
  }

  const TimestampForm timestamps_;
  const bool skip_nulls_;
  TimestampPrinter printer_;
  std::vector<std::string> keys_;  // ,"name":
};

// How many bytes come before the first that needs an escape.
size_t CountPlain(std::string_view text) {
  for (size_t at = 0; at < text.size(); at += Bytes32::kBytes) {
    char last[Bytes32::kBytes];
    const char* bytes = text.data() + at;
    const size_t left = text.size() - at;
    if (left < sizeof(last)) {
      std::memset(last, 'x', sizeof(last));
      std::memcpy(last, bytes, left);
      bytes = last;
    }
    const Bytes32 block(bytes);
    const uint32_t special = block.Is('"') | block.Is('\\') | block.IsControl();
    if (special != 0) return at + static_cast<size_t>(std::countr_zero(special));
  }
  return text.size();
}

void AppendEscaped(char c, std::string& out) {
  constexpr char kHex[] = "0123456789abcdef";
  out.push_back('\\');
  switch (c) {
    case '"':
    case '\\':
      out.push_back(c);
      return;
    case '\n':
      out.push_back('n');
      return;
    case '\r':
      out.push_back('r');
      return;
    case '\t':
      out.push_back('t');
      return;
    default:
      out.append("u00");
      out.push_back(kHex[c >> 4]);
      out.push_back(kHex[c & 15]);
  }
}

}  // namespace

void AppendJsonString(std::string_view text, std::string& out) {
  out.push_back('"');
  while (!text.empty()) {
    const size_t plain = CountPlain(text);
    out.append(text.substr(0, plain));
    if (plain == text.size()) break;
    AppendEscaped(text[plain], out);
    text.remove_prefix(plain + 1);
  }
  out.push_back('"');
}

absl::StatusOr<std::unique_ptr<Encoder>> MakeJsonEncoder(const SchemaPtr& schema,
                                                         const FormatOptions& options) {
  MILLRACE_ASSIGN_OR_RETURN(const FormatSpec* spec, FindFormatSpec("json"));
  const OptionReader reader(spec->encode_options, options);
  MILLRACE_ASSIGN_OR_RETURN(const auto form, reader.Enum("json.timestamp-format.standard"));
  MILLRACE_ASSIGN_OR_RETURN(const auto skip, reader.Bool("json.encode.ignore-null-fields"));
  return std::make_unique<JsonEncoder>(schema, static_cast<TimestampForm>(*form), *skip);
}

}  // namespace millrace
