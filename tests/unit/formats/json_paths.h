// The two ways of a JSON message to its row, side by side: what the decoder makes of a stream,
// where the scanner takes what it can, and what the parser alone makes of each message.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "operators/formats/format.h"
#include "operators/formats/formats.h"
#include "operators/formats/json_decoder.h"
#include "runtime/columns/batch.h"

namespace millrace {

// Columns of all types, inside and outside of objects, one of them NOT NULL.
inline SchemaPtr JsonPathsSchema() {
  std::vector<Field> fields;
  const auto add = [&fields](const char* name, DataType type, const char* path = "") -> Field& {
    const auto id = static_cast<uint32_t>(fields.size() + 1);
    return fields.emplace_back(Field{.id = id, .name = name, .type = type, .path = path});
  };
  add("key", TypeKind::kInt64).nullable = false;
  add("a", TypeKind::kInt64);
  add("b", TypeKind::kString);
  add("c", TypeKind::kFloat64);
  add("d", TypeKind::kTimestamp);
  add("e", TypeKind::kBool);
  add("f", TypeKind::kInt32, "o.f");
  add("g", TypeKind::kDate, "o.g");
  add("h", TypeKind::kBytes, "o.h");
  add("i", DataType::Decimal(20, 2), "o.p.i");
  add("j", TypeKind::kString, "o.p.j");
  return Schema::Make(std::move(fields));
}

class JsonPaths {
 public:
  explicit JsonPaths(const FormatOptions& options = {}, const JsonDecoderOptions& parsed = {})
      : stream_(MakeJsonDecoder({.schema = schema_}, options).value()),
        parser_(MakeJsonRowDecoder(schema_, parsed, nullptr, nullptr).value()),
        stream_rows_(schema_),
        parser_rows_(schema_) {}

  // Empty: both ways agree, in rows, codes and errors.
  std::string Difference(std::span<const Message> messages) {
    std::vector<NoRow> stream_none, parser_none;
    stream_->Decode(messages, stream_rows_, stream_none);
    for (size_t i = 0; i < messages.size(); ++i) {
      NoRow none{.index = i};
      if (!parser_->DecodeRow(messages[i], parser_rows_, none)) parser_none.push_back(none);
    }
    const Batch stream = stream_rows_.Finish(), parser = parser_rows_.Finish();
    for (size_t i = 0; i < std::max(stream_none.size(), parser_none.size()); ++i) {
      const std::string left = i < stream_none.size() ? Text(stream_none[i]) : "a row";
      const std::string right = i < parser_none.size() ? Text(parser_none[i]) : "a row";
      if (left != right) return left + " | by the parser: " + right;
    }
    for (int64_t row = 0; row < parser.rows(); ++row) {
      for (int i = 0; i < parser.column_count(); ++i) {
        const std::string left = ValueText(stream.column(i), row);
        const std::string right = ValueText(parser.column(i), row);
        if (left != right) return schema_->field(i).name + ": " + left + " | " + right;
      }
    }
    return SameRows(stream, parser) ? "" : "rows";
  }

 private:
  static std::string Text(const NoRow& none) {
    return std::to_string(none.index) + " " + none.code + " " + none.error;
  }

  const SchemaPtr schema_ = JsonPathsSchema();
  const std::unique_ptr<Decoder> stream_;
  const std::unique_ptr<JsonRowDecoder> parser_;
  BatchBuilder stream_rows_, parser_rows_;
};

}  // namespace millrace
