#include "runtime/task/tailed_rows.h"

#include <string>

#include "runtime/columns/json_text.h"

namespace millrace {
namespace {

void AppendPlain(const Column& column, int64_t row, JsonPrinter& printer, std::string& out) {
  switch (column.type()) {
    case TypeKind::kString:
    case TypeKind::kBytes:
      out.append(column.StringAt(row));
      return;
    default:
      printer.Append(column, row, out);
      if (out.starts_with('"')) out = out.substr(1, out.size() - 2);
  }
}

}  // namespace

void AppendTailedRows(const Batch& batch, int64_t begin, int64_t end, v1::TailedRows& rows) {
  JsonPrinter printer(JsonPrinter::Timestamps::kSql);
  for (int64_t row = begin; row < end; ++row) {
    v1::TailedRow& text = *rows.add_rows();
    text.set_op(std::string(RowKindText(batch.kind(row))));
    for (int i = 0; i < batch.column_count(); ++i) {
      std::string& value = *text.add_values();
      if (batch.column(i).IsNull(row)) {
        text.add_nulls(static_cast<uint32_t>(i));
      } else {
        AppendPlain(batch.column(i), row, printer, value);
      }
    }
  }
}

}  // namespace millrace
