// SET 'pipeline.dead-letters' and 'pipeline.late-rows': where the rows go that no query sees.
#include <utility>

#include "runtime/base/text.h"
#include "runtime/expressions/functions.h"
#include "sql/node_compiler.h"
#include "sql/query/query_planner.h"
#include "sql/type_names.h"

namespace millrace {
namespace {

v1::Expr TextLiteral(const std::string& text) {
  v1::Expr expr;
  expr.mutable_type()->set_kind(v1::Type::KIND_STRING);
  expr.mutable_literal()->set_string_value(text);
  return expr;
}

// "auction=1, price=NULL"; BYTES as Base64.
v1::Expr RowText(const v1::Schema& schema) {
  std::vector<v1::Expr> parts = {TextLiteral("the row came behind the watermark: ")};
  v1::Type text;
  text.set_kind(v1::Type::KIND_STRING);
  for (const v1::Field& field : schema.fields()) {
    parts.push_back(TextLiteral(Concat(parts.size() > 1 ? ", " : "", field.name(), "=")));
    v1::Expr value;
    *value.mutable_type() = field.type();
    value.set_field_id(field.id());
    value = field.type().kind() == v1::Type::KIND_BYTES
                ? CallExpr("to_base64", text, {std::move(value)})
                : CastExpr(std::move(value), text);
    parts.push_back(CallExpr("coalesce", text, {std::move(value), TextLiteral("NULL")}));
  }
  return CallExpr("concat", text, std::move(parts));
}

}  // namespace

// The letters of all nodes in one input of the sink, late rows as letters with a code of their own.
void QueryPlanner::PlanLetters(const Letters& letters, bool late) {
  const auto place = static_cast<int64_t>(letters.offset);
  const TableDefinition* table = FindTable(letters.table);
  if (table == nullptr) {
    Problem("MR1212", Concat("table '", letters.table, "' is unknown"), "CREATE TABLE it first",
            place);
    return;
  }
  const v1::Schema all = LettersSchema();
  v1::Node project;
  for (const v1::Field& field : table->schema.fields()) {
    if (field.has_computed() || !field.metadata().empty()) continue;
    const auto known = std::find_if(
        all.fields().begin(), all.fields().end(),
        [&](const v1::Field& one) { return EqualsIgnoringCase(one.name(), field.name()); });
    std::vector<std::string> names;
    for (const v1::Field& one : all.fields()) {
      names.push_back(Concat(one.name(), " ", TypeText(one.type())));
    }
    if (known == all.fields().end() ||
        (!SameType(known->type(), field.type()) &&
         !CanAssign(DataType::FromProto(known->type()), DataType::FromProto(field.type())))) {
      Problem("MR1216",
              Concat("a letter has no column '", field.name(), " ", TypeText(field.type()), "'"),
              Concat("columns of letters: ", Join(names, ", ")), place);
      return;
    }
    v1::NamedExpr& column = *project.mutable_project()->add_columns();
    column.set_name(field.name());
    *column.mutable_expr()->mutable_type() = known->type();
    column.mutable_expr()->set_field_id(known->id());
    if (!SameType(known->type(), field.type())) {
      *column.mutable_expr() = CastExpr(column.expr(), field.type());
    }
  }
  std::vector<std::pair<std::string, v1::OutputPort>> inputs;
  std::vector<std::string> nodes;
  for (const v1::Node& node : assembler_.graph().nodes()) nodes.push_back(node.uid());
  for (const std::string& uid : nodes) {
    const NodeKind* const kind = FindNodeKind(assembler_.FindNode(uid)->body_case());
    if (!late && kind->has_dead_letter_output) {
      inputs.emplace_back(uid, v1::OUTPUT_PORT_DEAD_LETTER);
    } else if (late && kind->has_late_output) {
      inputs.emplace_back(LateLetters(uid, all, letters.offset), v1::OUTPUT_PORT_MAIN);
    }
  }
  if (inputs.empty()) return;  // No node of the script has such rows.
  const std::string rows =
      assembler_.AddLater(table->name, "letters", std::move(project), inputs, letters.offset);
  v1::Node sink;
  MakeSink(*table, sink);
  (void)assembler_.AddLater(table->name, "sink", std::move(sink), {{rows, v1::OUTPUT_PORT_MAIN}},
                            letters.offset);
}

std::string QueryPlanner::LateLetters(const std::string& uid, const v1::Schema& letters,
                                      size_t offset) {
  const Relation* input = assembler_.FindRelation(assembler_.InputOf(uid));
  v1::Node row;
  for (const v1::Field& field : letters.fields()) {
    v1::NamedExpr& column = *row.mutable_project()->add_columns();
    column.set_name(field.name());
    column.set_id(field.id());
    v1::Expr& value = *column.mutable_expr();
    if (field.name() == "uid") {
      value = TextLiteral(uid);
    } else if (field.name() == "code") {
      value = TextLiteral("MR4008");
    } else if (field.name() == "error") {
      value = RowText(input->facts.schema);
    } else {
      *value.mutable_type() = field.type();
      value.mutable_literal()->set_is_null(true);
    }
  }
  const std::string text =
      assembler_.AddLater(uid, "late-rows", std::move(row), {{uid, v1::OUTPUT_PORT_LATE}}, offset);
  v1::Node time;
  time.mutable_processing_time()->set_name("time");
  return assembler_.AddLater(uid, "late-time", std::move(time), {{text, v1::OUTPUT_PORT_MAIN}},
                             offset);
}

}  // namespace millrace
