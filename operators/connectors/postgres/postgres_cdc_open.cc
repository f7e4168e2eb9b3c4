// Before the first row: the table, the publication and the slot are made, checked or found missing.
#include <algorithm>
#include <map>
#include <set>

#include "millrace/v1/graph.pb.h"
#include "operators/connectors/postgres/postgres_cdc_source.h"
#include "runtime/base/failpoint.h"
#include "runtime/base/log.h"
#include "runtime/base/status.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {

absl::Status PostgresCdcSource::Begin() {
  MILLRACE_ASSIGN_OR_RETURN(monitor_, PgConnection::Open(options_.table, false));
  MILLRACE_RETURN_IF_ERROR(CheckTable(*monitor_));
  MILLRACE_ASSIGN_OR_RETURN(stream_, PgConnection::Open(options_.table, true));
  MILLRACE_ASSIGN_OR_RETURN(const PgRows system, stream_->Run("IDENTIFY_SYSTEM"));
  server_ = Concat(system.Text(0, 0), "/", system.Text(0, 1));
  if (position_.phase == PgPosition::Phase::kStreaming) {
    MILLRACE_ASSIGN_OR_RETURN(const PgLsn end, ParsePgLsn(system.Text(0, 2)));
    MILLRACE_RETURN_IF_ERROR(CheckSlot(*monitor_, end));
    MILLRACE_RETURN_IF_ERROR(CheckPublication(*monitor_));
    return BeginStream();
  }
  truncate_first_ = position_.phase == PgPosition::Phase::kSnapshot;
  MILLRACE_RETURN_IF_ERROR(EnsurePublication(*monitor_));
  return MakeSlot(*stream_);
}

absl::Status PostgresCdcSource::Lost(std::string_view why) const {
  return absl::DataLossError(Concat(
      "changes of ", options_.table.Text(), " behind ", PgLsnText(position_.lsn), " are lost: ",
      why, "; the table must be read anew: start a new job, with a slot of its own"));
}

// What is wrong with the server and the table for reading changes, all at once.
absl::Status PostgresCdcSource::CheckTable(PgConnection& connection) {
  std::vector<std::string> problems;
  MILLRACE_ASSIGN_OR_RETURN(const PgRows server, connection.Run("SHOW wal_level"));
  if (server.Text(0, 0) != "logical") {
    problems.push_back(Concat("wal_level is '", server.Text(0, 0),
                              "': set wal_level = logical and restart the server"));
  }
  MILLRACE_ASSIGN_OR_RETURN(
      const PgRows table,
      connection.Run(
          "SELECT c.oid, c.relreplident, c.relkind, c.relpersistence, c.relkind = 'r' AND "
          "EXISTS (SELECT 1 FROM pg_inherits WHERE inhparent = c.oid) FROM pg_class c "
          "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND "
          "c.relname = $2",
          {options_.table.schema, options_.table.table}));
  if (table.rows() == 0) {
    const std::string missing = Concat("there is no such table: ", options_.table.Text());
    return position_.phase == PgPosition::Phase::kStreaming ? Lost(missing)
                                                            : absl::NotFoundError(missing);
  }
  const std::string_view kind = table.Text(0, 2);
  if (kind != "r" && kind != "p") problems.push_back("it is not a table");
  if (table.Text(0, 3) != "p") {
    problems.push_back("it is unlogged or temporary: its changes are not in the log");
  }
  if (table.Text(0, 4) == "t") problems.push_back("other tables inherit from it");
  const std::string oid(table.Text(0, 0));
  MILLRACE_RETURN_IF_ERROR(CheckKey(connection, oid, table.Text(0, 1), problems));
  MILLRACE_RETURN_IF_ERROR(CheckColumns(connection, oid, problems));
  if (problems.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      Concat("cannot read the changes of ", options_.table.Text(), ": ", Join(problems, "; ")));
}

