// Where a postgres-cdc source stands: the position of its split, as it is kept in checkpoints.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "operators/connectors/postgres/pgoutput.h"

namespace millrace {

struct PgPosition {
  enum class Phase {
    kFresh,      // Nothing was read: the snapshot begins, or the stream at its present end.
    kSnapshot,   // In the middle: the snapshot's transaction does not survive, it begins anew.
    kStreaming,  // From `lsn` on.
  };
  Phase phase = Phase::kFresh;
  // Streaming only: the server, as "system identifier/timeline", and the table
  // (pg_table_identity.h).
  std::string server;
  std::string table;
  PgLsn lsn = 0;  // The end of the last transaction whose rows were all emitted.
  // Of the transaction with this commit LSN the first `rows` rows were emitted, too; 0 = none.
  PgLsn transaction = 0;
  uint64_t rows = 0;
  bool operator==(const PgPosition&) const = default;
};

// Text: "fresh", "snapshot", "stream SERVER LSN TRANSACTION ROWS TABLE".
std::string EncodePgPosition(const PgPosition& position);
// kDataLoss: not such a text.
absl::StatusOr<PgPosition> DecodePgPosition(std::string_view text);

}  // namespace millrace
