#include "operators/connectors/postgres/postgres_options.h"

#include "millrace/v1/graph.pb.h"
#include "operators/connectors/node_options.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

std::string Quoted(std::string_view text, char quote) {
  std::string quoted(1, quote);
  for (const char c : text) {
    quoted.push_back(c);
    if (c == quote) quoted.push_back(quote);
  }
  quoted.push_back(quote);
  return quoted;
}

absl::StatusOr<PostgresTable> ReadTable(const OptionReader& reader) {
  const auto text = [&](std::string_view name) -> absl::StatusOr<std::string> {
    MILLRACE_ASSIGN_OR_RETURN(auto value, reader.String(name));
    return value.value_or("");
  };
  PostgresTable table;
  MILLRACE_ASSIGN_OR_RETURN(table.host, text("hostname"));
  MILLRACE_ASSIGN_OR_RETURN(const auto port, reader.Int("port"));
  table.port = std::to_string(*port);
  MILLRACE_ASSIGN_OR_RETURN(table.user, text("username"));
  MILLRACE_ASSIGN_OR_RETURN(std::string password, text("password"));
  table.password = Secret(std::move(password));
  MILLRACE_ASSIGN_OR_RETURN(table.database, text("database-name"));
  MILLRACE_ASSIGN_OR_RETURN(table.schema, text("schema-name"));
  MILLRACE_ASSIGN_OR_RETURN(table.table, text("table-name"));
  return table;
}

}  // namespace

std::string PostgresTable::Text() const {
  return Concat("table=", schema, ".", table, " database=", database, " server=", host, ":", port);
}

std::string PostgresTable::Quoted() const {
  return Concat(QuotedName(schema), ".", QuotedName(table));
}

std::string QuotedName(std::string_view name) { return Quoted(name, '"'); }
std::string QuotedText(std::string_view text) { return Quoted(text, '\''); }

absl::StatusOr<PostgresSourceOptions> ReadPostgresSourceOptions(const v1::Node& node) {
  MILLRACE_ASSIGN_OR_RETURN(const OptionMap all, ReadNodeOptions(node));
  MILLRACE_ASSIGN_OR_RETURN(const ConnectorSpec* spec, FindConnectorSpec("postgres-cdc"));
  const OptionReader reader(spec->source_options, all);
  PostgresSourceOptions options;
  MILLRACE_ASSIGN_OR_RETURN(options.table, ReadTable(reader));
  MILLRACE_ASSIGN_OR_RETURN(const auto slot, reader.String("slot.name"));
  options.slot = slot.value_or("");
  MILLRACE_ASSIGN_OR_RETURN(const auto publication, reader.String("publication.name"));
  options.publication = publication.value_or(options.slot + "_publication");
  MILLRACE_ASSIGN_OR_RETURN(const auto mode, reader.Enum("scan.startup.mode"));
  options.snapshot = *mode == 0;
  MILLRACE_ASSIGN_OR_RETURN(const auto connections, reader.Int("scan.snapshot.connections"));
  options.snapshot_connections = static_cast<int>(*connections);
  MILLRACE_ASSIGN_OR_RETURN(const auto pages, reader.Int("scan.snapshot.chunk-pages"));
  options.snapshot_chunk_pages = *pages;
  return options;
}

absl::StatusOr<PostgresSinkOptions> ReadPostgresSinkOptions(const v1::Node& node) {
  MILLRACE_ASSIGN_OR_RETURN(const OptionMap all, ReadNodeOptions(node));
  MILLRACE_ASSIGN_OR_RETURN(const ConnectorSpec* spec, FindConnectorSpec("postgres"));
  const OptionReader reader(spec->sink_options, all);
  PostgresSinkOptions options;
  MILLRACE_ASSIGN_OR_RETURN(options.table, ReadTable(reader));
  MILLRACE_ASSIGN_OR_RETURN(const auto create, reader.Bool("sink.create-table"));
  options.create_table = *create;
  MILLRACE_ASSIGN_OR_RETURN(const auto rows, reader.Int("sink.batch-rows"));
  options.batch_rows = *rows;
  MILLRACE_ASSIGN_OR_RETURN(const auto timeout, reader.Duration("sink.commit-timeout"));
  options.commit_timeout = *timeout;
  return options;
}

absl::StatusOr<PostgresLookupOptions> ReadPostgresLookupOptions(const v1::Node& node) {
  MILLRACE_ASSIGN_OR_RETURN(const OptionMap all, ReadNodeOptions(node, TableUse::kLookup));
  MILLRACE_ASSIGN_OR_RETURN(const ConnectorSpec* spec, FindConnectorSpec("postgres"));
  const OptionReader reader(spec->lookup_options, all);
  PostgresLookupOptions options;
  MILLRACE_ASSIGN_OR_RETURN(options.table, ReadTable(reader));
  MILLRACE_ASSIGN_OR_RETURN(const auto timeout, reader.Duration("lookup.timeout"));
  options.timeout = *timeout;
  return options;
}

}  // namespace millrace
