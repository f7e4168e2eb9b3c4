// The whole message is the only column.
#include "operators/formats/format_errors.h"
#include "operators/formats/formats.h"
#include "operators/formats/utf8.h"

namespace millrace {
namespace {

absl::Status CheckSchema(const SchemaPtr& schema) {
  if (schema->size() == 1 && IsVariableWidth(schema->field(0).type)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "format 'raw' needs a table with one column of type STRING or BYTES");
}

class RawDecoder : public Decoder {
 public:
  explicit RawDecoder(SchemaPtr schema) : schema_(std::move(schema)) {}

  void Decode(std::span<const Message> messages, BatchBuilder& out,
              std::vector<NoRow>& none) override {
    const Field& field = schema_->field(0);
    for (size_t i = 0; i < messages.size(); ++i) {
      if (messages[i].is_null) {
        if (field.nullable) {
          out.column(0).AppendNull();
        } else {
          none.push_back({i, std::string(kNullMessage), "the message has no value (a tombstone)"});
        }
      } else if (field.type == TypeKind::kString && !IsUtf8(messages[i].value)) {
        none.push_back({i, std::string(kBadValue), "field '" + field.name + "': not UTF-8"});
      } else {
        out.column(0).AppendString(messages[i].value);
      }
    }
  }

 private:
  const SchemaPtr schema_;
};

class RawEncoder : public Encoder {
 public:
  absl::Status Encode(const Batch& batch, EncodedRows& out) override {
    out.Clear();
    for (int64_t row = 0; row < batch.rows(); ++row) {
      if (!batch.column(0).IsNull(row)) out.bytes.append(batch.column(0).StringAt(row));
      out.offsets.push_back(static_cast<uint32_t>(out.bytes.size()));
    }
    return absl::OkStatus();
  }
};

}  // namespace

absl::StatusOr<std::unique_ptr<Decoder>> MakeRawDecoder(const DecodedTable& table,
                                                        const FormatOptions&) {
  if (absl::Status status = CheckSchema(table.schema); !status.ok()) return status;
  return std::make_unique<RawDecoder>(table.schema);
}

absl::StatusOr<std::unique_ptr<Encoder>> MakeRawEncoder(const SchemaPtr& schema,
                                                        const FormatOptions&) {
  if (absl::Status status = CheckSchema(schema); !status.ok()) return status;
  return std::make_unique<RawEncoder>();
}

}  // namespace millrace
