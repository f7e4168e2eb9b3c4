#include <algorithm>
#include <set>

#include "runtime/base/text.h"
#include "sql/changelog.h"
#include "sql/expression_text.h"
#include "sql/join_sides.h"
#include "sql/node_compiler.h"
#include "sql/state_layout.h"
#include "sql/time_literals.h"
#include "sql/type_names.h"

namespace millrace {
namespace {

bool KeepsLeftOnly(const v1::Join& join) {
  return join.kind() == v1::Join::KIND_SEMI || join.kind() == v1::Join::KIND_ANTI;
}
bool CompileTime(const NodeContext& context, const std::string& at, const StreamFacts& side,
                 v1::Fields& time, bool* is_end) {
  int column = -1;
  if (!CompileField(context, at, side.schema, time, &column)) return false;
  const uint32_t id = time.ids(0);
  *is_end = side.window_ends.contains(id);
  if (*is_end || (side.has_watermark && side.event_times.contains(id))) return true;
  context.Error(
      "MR1405", at,
      Concat("the watermark does not follow column '", side.schema.fields(column).name(), "'"),
      "name the event time of the side, or the end of its window");
  return false;
}

bool CompileTimes(const NodeContext& context, v1::Join& join) {
  const auto given = [](const v1::Fields& fields) {
    return fields.ids_size() + fields.names_size() > 0;
  };
  if (!given(join.left_time()) && !given(join.right_time())) return true;
  bool left_end = false, right_end = false;
  bool ok =
      CompileTime(context, ".join.left_time", *context.input, *join.mutable_left_time(), &left_end);
  ok &= CompileTime(context, ".join.right_time", *context.right, *join.mutable_right_time(),
                    &right_end);
  if (ok && join.lower_ms() > join.upper_ms()) {
    context.Error("MR1412", ".join.lower_ms", "the lower bound of the time is above the upper one",
                  "the right time is between left + lower_ms and left + upper_ms");
    ok = false;
  }
  if (ok && (context.input->mode != v1::CHANGELOG_MODE_APPEND ||
             context.right->mode != v1::CHANGELOG_MODE_APPEND)) {
    context.Error("MR1420", ".join.left_time", "a join with times reads inserts only",
                  "leave the times out");
    ok = false;
  }
  join.set_left_time_is_end(left_end);
  join.set_right_time_is_end(right_end);
  return ok;
}

// Rows are identified by the keys of both sides; a side that meets at most one row adds none.
void SetKey(const NodeContext& context, const v1::Join& join, StreamFacts& out) {
  const StreamFacts& left = *context.input;
  const StreamFacts& right = *context.right;
  if (KeepsLeftOnly(join)) {
    out.key = left.key;
    return;
  }
  if (left.key.empty() || right.key.empty()) return;
  const auto is_within = [](const std::vector<uint32_t>& key, const v1::Fields& keys) {
    return std::all_of(key.begin(), key.end(), [&](uint32_t id) {
      return std::find(keys.ids().begin(), keys.ids().end(), id) != keys.ids().end();
    });
  };
  const bool inner = join.kind() == v1::Join::KIND_INNER;
  const bool one_right = is_within(right.key, join.right_keys());
  const bool one_left = is_within(left.key, join.left_keys());
  if (one_right && (inner || join.kind() == v1::Join::KIND_LEFT)) {
    out.key = left.key;
  } else if (one_left && (inner || join.kind() == v1::Join::KIND_RIGHT)) {
    for (const uint32_t id : right.key) out.key.push_back(id + join.right_id_offset());
  } else if (inner) {
    out.key = left.key;
    for (const uint32_t id : right.key) out.key.push_back(id + join.right_id_offset());
  }
}

std::optional<StreamFacts> CompileJoin(const NodeContext& context) {
  v1::Join& join = *context.node.mutable_join();
  if (join.kind() == v1::Join::KIND_UNSPECIFIED) join.set_kind(v1::Join::KIND_INNER);
  if (join.right_id_offset() == 0) join.set_right_id_offset(LargestId(context.input->schema));
  const v1::Schema both = BothSides(context.input->schema, context.right->schema, join);
  bool ok = CheckNames(context, ".join", both);
  ok &= CompileJoinKeys(context, ".join", context.input->schema, context.right->schema, join);
  ok &= CompileTimes(context, join);
  ok = ok && CompileJoinCondition(context, ".join", both, join);
  if (!ok) return std::nullopt;
  StreamFacts out{.schema = KeepsLeftOnly(join) ? context.input->schema : both,
                  .has_watermark = context.input->has_watermark && context.right->has_watermark};
  const bool timed = join.left_time().ids_size() > 0;
  const bool may_take_back =
      join.kind() != v1::Join::KIND_INNER && !timed &&
      !(join.kind() == v1::Join::KIND_SEMI && context.right->mode == v1::CHANGELOG_MODE_APPEND);
  const bool appends = context.input->mode == v1::CHANGELOG_MODE_APPEND &&
                       context.right->mode == v1::CHANGELOG_MODE_APPEND;
  if (may_take_back || !appends) out.mode = v1::CHANGELOG_MODE_RETRACT;
  // Rows of one window come together before the watermark passes its end.
  if (timed && join.left_time_is_end() && join.right_time_is_end() && join.lower_ms() == 0 &&
      join.upper_ms() == 0) {
    if (!LeftMayBeNull(join.kind())) out.window_ends.insert(join.left_time().ids(0));
    if (!KeepsLeftOnly(join) && !RightMayBeNull(join.kind())) {
      out.window_ends.insert(join.right_time().ids(0) + join.right_id_offset());
    }
  }
  SetKey(context, join, out);
  return out;
}

std::string_view KindText(v1::Join::Kind kind) {
  switch (kind) {
    case v1::Join::KIND_LEFT:
      return "left join";
    case v1::Join::KIND_RIGHT:
      return "right join";
    case v1::Join::KIND_FULL:
      return "full join";
    case v1::Join::KIND_SEMI:
      return "semi join";
    case v1::Join::KIND_ANTI:
      return "anti join";
    default:
      return "inner join";
  }
}

// `sides`: the columns of both.
std::string JoinText(const v1::Node& node, const v1::Schema& sides) {
  const v1::Join& join = node.join();
  std::string text =
      Concat(KindText(join.kind()),
             JoinPartsText(join, sides, KeepsLeftOnly(join) ? sides : node.schema()));
  if (join.left_time().ids_size() > 0) {
    text += Concat(", times within ", join.lower_ms(), " to ", join.upper_ms(), " ms of ",
                   FieldsText(join.left_time(), sides));
  }
  if (join.right_state_ttl_ms() > 0) {
    text += Concat(", the right side until unused for ", DurationText(join.right_state_ttl_ms()));
  }
  return text;
}

void LayoutOfJoin(const v1::Node& node, const std::vector<v1::Schema>& inputs,
                  v1::StateLayout& out) {
  const v1::Join& join = node.join();
  AddFact(out, "kind", std::string(KindText(join.kind())));
  AddFact(out, "left keys", TypedFieldsText(join.left_keys(), inputs[0]));
  AddFact(out, "right keys", TypedFieldsText(join.right_keys(), inputs[1]));
  if (join.left_time().ids_size() > 0) {
    AddFact(out, "times",
            Concat(FieldsText(join.right_time(), inputs[1]), " from ", join.lower_ms(), " to ",
                   join.upper_ms(), " ms after ", FieldsText(join.left_time(), inputs[0])));
  }
  // Pairs that were given are not known: with another condition they could not be taken back.
  if (join.has_condition()) {
    AddFact(out, "condition",
            ExpressionText(join.condition(), BothSides(inputs[0], inputs[1], join)));
  }
  AddRows(out, "left", inputs[0]);
  AddRows(out, "right", inputs[1]);
}

}  // namespace

const NodeKind kJoinNode = {
    .body = v1::Node::kJoin,
    .name = "join",
    .compile = &CompileJoin,
    .text = &JoinText,
    .state_text = [](const v1::Node& node, const v1::Schema&, uint64_t) -> std::string {
      return node.join().left_time().ids_size() > 0
                 ? "the rows of both sides until the watermark is past their partners"
                 : "every row of both sides";
    },
    .layout = &LayoutOfJoin,
    .keys = [](const v1::Node& node, uint32_t input) -> std::optional<v1::Fields> {
      return input == 0 ? node.join().left_keys() : node.join().right_keys();
    },
    .keeps_for_ever = [](const v1::Node& node) { return node.join().left_time().ids_size() == 0; },
    .sides = [](const v1::Node& node, const v1::Schema& left,
                const v1::Schema& right) { return BothSides(left, right, node.join()); },
    .inputs = 2,
    .accepts = kExactChanges,
    .has_dead_letter_output = true,
};

}  // namespace millrace
