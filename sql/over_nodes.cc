// Aggregates of the rows before each row, and values of other rows.
#include <algorithm>
#include <iterator>

#include "runtime/base/text.h"
#include "sql/expression_text.h"
#include "sql/node_compiler.h"
#include "sql/state_layout.h"
#include "sql/time_literals.h"
#include "sql/type_names.h"

namespace millrace {
namespace {

// Frames of rows are kept, and made anew whenever the watermark passes a row.
constexpr uint64_t kRowsMax = 100'000;

// `body`: the path of the body of the node.
bool CompileTime(const NodeContext& context, const std::string& body, v1::Fields& time) {
  int column = -1;
  const std::string at = body + ".time";
  if (!CompileField(context, at, context.input->schema, time, &column)) return false;
  if (context.input->has_watermark && context.input->event_times.contains(time.ids(0))) return true;
  context.Error("MR1405", at,
                Concat("the watermark does not follow column '",
                       context.input->schema.fields(column).name(), "'"),
                "rows are ordered by the event time");
  return false;
}

template <typename Body>
bool CompileFrame(const NodeContext& context, const std::string& at, Body& body) {
  if (body.frame() == v1::OverAggregate::FRAME_UNSPECIFIED) {
    body.set_frame(v1::OverAggregate::FRAME_RANGE);
  }
  const bool by_rows = body.frame() == v1::OverAggregate::FRAME_ROWS;
  const uint64_t max = by_rows ? kRowsMax : uint64_t{100} * 366 * 86'400'000;
  if (!body.has_preceding() || body.preceding() <= max) return true;
  context.Error("MR1416", at + ".preceding",
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
  ok &= CompileTime(context, ".over_aggregate", *body.mutable_time());
  ok &= CompileFrame(context, ".over_aggregate", body);
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

template <typename Body>
std::string FrameText(const Body& body) {
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

// ---- over values ----

constexpr std::string_view kFunctions[] = {"lag",       "lead",       "first_value", "last_value",
                                           "nth_value", "row_number", "rank",        "dense_rank"};

bool HasLead(const v1::OverValues& body) {
  return std::any_of(body.values().begin(), body.values().end(),
                     [](const v1::OverValue& one) { return one.function() == "lead"; });
}

bool HasFrame(const v1::OverValues& body) {
  return std::any_of(body.values().begin(), body.values().end(),
                     [](const v1::OverValue& one) { return IsFrameFunction(one.function()); });
}

bool CompileValue(const NodeContext& context, const std::string& at, v1::OverValue& value) {
  const v1::Schema& input = context.input->schema;
  const std::string& function = value.function();
  if (!IsOverFunction(function)) {
    context.Error("MR1205", at + ".function", Concat("unknown function '", function, "'"),
                  Concat("functions: ", Join(kFunctions, ", ")));
    return false;
  }
  if (value.name().empty()) value.set_name(function);
  if (IsNumberFunction(function)) {
    value.mutable_type()->Clear();
    value.mutable_type()->set_kind(v1::Type::KIND_INT64);
    return true;
  }
  int column = -1, fallback = -1;
  if (!CompileField(context, at + ".column", input, *value.mutable_column(), &column)) return false;
  *value.mutable_type() = input.fields(column).type();
  const bool is_near = function == "lag" || function == "lead";
  if (value.has_offset() && (value.offset() > kRowsMax || (!is_near && value.offset() == 0))) {
    context.Error("MR1416", at + ".offset",
                  Concat("the offset is between ", is_near ? 0 : 1, " and ", kRowsMax));
    return false;
  }
  if (value.fallback().names_size() + value.fallback().ids_size() == 0) return true;
  if (!CompileField(context, at + ".fallback", input, *value.mutable_fallback(), &fallback)) {
    return false;
  }
  if (SameType(input.fields(fallback).type(), value.type())) return true;
  context.Error("MR1206", at + ".fallback", "the value and what stands in for it differ in type",
                "cast one of them by a project node");
  return false;
}

std::optional<StreamFacts> CompileOverValues(const NodeContext& context) {
  v1::OverValues& body = *context.node.mutable_over_values();
  std::vector<int> partition;
  bool ok = CompileFields(context, ".over_values.partition", context.input->schema,
                          *body.mutable_partition(), &partition);
  ok &= CompileTime(context, ".over_values", *body.mutable_time());
  ok &= CompileFrame(context, ".over_values", body);
  for (int i = 0; i < body.values_size(); ++i) {
    ok &= CompileValue(context, Concat(".over_values.values[", i, "]"), *body.mutable_values(i));
  }
  if (!ok) return std::nullopt;
  StreamFacts out = *context.input;
  for (v1::OverValue& value : *body.mutable_values()) {
    if (value.id() == 0) value.set_id(LargestId(out.schema) + 1);
    AddField(out.schema, value.id(), value.name(), value.type(),
             IsNumberFunction(value.function()));
  }
  if (!CheckNames(context, ".over_values", out.schema)) return std::nullopt;
  out.chain_source.clear();
  if (HasLead(body)) {
    // The last rows of a partition come when the next ones do: the watermark does not wait.
    out.event_times.clear();
    out.window_ends.clear();
  }
  return out;
}

std::string ValueText(const v1::OverValue& value, const v1::Schema& input) {
  std::string text = value.function() + "(";
  if (!IsNumberFunction(value.function())) {
    text += FieldsText(value.column(), input);
    if (value.has_offset()) text += Concat(", ", value.offset());
    if (value.fallback().ids_size() > 0) {
      text += Concat(", ", FieldsText(value.fallback(), input));
    }
  }
  return text + ")";
}

std::string OverValuesText(const v1::Node& node, const v1::Schema& input) {
  const v1::OverValues& body = node.over_values();
  std::vector<std::string> values;
  for (const v1::OverValue& value : body.values()) {
    values.push_back(Concat(ValueText(value, input), " AS ", value.name()));
  }
  std::string text = "over values";
  if (HasFrame(body)) text += Concat(" of ", FrameText(body));
  if (body.partition().ids_size() > 0) text += Concat(" by ", FieldsText(body.partition(), input));
  return Concat(text, ", in the order of ", FieldsText(body.time(), input), ": ",
                Join(values, ", "));
}

// How many rows of a partition stay before, and wait for, one that is not given.
uint64_t RowsKept(const v1::OverValues& body, std::string_view function) {
  uint64_t rows = 0;
  for (const v1::OverValue& value : body.values()) {
    if (value.function() == function) {
      rows = std::max(rows, value.has_offset() ? value.offset() : uint64_t{1});
    }
  }
  return rows;
}

std::string OverValuesState(const v1::Node& node, const v1::Schema&, uint64_t) {
  const v1::OverValues& body = node.over_values();
  std::string text = "rows until the watermark is past them";
  const uint64_t waiting = RowsKept(body, "lead");
  if (waiting > 0) text += Concat(", and past the next ", waiting, " of the partition");
  uint64_t rows = RowsKept(body, "lag");
  const bool by_rows = body.frame() == v1::OverAggregate::FRAME_ROWS;
  if (HasFrame(body) && body.has_preceding() && by_rows) rows = std::max(rows, body.preceding());
  if (HasFrame(body) && body.has_preceding() && !by_rows) {
    text += Concat("; those of the ", DurationText(body.preceding()), " before");
  }
  if (rows > 0) text += Concat("; the last ", rows, " per partition, for ever");
  const bool keeps_totals =
      std::any_of(body.values().begin(), body.values().end(), [&](const v1::OverValue& value) {
        return IsNumberFunction(value.function()) ||
               (IsFrameFunction(value.function()) && !body.has_preceding());
      });
  if (keeps_totals) text += "; a result per partition, for ever";
  return text;
}

}  // namespace

bool IsOverFunction(std::string_view name) {
  return std::find(std::begin(kFunctions), std::end(kFunctions), name) != std::end(kFunctions);
}

bool IsNumberFunction(std::string_view name) {
  return name == "row_number" || name == "rank" || name == "dense_rank";
}

bool IsFrameFunction(std::string_view name) {
  return name == "first_value" || name == "last_value" || name == "nth_value";
}

const NodeKind kOverValuesNode = {
    .body = v1::Node::kOverValues,
    .name = "over value",
    .compile = &CompileOverValues,
    .text = &OverValuesText,
    .state_text = &OverValuesState,
    .layout =
        [](const v1::Node& node, const std::vector<v1::Schema>& inputs, v1::StateLayout& out) {
          const v1::OverValues& body = node.over_values();
          AddFact(out, "partition by", TypedFieldsText(body.partition(), inputs[0]));
          AddFact(out, "order by", TypedFieldsText(body.time(), inputs[0]));
          AddFact(out, "frame", HasFrame(body) ? FrameText(body) : "none");
          std::vector<std::string> values;
          for (const v1::OverValue& value : body.values()) {
            values.push_back(ValueText(value, inputs[0]));
          }
          AddFact(out, "values", Join(values, ", "));
          AddFact(out, "columns", ColumnsText(inputs[0]));
        },
    .keys = [](const v1::Node& node, uint32_t) -> std::optional<v1::Fields> {
      return node.over_values().partition();
    },
    .reads =
        [](const v1::Node& node, FieldIds& out) {
          AddFields(node.over_values().partition(), out);
          AddFields(node.over_values().time(), out);
          for (const v1::OverValue& value : node.over_values().values()) {
            AddFields(value.column(), out);
            AddFields(value.fallback(), out);
          }
        },
    .passes_columns = true,
    .adds =
        [](const v1::Node& node, FieldIds& out) {
          for (const v1::OverValue& one : node.over_values().values()) out.insert(one.id());
        },
    .has_late_output = true,
};

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
