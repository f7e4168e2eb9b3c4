// Which table the rows of a stream belong to, and how its columns were: what is kept beside a
// position, because the stream is silent about rows that a DROP TABLE or an ALTER TYPE changes.
//
// Threading: pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace millrace {

struct PgTableColumn {
  std::string name;
  uint32_t type_oid = 0;
  int32_t type_modifier = -1;
};

// "OID:HASH,HASH,…": one hash per column; no spaces.
std::string PgTableIdentity(uint32_t oid, const std::vector<PgTableColumn>& columns);

// What makes the table another one than that of `identity`; empty: nothing. Columns that are no
// longer read do not count.
std::string PgTableChange(std::string_view identity, uint32_t oid,
                          const std::vector<PgTableColumn>& columns);

}  // namespace millrace
