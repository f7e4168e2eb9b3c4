// Comma-separated values, quoted as in RFC 4180, columns by position. One message is one row; line
// breaks inside of quotes reach the decoder only where a message is not a line.
#include <charconv>
#include <cstring>
#include <optional>
#include <vector>

#include "operators/catalog/catalog.h"
#include "operators/formats/format_errors.h"
#include "operators/formats/formats.h"
#include "operators/formats/utf8.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"
#include "runtime/columns/base64.h"
#include "runtime/columns/json_text.h"
#include "runtime/columns/time_text.h"

namespace millrace {
namespace {

struct CsvOptions {
  char delimiter = ',';
  char quote = '"';
  std::optional<std::string> null_literal;
  bool ignore_parse_errors = false;
  int64_t message_bytes_max = int64_t{16} << 20;
};

absl::StatusOr<char> OneCharacter(std::string_view option, const std::string& text) {
  if (text == "\\t") return '\t';
  if (text.size() == 1 && text[0] != '\n' && text[0] != '\r') return text[0];
  return absl::InvalidArgumentError(
      Concat("option '", option, "': expected one character, found '", text, "'"));
}

absl::StatusOr<CsvOptions> ReadOptions(const FormatOptions& options, bool decode) {
  MILLRACE_ASSIGN_OR_RETURN(const FormatSpec* spec, FindFormatSpec("csv"));
  const OptionReader reader(decode ? spec->decode_options : spec->encode_options, options);
  CsvOptions out;
  MILLRACE_ASSIGN_OR_RETURN(const auto delimiter, reader.String("csv.field-delimiter"));
  MILLRACE_ASSIGN_OR_RETURN(out.delimiter, OneCharacter("csv.field-delimiter", *delimiter));
  MILLRACE_ASSIGN_OR_RETURN(const auto quote, reader.String("csv.quote-character"));
  MILLRACE_ASSIGN_OR_RETURN(out.quote, OneCharacter("csv.quote-character", *quote));
  if (out.quote == out.delimiter) {
    return absl::InvalidArgumentError(
        "options 'csv.field-delimiter' and 'csv.quote-character' are the same character");
  }
  MILLRACE_ASSIGN_OR_RETURN(out.null_literal, reader.String("csv.null-literal"));
  if (!decode) return out;
  MILLRACE_ASSIGN_OR_RETURN(const auto ignore, reader.Bool("csv.ignore-parse-errors"));
  MILLRACE_ASSIGN_OR_RETURN(const auto bytes, reader.Bytes("csv.max-message-size"));
  out.ignore_parse_errors = *ignore;
  out.message_bytes_max = *bytes;
  return out;
}

// ---- decoder ------------------------------------------------------------------------------------

class CsvDecoder : public Decoder {
 public:
  CsvDecoder(SchemaPtr schema, CsvOptions options)
      : schema_(std::move(schema)),
        options_(std::move(options)),
        timestamps_(TimestampText::kSql),
        iso_timestamps_(TimestampText::kIso8601) {}

  void Decode(std::span<const Message> messages, BatchBuilder& out,
              std::vector<NoRow>& none) override {
    if (schema_->size() == 0) return;
    for (size_t i = 0; i < messages.size(); ++i) {
      const int64_t row = out.column(0).length();
      if (DecodeOne(messages[i], out)) continue;
      for (int column = 0; column < schema_->size(); ++column) {
        if (out.column(column).length() > row) out.column(column).Truncate(row);
      }
      none.push_back({i, std::string(code_), std::move(error_)});
    }
  }

 private:
  struct Cell {
    std::string_view text;
    bool quoted = false;
    size_t byte = 0;
  };

  bool Fail(std::string_view code, std::string error) {
    code_ = code;
    error_ = std::move(error);
    return false;
  }

