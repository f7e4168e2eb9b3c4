#include <algorithm>

#include "runtime/base/text.h"
#include "sql/expression_text.h"
#include "sql/node_compiler.h"
#include "sql/state_layout.h"

namespace millrace {
namespace {

void EraseId(uint32_t id, v1::Fields& fields) {
  auto& ids = *fields.mutable_ids();
  ids.erase(std::remove(ids.begin(), ids.end(), id), ids.end());
}

bool CompileWindowEnd(const NodeContext& context, v1::WindowTopN& body) {
  const StreamFacts& input = *context.input;
  const std::string at = ".window_top_n.window_end";
  std::vector<std::string> names;
  for (const v1::Field& field : input.schema.fields()) {
    if (input.window_ends.contains(field.id())) names.push_back(field.name());
  }
  v1::Fields& window_end = *body.mutable_window_end();
  // There is only one that could be meant.
  if (window_end.names_size() + window_end.ids_size() == 0 && names.size() == 1) {
    window_end.add_names(names[0]);
  }
  int column = -1;
  if (window_end.names_size() + window_end.ids_size() == 0) {
    context.Error("MR1410", at, "the window-end column is missing",
                  names.empty() ? "the input must come from a window_aggregate node"
                                : Concat("window ends here: ", Join(names, ", ")));
    return false;
  }
  if (!CompileField(context, at, input.schema, window_end, &column)) return false;
  if (input.window_ends.contains(input.schema.fields(column).id())) return true;
  context.Error("MR1410", at,
                Concat("column '", input.schema.fields(column).name(),
                       "' is not the window end of a window_aggregate node"),
                names.empty() ? "the input must come from a window_aggregate node"
                              : Concat("window ends here: ", Join(names, ", ")));
  return false;
}

std::optional<StreamFacts> CompileWindowTopN(const NodeContext& context) {
  v1::WindowTopN& body = *context.node.mutable_window_top_n();
  bool ok = CompileWindowEnd(context, body);
  std::vector<int> partition;
  ok &= CompileFields(context, ".window_top_n.partition", context.input->schema,
                      *body.mutable_partition(), &partition);
  // Rows are split by window end in any case.
  if (ok) EraseId(body.window_end().ids(0), *body.mutable_partition());
  ok &= CompileOrder(context, ".window_top_n", *body.mutable_order());
  if (body.limit() == 0) {
    context.Error("MR1410", ".window_top_n", "the limit must be greater than 0",
                  "write for example limit: 1");
    ok = false;
  } else if (body.limit() > INT32_MAX) {
    context.Error("MR1410", ".window_top_n.limit", "the limit is too large");
    ok = false;
  }
  ok &= CheckTies(context, ".window_top_n", body);
  if (!ok) return std::nullopt;
  StreamFacts out = *context.input;
  out.chain_source.clear();
  // The rows of a window come when the watermark has passed their event times.
  out.event_times.clear();
  if (!body.rank_name().empty()) {
    body.set_rank_id(AddRank(body.rank_name(), body.rank_id(), out.schema));
  }
  if (!CheckNames(context, ".window_top_n", out.schema)) return std::nullopt;
  return out;
}

// ---- explain ----

std::string WindowTopNText(const v1::Node& node, const v1::Schema& input) {
  const v1::WindowTopN& body = node.window_top_n();
  std::string text =
      Concat("window top ", body.limit(), TiesText(body), " by ", OrderText(body.order(), input),
             " per ", FieldsText(body.window_end(), input));
  if (body.partition().ids_size() > 0) text += Concat(", ", FieldsText(body.partition(), input));
  return text;
}

std::string WindowTopNState(const v1::Node& node, const v1::Schema&, uint64_t) {
  return Concat("at most about ", node.window_top_n().limit(),
                node.window_top_n().with_ties() ? " rows (more when they tie)" : " rows",
                " per open window and partition, until its end");
}

// By window end too: one window's rows without a partition would all be on one task otherwise.
std::optional<v1::Fields> WindowTopNKeys(const v1::Node& node, uint32_t) {
  v1::Fields keys = node.window_top_n().window_end();
  keys.MergeFrom(node.window_top_n().partition());
  return keys;
}

}  // namespace

const NodeKind kWindowTopNNode = {
    .body = v1::Node::kWindowTopN,
    .name = "window top n",
    .compile = &CompileWindowTopN,
    .text = &WindowTopNText,
    .state_text = &WindowTopNState,
    .layout =
        [](const v1::Node& node, const std::vector<v1::Schema>& inputs, v1::StateLayout& out) {
          const v1::WindowTopN& body = node.window_top_n();
          AddFact(out, "window", TypedFieldsText(body.window_end(), inputs[0]));
          AddFact(out, "partition by", TypedFieldsText(body.partition(), inputs[0]));
          AddFact(out, "order by", OrderText(body.order(), inputs[0]));
          AddFact(out, "limit", Concat(body.limit(), TiesText(body)));
          AddFact(out, "columns", ColumnsText(inputs[0]));
        },
    .keys = &WindowTopNKeys,
    .has_late_output = true,
};

}  // namespace millrace
