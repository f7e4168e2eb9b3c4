#include "operators/connectors/postgres/pg_connection.h"

#include <cstdlib>

#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

// Appendix A of PostgreSQL's manual.
absl::StatusCode CodeOf(std::string_view state) {
  const std::string_view group = state.substr(0, 2);
  if (state.empty() || group == "08" || group == "57" || group == "53" || state == "55006") {
    return state == "57014" ? absl::StatusCode::kDeadlineExceeded : absl::StatusCode::kUnavailable;
  }
  if (group == "40") return absl::StatusCode::kAborted;
  if (state == "55P03") return absl::StatusCode::kDeadlineExceeded;  // Lock time-out.
  if (state == "42501" || group == "28") return absl::StatusCode::kPermissionDenied;
  if (state == "42P01" || state == "42703" || state == "42704" || state == "3D000") {
    return absl::StatusCode::kNotFound;
  }
  if (state == "42710" || state == "42P07") return absl::StatusCode::kAlreadyExists;
  if (group == "22" || group == "23") return absl::StatusCode::kInvalidArgument;
  return absl::StatusCode::kFailedPrecondition;
}

std::string Trimmed(const char* message) {
  std::string text = message == nullptr ? "" : message;
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  for (char& c : text) {
    if (c == '\n') c = ' ';
  }
  return text;
}

}  // namespace

int64_t PgRows::affected() const { return std::strtoll(PQcmdTuples(result_.get()), nullptr, 10); }

absl::StatusOr<std::unique_ptr<PgConnection>> PgConnection::Open(const PostgresTable& table,
                                                                 bool replication) {
  const char* const names[] = {"host",
                               "port",
                               "user",
                               "password",
                               "dbname",
                               "options",
                               "connect_timeout",
                               "application_name",
                               "keepalives_idle",
                               replication ? "replication" : nullptr,
                               nullptr};
  const char* const values[] = {
      table.host.c_str(),
      table.port.c_str(),
      table.user.c_str(),
      table.password.empty() ? nullptr : table.password.Reveal().c_str(),
      table.database.c_str(),
      "-c datestyle=ISO -c timezone=UTC -c extra_float_digits=3 -c bytea_output=hex "
      "-c intervalstyle=iso_8601 -c client_min_messages=warning -c client_encoding=UTF8",
      "10",
      "millrace",
      "10",
      replication ? "database" : nullptr,
      nullptr};
  auto connection =
      std::unique_ptr<PgConnection>(new PgConnection(PQconnectdbParams(names, values, 0)));
  PGconn* handle = connection->handle();
  if (handle == nullptr || PQstatus(handle) != CONNECTION_OK) {
    const std::string reason = Trimmed(PQerrorMessage(handle));
    // A refused password or a database that does not exist stays so; libpq gives no code here.
    const bool final = reason.find("authentication") != std::string::npos ||
                       reason.find("does not exist") != std::string::npos;
    return absl::Status(
        final ? absl::StatusCode::kPermissionDenied : absl::StatusCode::kUnavailable,
        Concat("cannot connect to PostgreSQL: ", table.Text(), ": ", reason));
  }
  return connection;
}

absl::Status PgConnection::Failed(const PGresult* result, std::string_view attempted) const {
  const char* state = result == nullptr ? nullptr : PQresultErrorField(result, PG_DIAG_SQLSTATE);
  const bool lost = PQstatus(connection_.get()) != CONNECTION_OK;
  const absl::StatusCode code =
      lost ? absl::StatusCode::kUnavailable : CodeOf(state == nullptr ? "" : state);
  return absl::Status(code, Concat("PostgreSQL: ",
                                   Trimmed(result == nullptr ? PQerrorMessage(connection_.get())
                                                             : PQresultErrorMessage(result)),
                                   " [", attempted.substr(0, 120), "]"));
}

absl::StatusOr<PgRows> PgConnection::Run(const std::string& sql) {
  PgRows rows(PQexec(connection_.get(), sql.c_str()));
  PGresult* result = rows.result();
  const ExecStatusType status = PQresultStatus(result);
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) return Failed(result, sql);
  return rows;
}

absl::StatusOr<PgRows> PgConnection::Run(
    const std::string& sql, const std::vector<std::optional<std::string>>& parameters) {
  std::vector<const char*> values;
  for (const auto& parameter : parameters) {
    values.push_back(parameter ? parameter->c_str() : nullptr);
  }
  PgRows rows(PQexecParams(connection_.get(), sql.c_str(), static_cast<int>(values.size()), nullptr,
                           values.data(), nullptr, nullptr, 0));
  PGresult* result = rows.result();
  const ExecStatusType status = PQresultStatus(result);
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) return Failed(result, sql);
  return rows;
}

absl::Status PgConnection::BeginCopy(const std::string& sql) {
  PgRows rows(PQexec(connection_.get(), sql.c_str()));
  const ExecStatusType status = PQresultStatus(rows.result());
  if (status != PGRES_COPY_OUT && status != PGRES_COPY_BOTH) return Failed(rows.result(), sql);
  return absl::OkStatus();
}

absl::StatusOr<PgConnection::Copy> PgConnection::Receive(std::string_view* data) {
  char* bytes = nullptr;
  int size = PQgetCopyData(connection_.get(), &bytes, /*async=*/1);
  if (size == 0) {
    if (PQconsumeInput(connection_.get()) == 0) return Failed(nullptr, "receive");
    size = PQgetCopyData(connection_.get(), &bytes, /*async=*/1);
  }
  copied_.reset(bytes);
  if (size > 0) {
    *data = {bytes, static_cast<size_t>(size)};
    return Copy::kData;
  }
  if (size == 0) return Copy::kNothing;
  if (size == -2) return Failed(nullptr, "receive");
  absl::Status status;
  while (PGresult* result = PQgetResult(connection_.get())) {
    PgRows rows(result);
    const ExecStatusType end = PQresultStatus(result);
    if (end == PGRES_COPY_IN || end == PGRES_COPY_BOTH) break;  // The server ends the stream.
    if (end != PGRES_COMMAND_OK && end != PGRES_TUPLES_OK && status.ok()) {
      status = Failed(result, "receive");
    }
  }
  if (!status.ok()) return status;
  return Copy::kEnd;
}

absl::Status PgConnection::Send(std::string_view data) {
  if (PQputCopyData(connection_.get(), data.data(), static_cast<int>(data.size())) != 1) {
    return Failed(nullptr, "send");
  }
  // A call of its own: the order of arguments' evaluation is not defined.
  if (PQflush(connection_.get()) < 0) return Failed(nullptr, "send");
  return absl::OkStatus();
}

}  // namespace millrace
