// Functions that a script defines: CREATE FUNCTION name (parameter TYPE, …) RETURNS TYPE RETURN
// expression, or AS 'module.function' LANGUAGE PYTHON. A call of the first is replaced by the
// expression, its parameters by the arguments; one of the second is a call of a function with a
// name of its own, until a python_call node computes it.
//
// Threading: immutable once defined.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/v1/graph.pb.h"
#include "sql/expression_parser.h"

namespace millrace {

struct SqlFunction {
  struct Parameter {
    std::string name;  // Empty: the parameter of a function in Python has none.
    v1::Type type;
  };
  std::string name;  // In lower case.
  std::vector<Parameter> parameters;
  v1::Type result;
  ParsedExpression body;
  std::optional<v1::PythonFunction> python;  // Instead of a body.
};

// In front of the name of a function in Python, where a call of it stands in an expression.
inline constexpr std::string_view kPythonPrefix = "python:";

// By name.
using SqlFunctions = std::map<std::string, SqlFunction, std::less<>>;

}  // namespace millrace
