#include "operators/connectors/file/partition_path.h"

#include <string_view>

#include "runtime/columns/json_text.h"
#include "runtime/columns/time_text.h"

namespace millrace {
namespace {

constexpr std::string_view kDefaultPartition = "__DEFAULT_PARTITION__";

std::string TextOf(const Column& column, int64_t row) {
  std::string text;
  switch (column.type()) {
    case TypeKind::kString:
    case TypeKind::kBytes:
      return std::string(column.StringAt(row));
    case TypeKind::kDate:
      AppendDate(column.values<int32_t>()[row], text);
      return text;
    case TypeKind::kTimestamp:
      TimestampPrinter(TimestampText::kSql).Append(column.values<int64_t>()[row], text);
      return text;
    case TypeKind::kBool:
      return column.BoolAt(row) ? "true" : "false";
    case TypeKind::kInterval:
      return std::to_string(column.values<int64_t>()[row]);
    default:
      return ValueText(column, row);
  }
}

// Flink's PartitionPathUtils, which has it from Hive. Dots alone would lead out of the folder.
void AppendEscaped(std::string_view text, std::string& out) {
  constexpr char kHex[] = "0123456789ABCDEF";
  const bool only_dots = text.find_first_not_of('.') == std::string_view::npos;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f && !only_dots &&
        std::string_view("\"#%'*/:=?\\{}[]^").find(c) == std::string_view::npos) {
      out.push_back(c);
      continue;
    }
    out.push_back('%');
    out.push_back(kHex[byte >> 4]);
    out.push_back(kHex[byte & 15]);
  }
}

}  // namespace

std::string PartitionPath(const Batch& batch, const std::vector<int>& columns, int64_t row) {
  std::string path;
  for (const int i : columns) {
    const Column& column = batch.column(i);
    const std::string text = column.IsNull(row) ? std::string() : TextOf(column, row);
    if (!path.empty()) path.push_back('/');
    AppendEscaped(batch.schema()->field(i).name, path);
    path.push_back('=');
    AppendEscaped(text.empty() ? kDefaultPartition : text, path);
  }
  return path;
}

}  // namespace millrace
