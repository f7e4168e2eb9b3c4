// Values of PostgreSQL as text, in the form of a connection of ours (ISO dates, UTC, hex bytea), to
// columns and back.
//
// Threading: a PgValueReader belongs to one thread. The rest are pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/columns/batch.h"
#include "runtime/columns/time_text.h"

namespace millrace {

// Whether values of the type with this OID (pg_type.oid) can be read as `kind`. STRING takes all.
bool CanReadPgType(uint32_t oid, TypeKind kind);
// Whether a column of the type can take values of `kind`. Text takes all, and all take STRING.
bool CanWritePgType(uint32_t oid, TypeKind kind);
// The type of a column that is made for `type`: "bigint", "numeric(10, 2)".
std::string PgTypeFor(DataType type);
// Digits behind the point that numeric with the modifier (pg_attribute.atttypmod) keeps; INT_MAX
// for one without a modifier.
int NumericScale(int modifier);

class PgValueReader {
 public:
  // Appends the value; false: it is not one of the column's type (then nothing was appended).
  bool Append(std::string_view text, ColumnBuilder& column);

 private:
  TimestampParser timestamps_{TimestampText::kSql};
};

// The value as PostgreSQL reads it; nothing for NULL.
std::optional<std::string> PgText(const Column& column, int64_t row);
// Appends an element of an array literal: quoted, or NULL.
void AppendPgArrayElement(const std::optional<std::string>& value, std::string& out);

// One row of COPY in text format, without its newline: fields separated by tabs, \N for NULL,
// backslash escapes. False: malformed, or not `columns` fields.
struct PgField {
  bool is_null = false;
  std::string text;
};
bool SplitCopyRow(std::string_view row, size_t columns, std::vector<PgField>& fields);

}  // namespace millrace
