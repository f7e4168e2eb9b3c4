// Nodes that make exact changes: normalize, resolve_conflicts, and aggregates of a group without a
// window.
#include <algorithm>
#include <set>

#include "runtime/base/text.h"
#include "sql/changelog.h"
#include "sql/expression_text.h"
#include "sql/node_compiler.h"
#include "sql/state_layout.h"

namespace millrace {
namespace {

// ---- normalize ----

std::optional<StreamFacts> CompileNormalize(const NodeContext& context) {
  const StreamFacts& input = *context.input;
  v1::Fields& key = *context.node.mutable_normalize()->mutable_key();
  std::vector<int> columns;
  if (!CompileFields(context, ".normalize.key", input.schema, key, &columns)) return std::nullopt;
  if (key.ids_size() == 0) {
    for (const uint32_t id : input.key) key.add_ids(id);
  }
  const std::set<uint32_t> given(key.ids().begin(), key.ids().end());
  if (given.empty()) {
    context.Error("MR1421", ".normalize", "the input has no key to keep rows by",
                  "name the columns that identify a row: normalize: {key: [id]}");
    return std::nullopt;
  }
  if (input.mode != v1::CHANGELOG_MODE_APPEND &&
      given != std::set<uint32_t>(input.key.begin(), input.key.end())) {
    context.Error("MR1423", ".normalize.key", "the input changes rows by another key",
                  "leave the key out: it is that of the input");
    return std::nullopt;
  }
  StreamFacts out{.schema = input.schema,
                  .event_times = input.event_times,
                  .has_watermark = input.has_watermark,
                  .mode = v1::CHANGELOG_MODE_RETRACT,
                  .key = {key.ids().begin(), key.ids().end()}};
  RemoveCaptureColumns(out.schema);
  return out;
}

void ReadsOfNormalize(const v1::Node& node, FieldIds& out) {
  AddFields(node.normalize().key(), out);
}

// ---- resolve conflicts ----

std::optional<StreamFacts> CompileResolveConflicts(const NodeContext& context) {
  const StreamFacts& input = *context.input;
  v1::ResolveConflicts& body = *context.node.mutable_resolve_conflicts();
  std::vector<int> columns;
  if (!CompileFields(context, ".resolve_conflicts.key", input.schema, *body.mutable_key(),
                     &columns)) {
    return std::nullopt;
  }
  if (columns.empty()) {
    context.Error("MR1421", ".resolve_conflicts",
                  "rows in conflict have the same key: there is none",
                  "name the columns of the key: resolve_conflicts: {key: [id]}");
    return std::nullopt;
  }
  if (body.keep() == v1::ResolveConflicts::KEEP_UNSPECIFIED) {
    body.set_keep(v1::ResolveConflicts::KEEP_LAST);
  }
  body.set_input_retracts(input.mode == v1::CHANGELOG_MODE_RETRACT);
  body.clear_row_key();
  for (const uint32_t id : input.key) body.mutable_row_key()->add_ids(id);
  return StreamFacts{.schema = input.schema,
                     .has_watermark = input.has_watermark,
                     .mode = v1::CHANGELOG_MODE_RETRACT,
                     .key = {body.key().ids().begin(), body.key().ids().end()}};
}

std::string_view KeptText(const v1::ResolveConflicts& body) {
  switch (body.keep()) {
    case v1::ResolveConflicts::KEEP_FIRST:
      return "the first row";
    case v1::ResolveConflicts::KEEP_ONLY:
      return "the only row";
    default:
      return "the last row";
  }
}

// ---- group aggregate ----

std::optional<StreamFacts> CompileGroupAggregate(const NodeContext& context) {
  v1::GroupAggregate& body = *context.node.mutable_group_aggregate();
  const v1::Schema& input = context.input->schema;
  std::vector<int> keys;
  bool ok = CompileFields(context, ".group_aggregate.keys", input, *body.mutable_keys(), &keys);
  ok &= CompileAggregates(context, ".group_aggregate", *body.mutable_aggregates());
  if (!ok) return std::nullopt;
  body.set_input_retracts(context.input->mode == v1::CHANGELOG_MODE_RETRACT);
  StreamFacts out{.schema = {},
                  .has_watermark = context.input->has_watermark,
                  .mode = v1::CHANGELOG_MODE_RETRACT,
                  .key = {body.keys().ids().begin(), body.keys().ids().end()}};
  for (const uint32_t id : body.keys().ids()) {
    const v1::Field& key = *FieldById(input, id);
    AddField(out.schema, id, key.name(), key.type(), key.not_null());
  }
  uint32_t next = LargestId(input);
  for (const v1::Aggregate& aggregate : body.aggregates()) next = std::max(next, aggregate.id());
  for (v1::Aggregate& aggregate : *body.mutable_aggregates()) {
    if (aggregate.id() == 0) aggregate.set_id(++next);
    AddField(out.schema, aggregate.id(), aggregate.name(), aggregate.type(),
             aggregate.function() == "count");
  }
  if (!CheckNames(context, ".group_aggregate", out.schema)) return std::nullopt;
  return out;
}

std::string GroupAggregateText(const v1::Node& node, const v1::Schema& input) {
  const v1::GroupAggregate& body = node.group_aggregate();
  std::vector<std::string> aggregates;
  for (const v1::Aggregate& aggregate : body.aggregates()) {
    aggregates.push_back(Concat(AggregateText(aggregate, input), " AS ", aggregate.name()));
  }
  std::string text = "group aggregate";
  if (body.keys().ids_size() > 0) text += Concat(" by ", FieldsText(body.keys(), input));
  return Concat(text, ": ", Join(aggregates, ", "));
}

void ReadsOfGroupAggregate(const v1::Node& node, FieldIds& out) {
  AddFields(node.group_aggregate().keys(), out);
  for (const v1::Aggregate& aggregate : node.group_aggregate().aggregates()) {
    AddReferences(aggregate.argument(), out);
    AddReferences(aggregate.filter(), out);
  }
}

}  // namespace

const NodeKind kNormalizeNode = {
    .body = v1::Node::kNormalize,
    .name = "normalize",
    .compile = &CompileNormalize,
    .text =
        [](const v1::Node& node, const v1::Schema& input) {
          return Concat("normalize by ", FieldsText(node.normalize().key(), input));
        },
    .state_text = [](const v1::Node&, const v1::Schema&, uint64_t) -> std::string {
      return "the last row of every key";
    },
    .layout =
        [](const v1::Node& node, const std::vector<v1::Schema>& inputs, v1::StateLayout& out) {
          AddFact(out, "key", TypedFieldsText(node.normalize().key(), inputs[0]));
          v1::Schema columns = inputs[0];
          RemoveCaptureColumns(columns);
          AddRows(out, "rows", columns);
        },
    .keys = [](const v1::Node& node, uint32_t) -> std::optional<v1::Fields> {
      return node.normalize().key();
    },
    .reads = &ReadsOfNormalize,
    .passes_columns = true,
    .accepts =
        kAppendOnly | ModeBit(v1::CHANGELOG_MODE_UPSERT) | ModeBit(v1::CHANGELOG_MODE_CAPTURED),
    .has_dead_letter_output = true,
};

const NodeKind kResolveConflictsNode = {
    .body = v1::Node::kResolveConflicts,
    .name = "resolve conflicts",
    .compile = &CompileResolveConflicts,
    .text =
        [](const v1::Node& node, const v1::Schema& input) {
          const v1::ResolveConflicts& body = node.resolve_conflicts();
          return Concat("resolve conflicts: ", KeptText(body), " by ",
                        FieldsText(body.key(), input));
        },
    .state_text = [](const v1::Node& node, const v1::Schema&, uint64_t) -> std::string {
      return node.resolve_conflicts().input_retracts() ? "every row" : "a row of every key, or two";
    },
    .layout =
        [](const v1::Node& node, const std::vector<v1::Schema>& inputs, v1::StateLayout& out) {
          const v1::ResolveConflicts& body = node.resolve_conflicts();
          AddFact(out, "key", TypedFieldsText(body.key(), inputs[0]));
          AddFact(out, "keeps", std::string(KeptText(body)));
          AddFact(out, "input", body.input_retracts() ? "changes" : "inserts");
          AddFact(out, "columns", ColumnsText(inputs[0]));
        },
    .keys = [](const v1::Node& node, uint32_t) -> std::optional<v1::Fields> {
      return node.resolve_conflicts().key();
    },
    .keeps_for_ever = [](const v1::Node&) { return true; },
    .accepts = kExactChanges,
    .has_dead_letter_output = true,
};

const NodeKind kGroupAggregateNode = {
    .body = v1::Node::kGroupAggregate,
    .name = "group aggregate",
    .compile = &CompileGroupAggregate,
    .text = &GroupAggregateText,
    .state_text = [](const v1::Node&, const v1::Schema&, uint64_t) -> std::string {
      return "the result of every group; every value of DISTINCT, of MIN and MAX of changes";
    },
    .layout =
        [](const v1::Node& node, const std::vector<v1::Schema>& inputs, v1::StateLayout& out) {
          const v1::GroupAggregate& body = node.group_aggregate();
          AddFact(out, "group by", TypedFieldsText(body.keys(), inputs[0]));
          AddFact(out, "aggregates", AggregatesText(body.aggregates(), inputs[0]));
          AddFact(out, "input", body.input_retracts() ? "changes" : "inserts");
        },
    .keys = [](const v1::Node& node, uint32_t) -> std::optional<v1::Fields> {
      return node.group_aggregate().keys();
    },
    .reads = &ReadsOfGroupAggregate,
    // Without keys there is one group, which always counts.
    .keeps_for_ever =
        [](const v1::Node& node) { return node.group_aggregate().keys().ids_size() > 0; },
    .accepts = kExactChanges,
    .has_dead_letter_output = true,
};

}  // namespace millrace
