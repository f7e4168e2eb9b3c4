// Debezium's change events as JSON, with or without their schema, to captured changes. Facts:
// Debezium's documentation, "Change event values" of the PostgreSQL and MySQL connectors.
//
// Two passes: the envelope is walked for the operation, the position and the row; the row is then
// decoded as any JSON object.
#include <charconv>
#include <string>
#include <utility>
#include <vector>

#include "operators/catalog/catalog.h"
#include "operators/formats/debezium_values.h"
#include "operators/formats/format_errors.h"
#include "operators/formats/formats.h"
#include "operators/formats/json_decoder.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"
#include "runtime/columns/keys.h"

namespace millrace {
namespace {

// What is wanted of one message; all text lies in it, or in the parser's buffer.
struct Envelope {
  bool is_tombstone = false;  // The message, or its payload, is null.
  std::string_view schema;    // JSON; empty: the message has none.
  std::string_view op, before, after;
  std::string_view sequence;  // JSON in a string.
};

class DebeziumDecoder : public Decoder {
 public:
  DebeziumDecoder(DecodedTable table, SchemaPtr columns, int64_t bytes_max,
                  DebeziumValues::Options values)
      : table_(std::move(table)),
        columns_(std::move(columns)),
        bytes_max_(bytes_max),
        values_(columns_, std::move(values)),
        sequence_(table_.schema->IndexOfName("$sequence")),
        unavailable_(table_.schema->IndexOfName("$unavailable")) {}

  absl::Status Init(const JsonDecoderOptions& options) {
    MILLRACE_ASSIGN_OR_RETURN(rows_, MakeJsonRowDecoder(columns_, options, nullptr, &values_));
    // Of a deleted row only the key is to be believed: without REPLICA IDENTITY FULL PostgreSQL
    // does not tell the rest, and Debezium makes it up.
    MILLRACE_ASSIGN_OR_RETURN(deleted_rows_,
                              MakeJsonRowDecoder(columns_, options, &table_.key, &values_));
    return absl::OkStatus();
  }

  void BeginSplit(std::string_view split_id) override {
    if (split_id == split_id_ && !split_bytes_.empty()) return;
    split_id_ = split_id;
    split_bytes_ = BigEndian(HashKey(split_id));
  }

  void Decode(std::span<const Message> messages, BatchBuilder& out,
              std::vector<NoRow>& none) override {
    for (size_t i = 0; i < messages.size(); ++i) {
      NoRow no_row{.index = i};
      if (!DecodeOne(messages[i], out, no_row)) none.push_back(std::move(no_row));
    }
  }

 private:
  static bool Fail(std::string_view code, std::string error, NoRow& none) {
    none.code = code;
    none.error = std::move(error);
    return false;
  }

  bool DecodeOne(const Message& message, BatchBuilder& out, NoRow& none) {
    Envelope envelope;
    if (message.is_null) return false;  // For compaction: the delete came before it.
    if (!ReadEnvelope(message.value, envelope, none)) return false;
    if (envelope.is_tombstone) return false;
    if (absl::Status status = values_.UseSchema(envelope.schema); !status.ok()) {
      return Fail(kBadSyntax, std::string(status.message()), none);
    }
    if (envelope.op == "c" || envelope.op == "r") {
      return AppendRow(*rows_, "after", envelope.after, RowKind::kInsert, envelope, out, none);
    }
    if (envelope.op == "u") {
      return AppendRow(*rows_, "after", envelope.after, RowKind::kUpdateAfter, envelope, out, none);
    }
    if (envelope.op == "d") {
      return AppendRow(*deleted_rows_, "before", envelope.before, RowKind::kDelete, envelope, out,
                       none);
    }
    if (envelope.op == "t") {
      for (int i = 0; i < table_.schema->size(); ++i) {
        if (i != sequence_) out.column(i).AppendNull();
      }
      if (sequence_ >= 0) AppendSequence(envelope, out.column(sequence_));
      out.SetKind(RowKind::kTruncate);
      return true;
    }
    if (envelope.op == "m") return false;  // A message of pg_logical_emit_message, no row.
    return Fail(kBadValue, Concat("op '", Excerpt(envelope.op), "' is not known"), none);
  }

