// The first rows of each partition of everything so far, without windows.
#include <algorithm>

#include "runtime/base/text.h"
#include "sql/changelog.h"
#include "sql/expression_text.h"
#include "sql/node_compiler.h"
#include "sql/state_layout.h"

namespace millrace {
namespace {

std::optional<StreamFacts> CompileTopN(const NodeContext& context) {
  v1::TopN& body = *context.node.mutable_top_n();
  const StreamFacts& input = *context.input;
  std::vector<int> partition;
  bool ok = CompileFields(context, ".top_n.partition", input.schema, *body.mutable_partition(),
                          &partition);
  ok &= CompileOrder(context, ".top_n", *body.mutable_order());
  if (body.limit() == 0 || body.limit() > kTopNLimitMax) {
    context.Error("MR1410", ".top_n.limit",
                  Concat("the limit must be between 1 and ", kTopNLimitMax),
                  "write for example limit: 10");
    ok = false;
  }
  ok &= CheckTies(context, ".top_n", body);
  if (!ok) return std::nullopt;
  body.set_input_retracts(input.mode == v1::CHANGELOG_MODE_RETRACT);
  StreamFacts out{.schema = input.schema,
                  .has_watermark = input.has_watermark,
                  .mode = v1::CHANGELOG_MODE_RETRACT,
                  .key = input.key};
  const auto& ids = body.partition().ids();
  // Rows that tie have one number, which does not tell them apart.
  const bool numbers = !body.with_ties();
  if (body.limit() == 1 && numbers) out.key.assign(ids.begin(), ids.end());
  if (!body.rank_name().empty()) {
    body.set_rank_id(AddRank(body.rank_name(), body.rank_id(), out.schema));
    if (body.limit() > 1 && numbers) {
      out.key.assign(ids.begin(), ids.end());
      out.key.push_back(body.rank_id());
    }
  }
  if (!CheckNames(context, ".top_n", out.schema)) return std::nullopt;
  return out;
}

std::string TopNText(const v1::Node& node, const v1::Schema& input) {
  const v1::TopN& body = node.top_n();
  std::string text =
      Concat("top ", body.limit(), TiesText(body), " by ", OrderText(body.order(), input));
  if (body.partition().ids_size() > 0) text += Concat(" per ", FieldsText(body.partition(), input));
  return text;
}

}  // namespace

const NodeKind kTopNNode = {
    .body = v1::Node::kTopN,
    .name = "top n",
    .compile = &CompileTopN,
    .text = &TopNText,
    .state_text = [](const v1::Node& node, const v1::Schema&, uint64_t) -> std::string {
      return node.top_n().input_retracts()
                 ? "every row of every partition"
                 : Concat("at most ", node.top_n().limit(),
                          node.top_n().with_ties() ? " rows (more when they tie)" : " rows",
                          " per partition");
    },
    // Rows that tie are ordered by their bytes: with other columns another one would be the first.
    .layout =
        [](const v1::Node& node, const std::vector<v1::Schema>& inputs, v1::StateLayout& out) {
          const v1::TopN& body = node.top_n();
          AddFact(out, "partition by", TypedFieldsText(body.partition(), inputs[0]));
          AddFact(out, "order by", OrderText(body.order(), inputs[0]));
          AddFact(out, "limit", Concat(body.limit(), TiesText(body)));
          AddFact(out, "input", body.input_retracts() ? "changes" : "inserts");
          AddFact(out, "columns", ColumnsText(inputs[0]));
        },
    .keys = [](const v1::Node& node, uint32_t) -> std::optional<v1::Fields> {
      return node.top_n().partition();
    },
    .keeps_for_ever = [](const v1::Node& node) { return node.top_n().partition().ids_size() > 0; },
    .accepts = kExactChanges,
    .has_dead_letter_output = true,
};

}  // namespace millrace
