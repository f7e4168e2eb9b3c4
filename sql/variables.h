// ${name} and ${name:-default} in the values of a job file; $${ is a plain ${.
//
// Threading: pure function.
#pragma once

#include <string>
#include <string_view>

#include "sql/graph_loader.h"
#include "sql/sql_problem.h"

namespace millrace {

// False: a variable has no value, or its name is not well formed.
bool ReplaceVariables(std::string_view text, const Variables& variables, std::string* out,
                      SqlProblem* problem);

}  // namespace millrace
