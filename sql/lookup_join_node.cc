// Rows with those of a table outside.
#include "operators/catalog/catalog.h"
#include "sql/join_sides.h"
#include "sql/node_compiler.h"
#include "sql/table_check.h"

namespace millrace {
namespace {

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