  bool AppendRow(JsonRowDecoder& decoder, std::string_view name, std::string_view row, RowKind kind,
                 const Envelope& envelope, BatchBuilder& out, NoRow& none) {
    if (row.empty()) {
      return Fail(kMissingField, Concat("op '", envelope.op, "' without '", name, "'"), none);
    }
    values_.BeginRow();
    if (!decoder.DecodeRow({.value = row}, out, none)) {
      none.error = Concat("'", name, "': ", none.error);
      return false;
    }
    if (sequence_ >= 0) AppendSequence(envelope, out.column(sequence_));
    if (unavailable_ >= 0) AppendUnavailable(out.column(unavailable_));
    out.SetKind(kind);
    return true;
  }

  // After a restart the connector repeats changes. Those of PostgreSQL tell the end of the last
  // transaction before them and their own place; the second alone does not grow, because changes
  // come in the order of the commits.
  void AppendSequence(const Envelope& envelope, ColumnBuilder& column) {
    uint64_t commit = 0, lsn = 0;
    if (envelope.op == "r" || !ParseSequence(envelope.sequence, commit, lsn)) {
      column.AppendNull();
      return;
    }
    scratch_ = Concat(split_bytes_, BigEndian(commit), BigEndian(lsn));
    column.AppendString(scratch_);
  }

  void AppendUnavailable(ColumnBuilder& column) {
    if (values_.unavailable().empty()) {
      column.AppendNull();
      return;
    }
    scratch_.clear();
    for (const int i : values_.unavailable()) {
      const auto place =
          static_cast<size_t>(table_.places.empty() ? i : table_.places[static_cast<size_t>(i)]);
      if (scratch_.size() <= place / 8) scratch_.resize(place / 8 + 1, '\0');
      scratch_[place / 8] = static_cast<char>(scratch_[place / 8] | 1 << (place % 8));
    }
    column.AppendString(scratch_);
  }

  // ["23456", "23460"], either may be null.
  static bool ParseSequence(std::string_view text, uint64_t& commit, uint64_t& lsn) {
    const size_t comma = text.find(',');
    if (comma == text.npos) return false;
    (void)ParseQuoted(text.substr(0, comma), commit);  // None yet: 0.
    return ParseQuoted(text.substr(comma), lsn);
  }
  static bool ParseQuoted(std::string_view text, uint64_t& number) {
    const size_t begin = text.find('"');
    if (begin == text.npos) return false;
    const size_t end = text.find('"', begin + 1);
    if (end == text.npos) return false;
    const auto [at, error] = std::from_chars(text.data() + begin + 1, text.data() + end, number);
    return error == std::errc() && at == text.data() + end;
  }

  static std::string BigEndian(uint64_t value) {
    std::string bytes(8, '\0');
    for (int i = 7; i >= 0; --i, value >>= 8)
      bytes[static_cast<size_t>(i)] = static_cast<char>(value);
    return bytes;
  }

  bool ReadEnvelope(std::string_view text, Envelope& envelope, NoRow& none) {
    if (static_cast<int64_t>(text.size()) > bytes_max_) {
      return Fail(kMessageTooLong,
                  Concat("message of ", text.size(), " bytes; the limit is ", bytes_max_), none);
    }
    ondemand::document document;
    ondemand::object root;
    auto error =
        parser_.iterate(text.data(), text.size(), text.size() + kMessagePadding).get(document);
    if (error == simdjson::SUCCESS) error = document.get_object().get(root);
    if (error == simdjson::SUCCESS) error = ReadMembers(root, /*is_root=*/true, envelope);
    if (error != simdjson::SUCCESS) {
      return Fail(kBadSyntax, Concat("not a change of Debezium: ", simdjson::error_message(error)),
                  none);
    }
    if (document.current_location().error() != simdjson::OUT_OF_BOUNDS) {
      return Fail(kBadSyntax, "not a JSON object: text after its end", none);
    }
    if (!envelope.is_tombstone && envelope.op.empty()) {
      return Fail(kBadSyntax, "not a change of Debezium: there is no 'op'", none);
    }
    return true;
  }

