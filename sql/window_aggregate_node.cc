#include <algorithm>
#include <numeric>

#include "runtime/base/text.h"
#include "runtime/columns/types.h"
#include "sql/expression_binder.h"
#include "sql/expression_text.h"
#include "sql/graph_compiler.h"
#include "sql/node_compiler.h"
#include "sql/state_layout.h"
#include "sql/time_literals.h"
#include "sql/type_names.h"

namespace millrace {
namespace {

// Longer windows and shifts would leave the range of timestamps.
constexpr uint64_t kWindowMsMax = uint64_t{100} * 366 * 86'400'000;

bool CompileWindowTime(const NodeContext& context, const std::string& at, v1::Window& window) {
  const StreamFacts& input = *context.input;
  int column = -1;
  if (!CompileField(context, at, input.schema, *window.mutable_time(), &column)) return false;
  const v1::Field& field = input.schema.fields(column);
  if (field.type().kind() != v1::Type::KIND_TIMESTAMP) {
    context.Error("MR1403", at,
                  Concat("event time needs a TIMESTAMP; column '", field.name(), "' is ",
                         TypeText(field.type())));
    return false;
  }
  if (!input.has_watermark) {
    context.Error("MR1405", at, "the window has no watermark: it would never close",
                  "put a watermark node behind the source");
    return false;
  }
  const bool attached = window.kind() == v1::Window::KIND_ATTACHED;
  if (attached && !input.window_ends.contains(field.id())) {
    context.Error("MR1405", at, Concat("column '", field.name(), "' is not the end of a window"),
                  "an attached window is that of a window_aggregate before");
    return false;
  }
  if (input.event_times.contains(field.id()) || input.window_ends.contains(field.id())) return true;
  std::vector<std::string> names;
  for (const v1::Field& one : input.schema.fields()) {
    if (input.event_times.contains(one.id())) names.push_back(one.name());
  }
  context.Error("MR1405", at, Concat("the watermark does not follow column '", field.name(), "'"),
                names.empty()
                    ? "pass the watermark's column on unchanged; rows that LEAD has held back "
                      "have none: put the window before it"
                    : Concat("the watermark follows: ", Join(names, ", ")));
  return false;
}

// What is wrong with the lengths of a window; empty message: nothing.
SqlProblem CheckLengths(const v1::Window& window) {
  const uint64_t size = window.size_ms(), slide = window.slide_ms();
  const bool hop = window.kind() == v1::Window::KIND_HOP;
  const bool cumulate = window.kind() == v1::Window::KIND_CUMULATE;
  const std::string gap = window.kind() == v1::Window::KIND_SESSION ? "gap" : "size";
  if (window.kind() == v1::Window::KIND_UNSPECIFIED) {
    return {"MR1406", "the kind of the window is missing",
            "kinds: tumble, hop, cumulate, session, attached", -1};
  }
  if (window.kind() == v1::Window::KIND_ATTACHED) {
    if (size == 0 && slide == 0 && window.offset_ms() == 0) return {};
    return {"MR1406", "an attached window has no lengths of its own", "leave them out", -1};
  }
  if (size == 0) {
    return {"MR1406", Concat("the ", gap, " of the window must be greater than 0"),
            "write for example size: 10s", -1};
  }
  if (size > kWindowMsMax || slide > kWindowMsMax ||
      window.offset_ms() > static_cast<int64_t>(kWindowMsMax) ||
      window.offset_ms() < -static_cast<int64_t>(kWindowMsMax)) {
    return {"MR1406", "the window is longer than 100 years", "", -1};
  }
  if (!hop && !cumulate) {
    if (slide == 0 || slide == size) return {};
    return {"MR1406", "only hop and cumulate windows have a slide", "use kind: hop", -1};
  }
  if (slide == 0) {
    return {"MR1406", Concat("a ", hop ? "hop" : "cumulate", " window needs a slide"),
            "write for example slide: 2s", -1};
  }
  if (slide > size) {
    return {"MR1406", "the slide is longer than the window: rows between two windows would be lost",
            "the slide is at most the size", -1};
  }
  if (cumulate && size % slide != 0) {
    return {"MR1406", "the size of a cumulate window must be a multiple of its slide", "", -1};
  }
  const uint64_t pane = std::gcd(size, slide);
  if (size / pane > kPanesPerWindowMax) {
    return {"MR1407",
            Concat("the window has ", size / pane, " panes of ", pane, " ms; at most ",
                   kPanesPerWindowMax, " are allowed"),
            "choose a longer slide, or one that divides the size", -1};
  }
  return {};
}

}  // namespace

bool CompileWindow(const NodeContext& context, const std::string& at, v1::Window& window) {
  const bool time_ok = CompileWindowTime(context, at + ".time", window);
  const SqlProblem problem = CheckLengths(window);
  if (problem.message.empty()) return time_ok;
  context.Error(problem.code, at, problem.message, problem.hint);
  return false;
}

namespace {

// Binds the SQL text, or checks the parts of a call that is given as a message.
bool BindAggregate(const NodeContext& context, const std::string& at, v1::Aggregate& aggregate) {
  const v1::Schema& input = context.input->schema;
  SqlProblem problem;
  if (!aggregate.sql().empty()) {
    if (!aggregate.function().empty() || aggregate.has_argument() || aggregate.has_filter()) {
      context.Error("MR1409", at, "'sql' excludes function, argument and filter");
      return false;
    }
    const std::string text = aggregate.sql();
    if (!BindAggregateText(text, input, &aggregate, &problem)) {
      context.diagnostics.Error(problem, context.node.uid(), Concat(context.path, at, ".sql"),
                                text);
      return false;
    }
    aggregate.clear_sql();
    return true;
  }
  if (aggregate.has_argument() &&
      !CompileExpression(context, at + ".argument", input, *aggregate.mutable_argument())) {
    return false;
  }
  if (aggregate.has_filter()) {
    if (!CompileExpression(context, at + ".filter", input, *aggregate.mutable_filter())) {
      return false;
    }
    if (aggregate.filter().type().kind() != v1::Type::KIND_BOOL) {
      context.Error("MR1402", at + ".filter",
                    Concat("a filter needs a BOOLEAN, not ", TypeText(aggregate.filter().type())));
      return false;
    }
  }
  if (AggregateType(aggregate.function(),
                    aggregate.has_argument() ? &aggregate.argument() : nullptr,
                    aggregate.mutable_type(), &problem)) {
    return true;
  }
  context.Error(problem.code, at, problem.message, problem.hint);
  return false;
}

// "count(DISTINCT bidder)" without AS is called "count".
void NameAggregate(const google::protobuf::RepeatedPtrField<v1::Aggregate>& aggregates,
                   v1::Aggregate& aggregate) {
  if (!aggregate.name().empty()) return;
  std::string name = aggregate.function();
  for (int n = 2;; ++n) {
    const bool taken =
        std::any_of(aggregates.begin(), aggregates.end(),
                    [&](const v1::Aggregate& other) { return other.name() == name; });
    if (!taken) break;
    name = Concat(aggregate.function(), "_", n);
  }
  aggregate.set_name(name);
}

}  // namespace

bool CompileAggregates(const NodeContext& context, const std::string& at,
                       google::protobuf::RepeatedPtrField<v1::Aggregate>& aggregates) {
  bool ok = true;
  if (aggregates.empty()) {
    context.Error("MR1409", at, "the node has no aggregates",
                  "write for example: aggregates: [count(*) AS num]");
    return false;
  }
  for (int i = 0; i < aggregates.size(); ++i) {
    if (!BindAggregate(context, Concat(at, ".aggregates[", i, "]"), aggregates[i])) {
      ok = false;
      continue;
    }
    NameAggregate(aggregates, aggregates[i]);
  }
  return ok;
}

namespace {

// window_start, window_end, keys, aggregates.
StreamFacts OutputOf(const StreamFacts& input, v1::WindowAggregate& body) {
  StreamFacts out{.schema = {}, .has_watermark = true};
  uint32_t next = LargestId(input.schema);
  const auto fresh = [&next](uint32_t id) {
    if (id == 0) id = ++next;
    next = std::max(next, id);
    return id;
  };
  v1::Type timestamp;
  timestamp.set_kind(v1::Type::KIND_TIMESTAMP);
  timestamp.set_precision(FieldById(input.schema, body.window().time().ids(0))->type().precision());
  const bool has_start = body.window().kind() != v1::Window::KIND_ATTACHED;
  if (has_start) body.set_window_start_id(fresh(body.window_start_id()));
  body.set_window_end_id(fresh(body.window_end_id()));
  if (has_start) AddField(out.schema, body.window_start_id(), "window_start", timestamp, true);
  AddField(out.schema, body.window_end_id(), "window_end", timestamp, true);
  for (uint32_t id : body.keys().ids()) {
    const v1::Field& key = *FieldById(input.schema, id);
    AddField(out.schema, id, key.name(), key.type(), key.not_null());
  }
  for (v1::Aggregate& aggregate : *body.mutable_aggregates()) {
    aggregate.set_id(fresh(aggregate.id()));
    AddField(out.schema, aggregate.id(), aggregate.name(), aggregate.type(),
             aggregate.function() == "count");
  }
  out.window_ends = {body.window_end_id()};
  return out;
}

std::optional<StreamFacts> CompileWindowAggregate(const NodeContext& context) {
  v1::WindowAggregate& body = *context.node.mutable_window_aggregate();
  bool ok = CompileWindow(context, ".window_aggregate.window", *body.mutable_window());
  std::vector<int> keys;
  ok &= CompileFields(context, ".window_aggregate.keys", context.input->schema,
                      *body.mutable_keys(), &keys);
  ok &= CompileAggregates(context, ".window_aggregate", *body.mutable_aggregates());
  if (!ok) return std::nullopt;
  StreamFacts out = OutputOf(*context.input, body);
  if (!CheckNames(context, ".window_aggregate", out.schema)) return std::nullopt;
  return out;
}

}  // namespace

// ---- explain ----

std::string WindowText(const v1::Window& window, const v1::Schema& input) {
  const std::string time = FieldsText(window.time(), input);
  std::string text;
  switch (window.kind()) {
    case v1::Window::KIND_TUMBLE:
      text = Concat("tumble(", time, ", ", DurationText(window.size_ms()));
      break;
    case v1::Window::KIND_HOP:
      text = Concat("hop(", time, ", slide ", DurationText(window.slide_ms()), ", size ",
                    DurationText(window.size_ms()));
      break;
    case v1::Window::KIND_CUMULATE:
      text = Concat("cumulate(", time, ", step ", DurationText(window.slide_ms()), ", size ",
                    DurationText(window.size_ms()));
      break;
    case v1::Window::KIND_ATTACHED:
      return Concat("of ", time);
    default:
      text = Concat("session(", time, ", gap ", DurationText(window.size_ms()));
  }
  if (window.offset_ms() != 0) text += Concat(", offset ", window.offset_ms(), " ms");
  return text + ")";
}

namespace {

std::string WindowAggregateText(const v1::Node& node, const v1::Schema& input) {
  const v1::WindowAggregate& body = node.window_aggregate();
  std::vector<std::string> aggregates;
  for (const v1::Aggregate& aggregate : body.aggregates()) {
    aggregates.push_back(Concat(AggregateText(aggregate, input), " AS ", aggregate.name()));
  }
  std::string text = Concat("window aggregate ", WindowText(body.window(), input));
  if (body.keys().ids_size() > 0) text += Concat(" by ", FieldsText(body.keys(), input));
  return Concat(text, ": ", Join(aggregates, ", "));
}

// Bytes of a key and its accumulators, about.
uint64_t RowBytes(const v1::WindowAggregate& body, const v1::Schema& input) {
  uint64_t bytes = 16;
  for (uint32_t id : body.keys().ids()) {
    for (const v1::Field& field : input.fields()) {
      if (field.id() != id) continue;
      const int width = FixedWidth(DataType::FromProto(field.type()));
      bytes += static_cast<uint64_t>(width == 0 ? 24 : width + 1);
    }
  }
  for (const v1::Aggregate& one : body.aggregates()) bytes += one.function() == "count" ? 8 : 24;
  return bytes;
}

std::string WindowAggregateState(const v1::Node& node, const v1::Schema& input, uint64_t lag_ms) {
  const v1::WindowAggregate& body = node.window_aggregate();
  const uint64_t bytes = RowBytes(body, input);
  const bool sets = std::any_of(body.aggregates().begin(), body.aggregates().end(),
                                [](const v1::Aggregate& one) { return one.distinct(); });
  const std::string values = sets ? "; and every distinct value" : "";
  if (body.window().kind() == v1::Window::KIND_SESSION) {
    return Concat("about ", bytes, " bytes per key and open session", values);
  }
  if (body.window().kind() == v1::Window::KIND_ATTACHED) {
    return Concat("about ", bytes, " bytes per key and open window", values);
  }
  const uint64_t size = body.window().size_ms();
  const uint64_t slide =
      body.window().kind() == v1::Window::KIND_TUMBLE ? size : body.window().slide_ms();
  const uint64_t pane = std::max<uint64_t>(std::gcd(size, slide), 1);
  const uint64_t open = (size + lag_ms + pane - 1) / pane + 1;
  return Concat("about ", bytes, " bytes per key and pane of ", DurationText(pane), ", ", open,
                " panes open", values);
}

}  // namespace

const NodeKind kWindowAggregateNode = {
    .body = v1::Node::kWindowAggregate,
    .name = "window aggregate",
    .compile = &CompileWindowAggregate,
    .text = &WindowAggregateText,
    .state_text = &WindowAggregateState,
    .layout =
        [](const v1::Node& node, const std::vector<v1::Schema>& inputs, v1::StateLayout& out) {
          const v1::WindowAggregate& body = node.window_aggregate();
          AddFact(out, "window", WindowText(body.window(), inputs[0]));
          AddFact(out, "group by", TypedFieldsText(body.keys(), inputs[0]));
          AddFact(out, "aggregates", AggregatesText(body.aggregates(), inputs[0]));
        },
    .keys = [](const v1::Node& node, uint32_t) -> std::optional<v1::Fields> {
      return node.window_aggregate().keys();
    },
    .reads =
        [](const v1::Node& node, FieldIds& out) {
          AddFields(node.window_aggregate().window().time(), out);
          AddFields(node.window_aggregate().keys(), out);
          for (const v1::Aggregate& aggregate : node.window_aggregate().aggregates()) {
            AddReferences(aggregate.argument(), out);
            AddReferences(aggregate.filter(), out);
          }
        },
    .has_late_output = true,
    .has_dead_letter_output = true,
};

}  // namespace millrace
