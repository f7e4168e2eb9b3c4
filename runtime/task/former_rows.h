// Rows that a former version of a node has kept, as rows of this one: what an operator does in Open
// before it reads them.
//
// Threading: the io thread of Task::Open.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "runtime/columns/row_codec.h"
#include "runtime/state/state_store.h"
#include "runtime/task/operator.h"

namespace millrace {

// For the rows that the node's layout calls `table`. Nothing: they are as this version writes them.
std::optional<RowConverter> FormerRowsOf(const OperatorContext& context, const std::string& table);

// Rewrites every row of a table: `convert` changes key and value. Rows that get the same key become
// one, by `merge` of the value there and the further one; without it the first stays. Holds the
// rows of one key group in memory; all of them are part of the next epoch.
using ConvertRowFn = std::function<absl::Status(std::string& key, std::string& value)>;
using MergeRowsFn = std::function<absl::Status(std::string& value, std::string_view further)>;
absl::Status RewriteTable(KeyedTable& table, KeyGroupRange key_groups, const ConvertRowFn& convert,
                          const MergeRowsFn& merge = nullptr);

}  // namespace millrace
