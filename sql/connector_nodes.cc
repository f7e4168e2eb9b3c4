#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <vector>

#include "operators/catalog/catalog.h"
#include "runtime/base/text.h"
#include "sql/changelog.h"
#include "sql/expression_binder.h"
#include "sql/node_compiler.h"
#include "sql/table_check.h"
#include "sql/type_names.h"

namespace millrace {
namespace {

OptionMap OptionsOf(const google::protobuf::Map<std::string, std::string>& options) {
  OptionMap out;
  for (const auto& [name, value] : options) out.emplace(name, value);
  return out;
}

bool IsSecretOption(std::string_view name) {
  return name.find("password") != name.npos || name.find("secret") != name.npos ||
         name.find("jaas") != name.npos || name.ends_with("key.pem");
}

bool IsReference(std::string_view value) { return value.starts_with("${secret:"); }

// A job is kept where many can read it.
void WarnOfSecrets(const NodeContext& context, const std::string& at, const OptionMap& options) {
  for (const auto& [name, value] : options) {
    if (!IsSecretOption(name) || value.empty() || IsReference(value)) continue;
    context.Warning("MR1307", Concat(at, ".options['", name, "']"),
                    Concat("option '", name, "' is kept in the job as it stands here"),
                    "write ${secret:NAME}; workers read it from their --secrets-dir");
  }
}

// Connector, format and options against the catalog.
bool CheckTable(const NodeContext& context, TableUse use, const std::string& at,
                const std::string& connector, const std::string& format, const OptionMap& options,
                const std::vector<std::string>& columns) {
  std::vector<std::string_view> possible;
  for (const ConnectorSpec& spec : ConnectorSpecs()) {
    if (SpecOfUse(spec, use).possible) possible.push_back(spec.name);
  }
  if (connector.empty()) {
    context.Error("MR1301", at, "the connector is missing",
                  Concat("connectors: ", Join(possible, ", ")));
    return false;
  }
  const auto spec = FindConnectorSpec(connector);
  if (!spec.ok()) {
    context.Error("MR1301", at + ".connector", std::string(MessageOf(spec.status())));
    return false;
  }
  if (!SpecOfUse(**spec, use).possible) {
    context.Error("MR1303", at + ".connector",
                  Concat("connector '", connector, "' cannot be ",
                         use == TableUse::kSource ? "a source"
                         : use == TableUse::kSink ? "a sink"
                                                  : "looked up"),
                  use == TableUse::kLookup ? Concat("these can: ", Join(possible, ", ")) : "");
    return false;
  }
  WarnOfSecrets(context, at, options);
  const auto problems = ValidateTable(connector, format, use, options, columns);
  for (const OptionProblem& problem : problems) {
    const bool about_format = problem.option == "format" || problem.option.empty();
    context.Error(about_format ? "MR1305" : "MR1302",
                  problem.option.empty()       ? at
                  : problem.option == "format" ? at + ".format"
                                               : Concat(at, ".options['", problem.option, "']"),
                  problem.message, problem.hint);
  }
  return problems.empty();
}

// ---- schema of a source ----

void AssignIds(v1::Schema& schema) {
  std::set<uint32_t> taken;
  for (const v1::Field& field : schema.fields()) taken.insert(field.id());
  uint32_t next = 1;
  for (v1::Field& field : *schema.mutable_fields()) {
    if (field.id() != 0) continue;
    while (taken.contains(next)) ++next;
    field.set_id(next);
    taken.insert(next);
  }
}

bool CheckMetadata(const NodeContext& context, const ConnectorSpec& spec, const v1::Field& field,
                   const std::string& at) {
  std::vector<std::string_view> names;
  for (const MetadataSpec& one : spec.metadata) {
    names.push_back(one.name);
    if (one.name != field.metadata()) continue;
    if (DataType::FromProto(field.type()) == one.type) return true;
    context.Error("MR1306", at,
                  Concat("metadata '", one.name, "' is ", TypeName(one.type), ", not ",
                         TypeText(field.type())));
    return false;
  }
  const std::string_view nearest = NearestName(field.metadata(), names);
  context.Error("MR1306", at,
                Concat("connector '", spec.name, "' has no metadata '", field.metadata(), "'"),
                names.empty()     ? "it has none"
                : nearest.empty() ? Concat("metadata: ", Join(names, ", "))
                                  : Concat("did you mean '", nearest, "'?"));
  return false;
}

bool CheckField(const NodeContext& context, const ConnectorSpec& spec, const v1::Source& source,
                const v1::Field& field, const std::string& at) {
  if (field.name().empty()) {
    context.Error("MR1401", at, "the column has no name");
    return false;
  }
  const int kinds = (field.has_computed() ? 1 : 0) + (field.metadata().empty() ? 0 : 1) +
                    (field.path().empty() ? 0 : 1);
  if (kinds > 1) {
    context.Error("MR1401", at, "a column is computed, metadata, or at a path: one of them");
    return false;
  }
  if (field.has_computed()) return true;
  if (!DataType::IsValid(field.type())) {
    context.Error("MR1401", at, Concat("column '", field.name(), "' has no type"));
    return false;
  }
  if (!field.metadata().empty()) return CheckMetadata(context, spec, field, at);
  if (!field.path().empty() && source.format() != "json" && spec.name != "nexmark") {
    context.Error("MR1306", at,
                  source.format().empty()
                      ? Concat("connector '", spec.name, "' has no nested values")
                      : Concat("format '", source.format(), "' has no nested values"),
                  "leave FROM out");
    return false;
  }
  return true;
}

// Types the computed columns over the others; they do not see each other.
bool CompileComputed(const NodeContext& context, v1::Schema& schema) {
  v1::Schema physical;
  for (const v1::Field& field : schema.fields()) {
    if (!field.has_computed()) *physical.add_fields() = field;
  }
  bool ok = true;
  for (int i = 0; i < schema.fields_size(); ++i) {
    v1::Field& field = *schema.mutable_fields(i);
    if (!field.has_computed()) continue;
    const std::string at = Concat(".schema.fields[", i, "].computed");
    if (CompileExpression(context, at, physical, *field.mutable_computed())) {
      *field.mutable_type() = field.computed().type();
    } else {
      ok = false;
    }
  }
  return ok;
}

// Arrays are read and written as JSON only.
bool CheckArrays(const NodeContext& context, const std::string& format, const v1::Schema& schema,
                 const std::string& at, std::string_view hint) {
  if (format == "json") return true;
  bool ok = true;
  for (const v1::Field& field : schema.fields()) {
    if (field.has_computed() || field.type().kind() != v1::Type::KIND_ARRAY) continue;
    context.Error("MR1306", at,
                  Concat(format.empty() ? "the connector" : Concat("format '", format, "'"),
                         " has no arrays: column '", field.name(), "' is ", TypeText(field.type())),
                  std::string(hint));
    ok = false;
  }
  return ok;
}

// What the format can hold: of the columns that are in the message.
bool CheckFormatColumns(const NodeContext& context, const std::string& format,
                        const v1::Schema& schema, const std::string& at) {
  if (format != "raw") return true;
  std::vector<const v1::Field*> fields;
  for (const v1::Field& field : schema.fields()) {
    if (!field.has_computed() && field.metadata().empty()) fields.push_back(&field);
  }
  const bool fits = fields.size() == 1 && (fields[0]->type().kind() == v1::Type::KIND_STRING ||
                                           fields[0]->type().kind() == v1::Type::KIND_BYTES);
  if (!fits) {
    context.Error("MR1306", at, "format 'raw' has exactly one column, STRING or BYTES",
                  Concat("found ", fields.size(), " columns in the message"));
  }
  return fits;
}

bool CompileSchema(const NodeContext& context, const std::string& at_schema,
                   const ConnectorSpec& spec, const v1::Source& source, v1::Schema& schema) {
  if (schema.fields_size() == 0) {
    context.Error("MR1401", "", "the source has no schema",
                  "list its columns: schema: [auction BIGINT, price BIGINT]");
    return false;
  }
  bool ok = true;
  std::set<uint32_t> ids;
  for (int i = 0; i < schema.fields_size(); ++i) {
    const v1::Field& field = schema.fields(i);
    const std::string at = Concat(at_schema, ".fields[", i, "]");
    ok &= CheckField(context, spec, source, field, at);
    if (field.id() != 0 && !ids.insert(field.id()).second) {
      context.Error("MR1401", at, Concat("two columns have the id ", field.id()));
      ok = false;
    }
  }
  ok &= CheckNames(context, at_schema, schema);
  if (!ok) return false;
  AssignIds(schema);
  return CompileComputed(context, schema) &&
         CheckFormatColumns(context, source.format(), schema, at_schema) &&
         CheckArrays(context, source.format(), schema, at_schema,
                     "read it as STRING, and SPLIT it; or use format 'json'");
}

// Columns that only the connector can check.
bool NeedsConnector(const v1::Schema& schema) {
  return std::any_of(schema.fields().begin(), schema.fields().end(), [](const v1::Field& field) {
    return !field.metadata().empty() || !field.path().empty();
  });
}

// ---- guarantee of a sink ----

std::string_view GuaranteeName(v1::DeliveryGuarantee guarantee) {
  return guarantee == v1::DELIVERY_GUARANTEE_EXACTLY_ONCE ? "exactly-once" : "at-least-once";
}

bool CompileGuarantee(const NodeContext& context, const ConnectorSpec& spec, v1::Sink& sink) {
  v1::DeliveryGuarantee wanted = sink.guarantee();
  const auto option = sink.options().find("sink.delivery-guarantee");
  if (option != sink.options().end()) {
    const auto by_option = EqualsIgnoringCase(option->second, "exactly-once")
                               ? v1::DELIVERY_GUARANTEE_EXACTLY_ONCE
                               : v1::DELIVERY_GUARANTEE_AT_LEAST_ONCE;
    if (wanted != v1::DELIVERY_GUARANTEE_UNSPECIFIED && wanted != by_option) {
      context.Error("MR1304", ".sink.guarantee",
                    "the guarantee contradicts the option 'sink.delivery-guarantee'",
                    "give one of the two");
      return false;
    }
    wanted = by_option;
  }
  const auto strongest = spec.sink_guarantee == Guarantee::kExactlyOnce
                             ? v1::DELIVERY_GUARANTEE_EXACTLY_ONCE
                             : v1::DELIVERY_GUARANTEE_AT_LEAST_ONCE;
  if (!v1::DeliveryGuarantee_IsValid(wanted) ||
      (wanted == v1::DELIVERY_GUARANTEE_EXACTLY_ONCE && strongest != wanted)) {
    context.Error("MR1304", ".sink.guarantee",
                  Concat("connector '", spec.name, "' cannot be ", GuaranteeName(wanted)),
                  Concat("write guarantee: ", GuaranteeName(strongest), ", or leave it out"));
    return false;
  }
  sink.set_guarantee(wanted == v1::DELIVERY_GUARANTEE_UNSPECIFIED ? strongest : wanted);
  return true;
}

// Columns of the message key: names separated by ';'.
// Options that name columns of the rows.
bool CheckColumnOptions(const NodeContext& context, const v1::Sink& sink) {
  bool ok = true;
  for (const char* name : {"key.fields", "partition-by"}) {
    const auto option = sink.options().find(name);
    if (option == sink.options().end()) continue;
    for (const std::string& column : SplitList(option->second)) {
      SqlProblem problem;
      if (column.empty() ||
          FindColumn(context.input->schema, column, /*quoted=*/true, &problem) >= 0) {
        continue;
      }
      context.Error(problem.code, Concat(".sink.options['", name, "']"), problem.message,
                    problem.hint);
      ok = false;
    }
  }
  return ok;
}

// The format `dead-letter` is for dead letters, and only Kafka has headers.
bool CheckDeadLetterFormat(const NodeContext& context, const v1::Sink& sink) {
  if (sink.format() != "dead-letter") return true;
  if (sink.connector() != "kafka") {
    context.Error("MR1305", ".sink.format",
                  Concat("connector '", sink.connector(), "' cannot write format 'dead-letter'"),
                  "records of connector 'kafka' have headers; other sinks take the columns");
    return false;
  }
  bool ok = true;
  for (const char* name : {"key.fields", "key.format", "value.fields-include"}) {
    if (!sink.options().contains(name)) continue;
    context.Error("MR1302", Concat(".sink.options['", name, "']"),
                  Concat("option '", name, "' does not go with format 'dead-letter'"),
                  "key and value are those of the record that failed");
    ok = false;
  }
  const v1::Schema letters = LettersSchema();
  std::vector<std::string> columns;
  for (const v1::Field& field : letters.fields()) {
    columns.push_back(Concat("`", field.name(), "` ", TypeText(field.type())));
  }
  for (const v1::Field& field : letters.fields()) {
    const auto& found = context.input->schema.fields();
    const bool there = std::any_of(found.begin(), found.end(), [&](const v1::Field& one) {
      return one.name() == field.name() && one.type().kind() == field.type().kind();
    });
    if (there) continue;
    context.Error(
        "MR1306", ".sink.format",
        Concat("format 'dead-letter' needs column '", field.name(), " ", TypeText(field.type()),
               "'"),
        Concat("it is for dead letters, with all of their columns: ", Join(columns, ", ")));
    return false;
  }
  if (context.input->schema.fields_size() != letters.fields_size()) {
    context.Error("MR1306", ".sink.format",
                  "format 'dead-letter' has no place for columns that dead letters do not have",
                  Concat("the columns of dead letters: ", Join(columns, ", ")));
    ok = false;
  }
  return ok;
}

// How the rows of a source change earlier ones: the format says it, or the connector.
v1::ChangelogMode ModeOf(const ConnectorSpec& spec, const v1::Source& source) {
  const auto format = FindFormatSpec(source.format());
  const SourceChanges changes =
      format.ok() && (*format)->changes != SourceChanges::kNone ? (*format)->changes : spec.changes;
  switch (changes) {
    case SourceChanges::kUpserts:
      return v1::CHANGELOG_MODE_UPSERT;
    case SourceChanges::kCaptured:
      return v1::CHANGELOG_MODE_CAPTURED;
    default:
      return v1::CHANGELOG_MODE_APPEND;
  }
}

std::optional<StreamFacts> CompileSource(const NodeContext& context) {
  const v1::Source& source = context.node.source();
  std::vector<std::string> columns;
  for (const v1::Field& field : context.node.schema().fields()) columns.push_back(field.name());
  // A problem of the connector does not hide those of the nodes that read the columns.
  (void)CheckTable(context, TableUse::kSource, ".source", source.connector(), source.format(),
                   OptionsOf(source.options()), columns);
  const auto spec = FindConnectorSpec(source.connector());
  if (!spec.ok() && NeedsConnector(context.node.schema())) return std::nullopt;
  static constexpr ConnectorSpec kUnknown = {};
  RemoveCaptureColumns(*context.node.mutable_schema());  // Of a graph that was compiled before.
  if (!CompileSchema(context, ".schema", spec.ok() ? **spec : kUnknown, source,
                     *context.node.mutable_schema())) {
    return std::nullopt;
  }
  StreamFacts out{.schema = {}, .chain_source = context.node.uid()};
  if (!CompileSourceChanges(context, ModeOf(spec.ok() ? **spec : kUnknown, source), out)) {
    return std::nullopt;
  }
  out.schema = context.node.schema();
  StripSourceFields(out.schema);
  return out;
}

std::optional<StreamFacts> CompileSink(const NodeContext& context) {
  v1::Sink& sink = *context.node.mutable_sink();
  std::vector<std::string> columns;
  for (const v1::Field& field : context.input->schema.fields()) columns.push_back(field.name());
  bool ok = CheckTable(context, TableUse::kSink, ".sink", sink.connector(), sink.format(),
                       OptionsOf(sink.options()), columns);
  const auto spec = FindConnectorSpec(sink.connector());
  if (!spec.ok() || !(*spec)->has_sink) return std::nullopt;
  ok &= CompileGuarantee(context, **spec, sink);
  ok &= CheckFormatColumns(context, sink.format(), context.input->schema, ".sink.format");
  if (!(*spec)->sink_takes_arrays) {
    ok &= CheckArrays(context, sink.format(), context.input->schema, ".sink",
                      "write ARRAY_JOIN(a, ','), or UNNEST it; or use format 'json'");
  }
  ok &= CheckDeadLetterFormat(context, sink);
  ok &= CheckColumnOptions(context, sink);
  ok &= CompileSinkChanges(context, (*spec)->sink_key);
  if (!ok) return std::nullopt;
  return StreamFacts{};
}

}  // namespace

bool CompileLookupTable(const NodeContext& context, const std::string& at, const v1::Source& table,
                        v1::Schema& schema) {
  std::vector<std::string> columns;
  for (const v1::Field& field : schema.fields()) columns.push_back(field.name());
  if (!CheckTable(context, TableUse::kLookup, at, table.connector(), table.format(),
                  OptionsOf(table.options()), columns)) {
    return false;
  }
  const std::string at_schema = ".lookup_join.table_schema";
  for (const v1::Field& field : schema.fields()) {
    if (!field.has_computed() && field.metadata().empty()) continue;
    context.Error("MR1306", at_schema,
                  Concat("column '", field.name(), "' is not one of the table"),
                  "a table of lookups has neither computed nor metadata columns");
    return false;
  }
  if (const auto format = FindFormatSpec(table.format());
      format.ok() && (*format)->changes != SourceChanges::kNone) {
    context.Error("MR1305", at + ".format",
                  Concat("format '", table.format(), "' tells of changes, not of rows"), "");
    return false;
  }
  return CompileSchema(context, at_schema, **FindConnectorSpec(table.connector()), table, schema);
}

// ---- explain ----

std::string TableText(const std::string& connector, const std::string& format,
                      const google::protobuf::Map<std::string, std::string>& options) {
  const std::map<std::string, std::string> sorted(options.begin(), options.end());
  std::string text = connector;
  if (!format.empty()) text += Concat(", format ", format);
  for (const auto& [name, value] : sorted) {
    text += Concat(", ", name, "=", IsSecretOption(name) && !IsReference(value) ? "***" : value);
  }
  return text;
}

namespace {

std::string SourceText(const v1::Node& node, const v1::Schema&) {
  const v1::Source& body = node.source();
  return Concat("source ", TableText(body.connector(), body.format(), body.options()));
}

std::string SinkText(const v1::Node& node, const v1::Schema&) {
  const v1::Sink& body = node.sink();
  const bool exactly_once = body.guarantee() == v1::DELIVERY_GUARANTEE_EXACTLY_ONCE;
  return Concat("sink ", TableText(body.connector(), body.format(), body.options()),
                exactly_once ? "; exactly-once" : "; at-least-once");
}

}  // namespace

const NodeKind kSourceNode = {
    .body = v1::Node::kSource,
    .name = "source",
    .compile = &CompileSource,
    .text = &SourceText,
    .state_text = [](const v1::Node&, const v1::Schema&, uint64_t) -> std::string {
      return "positions of the splits";
    },
    .has_dead_letter_output = true,
};

const NodeKind kSinkNode = {
    .body = v1::Node::kSink,
    .name = "sink",
    .compile = &CompileSink,
    .text = &SinkText,
    // Inserts that replace one another by key must come in one order; changes come so anyway.
    .keys = [](const v1::Node& node, uint32_t) -> std::optional<v1::Fields> {
      if (node.key().ids_size() == 0 || node.changelog_mode() > v1::CHANGELOG_MODE_APPEND) {
        return std::nullopt;
      }
      return node.key();
    },
    .accepts = kKeyedChanges,
};

}  // namespace millrace
