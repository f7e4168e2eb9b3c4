// What the nodes of a graph keep from row to row: what a later version of the graph is compared by.
//
// Columns are named by where their values come from, through projections, joins and aggregates, and
// not by what a query calls them: GROUP BY a / 10 differs from GROUP BY a / 20 though both group by
// one nameless column, and another alias is no change.
//
// Threading: pure functions.
#pragma once

#include <string>
#include <vector>

#include "millrace/v1/checkpoint.pb.h"
#include "millrace/v1/graph.pb.h"

namespace millrace {

// One layout for every node of a compiled graph that keeps state, for every source, and for every
// sink whose target keeps changes apart instead of applying them by a key.
std::vector<v1::StateLayout> StateLayoutsOf(const v1::JobGraph& graph);

// ---- for NodeKind::layout ----

void AddFact(v1::StateLayout& out, const std::string& name, std::string value);
// "bidder BIGINT, channel STRING"; "nothing" when there are none.
std::string TypedFieldsText(const v1::Fields& fields, const v1::Schema& schema);
// All columns, likewise.
std::string ColumnsText(const v1::Schema& schema);
// "sum(price) BIGINT, count(*) BIGINT".
std::string AggregatesText(const google::protobuf::RepeatedPtrField<v1::Aggregate>& aggregates,
                           const v1::Schema& schema);
// Rows of these columns, which the operator converts when they change.
void AddRows(v1::StateLayout& out, const std::string& table, const v1::Schema& columns);

}  // namespace millrace
