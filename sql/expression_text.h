// A typed expression as SQL text, for people.
//
// Threading: pure functions.
#pragma once

#include <string>

#include "millrace/v1/graph.pb.h"

namespace millrace {

// Columns by their names in `schema`; "#7" for an id that is not in it.
std::string ExpressionText(const v1::Expr& expr, const v1::Schema& schema);

// count(DISTINCT bidder) FILTER (WHERE price > 10)
std::string AggregateText(const v1::Aggregate& aggregate, const v1::Schema& schema);

// Names of the columns, separated by commas.
std::string FieldsText(const v1::Fields& fields, const v1::Schema& schema);

}  // namespace millrace
