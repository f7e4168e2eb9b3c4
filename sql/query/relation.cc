#include "sql/query/relation.h"

#include <algorithm>

#include "operators/catalog/catalog.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

bool Fits(const NamePart& part, const std::string& name, bool exactly) {
  return exactly || part.quoted ? part.name == name : EqualsIgnoringCase(part.name, name);
}

// True when the parts name the column, with or without its table.
bool Names(std::span<const NamePart> parts, const RelationColumn& column, bool exactly) {
  const size_t own = column.names.size();
  if (parts.size() != own && parts.size() != own + 1) return false;
  const size_t skip = parts.size() - own;
  if (skip == 0 && column.place == RelationColumn::kHidden) return false;
  if (skip == 1 && (column.table.empty() || !Fits(parts[0], column.table, false))) return false;
  for (size_t i = 0; i < own; ++i) {
    if (!Fits(parts[skip + i], column.names[i], exactly)) return false;
  }
  return true;
}

// True when the parts are the beginning of a nested column.
bool IsRow(std::span<const NamePart> parts, const RelationColumn& column) {
  RelationColumn outer = column;
  while (outer.names.size() > 1) {
    outer.names.pop_back();
    if (Names(parts, outer, false)) return true;
  }
  return false;
}

std::string Spelled(std::span<const NamePart> parts) {
  std::vector<std::string> names;
  for (const NamePart& part : parts) names.push_back(part.name);
  return Join(names, ".");
}

}  // namespace

bool RelationScope::FindColumn(std::span<const NamePart> parts, v1::Expr* out,
                               SqlProblem* problem) const {
  for (const bool exactly : {true, false}) {
    const RelationColumn* found = nullptr;
    for (const RelationColumn& column : columns_) {
      if (!Names(parts, column, exactly)) continue;
      if (found != nullptr && found->id != column.id) {
        *problem = {"MR1204", Concat("column '", Spelled(parts), "' may be one of several"),
                    found->table.empty()
                        ? "quote it as it is spelled"
                        : Concat("write ", found->table, ".", Join(found->names, "."), " or ",
                                 column.table, ".", Join(column.names, ".")),
                    -1};
        return false;
      }
      found = &column;
    }
    if (found == nullptr) continue;
    if (found->type.kind() == v1::Type::KIND_UNSPECIFIED) {
      *problem = {
          "MR1213",
          Concat("column '", Spelled(parts), "' is neither in GROUP BY nor in an aggregate"),
          "add it to GROUP BY", -1};
      return false;
    }
    *out = ColumnExpr(*found);
    return true;
  }
  for (const RelationColumn& column : columns_) {
    if (!IsRow(parts, column)) continue;
    *problem = {"MR1202", Concat("'", Spelled(parts), "' is a row; its values are columns"),
                Concat("write ", Join(column.names, ".")), -1};
    return false;
  }
  std::vector<std::string> names;
  for (const RelationColumn& column : columns_) names.push_back(Join(column.names, "."));
  const std::vector<std::string_view> views(names.begin(), names.end());
  const std::string_view nearest = NearestName(parts.back().name, views);
  *problem = {"MR1203", Concat("column '", Spelled(parts), "' is unknown"),
              !nearest.empty() ? Concat("did you mean '", nearest, "'?")
              : names.empty()  ? ""
                               : Concat("columns: ", Join(names, ", ")),
              -1};
  return false;
}

bool SubqueryScope::FindColumn(std::span<const NamePart> parts, v1::Expr* out,
                               SqlProblem* problem) const {
  if (inner_.FindColumn(parts, out, problem)) return true;
  SqlProblem of_outer;
  if (outer_.FindColumn(parts, out, &of_outer)) return true;
  const bool names_outer_table =
      parts.size() > 1 &&
      std::any_of(outer_columns_.begin(), outer_columns_.end(), [&](const RelationColumn& one) {
        return EqualsIgnoringCase(one.table, parts[0].name);
      });
  if (names_outer_table || of_outer.code == "MR1213") *problem = of_outer;
  return false;
}

std::vector<size_t> StarOf(const std::vector<RelationColumn>& columns) {
  std::vector<size_t> star;
  for (size_t i = 0; i < columns.size(); ++i) {
    if (columns[i].place != RelationColumn::kHidden) star.push_back(i);
  }
  std::stable_sort(star.begin(), star.end(),
                   [&](size_t a, size_t b) { return columns[a].place < columns[b].place; });
  return star;
}

std::string TableOfStar(const nlohmann::json& column_ref) {
  const nlohmann::json& fields = column_ref["fields"];
  return fields.size() > 1 ? fields[0]["String"].value("sval", "") : std::string();
}

std::vector<RelationColumn> ColumnsOf(const v1::Schema& schema, const std::string& table) {
  std::vector<RelationColumn> columns;
  for (const v1::Field& field : schema.fields()) {
    columns.push_back(
        {.table = table, .names = {field.name()}, .id = field.id(), .type = field.type()});
  }
  return columns;
}

v1::Expr ColumnExpr(const RelationColumn& column) {
  v1::Expr expr;
  *expr.mutable_type() = column.type;
  expr.set_field_id(column.id);
  return expr;
}

}  // namespace millrace
