// The messages of PostgreSQL's logical replication with the plugin pgoutput, protocol 1 (PostgreSQL
// 15 manual, sections 55.4 and 55.9). Everything here comes from outside: lengths are checked
// against the message, counts against limits.
//
// Threading: pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"

namespace millrace {

using PgLsn = uint64_t;
// "16/B374D848".
std::string PgLsnText(PgLsn lsn);
absl::StatusOr<PgLsn> ParsePgLsn(std::string_view text);

// What a CopyData message of the stream holds.
struct PgWalData {
  PgLsn start = 0;
  PgLsn end = 0;
  std::string_view payload;
};
struct PgKeepalive {
  PgLsn end = 0;
  bool reply_requested = false;
};
absl::StatusOr<std::variant<PgWalData, PgKeepalive>> ReadPgFrame(std::string_view frame);

// The receiver's progress, as the server wants it.
std::string PgStatusUpdate(PgLsn written, PgLsn flushed, int64_t unix_us);

struct PgColumnValue {
  enum class Kind : uint8_t { kNull, kUnchanged, kText };
  Kind kind = Kind::kNull;
  std::string_view text;
};
using PgTuple = std::vector<PgColumnValue>;

struct PgBegin {
  PgLsn final_lsn = 0;  // Of the commit.
};
struct PgCommit {
  PgLsn commit_lsn = 0;
  PgLsn end_lsn = 0;
};
struct PgRelation {
  struct Column {
    bool in_key = false;
    std::string name;
    uint32_t type_oid = 0;
    int32_t type_modifier = -1;
  };
  uint32_t oid = 0;
  std::string schema, name;
  char replica_identity = 'd';  // d, n, f, i.
  std::vector<Column> columns;
};
struct PgInsert {
  uint32_t relation = 0;
  PgTuple row;
};
struct PgUpdate {
  uint32_t relation = 0;
  char old_kind = 0;  // 0: none; 'K': the old key; 'O': the old row.
  PgTuple old_row;
  PgTuple row;
};
struct PgDelete {
  uint32_t relation = 0;
  char old_kind = 'K';
  PgTuple old_row;
};
struct PgTruncate {
  std::vector<uint32_t> relations;
};
struct PgOther {};  // Origins, types, messages.

using PgMessage =
    std::variant<PgBegin, PgCommit, PgRelation, PgInsert, PgUpdate, PgDelete, PgTruncate, PgOther>;
// kDataLoss: malformed. The views point into `payload`.
absl::StatusOr<PgMessage> ReadPgMessage(std::string_view payload);

}  // namespace millrace
