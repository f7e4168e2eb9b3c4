// Each row once per element of an array.
#include "runtime/base/text.h"
#include "sql/expression_text.h"
#include "sql/node_compiler.h"
#include "sql/type_names.h"

namespace millrace {
namespace {

std::optional<StreamFacts> CompileUnnest(const NodeContext& context) {
  v1::Unnest& body = *context.node.mutable_unnest();
  StreamFacts out = *context.input;
  int column = -1;
  if (!CompileField(context, ".unnest.array", out.schema, *body.mutable_array(), &column)) {
    return std::nullopt;
  }
  const v1::Field& array = out.schema.fields(column);
  if (array.type().kind() != v1::Type::KIND_ARRAY) {
    context.Error(
        "MR1403", ".unnest.array",
        Concat("UNNEST needs an ARRAY; column '", array.name(), "' is ", TypeText(array.type())),
        "SPLIT(text, ',') makes an array of a text");
    return std::nullopt;
  }
  // The element's columns.
  std::vector<v1::TypeField> added;
  const v1::Type& element = array.type().element();
  if (element.kind() == v1::Type::KIND_ROW) {
    added.assign(element.fields().begin(), element.fields().end());
  } else {
    added.emplace_back().set_name("element");
    *added.back().mutable_type() = element;
  }
  if (body.names_size() != 0 && static_cast<size_t>(body.names_size()) != added.size()) {
    context.Error("MR1411", ".unnest.names",
                  Concat("an element of '", array.name(), "' has ", added.size(), " column",
                         added.size() == 1 ? "" : "s", ", but ", body.names_size(), " are named"));
    return std::nullopt;
  }
  for (int i = 0; i < body.names_size(); ++i) added[static_cast<size_t>(i)].set_name(body.names(i));
  if (body.names_size() == 0) {
    for (const v1::TypeField& one : added) body.add_names(one.name());
  }
  if (!body.ordinality_name().empty()) {
    added.emplace_back().set_name(body.ordinality_name());
    added.back().mutable_type()->set_kind(v1::Type::KIND_INT64);
  }
  if (body.ids_size() != 0 && static_cast<size_t>(body.ids_size()) != added.size()) {
    context.Error("MR1411", ".unnest.ids", Concat("not ", added.size(), " ids"));
    return std::nullopt;
  }
  const uint32_t largest = LargestId(out.schema);
  for (size_t i = 0; i < added.size(); ++i) {
    if (body.ids_size() <= static_cast<int>(i))
      body.add_ids(largest + 1 + static_cast<uint32_t>(i));
    const bool is_ordinality = !body.ordinality_name().empty() && i + 1 == added.size();
    AddField(out.schema, body.ids(static_cast<int>(i)), added[i].name(), added[i].type(),
             is_ordinality && !body.outer());
  }
  if (!CheckNames(context, ".unnest", out.schema)) return std::nullopt;
  out.chain_source.clear();
  // Several rows have the key of one; they are told apart by their place.
  if (body.ordinality_name().empty()) {
    out.key.clear();
  } else if (!out.key.empty()) {
    out.key.push_back(*body.ids().rbegin());
  }
  return out;
}

std::string UnnestText(const v1::Node& node, const v1::Schema& input) {
  const v1::Unnest& body = node.unnest();
  return Concat(body.outer() ? "unnest (outer) " : "unnest ", FieldsText(body.array(), input),
                body.ordinality_name().empty() ? "" : " with ordinality");
}

}  // namespace

const NodeKind kUnnestNode = {
    .body = v1::Node::kUnnest,
    .name = "unnest",
    .compile = &CompileUnnest,
    .text = &UnnestText,
    .reads = [](const v1::Node& node, FieldIds& out) { AddFields(node.unnest().array(), out); },
    .passes_columns = true,
    .adds =
        [](const v1::Node& node, FieldIds& out) {
          out.insert(node.unnest().ids().begin(), node.unnest().ids().end());
        },
    .accepts = kExactChanges,
};

}  // namespace millrace