// Whether the key finds a row, and changes tell which. A table that publishes changes without a
// replica identity refuses its own users' UPDATE and DELETE: this comes before the publication.
absl::Status PostgresCdcSource::CheckKey(PgConnection& connection, const std::string& oid,
                                         std::string_view identity,
                                         std::vector<std::string>& problems) {
  MILLRACE_ASSIGN_OR_RETURN(
      const PgRows found,
      connection.Run(
          "SELECT i.indexrelid, CASE $2 WHEN 'd' THEN i.indisprimary WHEN 'i' THEN "
          "i.indisreplident ELSE false END, a.attname FROM pg_index i JOIN pg_attribute a "
          "ON a.attrelid = i.indrelid AND a.attnum = ANY ((i.indkey::int2[])[0:"
          "i.indnkeyatts - 1]) WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid "
          "AND i.indpred IS NULL AND i.indexprs IS NULL",
          {oid, std::string(identity)}));
  std::set<std::string, std::less<>> key, told;
  for (size_t i = 0; i < columns_.size(); ++i) {
    if (in_key_[i]) key.insert(columns_[i].name);
  }
  std::map<std::string, bool> unique;  // By index: whether all its columns are in the key.
  for (int row = 0; row < found.rows(); ++row) {
    const bool in_key = key.contains(found.Text(row, 2));
    unique.try_emplace(std::string(found.Text(row, 0)), true).first->second &= in_key;
    if (found.Text(row, 1) == "t") told.emplace(found.Text(row, 2));
  }
  if (std::none_of(unique.begin(), unique.end(), [](const auto& index) { return index.second; })) {
    problems.push_back(Concat("the key (", Join(key, ", "),
                              ") may have several rows: no primary key or unique index within it"));
  }
  if (identity == "n") {
    problems.push_back(
        "REPLICA IDENTITY is NOTHING: deleted rows could not be told from one another; "
        "ALTER TABLE … REPLICA IDENTITY DEFAULT or FULL");
  } else if (identity != "f" && told.empty()) {
    problems.push_back(
        "it has no replica identity: give it a primary key, or ALTER TABLE … REPLICA "
        "IDENTITY FULL");
  } else if (identity != "f") {
    for (const std::string& column : key) {
      if (told.contains(column)) continue;
      problems.push_back(
          Concat("column '", column, "' of the key is not part of the table's replica identity"));
    }
  }
  return absl::OkStatus();
}

absl::Status PostgresCdcSource::CheckColumns(PgConnection& connection, const std::string& oid,
                                             std::vector<std::string>& problems) {
  MILLRACE_ASSIGN_OR_RETURN(
      const PgRows found,
      connection.Run("SELECT attname, atttypid, atttypmod, format_type(atttypid, atttypmod) FROM "
                     "pg_attribute WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped",
                     {oid}));
  std::map<std::string, int, std::less<>> rows;
  for (int row = 0; row < found.rows(); ++row) rows.emplace(found.Text(row, 0), row);
  std::vector<PgTableColumn> read;
  for (const Field& column : columns_) {
    const auto row = rows.find(column.name);
    if (row == rows.end()) {
      problems.push_back(Concat("there is no column '", column.name, "'"));
      continue;
    }
    PgTableColumn& one = read.emplace_back();
    one.name = column.name;
    if (!ParseNumber(found.Text(row->second, 1), one.type_oid) ||
        !ParseNumber(found.Text(row->second, 2), one.type_modifier)) {
      return absl::DataLossError("the catalog of the server makes no sense");
    }
    if (!CanReadPgType(one.type_oid, column.type)) {
      problems.push_back(Concat("column '", column.name, "' is ", found.Text(row->second, 3),
                                ", which cannot be read as ", TypeText(column.type)));
    }
  }
  if (!ParseNumber(oid, table_oid_)) {
    return absl::DataLossError("the catalog of the server makes no sense");
  }
  if (position_.phase != PgPosition::Phase::kStreaming) {
    position_.table = PgTableIdentity(table_oid_, read);
    return absl::OkStatus();
  }
  const std::string change = PgTableChange(position_.table, table_oid_, read);
  return change.empty() ? absl::OkStatus() : Lost(change);
}

absl::Status PostgresCdcSource::EnsurePublication(PgConnection& connection) {
  MILLRACE_ASSIGN_OR_RETURN(
      const PgRows publications,
      connection.Run("SELECT 1 FROM pg_publication WHERE pubname = $1", {options_.publication}));
  if (publications.rows() == 0) {
    LogInfo("creates a publication",
            {{"uid", context_->node.uid()}, {"publication", options_.publication}});
    // A partitioned table is published under its own name.
    MILLRACE_RETURN_IF_ERROR(
        connection
            .Run(Concat("CREATE PUBLICATION ", QuotedName(options_.publication), " FOR TABLE ",
                        options_.table.Quoted(), " WITH (publish_via_partition_root = true)"))
            .status());
  }
  return CheckPublication(connection);
}

// The stream is silent about what is not published: it is looked at now and then, too.
absl::Status PostgresCdcSource::CheckPublication(PgConnection& connection) {
  MILLRACE_ASSIGN_OR_RETURN(
      const PgRows tables,
      connection.Run(
          "SELECT p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate, "
          "to_jsonb(t)->>'rowfilter' IS NULL FROM pg_publication p JOIN "
          "pg_publication_tables t USING (pubname) WHERE p.pubname = $1 AND t.schemaname = "
          "$2 AND t.tablename = $3",
          {options_.publication, options_.table.schema, options_.table.table}));
  if (tables.rows() > 0 && tables.Text(0, 0) == "t" && tables.Text(0, 1) == "t") {
    return absl::OkStatus();
  }
  const std::string missing = Concat("publication '", options_.publication,
                                     "' does not publish all changes of ", options_.table.Text());
  if (position_.phase == PgPosition::Phase::kStreaming) return Lost(missing);
  return absl::FailedPreconditionError(
      Concat(missing,
             " (every kind of change, no row filter, a partitioned table by its root): "
             "ALTER PUBLICATION … ADD TABLE …, or name another one"));
}

