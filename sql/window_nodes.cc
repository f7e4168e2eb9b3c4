#include <algorithm>
#include <numeric>

#include "runtime/base/text.h"
#include "runtime/columns/types.h"
#include "sql/expression_binder.h"
#include "sql/graph_compiler.h"
#include "sql/node_compiler.h"
#include "sql/type_names.h"

namespace millrace {
namespace {

// Longer windows and shifts would leave the range of timestamps.
constexpr uint64_t kWindowMsMax = uint64_t{100} * 366 * 86'400'000;

bool CompileWindowTime(const NodeContext& context, v1::Window& window) {
  const StreamFacts& input = *context.input;
  const std::string at = ".window_aggregate.window.time";
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
  if (input.event_times.contains(field.id()) || input.window_ends.contains(field.id())) return true;
  std::vector<std::string> names;
  for (const v1::Field& one : input.schema.fields()) {
    if (input.event_times.contains(one.id())) names.push_back(one.name());
  }
  context.Error("MR1405", at, Concat("the watermark does not follow column '", field.name(), "'"),
                names.empty() ? "pass the watermark's column on unchanged"
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
    return {"MR1406", "the kind of the window is missing", "kinds: tumble, hop, cumulate, session",
            -1};
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

bool CompileWindow(const NodeContext& context, v1::Window& window) {
  const bool time_ok = CompileWindowTime(context, window);
  const SqlProblem problem = CheckLengths(window);
  if (problem.message.empty()) return time_ok;
  context.Error(problem.code, ".window_aggregate.window", problem.message, problem.hint);
  return false;
}

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
void NameAggregate(const v1::WindowAggregate& body, v1::Aggregate& aggregate) {
  if (!aggregate.name().empty()) return;
  std::string name = aggregate.function();
  for (int n = 2;; ++n) {
    const bool taken =
        std::any_of(body.aggregates().begin(), body.aggregates().end(),
                    [&](const v1::Aggregate& other) { return other.name() == name; });
    if (!taken) break;
    name = Concat(aggregate.function(), "_", n);
  }
  aggregate.set_name(name);
}

bool CompileAggregates(const NodeContext& context, v1::WindowAggregate& body) {
  const bool session = body.window().kind() == v1::Window::KIND_SESSION;
  bool ok = true;
  if (body.aggregates_size() == 0) {
    context.Error("MR1409", ".window_aggregate", "the node has no aggregates",
                  "write for example: aggregates: [count(*) AS num]");
    return false;
  }
  for (int i = 0; i < body.aggregates_size(); ++i) {
    v1::Aggregate& aggregate = *body.mutable_aggregates(i);
    const std::string at = Concat(".window_aggregate.aggregates[", i, "]");
    if (!BindAggregate(context, at, aggregate)) {
      ok = false;
      continue;
    }
    NameAggregate(body, aggregate);
    const bool extreme = aggregate.function() == "min" || aggregate.function() == "max";
    const bool text = IsVariableWidth(static_cast<TypeKind>(aggregate.argument().type().kind()));
    if (session && (extreme ? text : aggregate.distinct())) {
      context.Error("MR1409", at,
                    "DISTINCT, and MIN and MAX of text, are not supported in session windows");
      ok = false;
    }
  }
  return ok;
}

void AddField(v1::Schema& schema, uint32_t id, const std::string& name, const v1::Type& type,
              bool not_null) {
  v1::Field& field = *schema.add_fields();
  field.set_id(id);
  field.set_name(name);
  *field.mutable_type() = type;
  field.set_not_null(not_null);
}

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
  body.set_window_start_id(fresh(body.window_start_id()));
  body.set_window_end_id(fresh(body.window_end_id()));
  AddField(out.schema, body.window_start_id(), "window_start", timestamp, true);
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

void EraseId(uint32_t id, v1::Fields& fields) {
  auto& ids = *fields.mutable_ids();
  ids.erase(std::remove(ids.begin(), ids.end(), id), ids.end());
}

bool CompileOrder(const NodeContext& context, v1::WindowTopN& body) {
  bool ok = true;
  if (body.order_size() == 0) {
    context.Error("MR1410", ".window_top_n", "the order is missing",
                  "write for example: order: [num DESC]");
    return false;
  }
  for (int i = 0; i < body.order_size(); ++i) {
    v1::SortKey& key = *body.mutable_order(i);
    int column = -1;
    ok &= CompileField(context, Concat(".window_top_n.order[", i, "].field"), context.input->schema,
                       *key.mutable_field(), &column);
    if (!key.has_nulls_first()) key.set_nulls_first(key.descending());
  }
  return ok;
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

}  // namespace

std::optional<StreamFacts> CompileWindowAggregate(const NodeContext& context) {
  v1::WindowAggregate& body = *context.node.mutable_window_aggregate();
  bool ok = CompileWindow(context, *body.mutable_window());
  std::vector<int> keys;
  ok &= CompileFields(context, ".window_aggregate.keys", context.input->schema,
                      *body.mutable_keys(), &keys);
  ok &= CompileAggregates(context, body);
  if (!ok) return std::nullopt;
  StreamFacts out = OutputOf(*context.input, body);
  if (!CheckNames(context, ".window_aggregate", out.schema)) return std::nullopt;
  return out;
}

std::optional<StreamFacts> CompileWindowTopN(const NodeContext& context) {
  v1::WindowTopN& body = *context.node.mutable_window_top_n();
  bool ok = CompileWindowEnd(context, body);
  std::vector<int> partition;
  ok &= CompileFields(context, ".window_top_n.partition", context.input->schema,
                      *body.mutable_partition(), &partition);
  // Rows are split by window end in any case.
  if (ok) EraseId(body.window_end().ids(0), *body.mutable_partition());
  ok &= CompileOrder(context, body);
  if (body.limit() == 0) {
    context.Error("MR1410", ".window_top_n", "the limit must be greater than 0",
                  "write for example limit: 1");
    ok = false;
  } else if (body.limit() > INT32_MAX) {
    context.Error("MR1410", ".window_top_n.limit", "the limit is too large");
    ok = false;
  }
  if (!ok) return std::nullopt;
  StreamFacts out = *context.input;
  out.chain_source.clear();
  // The rows of a window come when the watermark has passed their event times.
  out.event_times.clear();
  if (!body.rank_name().empty()) {
    if (body.rank_id() == 0) body.set_rank_id(LargestId(out.schema) + 1);
    v1::Type type;
    type.set_kind(v1::Type::KIND_INT64);
    AddField(out.schema, body.rank_id(), body.rank_name(), type, true);
  }
  if (!CheckNames(context, ".window_top_n", out.schema)) return std::nullopt;
  return out;
}

}  // namespace millrace
