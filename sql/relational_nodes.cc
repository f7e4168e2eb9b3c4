#include <set>

#include "runtime/base/text.h"
#include "sql/changelog.h"
#include "sql/expression_binder.h"
#include "sql/expression_text.h"
#include "sql/node_compiler.h"
#include "sql/time_literals.h"
#include "sql/type_names.h"

namespace millrace {
namespace {

bool IsPlainName(const std::string& name) { return !name.empty() && name.size() <= 256; }

// Ids of the output columns: a bare column keeps its id unless it was taken, others get fresh ones.
void AssignIds(const v1::Schema& input, v1::Project& project) {
  std::set<uint32_t> taken;
  for (const v1::NamedExpr& column : project.columns()) {
    if (column.id() != 0) taken.insert(column.id());
  }
  uint32_t next = LargestId(input);
  if (!taken.empty()) next = std::max(next, *taken.rbegin());
  for (v1::NamedExpr& column : *project.mutable_columns()) {
    if (column.id() != 0) continue;
    const uint32_t own = column.expr().field_id();
    column.set_id(own != 0 && taken.insert(own).second ? own : ++next);
    taken.insert(column.id());
  }
}

bool CompileColumns(const NodeContext& context, v1::Project& project) {
  const v1::Schema& input = context.input->schema;
  bool ok = true;
  for (int i = 0; i < project.columns_size(); ++i) {
    v1::NamedExpr& column = *project.mutable_columns(i);
    const std::string at = Concat(".project.columns[", i, "]");
    if (!CompileExpression(context, at + ".expr", input, *column.mutable_expr())) {
      ok = false;
      continue;
    }
    const v1::Field* bare = FieldById(input, column.expr().field_id());
    if (column.name().empty() && bare != nullptr) column.set_name(bare->name());
    if (IsPlainName(column.name())) continue;
    context.Error("MR1411", at, "the column has no name", "write: expression AS name");
    ok = false;
  }
  return ok;
}

bool UniqueIds(const NodeContext& context, const v1::Schema& schema) {
  std::set<uint32_t> seen;
  for (const v1::Field& field : schema.fields()) {
    if (seen.insert(field.id()).second) continue;
    context.Error("MR1411", ".project", Concat("two columns have the id ", field.id()));
    return false;
  }
  return true;
}

std::optional<StreamFacts> CompileFilter(const NodeContext& context) {
  v1::Expr& predicate = *context.node.mutable_filter()->mutable_predicate();
  if (!CompileExpression(context, ".filter.predicate", context.input->schema, predicate)) {
    return std::nullopt;
  }
  if (predicate.type().kind() != v1::Type::KIND_BOOL) {
    context.Error("MR1402", ".filter.predicate",
                  Concat("a filter needs a BOOLEAN, not ", TypeText(predicate.type())),
                  "compare the value with something");
    return std::nullopt;
  }
  if (!CheckFilteredChanges(context, predicate)) return std::nullopt;
  return *context.input;
}

// The id under which a column of the input is kept; 0: it is not.
uint32_t KeptAs(const v1::Node& node, uint32_t id) {
  for (const v1::NamedExpr& column : node.project().columns()) {
    if (column.expr().has_field_id() && column.expr().field_id() == id) return column.id();
  }
  return 0;
}

std::optional<StreamFacts> CompileProject(const NodeContext& context) {
  v1::Project& project = *context.node.mutable_project();
  if (project.columns_size() == 0) {
    context.Error("MR1401", ".project", "the projection has no columns");
    return std::nullopt;
  }
  if (!CompileColumns(context, project)) return std::nullopt;
  AssignIds(context.input->schema, project);
  StreamFacts out{.schema = {},
                  .has_watermark = context.input->has_watermark,
                  .chain_source = context.input->chain_source};
  for (const v1::NamedExpr& column : project.columns()) {
    v1::Field& field = *out.schema.add_fields();
    field.set_id(column.id());
    field.set_name(column.name());
    *field.mutable_type() = column.expr().type();
    const uint32_t from = column.expr().field_id();
    const v1::Field* bare = FieldById(context.input->schema, from);
    if (bare == nullptr || !column.expr().has_field_id()) continue;
    field.set_not_null(bare->not_null());
    if (context.input->event_times.contains(from)) out.event_times.insert(column.id());
    if (context.input->window_ends.contains(from)) out.window_ends.insert(column.id());
    if (context.input->processing_times.contains(from)) out.processing_times.insert(column.id());
  }
  if (!CheckNames(context, ".project", out.schema) || !UniqueIds(context, out.schema)) {
    return std::nullopt;
  }
  if (!ProjectChanges(context, *context.input, &KeptAs, out)) return std::nullopt;
  return out;
}

std::optional<StreamFacts> CompileWatermark(const NodeContext& context) {
  v1::Watermark& watermark = *context.node.mutable_watermark();
  StreamFacts out = *context.input;
  bool ok = true;
  if (context.input->chain_source.empty()) {
    context.Error(
        "MR1404", ".watermark", "a watermark must follow its source",
        "between a source and its watermark may stand only filter and project nodes, each "
        "with one input and the parallelism of the source");
    ok = false;
  }
  int column = -1;
  if (!CompileField(context, ".watermark.time", out.schema, *watermark.mutable_time(), &column)) {
    return std::nullopt;
  }
  const v1::Field& field = out.schema.fields(column);
  if (field.type().kind() != v1::Type::KIND_TIMESTAMP) {
    context.Error("MR1403", ".watermark.time",
                  Concat("event time needs a TIMESTAMP; column '", field.name(), "' is ",
                         TypeText(field.type())),
                  "convert it in the source: ts AS TO_TIMESTAMP_LTZ(millis, 3)");
    ok = false;
  }
  if (!ok) return std::nullopt;
  if (watermark.future_skew_ms() == 0) watermark.set_future_skew_ms(300'000);
  out.event_times = {field.id()};
  out.has_watermark = true;
  out.chain_source.clear();
  return out;
}

// ---- explain ----

std::string ProjectText(const v1::Node& node, const v1::Schema& input) {
  std::vector<std::string> columns;
  for (const v1::NamedExpr& column : node.project().columns()) {
    const std::string text = ExpressionText(column.expr(), input);
    columns.push_back(text == column.name() ? text : Concat(text, " AS ", column.name()));
  }
  return Concat("project ", Join(columns, ", "));
}

std::string WatermarkText(const v1::Node& node, const v1::Schema& input) {
  const v1::Watermark& body = node.watermark();
  std::string text = Concat("watermark ", FieldsText(body.time(), input), " - ",
                            DurationText(body.out_of_orderness_ms()));
  if (body.idle_timeout_ms() == 0) return text;
  return Concat(text, ", idle after ", DurationText(body.idle_timeout_ms()));
}

}  // namespace

const NodeKind kFilterNode = {
    .body = v1::Node::kFilter,
    .name = "filter",
    .compile = &CompileFilter,
    .text =
        [](const v1::Node& node, const v1::Schema& input) {
          return Concat("filter ", ExpressionText(node.filter().predicate(), input));
        },
    .reads = [](const v1::Node& node,
                FieldIds& out) { AddReferences(node.filter().predicate(), out); },
    .passes_columns = true,
    .accepts = kKeyedChanges,
    .has_dead_letter_output = true,
};

const NodeKind kProjectNode = {
    .body = v1::Node::kProject,
    .name = "project",
    .compile = &CompileProject,
    .text = &ProjectText,
    .reads =
        [](const v1::Node& node, FieldIds& out) {
          for (const v1::NamedExpr& column : node.project().columns()) {
            AddReferences(column.expr(), out);
          }
        },
    .accepts = kKeyedChanges,
    .has_dead_letter_output = true,
};

const NodeKind kWatermarkNode = {
    .body = v1::Node::kWatermark,
    .name = "watermark",
    .compile = &CompileWatermark,
    .text = &WatermarkText,
    .reads = [](const v1::Node& node, FieldIds& out) { AddFields(node.watermark().time(), out); },
    .passes_columns = true,
    .accepts = kAllChanges,
    .has_dead_letter_output = true,
};

}  // namespace millrace
