// One connection to PostgreSQL (libpq), closed with its object.
//
// Threading: one thread at a time.
// Errors:    kUnavailable: the connection cannot be made or is lost, or the server is shutting down
//            or short of connections. kDeadlineExceeded: a statement was cancelled by its time-out.
//            kAborted: a serialisation failure or deadlock. kPermissionDenied, kNotFound (a table,
//            column, slot), kAlreadyExists, kInvalidArgument (wrong data). Else
//            kFailedPrecondition.
#pragma once

#include <libpq-fe.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "operators/connectors/postgres/postgres_options.h"

namespace millrace {

// The rows of one statement.
class PgRows {
 public:
  explicit PgRows(PGresult* result) : result_(result, &PQclear) {}
  int rows() const { return PQntuples(result_.get()); }
  bool IsNull(int row, int column) const { return PQgetisnull(result_.get(), row, column) == 1; }
  std::string_view Text(int row, int column) const {
    return {PQgetvalue(result_.get(), row, column),
            static_cast<size_t>(PQgetlength(result_.get(), row, column))};
  }
  int64_t affected() const;
  PGresult* result() const { return result_.get(); }

 private:
  std::unique_ptr<PGresult, decltype(&PQclear)> result_;
};

class PgConnection {
 public:
  // `replication`: speaks the replication protocol too. Values come in ISO form, in UTC.
  static absl::StatusOr<std::unique_ptr<PgConnection>> Open(const PostgresTable& table,
                                                            bool replication);

  // A statement, or several without parameters. Blocks.
  absl::StatusOr<PgRows> Run(const std::string& sql);
  // One statement with parameters as text; nothing = NULL.
  absl::StatusOr<PgRows> Run(const std::string& sql,
                             const std::vector<std::optional<std::string>>& parameters);
  // Begins COPY ... TO STDOUT, or START_REPLICATION.
  absl::Status BeginCopy(const std::string& sql);

  enum class Copy { kData, kNothing, kEnd };
  // The next piece, if it is there; `data` is valid until the next call.
  absl::StatusOr<Copy> Receive(std::string_view* data);
  // Sends a piece of a replication stream.
  absl::Status Send(std::string_view data);

  PGconn* handle() { return connection_.get(); }

 private:
  explicit PgConnection(PGconn* connection) : connection_(connection, &PQfinish) {}
  absl::Status Failed(const PGresult* result, std::string_view attempted) const;

  std::unique_ptr<PGconn, decltype(&PQfinish)> connection_;
  std::unique_ptr<char, decltype(&PQfreemem)> copied_{nullptr, &PQfreemem};
};

}  // namespace millrace
