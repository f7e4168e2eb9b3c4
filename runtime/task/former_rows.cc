#include "runtime/task/former_rows.h"

#include <map>
#include <utility>
#include <vector>

#include "millrace/v1/checkpoint.pb.h"
#include "runtime/base/check.h"
#include "runtime/base/status_macros.h"
#include "runtime/checkpoint/layout_comparison.h"
#include "runtime/columns/types.h"

namespace millrace {

std::optional<RowConverter> FormerRowsOf(const OperatorContext& context, const std::string& table) {
  if (context.former_layout == nullptr) return std::nullopt;
  const v1::StateRows* const to = FindRows(*context.layout, table);
  const v1::StateRows* const from = FindRows(*context.former_layout, table);
  if (to == nullptr || from == nullptr) return std::nullopt;
  std::vector<int> sources;
  for (const v1::Field& column : to->columns().fields()) {
    sources.push_back(FindColumn(from->columns(), column.name()));
  }
  return RowConverter(*Schema::FromProto(from->columns()), *Schema::FromProto(to->columns()),
                      std::move(sources));
}

absl::Status RewriteTable(KeyedTable& table, KeyGroupRange key_groups, const ConvertRowFn& convert,
                          const MergeRowsFn& merge) {
  for (uint32_t group = key_groups.first; group <= key_groups.last; ++group) {
    std::vector<std::pair<std::string, std::string>> rows;
    MILLRACE_RETURN_IF_ERROR(
        table.Scan(group, "", [&rows](std::string_view key, std::string_view value) {
          rows.emplace_back(key, value);
          return true;
        }));
    std::map<std::string, std::string> rewritten;
    for (auto& [key, value] : rows) {
      MILLRACE_RETURN_IF_ERROR(table.Delete(group, key));
      MILLRACE_RETURN_IF_ERROR(convert(key, value));
      const auto [there, added] = rewritten.try_emplace(std::move(key), value);
      if (!added && merge != nullptr) MILLRACE_RETURN_IF_ERROR(merge(there->second, value));
    }
    for (const auto& [key, value] : rewritten) {
      MILLRACE_RETURN_IF_ERROR(table.Put(group, key, value));
    }
  }
  return absl::OkStatus();
}

}  // namespace millrace