// A new slot, whose snapshot and stream meet without gap and overlap.
absl::Status PostgresCdcSource::MakeSlot(PgConnection& connection) {
  MILLRACE_ASSIGN_OR_RETURN(
      const PgRows slots,
      monitor_->Run("SELECT active_pid FROM pg_replication_slots WHERE slot_name = $1",
                    {options_.slot}));
  if (slots.rows() > 0) {
    if (!slots.IsNull(0, 0)) {
      return absl::UnavailableError(Concat("slot '", options_.slot, "' is in use by process ",
                                           slots.Text(0, 0),
                                           " of the server; give every job a slot of its own"));
    }
    LogWarning("drops the slot of an earlier start",
               {{"uid", context_->node.uid()}, {"slot", options_.slot}});
    MILLRACE_RETURN_IF_ERROR(
        connection.Run(Concat("DROP_REPLICATION_SLOT ", QuotedName(options_.slot))).status());
  }
  MILLRACE_FAILPOINT("postgres.before_slot");
  MILLRACE_ASSIGN_OR_RETURN(
      const PgRows made,
      connection.Run(Concat("CREATE_REPLICATION_SLOT ", QuotedName(options_.slot),
                            " LOGICAL pgoutput EXPORT_SNAPSHOT")));
  MILLRACE_ASSIGN_OR_RETURN(position_.lsn, ParsePgLsn(made.Text(0, 1)));
  position_.server = server_;
  position_.phase =
      options_.snapshot ? PgPosition::Phase::kSnapshot : PgPosition::Phase::kStreaming;
  if (!options_.snapshot) return BeginStream();
  std::vector<std::string> names;
  for (const Field& column : columns_) names.push_back(QuotedName(column.name));
  MILLRACE_ASSIGN_OR_RETURN(
      snapshot_, PgSnapshot::Begin(options_, Join(names, ", "), std::string(made.Text(0, 2))));
  MILLRACE_FAILPOINT("postgres.after_slot");
  return absl::OkStatus();
}

// Everything behind the position must still be in the slot. `end`: of the server's log.
absl::Status PostgresCdcSource::CheckSlot(PgConnection& connection, PgLsn end) {
  if (position_.server != server_) {
    return Lost(Concat("this is another server, or one that took over (system identifier/timeline ",
                       server_, ", the checkpoint is of ", position_.server, ")"));
  }
  if (end < position_.lsn) return Lost(Concat("the server's log ends at ", PgLsnText(end)));
  MILLRACE_ASSIGN_OR_RETURN(
      const PgRows slot,
      connection.Run("SELECT wal_status, confirmed_flush_lsn, plugin, active_pid FROM "
                     "pg_replication_slots WHERE slot_name = $1",
                     {options_.slot}));
  const std::string name = Concat("slot '", options_.slot, "' ");
  if (slot.rows() == 0) {
    return Lost(name + "does not exist (dropped, or the server failed over)");
  }
  if (slot.Text(0, 2) != "pgoutput") return Lost(name + "is of somebody else");
  if (slot.Text(0, 0) == "lost" || slot.IsNull(0, 0)) {
    return Lost(name + "was invalidated: it held more than max_slot_wal_keep_size");
  }
  if (!slot.IsNull(0, 3)) {
    return absl::UnavailableError(
        Concat(name, "is in use by process ", slot.Text(0, 3), " of the server"));
  }
  MILLRACE_ASSIGN_OR_RETURN(const PgLsn confirmed, ParsePgLsn(slot.Text(0, 1)));
  if (confirmed <= position_.lsn) return absl::OkStatus();
  return Lost(Concat(name, "was moved on to ", PgLsnText(confirmed),
                     " by somebody else, or by a later run of the job"));
}

absl::Status PostgresCdcSource::BeginStream() {
  position_.phase = PgPosition::Phase::kStreaming;
  skip_transaction_ = position_.transaction;
  skip_rows_ = position_.rows;
  transaction_ = transaction_rows_ = 0;
  received_ = position_.lsn;
  return stream_->BeginCopy(Concat("START_REPLICATION SLOT ", QuotedName(options_.slot),
                                   " LOGICAL ", PgLsnText(position_.lsn),
                                   " (proto_version '1', publication_names ",
                                   QuotedText(QuotedName(options_.publication)), ")"));
}

}  // namespace millrace
