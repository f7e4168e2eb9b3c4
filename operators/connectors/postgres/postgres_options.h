// Options of the postgres connectors, read from a node (operators/catalog/connector_specs.cc).
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "runtime/base/secret.h"

namespace millrace {

namespace v1 {
class Node;
}

// Where a table is.
struct PostgresTable {
  std::string host, port, user, database, schema, table;
  Secret password;

  // "orders at db:5432/shop", for messages.
  std::string Text() const;
  // "schema"."table", quoted.
  std::string Quoted() const;
};

struct PostgresSourceOptions {
  PostgresTable table;
  std::string slot;
  std::string publication;
  bool snapshot = true;  // Begin with the rows that are there.
  int snapshot_connections = 2;
  int64_t snapshot_chunk_pages = 1024;
};

struct PostgresSinkOptions {
  PostgresTable table;
  bool create_table = false;
  int64_t batch_rows = 5000;
  absl::Duration commit_timeout;
};

struct PostgresLookupOptions {
  PostgresTable table;
  absl::Duration timeout;  // Of a statement.
};

absl::StatusOr<PostgresSourceOptions> ReadPostgresSourceOptions(const v1::Node& node);
absl::StatusOr<PostgresSinkOptions> ReadPostgresSinkOptions(const v1::Node& node);
absl::StatusOr<PostgresLookupOptions> ReadPostgresLookupOptions(const v1::Node& node);

// With double quotes, as an identifier of SQL.
std::string QuotedName(std::string_view name);
// With single quotes, as a literal of SQL or an option of the replication protocol.
std::string QuotedText(std::string_view text);

}  // namespace millrace
