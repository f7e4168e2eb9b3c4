// The values of Debezium's rows: what is not written as in plain JSON. How depends on the type in
// the database and the connector's settings, which only the schema in the message tells; without
// it, options do.
//
// Threading: one decoder's.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "operators/formats/json_decoder.h"

namespace millrace {

// The unit of timestamps that are numbers.
enum class DebeziumTimeUnit : uint8_t { kMicros, kMillis, kNanos };

class DebeziumValues : public JsonValueForms {
 public:
  struct Options {
    DebeziumTimeUnit unit = DebeziumTimeUnit::kMicros;
    std::string unavailable;  // Stands for a value that did not change and was not stored again.
  };
  DebeziumValues(SchemaPtr columns, Options options);

  // The schema that came with the next rows, as JSON; empty: none came. The last one is remembered.
  absl::Status UseSchema(std::string_view schema);
  // Columns of the current row, since BeginRow, whose value is unavailable; ascending or not.
  void BeginRow() { unavailable_.clear(); }
  const std::vector<int>& unavailable() const { return unavailable_; }

  Result Append(int column, const Field& field, ondemand::value& value,
                ColumnBuilder& builder) override;

 private:
  struct Form {
    DebeziumTimeUnit unit = DebeziumTimeUnit::kMicros;
    std::optional<int> scale;  // Of a decimal number that is written as bytes.
  };
  absl::Status ReadSchema(std::string_view schema);
  Result AppendNumber(const Form& form, const Field& field, std::string_view token,
                      ColumnBuilder& builder);
  Result AppendText(const Form& form, const Field& field, std::string_view text,
                    ColumnBuilder& builder);
  Result AppendVariableScale(const Field& field, ondemand::value& value, ColumnBuilder& builder);
  Result AppendDecimal(std::string_view base64, int scale, const Field& field,
                       ColumnBuilder& builder);

  const SchemaPtr columns_;
  const Options options_;
  const std::string unavailable_text_, unavailable_bytes_;  // As JSON tokens.
  std::vector<Form> forms_;                                 // By column.
  std::string schema_;                                      // That `forms_` are of.
  std::vector<int> unavailable_;
  std::string scratch_;
};

// The number `unscaled` * 10^-scale, where `unscaled` is big-endian two's complement (Connect's
// Decimal), in digits. At most 1 KiB and a scale within ±10 000; false: more.
bool AppendDecimalText(std::string_view unscaled, int scale, std::string& out);

}  // namespace millrace
