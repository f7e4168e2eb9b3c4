#include "operators/connectors/postgres/postgres_connector.h"

#include "operators/connectors/postgres/pg_connection.h"
#include "operators/connectors/postgres/pg_position.h"
#include "operators/connectors/postgres/postgres_cdc_source.h"
#include "operators/connectors/postgres/postgres_options.h"
#include "operators/connectors/postgres/postgres_sink.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

// The table is one split: its changes have one order.
class PostgresCdcDiscovery : public SplitDiscovery {
 public:
  explicit PostgresCdcDiscovery(PostgresSourceOptions options) : options_(std::move(options)) {}
  absl::StatusOr<std::vector<Split>> Discover(bool) override {
    return std::vector<Split>{
        {.id = Concat(options_.slot, "/", options_.table.schema, ".", options_.table.table),
         .position = EncodePgPosition({})}};
  }

 private:
  const PostgresSourceOptions options_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Source>> MakePostgresCdcSource(const v1::Node& node) {
  MILLRACE_ASSIGN_OR_RETURN(PostgresSourceOptions options, ReadPostgresSourceOptions(node));
  return std::make_unique<PostgresCdcSource>(std::move(options));
}

absl::StatusOr<std::unique_ptr<SplitDiscovery>> MakePostgresCdcDiscovery(const v1::Node& node,
                                                                         Env&) {
  MILLRACE_ASSIGN_OR_RETURN(PostgresSourceOptions options, ReadPostgresSourceOptions(node));
  return std::make_unique<PostgresCdcDiscovery>(std::move(options));
}

absl::StatusOr<std::vector<std::string>> CleanPostgresCdc(const v1::Node& node) {
  MILLRACE_ASSIGN_OR_RETURN(const PostgresSourceOptions options, ReadPostgresSourceOptions(node));
  MILLRACE_ASSIGN_OR_RETURN(const auto connection, PgConnection::Open(options.table, false));
  std::vector<std::string> removed;
  MILLRACE_ASSIGN_OR_RETURN(
      const PgRows slot,
      connection->Run("SELECT active FROM pg_replication_slots WHERE slot_name = $1",
                      {options.slot}));
  if (slot.rows() > 0 && slot.Text(0, 0) == "t") {
    return absl::FailedPreconditionError(
        Concat("replication slot ", options.slot, " is in use: stop the job that reads it first"));
  }
  if (slot.rows() > 0) {
    MILLRACE_RETURN_IF_ERROR(
        connection->Run("SELECT pg_drop_replication_slot($1)", {options.slot}).status());
    removed.push_back(Concat("replication slot ", options.slot));
  }
  // Other jobs may read other tables of it.
  MILLRACE_ASSIGN_OR_RETURN(
      const PgRows publication,
      connection->Run("SELECT 1 FROM pg_publication p WHERE p.pubname = $1 AND NOT p.puballtables "
                      "AND (SELECT count(*) = 1 AND bool_and(t.schemaname = $2 AND t.tablename = "
                      "$3) FROM pg_publication_tables t WHERE t.pubname = p.pubname)",
                      {options.publication, options.table.schema, options.table.table}));
  if (publication.rows() > 0) {
    MILLRACE_RETURN_IF_ERROR(
        connection->Run(Concat("DROP PUBLICATION ", QuotedName(options.publication))).status());
    removed.push_back(Concat("publication ", options.publication));
  }
  return removed;
}

absl::StatusOr<std::unique_ptr<Sink>> MakePostgresSink(const v1::Node& node) {
  MILLRACE_ASSIGN_OR_RETURN(PostgresSinkOptions options, ReadPostgresSinkOptions(node));
  return std::make_unique<PostgresSink>(std::move(options));
}

}  // namespace millrace
