#include "operators/connectors/postgres/pg_position.h"

#include <vector>

#include "absl/strings/str_split.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {

std::string EncodePgPosition(const PgPosition& position) {
  switch (position.phase) {
    case PgPosition::Phase::kFresh:
      return "fresh";
    case PgPosition::Phase::kSnapshot:
      return "snapshot";
    case PgPosition::Phase::kStreaming:
      break;
  }
  return Concat("stream ", position.server, " ", PgLsnText(position.lsn), " ",
                PgLsnText(position.transaction), " ", position.rows, " ", position.table);
}

absl::StatusOr<PgPosition> DecodePgPosition(std::string_view text) {
  PgPosition position;
  if (text == "fresh") return position;
  position.phase = PgPosition::Phase::kSnapshot;
  if (text == "snapshot") return position;
  position.phase = PgPosition::Phase::kStreaming;
  const std::vector<std::string> parts =
      absl::StrSplit(absl::string_view(text.data(), text.size()), ' ');
  if (parts.size() != 6 || parts[0] != "stream" || parts[1].empty() || parts[5].empty() ||
      !ParseNumber(parts[4], position.rows)) {
    return absl::DataLossError(Concat("not a position of postgres-cdc: ", text));
  }
  position.server = parts[1];
  position.table = parts[5];
  MILLRACE_ASSIGN_OR_RETURN(position.lsn, ParsePgLsn(parts[2]));
  MILLRACE_ASSIGN_OR_RETURN(position.transaction, ParsePgLsn(parts[3]));
  return position;
}

}  // namespace millrace
