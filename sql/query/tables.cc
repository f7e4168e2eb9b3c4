// Tables of CREATE TABLE and views: as sources with their watermark, and as sinks.
#include <algorithm>
#include <utility>

#include "operators/catalog/catalog.h"
#include "runtime/base/text.h"
#include "runtime/expressions/functions.h"
#include "sql/expression_parser.h"
#include "sql/node_compiler.h"
#include "sql/query/query_planner.h"
#include "sql/type_names.h"

namespace millrace {
namespace {

// A value in a table by its name: as it is spelled, else ignoring case where just one fits.
template <typename Map>
const typename Map::mapped_type* FindByName(const Map& map, const std::string& name) {
  if (const auto exact = map.find(name); exact != map.end()) return &exact->second;
  const typename Map::mapped_type* found = nullptr;
  for (const auto& [key, value] : map) {
    if (!EqualsIgnoringCase(key, name)) continue;
    if (found != nullptr) return nullptr;
    found = &value;
  }
  return found;
}

bool Knows(std::span<const OptionSpec> specs, std::string_view option) {
  return std::any_of(specs.begin(), specs.end(),
                     [&](const OptionSpec& spec) { return spec.Matches(option); });
}

std::string OptionOf(const TableDefinition& table, const char* name) {
  const auto found = table.options.find(name);
  return found == table.options.end() ? "" : found->second;
}

// Tables whose records have keys name the format of the rest 'value.format'.
constexpr std::string_view kValueFormat = "value.format";
std::string FormatOf(const TableDefinition& table) {
  const std::string format = OptionOf(table, "format");
  return format.empty() ? OptionOf(table, "value.format") : format;
}

// A table has the options of all uses; those of other uses alone are left out here.
bool IsOfOtherUse(const TableDefinition& table, TableUse use, const std::string& option) {
  const auto connector = FindConnectorSpec(OptionOf(table, "connector"));
  const auto format = FindFormatSpec(FormatOf(table));
  const auto knows = [&](TableUse one) {
    return (connector.ok() && Knows(SpecOfUse(**connector, one).options, option)) ||
           (one == TableUse::kLookup && Knows(LookupOptions(), option)) ||
           (format.ok() &&
            Knows(one == TableUse::kSink ? (*format)->encode_options : (*format)->decode_options,
                  option));
  };
  if (knows(use)) return false;
  return knows(TableUse::kSource) || knows(TableUse::kSink) || knows(TableUse::kLookup);
}

constexpr std::string_view kIdleTimeout = "scan.watermark.idle-timeout";

// Options that are the planner's, not the connector's.
bool IsOfAnyTable(std::string_view option) {
  return option == "scan.parallelism" || option == "sink.parallelism" || option == kIdleTimeout;
}

template <typename Body>
void SetTable(const TableDefinition& table, TableUse use, v1::Node& node, Body& body) {
  const char* const parallelism = use == TableUse::kSource ? "scan.parallelism"
                                  : use == TableUse::kSink ? "sink.parallelism"
                                                           : "";
  for (const auto& [name, value] : table.options) {
    uint32_t number = 0;
    if (name == "connector") {
      body.set_connector(value);
    } else if (name == "format" || (name == kValueFormat && !table.options.contains("format"))) {
      body.set_format(value);
    } else if (name == parallelism && ParseNumber(value, number)) {
      node.set_parallelism(number);
    } else if (!IsOfAnyTable(name) && !IsOfOtherUse(table, use, name)) {
      (*body.mutable_options())[name] = value;
    }
  }
}

bool ReadsChanges(const TableDefinition& table) {
  const auto connector = FindConnectorSpec(OptionOf(table, "connector"));
  const auto format = FindFormatSpec(FormatOf(table));
  return (connector.ok() && (*connector)->changes != SourceChanges::kNone) ||
         (format.ok() && (*format)->changes != SourceChanges::kNone);
}

// The columns of a table without those that are PROCTIME(), whose places go to `*stamps`.
TableDefinition WithoutProcessingTimes(const TableDefinition& table, std::vector<size_t>* stamps) {
  TableDefinition rest = table;
  rest.schema.clear_fields();
  rest.names.clear();
  rest.offsets.clear();
  for (size_t i = 0; i < table.names.size(); ++i) {
    const v1::Field& field = table.schema.fields(static_cast<int>(i));
    if (IsProcessingTime(field.computed().sql())) {
      stamps->push_back(i);
      continue;
    }
    v1::Field& kept = *rest.schema.add_fields();
    kept = field;
    kept.set_id(static_cast<uint32_t>(rest.schema.fields_size()));
    rest.names.push_back(table.names[i]);
    rest.offsets.push_back(table.offsets[i]);
  }
  return rest;
}

std::vector<RelationColumn> ColumnsOfTable(const TableDefinition& table, const v1::Schema& schema) {
  std::vector<RelationColumn> columns = ColumnsOf(schema, table.name);
  for (size_t i = 0; i < columns.size() && i < table.names.size(); ++i) {
    columns[i].names = table.names[i];
  }
  return columns;
}

}  // namespace

const TableDefinition* QueryPlanner::FindTable(const std::string& name) const {
  return FindByName(tables_, name);
}

QueryPlanner::Planned QueryPlanner::ReadTable(const std::string& name, const Block& block,
                                              int64_t offset) {
  if (const auto with = block.with.find(LowerAscii(name)); with != block.with.end()) {
    return with->second;
  }
  if (const Relation* planned = FindByName(planned_, name)) return *planned;
  if (const TableDefinition* table = FindTable(name)) {
    Planned source = PlanSource(*table);
    if (source) planned_.insert_or_assign(table->name, *source);
    return source;
  }
  const View* view = FindByName(views_, name);
  if (view == nullptr) {
    std::vector<std::string_view> names;
    for (const auto& [known, table] : tables_) names.push_back(known);
    for (const auto& [known, one] : views_) names.push_back(known);
    const std::string_view nearest = NearestName(name, names);
    return Problem("MR1212", Concat("table '", name, "' is unknown"),
                   !nearest.empty() ? Concat("did you mean '", nearest, "'?")
                   : names.empty()  ? "CREATE TABLE it first"
                                    : Concat("tables: ", Join(names, ", ")),
                   offset);
  }
  const auto key = std::find_if(views_.begin(), views_.end(),
                                [&](const auto& one) { return &one.second == view; });
  if (std::find(planning_.begin(), planning_.end(), key->first) != planning_.end()) {
    return Problem("MR1215", Concat("view '", name, "' reads itself"), "", offset);
  }
  planning_.push_back(key->first);
  const Block inner{
      .tree = {.text = text_, .location_base = view->location_base, .functions = &functions_},
      .notes = view->notes,
      .object = key->first,
      .with = {}};
  Planned rows = PlanQuery(view->query, inner);
  planning_.pop_back();
  if (!rows) return std::nullopt;
  if (!view->columns.empty()) {
    if (view->columns.size() != rows->columns.size()) {
      return Problem("MR1216",
                     Concat("view '", key->first, "' names ", view->columns.size(),
                            " columns; its query has ", rows->columns.size()),
                     "", view->location_base);
    }
    for (size_t i = 0; i < view->columns.size(); ++i) {
      rows->columns[i].names = {view->columns[i]};
    }
  }
  planned_.insert_or_assign(key->first, *rows);
  return rows;
}

void QueryPlanner::MakeSink(const TableDefinition& table, v1::Node& sink) {
  SetTable(table, TableUse::kSink, sink, *sink.mutable_sink());
}

// The table itself, with the columns that it has there.
bool QueryPlanner::ReadLookupTable(const std::string& name, int64_t offset, v1::Node& node,
                                   std::vector<RelationColumn>* columns) {
  const TableDefinition* table = FindTable(name);
  if (table == nullptr) {
    Problem("MR1212", Concat("there is no table '", name, "' that could be looked up"),
            "CREATE TABLE it; the rows of a view are not outside", offset);
    return false;
  }
  v1::LookupJoin& body = *node.mutable_lookup_join();
  *body.mutable_table_schema() = table->schema;
  SetTable(*table, TableUse::kLookup, node, *body.mutable_table());
  *columns = ColumnsOfTable(*table, table->schema);
  return true;
}

bool QueryPlanner::BindText(const std::string& text, size_t offset, const ExpressionScope& scope,
                            v1::Expr* out) {
  ParsedExpression parsed;
  SqlProblem problem;
  if (ParseExpression(text, &parsed, &problem) &&
      BindTree({.text = parsed.text,
                .location_base = ParsedExpression::kLocationBase,
                .functions = &functions_},
               parsed.tree, scope, out, &problem)) {
    return true;
  }
  problem.offset = static_cast<int64_t>(offset) + std::max<int64_t>(problem.offset, 0);
  Report(problem);
  return false;
}

// The texts of computed columns, over the others.
bool QueryPlanner::BindComputed(const TableDefinition& table, v1::Schema& schema) {
  std::vector<RelationColumn> physical = ColumnsOfTable(table, schema);
  std::erase_if(physical, [&](const RelationColumn& column) {
    return schema.fields(static_cast<int>(column.id) - 1).has_computed();
  });
  bool ok = true;
  for (int i = 0; i < schema.fields_size(); ++i) {
    v1::Field& field = *schema.mutable_fields(i);
    if (!field.has_computed()) continue;
    v1::Expr bound;
    if (!BindText(field.computed().sql(), table.offsets[static_cast<size_t>(i)],
                  RelationScope(physical), &bound)) {
      ok = false;
      continue;
    }
    *field.mutable_type() = bound.type();
    *field.mutable_computed() = std::move(bound);
  }
  return ok;
}

QueryPlanner::Planned QueryPlanner::PlanSource(const TableDefinition& definition) {
  std::vector<size_t> stamps;
  const TableDefinition table = WithoutProcessingTimes(definition, &stamps);
  v1::Node node;
  *node.mutable_schema() = table.schema;
  if (!BindComputed(table, *node.mutable_schema())) return std::nullopt;
  v1::Schema schema = *node.mutable_schema();
  SetTable(table, TableUse::kSource, node, *node.mutable_source());
  const bool changes = ReadsChanges(table);
  if (changes) {
    for (const std::string& column : table.primary_key) node.mutable_key()->add_names(column);
  }
  Planned source = assembler_.Add(table.name, "", std::move(node), {}, table.offset);
  if (!source) return std::nullopt;
  source->columns = ColumnsOfTable(table, schema);
  if (table.watermark) source = PlanWatermark(table, *std::move(source));
  for (const size_t column : stamps) {
    if (!source) return std::nullopt;
    source = AddProcessingTime(*std::move(source), definition.names[column][0], column, table.name,
                               definition.offsets[column]);
  }
  if (!source || !changes) return source;
  v1::Node normalize;
  normalize.mutable_normalize();
  Planned exact =
      assembler_.Add(table.name, "normalize", std::move(normalize), {&*source}, table.offset);
  if (exact) exact->columns = std::move(source->columns);
  return exact;
}

// WATERMARK FOR c AS c, or AS c - INTERVAL …
QueryPlanner::Planned QueryPlanner::PlanWatermark(const TableDefinition& table, Relation source) {
  const TableDefinition::Watermark& watermark = *table.watermark;
  v1::Expr bound;
  if (!BindText(watermark.expression, watermark.offset, RelationScope(source.columns), &bound)) {
    return std::nullopt;
  }
  int64_t delay_us = 0;
  const v1::Expr* column = &bound;
  if (bound.has_call() && bound.call().function() == "subtract" &&
      bound.call().arguments(1).has_literal() &&
      bound.call().arguments(1).type().kind() == v1::Type::KIND_INTERVAL) {
    delay_us = bound.call().arguments(1).literal().int_value();
    column = &bound.call().arguments(0);
  }
  const auto named =
      std::find_if(source.columns.begin(), source.columns.end(), [&](const RelationColumn& one) {
        return EqualsIgnoringCase(Join(one.names, "."), watermark.column);
      });
  if (!column->has_field_id() || delay_us < 0 || named == source.columns.end() ||
      named->id != column->field_id()) {
    return Problem("MR1218", "a watermark is its column, less a constant length of time",
                   Concat("write WATERMARK FOR ", watermark.column, " AS ", watermark.column,
                          " - INTERVAL '4' SECOND"),
                   static_cast<int64_t>(watermark.offset));
  }
  v1::Node node;
  // It runs in the tasks of its source.
  uint32_t parallelism = 0;
  if (ParseNumber(OptionOf(table, "scan.parallelism"), parallelism)) {
    node.set_parallelism(parallelism);
  }
  v1::Watermark& body = *node.mutable_watermark();
  body.mutable_time()->add_ids(column->field_id());
  body.set_out_of_orderness_ms(static_cast<uint64_t>((delay_us + 999) / 1000));
  const auto idle = table.options.find(std::string(kIdleTimeout));
  if (idle != table.options.end()) {
    const auto timeout = ParseDuration(idle->second);
    if (!timeout.ok()) {
      return Problem("MR1302", "option 'scan.watermark.idle-timeout' is not a duration",
                     "write '5 s'", static_cast<int64_t>(table.offset));
    }
    body.set_idle_timeout_ms(static_cast<uint64_t>(absl::ToInt64Milliseconds(*timeout)));
  }
  Planned timed =
      assembler_.Add(table.name, "watermark", std::move(node), {&source}, watermark.offset);
  if (timed) timed->columns = std::move(source.columns);
  return timed;
}

namespace {
const DialectNotes kNoNotes;
}

void QueryPlanner::PlanSink(const TableDefinition& table, const std::vector<std::string>& columns,
                            const Relation& rows, size_t offset,
                            const std::optional<OnConflict>& conflict) {
  const Block block{.tree = {.text = text_, .location_base = 0, .functions = &functions_},
                    .notes = kNoNotes,
                    .object = table.name,
                    .with = {}};
  const auto place = static_cast<int64_t>(offset);
  std::vector<const v1::Field*> fields;
  for (const v1::Field& field : table.schema.fields()) {
    if (!field.has_computed() && field.metadata().empty()) fields.push_back(&field);
  }
  // The place in the query of each field; -1: NULL.
  std::vector<int> from(fields.size(), -1);
  for (size_t i = 0; i < columns.size(); ++i) {
    const auto field = std::find_if(fields.begin(), fields.end(), [&](const v1::Field* one) {
      return EqualsIgnoringCase(one->name(), columns[i]);
    });
    if (field == fields.end()) {
      Problem("MR1203", Concat("table '", table.name, "' has no column '", columns[i], "'"), "",
              place);
      return;
    }
    from[static_cast<size_t>(field - fields.begin())] = static_cast<int>(i);
  }
  for (size_t i = 0; columns.empty() && i < fields.size(); ++i) from[i] = static_cast<int>(i);
  const size_t wanted = columns.empty() ? fields.size() : columns.size();
  if (rows.columns.size() != wanted) {
    Problem("MR1216",
            Concat("the query has ", rows.columns.size(), " columns; '", table.name, "' takes ",
                   wanted),
            "", place);
    return;
  }
  std::vector<Target> targets;
  for (size_t i = 0; i < fields.size(); ++i) {
    Target target{.name = fields[i]->name()};
    const v1::Type& to = fields[i]->type();
    if (from[i] < 0) {
      *target.expr.mutable_type() = to;
      target.expr.mutable_literal()->set_is_null(true);
      targets.push_back(std::move(target));
      continue;
    }
    const RelationColumn& column = rows.columns[static_cast<size_t>(from[i])];
    target.expr = ColumnExpr(column);
    const bool same = SameType(column.type, to);
    if (!same && !CanAssign(DataType::FromProto(column.type), DataType::FromProto(to))) {
      Problem("MR1216",
              Concat("column '", fields[i]->name(), "' of '", table.name, "' is ", TypeText(to),
                     "; the query gives ", TypeText(column.type)),
              Concat("CAST(… AS ", TypeText(to), ")"), place);
      return;
    }
    if (!same) target.expr = CastExpr(std::move(target.expr), to);
    targets.push_back(std::move(target));
  }
  Planned shaped = PlanProject(rows, targets, block, offset);
  if (shaped && conflict) shaped = ResolveConflicts(table, *shaped, *conflict, block);
  if (!shaped) return;
  v1::Node node;
  SetTable(table, TableUse::kSink, node, *node.mutable_sink());
  const auto spec = FindConnectorSpec(node.sink().connector());
  if (!spec.ok() || (*spec)->sink_key != SinkKey::kNever) {
    for (const std::string& column : table.primary_key) node.mutable_key()->add_names(column);
  }
  (void)assembler_.Add(table.name, "sink", std::move(node), {&*shaped}, offset);
}

QueryPlanner::Planned QueryPlanner::ResolveConflicts(const TableDefinition& table,
                                                     const Relation& rows,
                                                     const OnConflict& conflict,
                                                     const Block& block) {
  const auto place = static_cast<int64_t>(conflict.offset);
  const auto spec = FindConnectorSpec(OptionOf(table, "connector"));
  if (spec.ok() && (*spec)->sink_key == SinkKey::kNever) {
    return Problem("MR1421",
                   Concat("ON CONFLICT needs a target with keys; '", table.name, "' (",
                          OptionOf(table, "connector"), ") takes all rows and their changes"),
                   "leave ON CONFLICT out", place);
  }
  if (table.primary_key.empty()) {
    return Problem("MR1421", Concat("ON CONFLICT needs the key of '", table.name, "'"),
                   "add PRIMARY KEY (…) NOT ENFORCED to its CREATE TABLE", place);
  }
  v1::Node node;
  v1::ResolveConflicts& body = *node.mutable_resolve_conflicts();
  std::vector<uint32_t> key;
  for (const std::string& name : table.primary_key) {
    for (const v1::Field& field : rows.facts.schema.fields()) {
      if (field.name() == name) key.push_back(field.id());
    }
    body.mutable_key()->add_names(name);
  }
  body.set_keep(conflict.keep);
  // The last row of each key is what the target makes of inserts, and of changes by the same key.
  const bool is_same_key =
      !key.empty() &&
      std::is_permutation(key.begin(), key.end(), rows.facts.key.begin(), rows.facts.key.end());
  const bool appends = rows.facts.mode == v1::CHANGELOG_MODE_APPEND;
  if (appends ? conflict.keep == v1::ResolveConflicts::KEEP_LAST : is_same_key) return rows;
  return assembler_.Add(table.name, "conflicts", std::move(node), {&rows}, conflict.offset);
}

}  // namespace millrace