  bool DecodeOne(const Message& message, BatchBuilder& out) {
    if (message.is_null) return Fail(kNullMessage, "the message has no value (a tombstone)");
    std::string_view text = message.value;
    if (static_cast<int64_t>(text.size()) > options_.message_bytes_max) {
      return Fail(kMessageTooLong, Concat("line of ", text.size(), " bytes; the limit is ",
                                          options_.message_bytes_max));
    }
    if (!IsUtf8(text)) return Fail(kBadSyntax, "not UTF-8");
    if (text.ends_with('\r')) text.remove_suffix(1);
    size_t position = 0;
    for (int i = 0; i < schema_->size(); ++i) {
      if (position > text.size()) {
        return Fail(kMissingField,
                    Concat("the line has ", i, " fields; expected ", schema_->size()));
      }
      Cell cell;
      if (!TakeCell(text, position, cell)) return false;
      if (!AppendCell(schema_->field(i), cell, out.column(i))) return false;
    }
    if (position <= text.size()) {
      return Fail(kBadSyntax, Concat("the line has more than the expected ", schema_->size(),
                                     " fields at byte ", position));
    }
    return true;
  }

  // Reads one field at `position` and moves it past the delimiter; past the end of the text + 1
  // after the last one.
  bool TakeCell(std::string_view text, size_t& position, Cell& cell) {
    cell.byte = position;
    if (position >= text.size() || text[position] != options_.quote) {
      const size_t end = std::min(text.find(options_.delimiter, position), text.size());
      cell.text = text.substr(position, end - position);
      position = end + 1;
      return true;
    }
    cell.quoted = true;
    const size_t begin = position + 1;
    size_t end = text.find(options_.quote, begin);
    const bool doubled = end + 1 < text.size() && text[end + 1] == options_.quote;
    if (end != std::string_view::npos && !doubled) {
      cell.text = text.substr(begin, end - begin);
    } else {
      scratch_.clear();
      size_t from = begin;
      for (; end != std::string_view::npos; end = text.find(options_.quote, from)) {
        const bool pair = end + 1 < text.size() && text[end + 1] == options_.quote;
        scratch_.append(text.substr(from, end + (pair ? 1 : 0) - from));
        if (!pair) break;
        from = end + 2;
      }
      cell.text = scratch_;
    }
    if (end == std::string_view::npos) {
      return Fail(kBadSyntax, Concat("quote at byte ", cell.byte, " is not closed"));
    }
    position = end + 1;
    if (position < text.size() && text[position] != options_.delimiter) {
      return Fail(kBadSyntax, Concat("text after the closing quote at byte ", position));
    }
    ++position;
    return true;
  }

  bool IsNull(const Field& field, const Cell& cell) const {
    if (cell.quoted) return false;
    if (options_.null_literal) return cell.text == *options_.null_literal;
    // As PostgreSQL has it: nothing is NULL, "" is the empty text; but a column that cannot be NULL
    // takes nothing as text, too.
    return cell.text.empty() && (field.nullable || field.type != TypeKind::kString);
  }

  bool AppendCell(const Field& field, const Cell& cell, ColumnBuilder& column) {
    if (IsNull(field, cell)) {
      if (!field.nullable) {
        return Fail(kMissingField, Concat("field '", field.name, "' is empty; expected ",
                                          TypeName(field.type), " at byte ", cell.byte));
      }
      column.AppendNull();
      return true;
    }
    if (AppendValue(field, cell.text, column)) return true;
    if (options_.ignore_parse_errors && field.nullable) {
      column.AppendNull();
      return true;
    }
    return Fail(kBadValue, Concat("field '", field.name, "': expected ", TypeName(field.type),
                                  ", found \"", Excerpt(cell.text), "\" at byte ", cell.byte));
  }

  bool AppendValue(const Field& field, std::string_view text, ColumnBuilder& column) {
    switch (field.type) {
      case TypeKind::kString:
        column.AppendString(text);
        return true;
      case TypeKind::kBytes: {
        if (!DecodeBase64(text, bytes_)) return false;
        column.AppendString(bytes_);
        return true;
      }
      case TypeKind::kBool: {
        const bool truth = EqualsIgnoringCase(text, "true");
        if (!truth && !EqualsIgnoringCase(text, "false")) return false;
        column.AppendBool(truth);
        return true;
      }
      case TypeKind::kDecimal: {
        const auto number = ParseDecimal(text, column.type());
        if (number) column.AppendDecimal(*number);
        return number.has_value();
      }
      case TypeKind::kFloat64: {
        double number = 0;
        if (!ParseNumber(text, number)) return false;
        column.AppendFloat64(number);
        return true;
      }
      case TypeKind::kInt32: {
        int32_t number = 0;
        if (!ParseNumber(text, number)) return false;
        column.AppendInt32(number);
        return true;
      }
      case TypeKind::kDate: {
        const std::optional<int32_t> days = ParseDate(text);
        if (days) column.AppendInt32(*days);
        return days.has_value();
      }
      case TypeKind::kTimestamp: {
        std::optional<int64_t> us = timestamps_.Parse(text);
        if (!us) us = iso_timestamps_.Parse(text);
        if (us) column.AppendInt64(*us);
        return us.has_value();
      }
      default: {
        int64_t number = 0;
        if (!ParseNumber(text, number)) return false;
        column.AppendInt64(number);
        return true;
      }
    }
  }

