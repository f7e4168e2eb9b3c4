#include "operators/formats/json_tree.h"

#include <algorithm>

#include "runtime/base/text.h"

namespace millrace {
namespace {

// Keys separated by dots; without a path, the key is the name, dots and all.
std::vector<std::string> KeysOf(const Field& field) {
  std::vector<std::string> keys;
  const std::string_view path = field.path;
  if (path.empty()) return {field.name};
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('.', begin), path.size());
    keys.emplace_back(path.substr(begin, end - begin));
    begin = end + 1;
  }
  return keys;
}

}  // namespace

absl::StatusOr<JsonTree> MakeJsonTree(const Schema& schema, const std::vector<bool>& left_null,
                                      int64_t depth_max) {
  JsonTree nodes(1);
  for (int column = 0; column < schema.size(); ++column) {
    if (!left_null.empty() && left_null[static_cast<size_t>(column)]) continue;
    const Field& field = schema.field(column);
    const std::vector<std::string> keys = KeysOf(field);
    if (static_cast<int64_t>(keys.size()) > depth_max) {
      return absl::InvalidArgumentError(Concat("column '", field.name, "' is nested too deep"));
    }
    JsonTreeNode* node = &nodes.front();
    for (size_t i = 0; i < keys.size(); ++i) {
      node->columns.push_back(column);
      auto child = std::find_if(node->children.begin(), node->children.end(),
                                [&](const auto& one) { return one.key == keys[i]; });
      const bool leaf = i + 1 == keys.size();
      if (child == node->children.end()) {
        node->children.push_back({.key = keys[i]});
        child = std::prev(node->children.end());
        if (leaf) {
          child->column = column;
          break;
        }
        child->object = &nodes.emplace_back();
      } else if (leaf || child->object == nullptr) {
        return absl::InvalidArgumentError(
            Concat("column '", field.name, "': another column is read from the same JSON field"));
      }
      node = child->object;
    }
  }
  return nodes;
}

}  // namespace millrace
