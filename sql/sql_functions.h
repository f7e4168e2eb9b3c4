// Functions that a script defines: CREATE FUNCTION name (parameter TYPE, …) RETURNS TYPE RETURN
// expression. A call is replaced by the expression, its parameters by the arguments.
//
// Threading: immutable once defined.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "millrace/v1/graph.pb.h"
#include "sql/expression_parser.h"

namespace millrace {

struct SqlFunction {
  struct Parameter {
    std::string name;
    v1::Type type;
  };
  std::string name;  // In lower case.
  std::vector<Parameter> parameters;
  v1::Type result;
  ParsedExpression body;
};

// By name.
using SqlFunctions = std::map<std::string, SqlFunction, std::less<>>;

}  // namespace millrace
