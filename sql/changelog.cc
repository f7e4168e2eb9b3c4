#include "sql/changelog.h"

#include <algorithm>

#include "runtime/base/text.h"

namespace millrace {
namespace {

bool HasField(const v1::Schema& schema, std::string_view name) {
  return std::any_of(schema.fields().begin(), schema.fields().end(),
                     [&](const v1::Field& field) { return field.name() == name; });
}

std::string KeyText(const v1::Schema& schema, const std::vector<uint32_t>& key) {
  std::vector<std::string> names;
  for (const uint32_t id : key) names.push_back(FieldById(schema, id)->name());
  return Join(names, ", ");
}

std::vector<uint32_t> IdsOf(const v1::Fields& fields) {
  return {fields.ids().begin(), fields.ids().end()};
}

bool SameColumns(std::vector<uint32_t> a, std::vector<uint32_t> b) {
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  return a == b;
}

// The mode of both, and no key.
bool UniteChanges(const StreamFacts& other, StreamFacts& all) {
  all.key.clear();
  if (other.mode == all.mode) return all.mode != v1::CHANGELOG_MODE_UPSERT;
  constexpr Modes exact = kExactChanges;
  if ((ModeBit(other.mode) & exact) == 0 || (ModeBit(all.mode) & exact) == 0) return false;
  all.mode = v1::CHANGELOG_MODE_RETRACT;
  return true;
}

constexpr const char* kNormalizeHint = "put a normalize node behind the source";

}  // namespace

std::string_view ModeText(v1::ChangelogMode mode) {
  switch (mode) {
    case v1::CHANGELOG_MODE_UPSERT:
      return "upserts";
    case v1::CHANGELOG_MODE_RETRACT:
      return "changes with retractions";
    case v1::CHANGELOG_MODE_CAPTURED:
      return "captured changes";
    default:
      return "inserts only";
  }
}

bool CheckAccepts(const NodeContext& context, const NodeKind& kind) {
  v1::ChangelogMode mode = context.input->mode;
  const auto understands = [&] { return (kind.accepts & ModeBit(mode)) != 0; };
  if (understands() && context.right != nullptr) mode = context.right->mode;
  if (understands()) return true;
  const bool normalized_helps =
      mode != v1::CHANGELOG_MODE_RETRACT && (kind.accepts & kExactChanges) == kExactChanges;
  const bool has_windows = kind.accepts == kAppendOnly;
  context.Error("MR1420", "",
                Concat(kind.name.starts_with('o') ? "an " : "a ", kind.name,
                       " does not understand ", ModeText(mode), " from its input"),
                normalized_helps ? kNormalizeHint
                : has_windows    ? "it reads inserts only; use a group_aggregate for changes"
                                 : "");
  return false;
}

bool IsCaptureColumn(const v1::Field& field) {
  return field.name() == kSequenceColumn || field.name() == kUnavailableColumn;
}

void AddCaptureColumns(v1::Schema& schema) {
  uint32_t id = LargestId(schema);
  for (const std::string_view name : {kSequenceColumn, kUnavailableColumn}) {
    if (HasField(schema, name)) continue;
    v1::Field& field = *schema.add_fields();
    field.set_id(++id);
    field.set_name(std::string(name));
    field.mutable_type()->set_kind(v1::Type::KIND_BYTES);
    field.set_metadata(std::string(name.substr(1)));
  }
}

void RemoveCaptureColumns(v1::Schema& schema) {
  v1::Schema table;
  for (const v1::Field& field : schema.fields()) {
    if (!IsCaptureColumn(field)) *table.add_fields() = field;
  }
  schema = std::move(table);
}

bool CompileSourceChanges(const NodeContext& context, v1::ChangelogMode mode, StreamFacts& out) {
  v1::Node& node = context.node;
  node.clear_changelog_mode();
  const bool has_key = node.key().names_size() + node.key().ids_size() > 0;
  if (mode == v1::CHANGELOG_MODE_APPEND) {
    if (!has_key) return true;
    context.Error("MR1421", ".key", "a source of inserts only has no key", "leave the key out");
    return false;
  }
  if (!has_key) {
    context.Error("MR1421", "",
                  Concat("a source of ", ModeText(mode), " needs the key of its rows"),
                  "name the columns of the primary key: key: [id]");
    return false;
  }
  std::vector<int> columns;
  if (!CompileFields(context, ".key", node.schema(), *node.mutable_key(), &columns)) return false;
  for (const int column : columns) {
    const v1::Field& field = node.schema().fields(column);
    if (!field.has_computed() && field.metadata().empty()) continue;
    context.Error("MR1421", ".key",
                  Concat("column '", field.name(), "' is not a column of the table"),
                  "a key has neither computed nor metadata columns");
    return false;
  }
  node.set_changelog_mode(mode);
  if (mode == v1::CHANGELOG_MODE_CAPTURED) AddCaptureColumns(*node.mutable_schema());
  out.mode = mode;
  out.key = IdsOf(node.key());
  return true;
}

bool ProjectChanges(const NodeContext& context, const StreamFacts& input,
                    uint32_t (*kept)(const v1::Node& node, uint32_t id), StreamFacts& out) {
  out.mode = input.mode;
  for (const uint32_t id : input.key) {
    const uint32_t now = kept(context.node, id);
    if (now != 0) {
      out.key.push_back(now);
      continue;
    }
    out.key.clear();
    if (input.mode != v1::CHANGELOG_MODE_UPSERT) return true;
    context.Error(
        "MR1422", "",
        Concat("the projection drops '", FieldById(input.schema, id)->name(),
               "', a column of the key by which its input updates rows"),
        Concat("keep the key (", KeyText(input.schema, input.key), "), or ", kNormalizeHint));
    return false;
  }
  return true;
}

bool CheckFilteredChanges(const NodeContext& context, const v1::Expr& predicate) {
  if (context.input->mode != v1::CHANGELOG_MODE_UPSERT) return true;
  FieldIds read;
  AddReferences(predicate, read);
  const std::vector<uint32_t>& key = context.input->key;
  if (std::all_of(read.begin(), read.end(), [&](uint32_t id) {
        return std::find(key.begin(), key.end(), id) != key.end();
      })) {
    return true;
  }
  context.Error("MR1422", ".filter.predicate",
                "a filter of upserts can only look at their key: a row that no longer passes would "
                "stay behind it",
                kNormalizeHint);
  return false;
}

bool UniteFacts(const StreamFacts& other, StreamFacts& all) {
  for (int i = 0; i < all.schema.fields_size(); ++i) {
    v1::Field& a = *all.schema.mutable_fields(i);
    const v1::Field& b = other.schema.fields(i);
    a.set_not_null(a.not_null() && b.not_null());
    if (!other.event_times.contains(b.id())) all.event_times.erase(a.id());
    if (!other.window_ends.contains(b.id())) all.window_ends.erase(a.id());
    if (!other.processing_times.contains(b.id())) all.processing_times.erase(a.id());
  }
  all.has_watermark &= other.has_watermark;
  return UniteChanges(other, all);
}

bool CompileSinkChanges(const NodeContext& context, SinkKey need) {
  v1::Node& node = context.node;
  const StreamFacts& input = *context.input;
  const bool changes = input.mode != v1::CHANGELOG_MODE_APPEND;
  node.clear_changelog_mode();
  if (changes) node.set_changelog_mode(input.mode);
  const bool has_key = node.key().names_size() + node.key().ids_size() > 0;
  if (need == SinkKey::kNever) {
    if (has_key) {
      context.Error("MR1421", ".key", "the connector does not apply changes by key",
                    "leave the key out");
      return false;
    }
    if (!changes || !HasField(input.schema, "op")) return true;
    context.Error("MR1425", "", "column 'op' has the name of the column that tells +I -U +U -D",
                  "rename it by a project node");
    return false;
  }
  if (!has_key) {
    for (const uint32_t id : input.key) node.mutable_key()->add_ids(id);
    if (!input.key.empty() || (need == SinkKey::kForChanges && !changes)) return true;
    context.Error("MR1421", "", "the sink needs the key of its rows, and its input has none",
                  "name the columns of the key: key: [id]");
    return false;
  }
  std::vector<int> columns;
  if (!CompileFields(context, ".key", input.schema, *node.mutable_key(), &columns)) return false;
  if (!changes || SameColumns(IdsOf(node.key()), input.key)) return true;
  context.Error(
      "MR1423", ".key",
      input.key.empty()
          ? "the changes of the input have no key by which the sink could order them"
          : Concat("the input changes rows by another key: ", KeyText(input.schema, input.key)),
      "give the sink the key of its input, or say which row wins: INSERT … ON CONFLICT DO "
      "DEDUPLICATE (the last), DO NOTHING (the first) or DO ERROR; in YAML, a resolve_conflicts "
      "node");
  return false;
}

}  // namespace millrace
