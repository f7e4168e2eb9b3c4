// Columns to JSON objects, one per row, keys in the order of the schema.
#include <array>
#include <charconv>
#include <cmath>
#include <vector>

#include "operators/catalog/catalog.h"
#include "operators/formats/base64.h"
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
      std::string key;
      AppendJsonString(field.name, key);
      key.push_back(':');
      keys_.push_back(std::move(key));
    }
  }

  absl::Status Encode(const Batch& batch, EncodedRows& out) override {
    out.Clear();
    for (int64_t row = 0; row < batch.rows(); ++row) {
      out.bytes.push_back('{');
      bool first = true;
      for (int i = 0; i < batch.column_count(); ++i) {
        const Column& column = batch.column(i);
        const bool is_null = column.IsNull(row);
        if (is_null && skip_nulls_) continue;
        if (!first) out.bytes.push_back(',');
        first = false;
        out.bytes.append(keys_[static_cast<size_t>(i)]);
        if (is_null) {
          out.bytes.append("null");
        } else {
          AppendValue(column, row, out.bytes);
        }
      }
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
  std::vector<std::string> keys_;  // "name":
};

}  // namespace

void AppendJsonString(std::string_view text, std::string& out) {
  constexpr char kHex[] = "0123456789abcdef";
  out.push_back('"');
  size_t plain = 0;  // Where the run of bytes that need no escape began.
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x20 && c != '"' && c != '\\') [[likely]]
      continue;
    out.append(text.substr(plain, i - plain));
    plain = i + 1;
    out.push_back('\\');
    switch (c) {
      case '"':
      case '\\':
        out.push_back(static_cast<char>(c));
        break;
      case '\n':
        out.push_back('n');
        break;
      case '\r':
        out.push_back('r');
        break;
      case '\t':
        out.push_back('t');
        break;
      default:
        out.append("u00");
        out.push_back(kHex[c >> 4]);
        out.push_back(kHex[c & 15]);
    }
  }
  out.append(text.substr(plain));
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
