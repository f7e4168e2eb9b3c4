#include "operators/connectors/postgres/pg_table_identity.h"

#include <algorithm>

#include "runtime/base/text.h"

namespace millrace {
namespace {

// A modifier that is a precision: to change it rounds the rows. Others are limits of lengths.
bool HasPrecision(uint32_t type_oid) {
  constexpr uint32_t kRounded[] = {1083, 1114, 1184, 1186, 1266, 1700};  // Times, numeric.
  return std::find(std::begin(kRounded), std::end(kRounded), type_oid) != std::end(kRounded);
}

// Kept in checkpoints, so it must stay what it is.
std::string HashOf(const PgTableColumn& column) {
  return std::to_string(Fnv1a(Concat(column.name, "\n", column.type_oid, "\n",
                                     HasPrecision(column.type_oid) ? column.type_modifier : -1)));
}

}  // namespace

std::string PgTableIdentity(uint32_t oid, const std::vector<PgTableColumn>& columns) {
  std::vector<std::string> hashes;
  for (const PgTableColumn& column : columns) hashes.push_back(HashOf(column));
  return Concat(oid, ":", Join(hashes, ","));
}

std::string PgTableChange(std::string_view identity, uint32_t oid,
                          const std::vector<PgTableColumn>& columns) {
  const size_t colon = identity.find(':');
  if (colon == std::string_view::npos || identity.substr(0, colon) != std::to_string(oid)) {
    return "the table was dropped and made anew";
  }
  const std::string known = Concat(",", identity.substr(colon + 1), ",");
  for (const PgTableColumn& column : columns) {
    if (known.find(Concat(",", HashOf(column), ",")) != std::string::npos) continue;
    return Concat(
        "column '", column.name,
        "' is new or has another type, and its values in earlier rows are not in the stream");
  }
  return {};
}

}  // namespace millrace
