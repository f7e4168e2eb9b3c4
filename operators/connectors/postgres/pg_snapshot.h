// Reads the rows of a table as of an exported snapshot, over several connections at a time, in
// chunks of pages. What a connection has received and the reader has not taken stays within the
// socket's buffers.
//
// Threading: one thread.
// Errors:    as PgConnection; any of them ends the snapshot.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "operators/connectors/postgres/pg_connection.h"
#include "operators/connectors/postgres/postgres_options.h"

namespace millrace {

class PgSnapshot {
 public:
  // `columns`: quoted names. `snapshot`: the name that the replication connection gave out, which
  // must not be used before this returns.
  static absl::StatusOr<std::unique_ptr<PgSnapshot>> Begin(const PostgresSourceOptions& options,
                                                           const std::string& columns,
                                                           const std::string& snapshot);

  enum class Next { kRow, kNothing, kEnd };
  // A row in COPY's text format, without its newline; valid until the next call.
  absl::StatusOr<Next> Read(std::string_view* row);

 private:
  struct Reader {
    std::unique_ptr<PgConnection> connection;
  };

  PgSnapshot() = default;
  absl::Status PlanChunks(const PostgresSourceOptions& options);
  absl::Status BeginChunk(Reader& reader);

  std::string select_;                // Up to FROM and the table.
  std::vector<std::string> pending_;  // Conditions of the chunks that nobody reads yet.
  std::vector<Reader> readers_;
  size_t next_reader_ = 0;
};

}  // namespace millrace
