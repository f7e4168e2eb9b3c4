// What the kinds of joins have in common: the columns of two sides, keys that are compared
// pairwise, a condition over both. `Body` is a message with the fields of v1.Join that have these
// names.
//
// Threading: pure functions.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "runtime/base/text.h"
#include "sql/expression_text.h"
#include "sql/node_compiler.h"
#include "sql/type_names.h"

namespace millrace {

inline bool LeftMayBeNull(v1::Join::Kind kind) {
  return kind == v1::Join::KIND_RIGHT || kind == v1::Join::KIND_FULL;
}
inline bool RightMayBeNull(v1::Join::Kind kind) {
  return kind == v1::Join::KIND_LEFT || kind == v1::Join::KIND_FULL;
}

// Left columns, then right ones, under their names and ids in the output.
template <typename Body>
v1::Schema BothSides(const v1::Schema& left, const v1::Schema& right, const Body& join) {
  v1::Schema both;
  for (const v1::Field& field : left.fields()) {
    AddField(both, field.id(), join.left_prefix() + field.name(), field.type(),
             field.not_null() && !LeftMayBeNull(join.kind()));
  }
  for (const v1::Field& field : right.fields()) {
    AddField(both, field.id() + join.right_id_offset(), join.right_prefix() + field.name(),
             field.type(), field.not_null() && !RightMayBeNull(join.kind()));
  }
  return both;
}

// `at`: the path of the body, ".join".
template <typename Body>
bool CompileJoinKeys(const NodeContext& context, const std::string& at, const v1::Schema& left,
                     const v1::Schema& right, Body& join) {
  std::vector<int> lefts, rights;
  bool ok = CompileFields(context, at + ".left_keys", left, *join.mutable_left_keys(), &lefts);
  ok &= CompileFields(context, at + ".right_keys", right, *join.mutable_right_keys(), &rights);
  if (!ok) return false;
  if (lefts.size() != rights.size()) {
    context.Error("MR1412", at + ".right_keys",
                  Concat("the sides have ", lefts.size(), " and ", rights.size(), " keys"),
                  "keys are compared pairwise");
    return false;
  }
  for (size_t i = 0; i < lefts.size(); ++i) {
    const v1::Field& a = left.fields(lefts[i]);
    const v1::Field& b = right.fields(rights[i]);
    if (SameType(a.type(), b.type())) continue;
    context.Error("MR1412", at + ".right_keys",
                  Concat("'", a.name(), "' is ", TypeText(a.type()), " and '", b.name(), "' is ",
                         TypeText(b.type())),
                  "CAST one of them in a project node before the join");
    ok = false;
  }
  return ok;
}

template <typename Body>
bool CompileJoinCondition(const NodeContext& context, const std::string& at, const v1::Schema& both,
                          Body& join) {
  if (!join.has_condition()) return true;
  if (!CompileExpression(context, at + ".condition", both, *join.mutable_condition())) return false;
  if (join.condition().type().kind() == v1::Type::KIND_BOOL) return true;
  context.Error("MR1402", at + ".condition",
                Concat("a join condition is a BOOLEAN, not ", TypeText(join.condition().type())));
  return false;
}

// Joins that give rows of the left side alone, or not.
template <typename Body>
bool CompileInnerOrLeft(const NodeContext& context, const std::string& at, Body& join) {
  if (join.kind() == v1::Join::KIND_UNSPECIFIED) join.set_kind(v1::Join::KIND_INNER);
  if (join.kind() == v1::Join::KIND_INNER || join.kind() == v1::Join::KIND_LEFT) return true;
  context.Error("MR1412", at + ".kind", "the join is inner or left",
                "write kind: left, or leave it out");
  return false;
}

// " on a = b, where c": `sides` has the columns of both.
template <typename Body>
std::string JoinPartsText(const Body& join, const v1::Schema& sides, const v1::Schema& names) {
  std::string text;
  if (join.left_keys().ids_size() > 0) text += Concat(" on ", FieldsText(join.left_keys(), sides));
  if (join.has_condition()) text += Concat(", where ", ExpressionText(join.condition(), names));
  return text;
}

}  // namespace millrace
