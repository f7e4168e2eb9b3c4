// Rows with those of a table outside.
#include <algorithm>
#include <set>

#include "operators/catalog/catalog.h"
#include "operators/catalog/key_template.h"
#include "sql/join_sides.h"
#include "sql/node_compiler.h"
#include "sql/table_check.h"

namespace millrace {
namespace {

const v1::Field* FindField(const v1::Schema& schema, std::string_view name) {
  for (const v1::Field& field : schema.fields()) {
    if (field.name() == name) return &field;
  }
  return nullptr;
}

// Of tables that have nothing but keys: what their names are made of.
bool CheckKeyTemplate(const NodeContext& context, const std::string& at, const v1::LookupJoin& join,
                      const v1::Schema& table) {
  const auto spec = FindConnectorSpec(join.table().connector());
  if (!spec.ok() || (*spec)->lookup_key_option.empty()) return true;
  const std::string at_key = Concat(at, ".table.options['", (*spec)->lookup_key_option, "']");
  bool ok = true;
  const auto problem = [&](const std::string& where, const std::string& what,
                           const std::string& hint) {
    context.Error("MR1450", where, what, hint);
    ok = false;
  };
  const auto& options = join.table().options();
  if (const auto cache = options.find("lookup.cache");
      cache != options.end() && EqualsIgnoringCase(cache->second, "full")) {
    problem(at + ".table.options['lookup.cache']",
            Concat("a table of connector '", (*spec)->name, "' cannot be read whole"),
            "write 'lookup.cache' = 'PARTIAL', or leave it out");
  }
  std::vector<std::string> compared;
  for (const uint32_t id : join.right_keys().ids()) {
    for (const v1::Field& field : table.fields()) {
      if (field.id() == id) compared.push_back(field.name());
    }
  }
  const std::string hint =
      Concat("the join compares ", Join(compared, ", "), ": '", (*spec)->lookup_key_option,
             "' = 'name:{", Join(compared, "}:{"), "}'");
  const auto given = options.find(std::string((*spec)->lookup_key_option));
  if (given == options.end() && compared.size() != 1) {
    problem(at + ".table", "nothing says how the names of keys are made of several columns", hint);
    return false;
  }
  const auto key = given == options.end() ? KeyTemplate::OfColumn(compared[0])
                                          : KeyTemplate::Parse(given->second);
  if (!key.ok()) {
    problem(at_key, std::string(MessageOf(key.status())), hint);
    return false;
  }
  std::set<std::string> named;
  for (const KeyTemplate::Piece& piece : key->pieces) {
    if (!piece.is_column) continue;
    named.insert(piece.text);
    const v1::Field* const field = FindField(table, piece.text);
    if (field == nullptr) {
      problem(at_key, Concat("the table has no column '", piece.text, "'"), hint);
    } else if (std::find(compared.begin(), compared.end(), piece.text) == compared.end()) {
      problem(at_key, Concat("the join does not say which '", piece.text, "' is looked up"),
              Concat("compare it with =; ", hint));
    } else if (!CanNameKey(DataType::FromProto(field->type()).kind())) {
      problem(at_key,
              Concat("column '", piece.text, "' is ", TypeText(field->type()),
                     ", whose values have no one text"),
              "declare it as STRING, and CAST the other side");
    }
  }
  if (ok && named.size() == static_cast<size_t>(table.fields_size())) {
    problem(at + ".table", "the table has no column beside those of the key's name",
            "a lookup brings columns; name a field of the value");
  }
  return ok;
}

std::optional<StreamFacts> CompileLookupJoin(const NodeContext& context) {
  v1::LookupJoin& join = *context.node.mutable_lookup_join();
  const std::string at = ".lookup_join";
  const v1::Schema& input = context.input->schema;
  bool ok = CompileLookupTable(context, at + ".table", join.table(), *join.mutable_table_schema());
  if (!ok) return std::nullopt;
  v1::Schema table = join.table_schema();
  StripSourceFields(table);
  if (join.right_id_offset() == 0) join.set_right_id_offset(LargestId(input));
  ok &= CompileInnerOrLeft(context, at, join);
  const v1::Schema both = BothSides(input, table, join);
  ok &= CheckNames(context, at, both);
  ok &= CompileJoinKeys(context, at, input, table, join);
  if (ok && join.left_keys().ids_size() == 0) {
    context.Error("MR1412", at + ".left_keys", "a lookup needs keys",
                  "compare columns of the table with =");
    ok = false;
  }
  ok = ok && CheckKeyTemplate(context, at, join, table);
  if (!ok || !CompileJoinCondition(context, at, both, join)) return std::nullopt;
  StreamFacts out = *context.input;
  out.schema = both;
  out.chain_source.clear();
  out.key.clear();  // A row may have several partners.
  return out;
}

}  // namespace

const NodeKind kLookupJoinNode = {
    .body = v1::Node::kLookupJoin,
    .name = "lookup join",
    .compile = &CompileLookupJoin,
    .text =
        [](const v1::Node& node, const v1::Schema& sides) {
          const v1::LookupJoin& join = node.lookup_join();
          return Concat(
              join.kind() == v1::Join::KIND_LEFT ? "left lookup join" : "lookup join",
              JoinPartsText(join, sides, node.schema()), ", table ",
              TableText(join.table().connector(), join.table().format(), join.table().options()));
        },
    .reads =
        [](const v1::Node& node, FieldIds& out) {
          AddFields(node.lookup_join().left_keys(), out);
          AddReferences(node.lookup_join().condition(), out);
        },
    .sides =
        [](const v1::Node& node, const v1::Schema& left, const v1::Schema&) {
          return BothSides(left, node.lookup_join().table_schema(), node.lookup_join());
        },
    .passes_columns = true,
    .adds =
        [](const v1::Node& node, FieldIds& out) {
          const v1::LookupJoin& join = node.lookup_join();
          for (const v1::Field& field : join.table_schema().fields()) {
            out.insert(field.id() + join.right_id_offset());
          }
        },
    .has_dead_letter_output = true,
};

}  // namespace millrace
