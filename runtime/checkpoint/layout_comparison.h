// Whether a node can go on with state that an earlier version of it, or of the graph around it, has
// written.
//
// Threading: pure functions.
#pragma once

#include <string>
#include <vector>

#include "millrace/v1/checkpoint.pb.h"
#include "millrace/v1/graph.pb.h"

namespace millrace {

struct LayoutComparison {
  enum class Result {
    kSame,         // The bytes are read as they are.
    kConvertible,  // Kept rows are converted; the operator knows how (ConvertRows).
    kOther,        // The state means something else.
  };
  Result result = Result::kSame;
  // kConvertible, kOther: what differs, as half sentences.
  std::vector<std::string> differences;
  // kConvertible: columns of kept rows that were not there before. They are NULL in these rows.
  std::vector<std::string> new_columns;
};

// Columns of rows are found by name. A column may be gone, stand elsewhere, be new if it may be
// NULL, or have a wider type (ConvertsTo).
LayoutComparison CompareLayouts(const v1::StateLayout& from, const v1::StateLayout& to);

// Every value of `from` is one of `to`: the same type, BIGINT for INTEGER, a DECIMAL of the same
// scale with more digits.
bool ConvertsTo(const v1::Type& from, const v1::Type& to);

// The position of a column, -1: it is not there.
int FindColumn(const v1::Schema& schema, const std::string& name);

// Of these rows; null: the layout has none of that table.
const v1::StateRows* FindRows(const v1::StateLayout& layout, const std::string& table);

}  // namespace millrace
