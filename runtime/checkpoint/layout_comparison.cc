#include "runtime/checkpoint/layout_comparison.h"

#include <algorithm>
#include <utility>

#include "runtime/base/text.h"

namespace millrace {
namespace {

bool SameType(const v1::Type& a, const v1::Type& b) {
  if (a.kind() != b.kind()) return false;
  if (a.kind() == v1::Type::KIND_ARRAY) {
    return a.element().SerializeAsString() == b.element().SerializeAsString();
  }
  return a.kind() != v1::Type::KIND_DECIMAL ||
         (a.precision() == b.precision() && a.scale() == b.scale());
}

const v1::StateFact* FindFact(const v1::StateLayout& layout, const std::string& name) {
  for (const v1::StateFact& fact : layout.facts()) {
    if (fact.name() == name) return &fact;
  }
  return nullptr;
}

void CompareFacts(const v1::StateLayout& from, const v1::StateLayout& to, LayoutComparison& out) {
  const auto differ = [&out](std::string text) {
    out.result = LayoutComparison::Result::kOther;
    out.differences.push_back(std::move(text));
  };
  for (const v1::StateFact& fact : from.facts()) {
    const v1::StateFact* const other = FindFact(to, fact.name());
    if (other == nullptr) {
      differ(Concat(fact.name(), " was ", fact.value(), ", and is not there any more"));
    } else if (other->value() != fact.value()) {
      differ(Concat(fact.name(), " was ", fact.value(), ", and is ", other->value()));
    }
  }
  for (const v1::StateFact& fact : to.facts()) {
    if (FindFact(from, fact.name()) == nullptr) {
      differ(Concat(fact.name(), " is new: ", fact.value()));
    }
  }
}

// The columns that `to` has and `from` has not, or otherwise.
void CompareColumns(const v1::Schema& from, const v1::Schema& to, LayoutComparison& out) {
  const auto other = [&out](std::string text) {
    out.result = LayoutComparison::Result::kOther;
    out.differences.push_back(std::move(text));
  };
  bool converts = from.fields_size() != to.fields_size();
  for (int i = 0; i < to.fields_size(); ++i) {
    const v1::Field& column = to.fields(i);
    const int at = FindColumn(from, column.name());
    converts |= at != i;
    if (at < 0) {
      if (column.not_null()) {
        other(Concat("column ", column.name(), " is new and NOT NULL: kept rows do not have it"));
      } else {
        out.differences.push_back(Concat("column ", column.name(), " is new"));
        out.new_columns.push_back(column.name());
      }
    } else if (!SameType(from.fields(at).type(), column.type())) {
      converts = true;
      const std::string text = Concat("the type of column ", column.name(), " is another one");
      if (ConvertsTo(from.fields(at).type(), column.type())) {
        out.differences.push_back(text);
      } else {
        other(text);
      }
    }
  }
  for (const v1::Field& column : from.fields()) {
    if (FindColumn(to, column.name()) >= 0) continue;
    out.differences.push_back(Concat("column ", column.name(), " is gone"));
  }
  if (!converts) return;
  if (out.differences.empty()) out.differences.push_back("the columns are in another order");
  if (out.result == LayoutComparison::Result::kSame) {
    out.result = LayoutComparison::Result::kConvertible;
  }
}

}  // namespace

int FindColumn(const v1::Schema& schema, const std::string& name) {
  const auto at = std::find_if(schema.fields().begin(), schema.fields().end(),
                               [&](const v1::Field& field) { return field.name() == name; });
  return at == schema.fields().end() ? -1 : static_cast<int>(at - schema.fields().begin());
}

const v1::StateRows* FindRows(const v1::StateLayout& layout, const std::string& table) {
  for (const v1::StateRows& rows : layout.rows()) {
    if (rows.table() == table) return &rows;
  }
  return nullptr;
}

bool ConvertsTo(const v1::Type& from, const v1::Type& to) {
  if (SameType(from, to)) return true;
  if (from.kind() == v1::Type::KIND_INT32) return to.kind() == v1::Type::KIND_INT64;
  return from.kind() == v1::Type::KIND_DECIMAL && to.kind() == v1::Type::KIND_DECIMAL &&
         from.scale() == to.scale() && from.precision() <= to.precision();
}

LayoutComparison CompareLayouts(const v1::StateLayout& from, const v1::StateLayout& to) {
  LayoutComparison out;
  CompareFacts(from, to, out);
  for (const v1::StateRows& rows : to.rows()) {
    const v1::StateRows* const before = FindRows(from, rows.table());
    if (before != nullptr) CompareColumns(before->columns(), rows.columns(), out);
  }
  return out;
}

}  // namespace millrace
