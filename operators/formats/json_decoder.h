// Rows that are JSON objects, for formats whose messages hold such rows. Private to this folder.
#pragma once

#include <simdjson.h>

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "operators/formats/format.h"

namespace millrace {

namespace ondemand = simdjson::ondemand;

enum class TimestampForm { kSql, kIso8601, kEpochMillis };

struct JsonDecoderOptions {
  bool fail_on_missing_field = false;
  bool ignore_parse_errors = false;
  bool ignore_unknown_fields = true;
  TimestampForm timestamps = TimestampForm::kSql;
  int64_t depth_max = 64;
  int64_t message_bytes_max = int64_t{16} << 20;
};

// For values that another program writes in forms of its own.
class JsonValueForms {
 public:
  enum class Result { kNotMine, kAppended, kBad };
  virtual ~JsonValueForms() = default;
  // Appends the value of `column` to its builder, if it has such a form; else leaves it untouched.
  virtual Result Append(int column, const Field& field, ondemand::value& value,
                        ColumnBuilder& builder) = 0;
};

class JsonRowDecoder {
 public:
  virtual ~JsonRowDecoder() = default;
  // One row. False: nothing is appended, and `none` (whose index stays as it is) says why.
  virtual bool DecodeRow(const Message& message, BatchBuilder& out, NoRow& none) = 0;
};

// With `only_columns`, the other columns are NULL, whatever they are declared as. `forms` may be
// null, and outlives the decoder. kInvalidArgument: two columns that exclude each other.
absl::StatusOr<std::unique_ptr<JsonRowDecoder>> MakeJsonRowDecoder(
    const SchemaPtr& schema, const JsonDecoderOptions& options,
    const std::vector<int>* only_columns, JsonValueForms* forms);

}  // namespace millrace
