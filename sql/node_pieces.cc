#include <algorithm>
#include <map>

#include "runtime/base/text.h"
#include "runtime/columns/types.h"
#include "sql/expression_binder.h"
#include "sql/expression_text.h"
#include "sql/node_compiler.h"
#include "sql/type_names.h"

namespace millrace {

bool CompileExpression(const NodeContext& context, const std::string& at, const v1::Schema& schema,
                       v1::Expr& expr) {
  SqlProblem problem;
  if (expr.kind_case() == v1::Expr::KIND_NOT_SET) {
    context.Error("MR1201", at, "the expression is missing");
    return false;
  }
  if (!expr.has_sql()) {
    if (CheckTypedExpression(expr, schema, &problem)) return true;
    context.diagnostics.Error(problem, context.node.uid(), context.path + at, "");
    return false;
  }
  const std::string text = expr.sql();
  v1::Expr typed;
  if (BindExpressionText(text, schema, &typed, &problem)) {
    expr = std::move(typed);
    return true;
  }
  context.diagnostics.Error(problem, context.node.uid(), context.path + at, text);
  return false;
}

const v1::Field* FieldById(const v1::Schema& schema, uint32_t id) {
  for (const v1::Field& field : schema.fields()) {
    if (field.id() == id) return &field;
  }
  return nullptr;
}

uint32_t LargestId(const v1::Schema& schema) {
  uint32_t largest = 0;
  for (const v1::Field& field : schema.fields()) largest = std::max(largest, field.id());
  return largest;
}

bool CompileFields(const NodeContext& context, const std::string& at, const v1::Schema& schema,
                   v1::Fields& fields, std::vector<int>* columns) {
  columns->clear();
  bool ok = true;
  if (fields.names_size() > 0 && fields.ids_size() > 0) {
    context.Error("MR1203", at, "columns are given by name and by id", "give one of the two");
    return false;
  }
  for (int i = 0; i < fields.names_size(); ++i) {
    SqlProblem problem;
    columns->push_back(FindColumn(schema, fields.names(i), /*quoted=*/false, &problem));
    if (columns->back() >= 0) continue;
    context.Error(problem.code, Concat(at, ".names[", i, "]"), problem.message, problem.hint);
    ok = false;
  }
  for (uint32_t id : fields.ids()) {
    int column = 0;
    while (column < schema.fields_size() && schema.fields(column).id() != id) ++column;
    if (column < schema.fields_size()) {
      columns->push_back(column);
    } else {
      context.Error("MR1203", at, Concat("no column has the id ", id));
      ok = false;
    }
  }
  if (!ok) return false;
  fields.Clear();
  for (int column : *columns) fields.add_ids(schema.fields(column).id());
  for (size_t i = 0; i < columns->size(); ++i) {
    if (std::find(columns->begin(), columns->begin() + static_cast<long>(i), (*columns)[i]) ==
        columns->begin() + static_cast<long>(i)) {
      continue;
    }
    context.Error("MR1408", at,
                  Concat("column '", schema.fields((*columns)[i]).name(), "' is given twice"));
    return false;
  }
  return true;
}

bool CompileField(const NodeContext& context, const std::string& at, const v1::Schema& schema,
                  v1::Fields& fields, int* column) {
  std::vector<int> columns;
  if (fields.names_size() + fields.ids_size() != 1) {
    context.Error("MR1408", at,
                  fields.names_size() + fields.ids_size() == 0 ? "a column is missing"
                                                               : "expected exactly one column");
    return false;
  }
  if (!CompileFields(context, at, schema, fields, &columns)) return false;
  *column = columns[0];
  return true;
}

void StripSourceFields(v1::Schema& schema) {
  for (v1::Field& field : *schema.mutable_fields()) {
    field.clear_computed();
    field.clear_metadata();
    field.clear_path();
  }
}

bool CheckNames(const NodeContext& context, const std::string& at, const v1::Schema& schema) {
  std::map<std::string, int> seen;
  bool ok = true;
  for (const v1::Field& field : schema.fields()) {
    if (++seen[field.name()] != 2) continue;
    context.Error("MR1411", at, Concat("two columns are called '", field.name(), "'"),
                  "rename one with AS");
    ok = false;
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

void AddFields(const v1::Fields& fields, FieldIds& out) {
  out.insert(fields.ids().begin(), fields.ids().end());
}

void AddReferences(const v1::Expr& expr, FieldIds& out) {
  if (expr.has_field_id()) out.insert(expr.field_id());
  for (const v1::Expr& argument : expr.call().arguments()) AddReferences(argument, out);
  for (const v1::Expr& when : expr.case_when().when()) AddReferences(when, out);
  for (const v1::Expr& then : expr.case_when().then()) AddReferences(then, out);
  if (expr.case_when().has_otherwise()) AddReferences(expr.case_when().otherwise(), out);
  if (expr.has_cast()) AddReferences(expr.cast().input(), out);
}

bool CompileOrder(const NodeContext& context, const std::string& at,
                  google::protobuf::RepeatedPtrField<v1::SortKey>& order) {
  if (order.empty()) {
    context.Error("MR1410", at, "the order is missing", "write for example: order: [num DESC]");
    return false;
  }
  bool ok = true;
  for (int i = 0; i < order.size(); ++i) {
    v1::SortKey& key = order[i];
    int column = -1;
    ok &= CompileField(context, Concat(at, ".order[", i, "].field"), context.input->schema,
                       *key.mutable_field(), &column);
    if (column >= 0 && context.input->schema.fields(column).type().kind() == v1::Type::KIND_ARRAY) {
      context.Error("MR1410", Concat(at, ".order[", i, "]"), "arrays have no order",
                    "order by an element, a[1], or by CARDINALITY(a)");
      ok = false;
    }
    if (!key.has_nulls_first()) key.set_nulls_first(key.descending());
  }
  return ok;
}

std::string OrderText(const google::protobuf::RepeatedPtrField<v1::SortKey>& order,
                      const v1::Schema& input) {
  std::vector<std::string> texts;
  for (const v1::SortKey& key : order) {
    std::string text = FieldsText(key.field(), input);
    if (key.descending()) text += " DESC";
    if (key.nulls_first() != key.descending()) {
      text += key.nulls_first() ? " NULLS FIRST" : " NULLS LAST";
    }
    texts.push_back(std::move(text));
  }
  return Join(texts, ", ");
}

uint32_t AddRank(const std::string& name, uint32_t id, v1::Schema& schema) {
  if (id == 0) id = LargestId(schema) + 1;
  v1::Type type;
  type.set_kind(v1::Type::KIND_INT64);
  AddField(schema, id, name, type, true);
  return id;
}

v1::Schema LettersSchema() {
  v1::Schema schema;
  for (const Field& column : DeadLetterSchema()->fields()) {
    v1::Type type;
    column.type.ToProto(&type);
    AddField(schema, column.id, column.name, type, !column.nullable);
  }
  return schema;
}

}  // namespace millrace
