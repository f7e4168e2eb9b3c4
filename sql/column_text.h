// One line of a schema, as users write it:
//   auction BIGINT
//   "dateTime" TIMESTAMP(3) NOT NULL
//   auction BIGINT FROM 'bid.auction'
//   ts TIMESTAMP(3) METADATA FROM 'timestamp'
//   price2 AS price * 2
//
// Threading: pure function.
#pragma once

#include <string_view>

#include "sql/sql_problem.h"

namespace millrace {

namespace v1 {
class Field;
}

// Fills name, type, not_null, path, metadata or computed.sql.
bool ParseColumnText(std::string_view text, v1::Field* out, SqlProblem* problem);

}  // namespace millrace
