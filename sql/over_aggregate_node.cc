// Aggregates of the rows before each row.
#include <algorithm>

#include "runtime/base/text.h"
#include "sql/expression_text.h"
#include "sql/node_compiler.h"
#include "sql/state_layout.h"
#include "sql/time_literals.h"

namespace millrace {
namespace {

// Frames of rows are kept, and made anew whenever the watermark passes a row.
constexpr uint64_t kRowsMax = 100'000;

bool CompileOrder(const NodeContext& context, v1::Fields& time) {
  int column = -1;
  const std::string at = ".over_aggregate.time";
  if (!CompileField(context, at, context.input->schema, time, &column)) return false;
  if (context.input->has_watermark && context.input->event_times.contains(time.ids(0))) return true;
  context.Error("MR1405", at,
                Concat("the watermark does not follow column '",
                       context.input->schema.fields(column).name(), "'"),
                "rows are ordered by the event time");
  return false;
}

bool CompileFrame(const NodeContext& context, v1::OverAggregate& body) {
  if (body.frame() == v1::OverAggregate::FRAME_UNSPECIFIED) {
    body.set_frame(v1::OverAggregate::FRAME_RANGE);
  }
  const bool by_rows = body.frame() == v1::OverAggregate::FRAME_ROWS;
  const uint64_t max = by_rows ? kRowsMax : uint64_t{100} * 366 * 86'400'000;
  if (!body.has_preceding() || body.preceding() <= max) return true;
  context.Error("MR1416", ".over_aggregate.preceding",
                by_rows ? Concat("a frame has at most ", kRowsMax, " rows before its own")
                        : "the frame is longer than 100 years",
                "leave it out for all earlier rows");
  return false;
}

std::optional<StreamFacts> CompileOverAggregate(const NodeContext& context) {
  v1::OverAggregate& body = *context.node.mutable_over_aggregate();
  std::vector<int> partition;
  bool ok = CompileFields(context, ".over_aggregate.partition", context.input->schema,
                          *body.mutable_partition(), &partition);
  ok &= CompileOrder(context, *body.mutable_time());
  ok &= CompileFrame(context, body);
  ok &= CompileAggregates(context, ".over_aggregate", *body.mutable_aggregates());
  if (!ok) return std::nullopt;
  StreamFacts out = *context.input;
  for (v1::Aggregate& aggregate : *body.mutable_aggregates()) {
    if (aggregate.id() == 0) aggregate.set_id(LargestId(out.schema) + 1);
    AddField(out.schema, aggregate.id(), aggregate.name(), aggregate.type(),
             aggregate.function() == "count");
  }
  if (!CheckNames(context, ".over_aggregate", out.schema)) return std::nullopt;
  out.chain_source.clear();
  return out;
}

std::string FrameText(const v1::OverAggregate& body) {
  const bool by_rows = body.frame() == v1::OverAggregate::FRAME_ROWS;
  if (!body.has_preceding()) return by_rows ? "all rows before" : "all rows so far";
  return by_rows ? Concat(body.preceding(), " rows before")
                 : Concat("the ", DurationText(body.preceding()), " before");
}

std::string OverAggregateText(const v1::Node& node, const v1::Schema& input) {
  const v1::OverAggregate& body = node.over_aggregate();
  std::vector<std::string> aggregates;
  for (const v1::Aggregate& aggregate : body.aggregates()) {
    aggregates.push_back(Concat(AggregateText(aggregate, input), " AS ", aggregate.name()));
  }
  std::string text = Concat("over aggregate of ", FrameText(body));
  if (body.partition().ids_size() > 0) text += Concat(" by ", FieldsText(body.partition(), input));
  return Concat(text, ", in the order of ", FieldsText(body.time(), input), ": ",
                Join(aggregates, ", "));
}

}  // namespace

const NodeKind kOverAggregateNode = {
    .body = v1::Node::kOverAggregate,
    .name = "over aggregate",
    .compile = &CompileOverAggregate,
    .text = &OverAggregateText,
    .state_text = [](const v1::Node& node, const v1::Schema&, uint64_t) -> std::string {
      const v1::OverAggregate& body = node.over_aggregate();
      const std::string rows = "rows until the watermark is past them";
      if (!body.has_preceding()) return rows + "; a result per partition, for ever";
      return body.frame() == v1::OverAggregate::FRAME_ROWS
                 ? Concat(rows, ", and the last ", body.preceding(), " per partition, for ever")
                 : Concat(rows, ", and those of the ", DurationText(body.preceding()), " before");
    },
    .layout =
        [](const v1::Node& node, const std::vector<v1::Schema>& inputs, v1::StateLayout& out) {
          const v1::OverAggregate& body = node.over_aggregate();
          AddFact(out, "partition by", TypedFieldsText(body.partition(), inputs[0]));
          AddFact(out, "order by", TypedFieldsText(body.time(), inputs[0]));
          AddFact(out, "frame", FrameText(body));
          AddFact(out, "aggregates", AggregatesText(body.aggregates(), inputs[0]));
          AddFact(out, "columns", ColumnsText(inputs[0]));
        },
    .keys = [](const v1::Node& node, uint32_t) -> std::optional<v1::Fields> {
      return node.over_aggregate().partition();
    },
    .reads =
        [](const v1::Node& node, FieldIds& out) {
          AddFields(node.over_aggregate().partition(), out);
          AddFields(node.over_aggregate().time(), out);
          for (const v1::Aggregate& aggregate : node.over_aggregate().aggregates()) {
            AddReferences(aggregate.argument(), out);
            AddReferences(aggregate.filter(), out);
          }
        },
    .passes_columns = true,
    .adds =
        [](const v1::Node& node, FieldIds& out) {
          for (const v1::Aggregate& one : node.over_aggregate().aggregates()) out.insert(one.id());
        },
    .has_late_output = true,
    .has_dead_letter_output = true,
};

}  // namespace millrace
