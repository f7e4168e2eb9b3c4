// Small batches for the tests of the exchange.
#pragma once

#include <vector>

#include "runtime/columns/batch.h"

namespace millrace {

inline SchemaPtr NumberSchema() {
  static const SchemaPtr schema = Schema::Make({{.id = 1, .name = "n", .type = TypeKind::kInt64},
                                                {.id = 2, .name = "s", .type = TypeKind::kString}});
  return schema;
}

inline Batch Numbers(const std::vector<int64_t>& values) {
  BatchBuilder builder(NumberSchema());
  for (int64_t value : values) {
    builder.column(0).AppendInt64(value);
    builder.column(1).AppendString("row " + std::to_string(value));
  }
  return builder.Finish();
}

inline std::vector<int64_t> ValuesOf(const Batch& batch) {
  std::vector<int64_t> values;
  for (int64_t i = 0; i < batch.rows(); ++i) values.push_back(batch.column(0).values<int64_t>()[i]);
  return values;
}

}  // namespace millrace