  // Of the message, or of its payload.
  simdjson::error_code ReadMembers(ondemand::object object, bool is_root, Envelope& envelope) {
    for (auto result : object) {
      ondemand::field field;
      if (const auto error = std::move(result).get(field)) return error;
      std::string_view key;
      if (const auto error = field.unescaped_key().get(key)) return error;
      ondemand::value value = field.value();
      bool is_null = false;
      if (const auto error = value.is_null().get(is_null)) return error;
      if (is_null) {
        envelope.is_tombstone |= is_root && key == "payload";
        continue;
      }
      simdjson::error_code error = simdjson::SUCCESS;
      if (is_root && key == "payload") {
        ondemand::object payload;
        error = value.get_object().get(payload);
        if (error == simdjson::SUCCESS) error = ReadMembers(payload, /*is_root=*/false, envelope);
      } else if (is_root && key == "schema") {
        error = RawObject(value, envelope.schema);
      } else if (key == "before") {
        error = RawObject(value, envelope.before);
      } else if (key == "after") {
        error = RawObject(value, envelope.after);
      } else if (key == "op") {
        error = value.get_string().get(envelope.op);
      } else if (key == "source") {
        error = ReadSource(value, envelope);
      }
      if (error != simdjson::SUCCESS) return error;
    }
    return simdjson::SUCCESS;
  }

  static simdjson::error_code RawObject(ondemand::value& value, std::string_view& raw) {
    ondemand::object object;
    if (const auto error = value.get_object().get(object)) return error;
    return object.raw_json().get(raw);
  }

  static simdjson::error_code ReadSource(ondemand::value& value, Envelope& envelope) {
    ondemand::object source;
    if (const auto error = value.get_object().get(source)) return error;
    for (auto result : source) {
      ondemand::field field;
      if (const auto error = std::move(result).get(field)) return error;
      std::string_view key;
      if (const auto error = field.unescaped_key().get(key)) return error;
      if (key != "sequence") continue;
      // Null, or absent: the changes of other databases than PostgreSQL.
      const auto error = field.value().get_string().get(envelope.sequence);
      if (error != simdjson::SUCCESS && error != simdjson::INCORRECT_TYPE) return error;
    }
    return simdjson::SUCCESS;
  }

  const DecodedTable table_;
  const SchemaPtr columns_;  // Of the table, without those that tell about the change.
  const int64_t bytes_max_;
  DebeziumValues values_;
  std::unique_ptr<JsonRowDecoder> rows_, deleted_rows_;
  const int sequence_;
  const int unavailable_;
  ondemand::parser parser_;
  std::string split_id_, split_bytes_;
  std::string scratch_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Decoder>> MakeDebeziumDecoder(const DecodedTable& table,
                                                             const FormatOptions& options) {
  MILLRACE_ASSIGN_OR_RETURN(const FormatSpec* spec, FindFormatSpec("debezium-json"));
  const OptionReader reader(spec->decode_options, options);
  MILLRACE_ASSIGN_OR_RETURN(const auto unit, reader.Enum("debezium-json.timestamp-unit"));
  MILLRACE_ASSIGN_OR_RETURN(const auto placeholder,
                            reader.String("debezium-json.unavailable-value"));
  MILLRACE_ASSIGN_OR_RETURN(const auto depth, reader.Int("debezium-json.max-depth"));
  MILLRACE_ASSIGN_OR_RETURN(const auto bytes, reader.Bytes("debezium-json.max-message-size"));
  std::vector<Field> columns;
  for (const Field& field : table.schema->fields()) {
    if (field.name.starts_with('$')) continue;
    // What tells about a change stands behind the columns of the table (sql/changelog.h).
    if (static_cast<int>(columns.size()) != table.schema->IndexOfName(field.name)) {
      return absl::InternalError("a column of the table stands behind those of its changes");
    }
    columns.push_back(field);
  }
  auto decoder = std::make_unique<DebeziumDecoder>(
      table, Schema::Make(std::move(columns)), *bytes,
      DebeziumValues::Options{.unit = static_cast<DebeziumTimeUnit>(*unit),
                              .unavailable = *placeholder});
  MILLRACE_RETURN_IF_ERROR(decoder->Init(
      {.timestamps = TimestampForm::kIso8601, .depth_max = *depth, .message_bytes_max = *bytes}));
  return decoder;
}

}  // namespace millrace
