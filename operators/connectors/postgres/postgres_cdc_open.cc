// Before the first row: the table, the publication and the slot are made, checked or found missing.
#include <algorithm>
#include <map>

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
  system_id_ = std::string(system.Text(0, 0));
  if (position_.phase == PgPosition::Phase::kStreaming) {
    MILLRACE_RETURN_IF_ERROR(CheckSlot(*monitor_));
    return BeginStream();
  }
  truncate_first_ = position_.phase == PgPosition::Phase::kSnapshot;
  MILLRACE_RETURN_IF_ERROR(EnsurePublication(*monitor_));
  return MakeSlot(*stream_);
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
      connection.Run("SELECT c.oid, c.relreplident FROM pg_class c JOIN pg_namespace n ON n.oid = "
                     "c.relnamespace WHERE n.nspname = $1 AND c.relname = $2",
                     {options_.table.schema, options_.table.table}));
  if (table.rows() == 0) {
    return absl::NotFoundError(Concat("there is no such table: ", options_.table.Text()));
  }
  if (table.Text(0, 1) == "n") {
    problems.push_back(
        "REPLICA IDENTITY is NOTHING: deleted rows could not be told from one another; "
        "ALTER TABLE … REPLICA IDENTITY DEFAULT or FULL");
  }
  MILLRACE_ASSIGN_OR_RETURN(
      const PgRows found,
      connection.Run("SELECT attname, atttypid, format_type(atttypid, atttypmod) FROM pg_attribute "
                     "WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped",
                     {std::string(table.Text(0, 0))}));
  std::map<std::string, std::pair<uint32_t, std::string>, std::less<>> types;
  for (int row = 0; row < found.rows(); ++row) {
    types[std::string(found.Text(row, 0))] = {
        static_cast<uint32_t>(std::stoul(std::string(found.Text(row, 1)))),
        std::string(found.Text(row, 2))};
  }
  for (const Field& column : columns_) {
    const auto type = types.find(column.name);
    if (type == types.end()) {
      problems.push_back(Concat("there is no column '", column.name, "'"));
    } else if (!CanReadPgType(type->second.first, column.type)) {
      problems.push_back(Concat("column '", column.name, "' is ", type->second.second,
                                ", which cannot be read as ", TypeName(column.type)));
    }
  }
  if (problems.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      Concat("cannot read the changes of ", options_.table.Text(), ": ", Join(problems, "; ")));
}

absl::Status PostgresCdcSource::EnsurePublication(PgConnection& connection) {
  MILLRACE_ASSIGN_OR_RETURN(
      const PgRows publications,
      connection.Run("SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate FROM "
                     "pg_publication WHERE pubname = $1",
                     {options_.publication}));
  if (publications.rows() == 0) {
    LogInfo("creates a publication",
            {{"uid", context_->node.uid()}, {"publication", options_.publication}});
    return connection
        .Run(Concat("CREATE PUBLICATION ", QuotedName(options_.publication), " FOR TABLE ",
                    options_.table.Quoted()))
        .status();
  }
  MILLRACE_ASSIGN_OR_RETURN(
      const PgRows tables,
      connection.Run(
          "SELECT 1 FROM pg_publication_tables WHERE pubname = $1 AND schemaname = $2 AND "
          "tablename = $3",
          {options_.publication, options_.table.schema, options_.table.table}));
  if (tables.rows() == 0 || publications.Text(0, 0) != "t") {
    return absl::FailedPreconditionError(
        Concat("publication '", options_.publication, "' does not publish all changes of ",
               options_.table.Text(), ": ALTER PUBLICATION … ADD TABLE …, or name another one"));
  }
  return absl::OkStatus();
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
  position_.system_id = system_id_;
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

// Everything behind the position must still be in the slot.
absl::Status PostgresCdcSource::CheckSlot(PgConnection& connection) {
  const std::string lost = Concat("changes of ", options_.table.Text(), " behind ",
                                  PgLsnText(position_.lsn), " are lost: ");
  const std::string advice =
      "; the table must be read anew: start a new job, with a slot of its own";
  if (position_.system_id != system_id_) {
    return absl::DataLossError(Concat(lost, "this is another server (system identifier ",
                                      system_id_, ", the checkpoint is of ", position_.system_id,
                                      ")", advice));
  }
  MILLRACE_ASSIGN_OR_RETURN(
      const PgRows slot,
      connection.Run("SELECT wal_status, confirmed_flush_lsn, plugin, active_pid FROM "
                     "pg_replication_slots WHERE slot_name = $1",
                     {options_.slot}));
  if (slot.rows() == 0) {
    return absl::DataLossError(Concat(lost, "slot '", options_.slot,
                                      "' does not exist (dropped, or the server failed over)",
                                      advice));
  }
  if (slot.Text(0, 0) == "lost" || slot.IsNull(0, 0)) {
    return absl::DataLossError(Concat(lost, "slot '", options_.slot,
                                      "' was invalidated: it held more than "
                                      "max_slot_wal_keep_size",
                                      advice));
  }
  if (!slot.IsNull(0, 3)) {
    return absl::UnavailableError(Concat("slot '", options_.slot, "' is in use by process ",
                                         slot.Text(0, 3), " of the server"));
  }
  MILLRACE_ASSIGN_OR_RETURN(const PgLsn confirmed, ParsePgLsn(slot.Text(0, 1)));
  if (confirmed > position_.lsn) {
    return absl::DataLossError(Concat(lost, "slot '", options_.slot, "' was moved on to ",
                                      PgLsnText(confirmed),
                                      " by somebody else, or by a later run of the job", advice));
  }
  return absl::OkStatus();
}

absl::Status PostgresCdcSource::BeginStream() {
  position_.phase = PgPosition::Phase::kStreaming;
  skip_transaction_ = position_.transaction;
  skip_rows_ = position_.rows;
  received_ = position_.lsn;
  return stream_->BeginCopy(Concat("START_REPLICATION SLOT ", QuotedName(options_.slot),
                                   " LOGICAL ", PgLsnText(position_.lsn),
                                   " (proto_version '1', publication_names ",
                                   QuotedText(QuotedName(options_.publication)), ")"));
}

}  // namespace millrace
