// Rows with what held at their event time.
#include <algorithm>

#include "sql/join_sides.h"
#include "sql/node_compiler.h"
#include "sql/state_layout.h"

namespace millrace {
namespace {

bool CompileEventTime(const NodeContext& context, const std::string& at, const StreamFacts& side,
                      v1::Fields& time) {
  int column = -1;
  if (!CompileField(context, at, side.schema, time, &column)) return false;
  if (side.has_watermark && side.event_times.contains(time.ids(0))) return true;
  context.Error(
      "MR1405", at,
      Concat("the watermark does not follow column '", side.schema.fields(column).name(), "'"),
      "name the event time of the side");
  return false;
}

// Versions of one row come from one key; changes that are told apart by more than it would mix.
bool CheckVersions(const NodeContext& context, const v1::TemporalJoin& join) {
  const StreamFacts& right = *context.right;
  if (right.mode == v1::CHANGELOG_MODE_APPEND) return true;
  const auto& keys = join.right_keys().ids();
  const bool is_within =
      !right.key.empty() && std::all_of(right.key.begin(), right.key.end(), [&](uint32_t id) {
        return std::find(keys.begin(), keys.end(), id) != keys.end();
      });
  if (is_within) return true;
  context.Error("MR1415", ".temporal_join.right_keys",
                "the join does not compare the key by which its right side changes",
                "compare every column of the primary key");
  return false;
}

std::optional<StreamFacts> CompileTemporalJoin(const NodeContext& context) {
  v1::TemporalJoin& join = *context.node.mutable_temporal_join();
  const std::string at = ".temporal_join";
  const StreamFacts& left = *context.input;
  const StreamFacts& right = *context.right;
  if (left.mode != v1::CHANGELOG_MODE_APPEND) {
    context.Error("MR1420", at, "the left side of a temporal join reads inserts only",
                  "join the changes without FOR SYSTEM_TIME AS OF");
    return std::nullopt;
  }
  if (join.right_id_offset() == 0) join.set_right_id_offset(LargestId(left.schema));
  bool ok = CompileInnerOrLeft(context, at, join);
  const v1::Schema both = BothSides(left.schema, right.schema, join);
  ok &= CheckNames(context, at, both);
  ok &= CompileJoinKeys(context, at, left.schema, right.schema, join);
  ok &= CompileEventTime(context, at + ".left_time", left, *join.mutable_left_time());
  ok &= CompileEventTime(context, at + ".right_time", right, *join.mutable_right_time());
  if (!ok || !CheckVersions(context, join) || !CompileJoinCondition(context, at, both, join)) {
    return std::nullopt;
  }
  // A row is given before the watermark is passed on that was past its time.
  return StreamFacts{.schema = both,
                     .event_times = left.event_times,
                     .window_ends = left.window_ends,
                     .processing_times = left.processing_times,
                     .has_watermark = true,
                     .key = left.key};
}

}  // namespace

const NodeKind kTemporalJoinNode = {
    .body = v1::Node::kTemporalJoin,
    .name = "temporal join",
    .compile = &CompileTemporalJoin,
    .text =
        [](const v1::Node& node, const v1::Schema& sides) {
          const v1::TemporalJoin& join = node.temporal_join();
          return Concat(join.kind() == v1::Join::KIND_LEFT ? "left temporal join" : "temporal join",
                        JoinPartsText(join, sides, node.schema()), ", as of ",
                        FieldsText(join.left_time(), sides));
        },
    .state_text = [](const v1::Node&, const v1::Schema&, uint64_t) -> std::string {
      return "left rows until the watermark is past them; the newest row of every key of the right "
             "before the watermark, and those after it";
    },
    .layout =
        [](const v1::Node& node, const std::vector<v1::Schema>& inputs, v1::StateLayout& out) {
          const v1::TemporalJoin& join = node.temporal_join();
          AddFact(out, "left keys", TypedFieldsText(join.left_keys(), inputs[0]));
          AddFact(out, "right keys", TypedFieldsText(join.right_keys(), inputs[1]));
          AddFact(out, "times",
                  Concat(FieldsText(join.left_time(), inputs[0]), ", ",
                         FieldsText(join.right_time(), inputs[1])));
          AddFact(out, "left columns", ColumnsText(inputs[0]));
          AddFact(out, "right columns", ColumnsText(inputs[1]));
        },
    .keys = [](const v1::Node& node, uint32_t input) -> std::optional<v1::Fields> {
      return input == 0 ? node.temporal_join().left_keys() : node.temporal_join().right_keys();
    },
    .sides = [](const v1::Node& node, const v1::Schema& left,
                const v1::Schema& right) { return BothSides(left, right, node.temporal_join()); },
    .inputs = 2,
    .accepts = kKeyedChanges,
    .has_late_output = true,
    .has_dead_letter_output = true,
};

}  // namespace millrace
