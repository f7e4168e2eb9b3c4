// CREATE FUNCTION: a name for an expression.
//
// Threading: pure functions.
// Errors:    SqlProblem with an offset of the script.
#pragma once

#include "sql/query/script.h"
#include "sql/sql_functions.h"

namespace millrace {

// The statement begins with CREATE [OR REPLACE] [TEMPORARY] FUNCTION. The body may call what is in
// `functions`; it is bound once, so that what is wrong in it is told here.
bool ReadFunctionDefinition(const SqlText& text, const Statement& statement,
                            const SqlFunctions& functions, SqlFunction* out, SqlProblem* problem);

}  // namespace millrace
