// Columns to JSON objects, one per row, keys in the order of the schema.
#include <vector>

#include "operators/catalog/catalog.h"
#include "operators/formats/formats.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"
#include "runtime/columns/json_text.h"

namespace millrace {
namespace {

class JsonEncoder : public Encoder {
 public:
  JsonEncoder(const SchemaPtr& schema, JsonPrinter::Timestamps timestamps, bool skip_nulls)
      : skip_nulls_(skip_nulls), printer_(timestamps) {
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
          printer_.Append(column, row, out.bytes);
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
  const bool skip_nulls_;
  JsonPrinter printer_;
  std::vector<std::string> keys_;  // ,"name":
};

}  // namespace

absl::StatusOr<std::unique_ptr<Encoder>> MakeJsonEncoder(const SchemaPtr& schema,
                                                         const FormatOptions& options) {
  MILLRACE_ASSIGN_OR_RETURN(const FormatSpec* spec, FindFormatSpec("json"));
  const OptionReader reader(spec->encode_options, options);
  MILLRACE_ASSIGN_OR_RETURN(const auto form, reader.Enum("json.timestamp-format.standard"));
  MILLRACE_ASSIGN_OR_RETURN(const auto skip, reader.Bool("json.encode.ignore-null-fields"));
  return std::make_unique<JsonEncoder>(schema, static_cast<JsonPrinter::Timestamps>(*form), *skip);
}

}  // namespace millrace