  const SchemaPtr schema_;
  const CsvOptions options_;
  TimestampParser timestamps_;
  TimestampParser iso_timestamps_;
  std::string scratch_;  // A field with doubled quotes.
  std::string bytes_;
  std::string_view code_;
  std::string error_;
};

// ---- encoder ------------------------------------------------------------------------------------

class CsvEncoder : public Encoder {
 public:
  explicit CsvEncoder(CsvOptions options)
      : options_(std::move(options)), timestamps_(TimestampText::kSql) {}

  absl::Status Encode(const Batch& batch, EncodedRows& out) override {
    out.Clear();
    for (int64_t row = 0; row < batch.rows(); ++row) {
      for (int i = 0; i < batch.column_count(); ++i) {
        if (i > 0) out.bytes.push_back(options_.delimiter);
        if (batch.column(i).IsNull(row)) {
          out.bytes.append(options_.null_literal.value_or(""));
        } else {
          const size_t begin = out.bytes.size();
          AppendValue(batch.column(i), row, out.bytes);
          QuoteFrom(begin, out.bytes);
        }
      }
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
        AppendJsonNumber(column.values<double>()[row], out);
        return;
      case TypeKind::kDecimal:
        AppendDecimal(column, row, out);
        return;
      case TypeKind::kString:
        out.append(column.StringAt(row));
        return;
      case TypeKind::kBytes:
        AppendBase64(column.StringAt(row), out);
        return;
      case TypeKind::kDate:
        AppendDate(column.values<int32_t>()[row], out);
        return;
      case TypeKind::kTimestamp:
        timestamps_.Append(column.values<int64_t>()[row], out);
        return;
      case TypeKind::kArray:
        return;  // Refused at submit.
    }
  }

  // Quotes the value that begins at `begin` where it would be read back as something else: any
  // type's text may be the NULL literal or hold the delimiter.
  void QuoteFrom(size_t begin, std::string& out) {
    const char special[] = {options_.delimiter, options_.quote, '\n', '\r'};
    const std::string_view text = std::string_view(out).substr(begin);
    if (text.find_first_of(std::string_view(special, sizeof(special))) == std::string_view::npos &&
        text != options_.null_literal.value_or("")) {
      return;
    }
    scratch_.assign(text);
    out.resize(begin);
    out.push_back(options_.quote);
    for (const char c : scratch_) {
      if (c == options_.quote) out.push_back(c);
      out.push_back(c);
    }
    out.push_back(options_.quote);
  }

  const CsvOptions options_;
  TimestampPrinter timestamps_;
  std::string scratch_;  // A value that must be quoted.
};

}  // namespace

absl::StatusOr<std::unique_ptr<Decoder>> MakeCsvDecoder(const DecodedTable& table,
                                                        const FormatOptions& options) {
  MILLRACE_ASSIGN_OR_RETURN(CsvOptions parsed, ReadOptions(options, /*decode=*/true));
  return std::make_unique<CsvDecoder>(table.schema, std::move(parsed));
}

absl::StatusOr<std::unique_ptr<Encoder>> MakeCsvEncoder(const SchemaPtr&,
                                                        const FormatOptions& options) {
  MILLRACE_ASSIGN_OR_RETURN(CsvOptions parsed, ReadOptions(options, /*decode=*/false));
  return std::make_unique<CsvEncoder>(std::move(parsed));
}

}  // namespace millrace
