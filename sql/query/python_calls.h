// Calls of functions in Python within the expressions of a node: they are taken out, and columns
// that a python_call node before it has computed stand in their place.
//
// Threading: pure functions.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "google/protobuf/message.h"
#include "millrace/v1/graph.pb.h"

namespace millrace {

// By name.
using PythonFunctions = std::map<std::string, v1::PythonFunction, std::less<>>;

// Of a node, or an expression.
bool CallsPython(const google::protobuf::Message& message);

// Takes the calls out of the expressions of `node` that have no other ones in their arguments, and
// are made for rows that no other one decides upon; equal ones become one, unless the function is
// not deterministic. Its results have ids from `*next_id` on. A call in an operand that SQL does
// not evaluate for all rows (CASE, AND, OR, COALESCE, FILTER) is made for the same rows.
v1::PythonCall TakeReadyCalls(const PythonFunctions& functions, v1::Node* node, uint32_t* next_id);

// The operands of AND, all that call nothing and all that do; without type: there are none.
void SplitByPython(const v1::Expr& condition, v1::Expr* without, v1::Expr* with);

// The largest id of a column in any of its fields; ids that stand for columns to come do not count.
uint32_t LargestIdIn(const google::protobuf::Message& message);

}  // namespace millrace
