// Names of column types as users write them, of PostgreSQL and of Flink.
//
// Threading: pure functions.
#pragma once

#include <string>
#include <string_view>

#include "sql/sql_problem.h"
#include "sql/sql_text.h"

namespace millrace {

namespace v1 {
class Type;
}

// `name` is one name in any case ("bigint", "timestamp"); `arguments` what stands in parentheses
// behind it, comma-separated, or empty. Sets code, message and hint of `problem` on failure.
bool TypeFromName(std::string_view name, std::string_view arguments, v1::Type* out,
                  SqlProblem* problem);

// Reads a type from tokens [*at, ...) and moves *at behind it: BIGINT, DOUBLE PRECISION,
// TIMESTAMP(3), CHARACTER VARYING(10), TIMESTAMP WITHOUT TIME ZONE.
bool TypeFromTokens(const SqlText& text, size_t* at, v1::Type* out, SqlProblem* problem);

// "TIMESTAMP(3)", "BIGINT", "DECIMAL(10, 2)".
std::string TypeText(const v1::Type& type);

// True when the two are one type; the precision of timestamps does not count.
bool SameType(const v1::Type& a, const v1::Type& b);

}  // namespace millrace
