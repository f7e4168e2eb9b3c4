#include "operators/connectors/postgres/postgres_sink.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "millrace/v1/checkpoint.pb.h"
#include "millrace/v1/graph.pb.h"
#include "operators/connectors/postgres/pg_values.h"
#include "runtime/base/failpoint.h"
#include "runtime/base/log.h"
#include "runtime/base/status.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"
#include "runtime/checkpoint/outbox.h"
#include "runtime/task/counters.h"

namespace millrace {
namespace {

constexpr size_t kBlockBytes = 64 << 10;
constexpr size_t kBatchBytesMax = 8 << 20;  // What one statement may hold.
constexpr absl::Duration kRetryPause = absl::Milliseconds(200);

uint64_t NumberOf(std::string_view text) { return std::stoull(std::string(text)); }

}  // namespace

std::string PostgresSink::Markers() const {
  return Concat(QuotedName(options_.table.schema), ".", QuotedName("_millrace_commits"));
}

absl::Status PostgresSink::Open(SinkContext& context) {
  context_ = &context;
  const auto& key = context.node.key().ids();
  for (const Field& field : context.schema->fields()) {
    columns_.push_back({.name = field.name,
                        .type = PgTypeFor(field.type),
                        .in_key = std::find(key.begin(), key.end(), field.id) != key.end()});
  }
  MILLRACE_ASSIGN_OR_RETURN(const auto connection, PgConnection::Open(options_.table, false));
  if (options_.create_table) MILLRACE_RETURN_IF_ERROR(CreateTable(*connection));
  MILLRACE_RETURN_IF_ERROR(CheckTable(*connection));
  // Who may not make tables can have it made.
  MILLRACE_ASSIGN_OR_RETURN(const PgRows markers,
                            connection->Run("SELECT to_regclass($1) IS NOT NULL", {Markers()}));
  if (markers.Text(0, 0) == "t") return absl::OkStatus();
  const absl::Status made =
      connection
          ->Run(
              Concat("CREATE TABLE IF NOT EXISTS ", Markers(),
                     " (job_id text, sink text, slot int, epoch bigint NOT NULL, generation bigint "
                     "NOT NULL, PRIMARY KEY (job_id, sink, slot))"))
          .status();
  // Tasks that make it at the same moment meet in the catalog.
  if (absl::IsInvalidArgument(made) || absl::IsAlreadyExists(made)) return absl::OkStatus();
  return made;
}

absl::Status PostgresSink::CreateTable(PgConnection& connection) const {
  std::vector<std::string> lines, key;
  for (const PgTargetColumn& column : columns_) {
    lines.push_back(Concat(QuotedName(column.name), " ", column.type));
    if (column.in_key) key.push_back(QuotedName(column.name));
  }
  if (!key.empty()) lines.push_back(Concat("PRIMARY KEY (", Join(key, ", "), ")"));
  const absl::Status made = connection
                                .Run(Concat("CREATE TABLE IF NOT EXISTS ", options_.table.Quoted(),
                                            " (", Join(lines, ", "), ")"))
                                .status();
  if (absl::IsInvalidArgument(made) || absl::IsAlreadyExists(made)) return absl::OkStatus();
  return made;
}

// What is wrong with the table, all at once; and the types that its columns have.
absl::Status PostgresSink::CheckTable(PgConnection& connection) {
  // Types without their modifiers: an array of a type with one would cut its values silently, where
  // the column itself refuses what is too long. (A modifier of -1 is that; NULL makes char of
  // bpchar.)
  MILLRACE_ASSIGN_OR_RETURN(
      const PgRows found,
      connection.Run(
          "SELECT a.attname, format_type(a.atttypid, -1), a.attnotnull AND NOT a.atthasdef "
          "AND a.attidentity = '', CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid "
          "END, t.typcategory, a.attgenerated <> '' OR a.attidentity = 'a', "
          "format_type(a.atttypid, a.atttypmod), a.atttypmod FROM pg_attribute a JOIN pg_type t ON "
          "t.oid = a.atttypid WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT "
          "a.attisdropped",
          {options_.table.Quoted()}));
  if (found.rows() == 0) {
    return absl::NotFoundError(Concat("there is no such table: ", options_.table.Text(),
                                      "; make it, or set sink.create-table = true"));
  }
  std::vector<std::string> problems;
  std::map<std::string, int, std::less<>> rows;
  std::set<std::string, std::less<>> wanted;
  for (const PgTargetColumn& column : columns_) wanted.insert(column.name);
  for (int row = 0; row < found.rows(); ++row) {
    rows.emplace(found.Text(row, 0), row);
    if (found.Text(row, 2) == "t" && !wanted.contains(found.Text(row, 0))) {
      problems.push_back(
          Concat("column '", found.Text(row, 0), "' is NOT NULL and the rows do not have it"));
    }
  }
  for (size_t i = 0; i < columns_.size(); ++i) {
    PgTargetColumn& column = columns_[i];
    const auto row = rows.find(column.name);
    if (row == rows.end()) {
      problems.push_back(Concat("there is no column '", column.name, "'"));
      continue;
    }
    column.type = std::string(found.Text(row->second, 1));
    const DataType kind = context_->schema->field(static_cast<int>(i)).type;
    uint32_t oid = 0;
    const bool array = found.Text(row->second, 4) == "A";
    if (array || !ParseNumber(found.Text(row->second, 3), oid) ||
        (kind != TypeKind::kString && !CanWritePgType(oid, kind))) {
      problems.push_back(Concat("column '", column.name, "' is ", found.Text(row->second, 6),
                                ", which does not take ", TypeText(kind)));
    }
    int modifier = -1;
    if (kind == TypeKind::kDecimal && ParseNumber(found.Text(row->second, 7), modifier) &&
        NumericScale(modifier) < kind.scale()) {
      problems.push_back(Concat("column '", column.name, "' is ", found.Text(row->second, 6),
                                ", which would round ", TypeText(kind)));
    }
    if (found.Text(row->second, 5) == "t") {
      problems.push_back(Concat("column '", column.name, "' is generated by the server"));
    }
  }
  MILLRACE_RETURN_IF_ERROR(CheckKey(connection, problems));
  if (problems.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      Concat("cannot write to ", options_.table.Text(), ": ", Join(problems, "; ")));
}

// A unique index on the columns of the key and no others, which ON CONFLICT can use.
absl::Status PostgresSink::CheckKey(PgConnection& connection, std::vector<std::string>& problems) {
  std::set<std::string> key;
  for (const PgTargetColumn& column : columns_) {
    if (column.in_key) key.insert(column.name);
  }
  if (key.empty()) return absl::OkStatus();
  MILLRACE_ASSIGN_OR_RETURN(
      const PgRows found,
      connection.Run(
          "SELECT i.indexrelid, a.attname, a.attnotnull OR "
          "coalesce(to_jsonb(i)->>'indnullsnotdistinct' = 'true', false) FROM pg_index i "
          "JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY "
          "((i.indkey::int2[])[0:i.indnkeyatts - 1]) WHERE i.indrelid = to_regclass($1) "
          "AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND "
          "i.indexprs IS NULL",
          {options_.table.Quoted()}));
  struct Index {
    std::set<std::string> columns;
    bool nulls_are_equal = true;
  };
  std::map<std::string, Index> indexes;
  for (int row = 0; row < found.rows(); ++row) {
    Index& index = indexes[std::string(found.Text(row, 0))];
    index.columns.emplace(found.Text(row, 1));
    index.nulls_are_equal &= found.Text(row, 2) == "t";
  }
  bool unique = false, nulls_are_equal = false;
  for (const auto& [oid, index] : indexes) {
    if (index.columns != key) continue;
    unique = true;
    nulls_are_equal |= index.nulls_are_equal;
  }
  if (unique && nulls_are_equal) return absl::OkStatus();
  problems.push_back(
      unique
          ? Concat("the unique index on (", Join(key, ", "),
                   ") takes NULLs as different: make its columns NOT NULL, or the index NULLS NOT "
                   "DISTINCT")
          : Concat("there is no primary key or unique index on (", Join(key, ", "),
                   ") that is not deferrable, by which rows are updated"));
  return absl::OkStatus();
}

absl::Status PostgresSink::Write(const Batch& batch) {
  PgValues values(columns_.size());
  for (int64_t row = 0; row < batch.rows(); ++row) {
    const RowKind kind = batch.kind(row);
    if (kind == RowKind::kUpdateBefore) continue;  // The row after it replaces this one.
    for (int i = 0; i < batch.column_count(); ++i) {
      values[static_cast<size_t>(i)] = PgText(batch.column(i), row);
      const auto& value = values[static_cast<size_t>(i)];
      if (value && batch.column(i).type() == TypeKind::kString &&
          value->find('\0') != std::string::npos) {
        return absl::InvalidArgumentError(
            Concat("column '", columns_[static_cast<size_t>(i)].name,
                   "' has a NUL character, which PostgreSQL's text cannot hold: ",
                   ValueText(batch.column(i), row).substr(0, 200)));
      }
    }
    AppendPgRow(kind == RowKind::kDelete, values, block_);
    if (block_.size() < kBlockBytes) continue;
    context_->counters.bytes_out.Add(block_.size());
    MILLRACE_RETURN_IF_ERROR(context_->outbox.Append(std::exchange(block_, {})));
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::CommitToken> PostgresSink::Prepare(Epoch epoch) {
  if (!block_.empty()) {
    context_->counters.bytes_out.Add(block_.size());
    MILLRACE_RETURN_IF_ERROR(context_->outbox.Append(std::exchange(block_, {})));
  }
  return context_->outbox.Seal(epoch);
}

absl::Status PostgresSink::Commit(const v1::CommitToken& token) {
  const int64_t deadline_ns =
      context_->env.clock.MonotonicNanos() + absl::ToInt64Nanoseconds(options_.commit_timeout);
  while (true) {
    const absl::Status status = CommitOnce(token);
    if (status.ok()) return status;
    // The outcome may be unknown: a new connection finds the marker, or not.
    connection_ = nullptr;
    fenced_.clear();
    const bool again = absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status) ||
                       (absl::IsAborted(status) &&
                        status.message().find("newer generation") == absl::string_view::npos);
    if (!again || context_->env.clock.MonotonicNanos() + absl::ToInt64Nanoseconds(kRetryPause) >
                      deadline_ns) {
      context_->counters.sink_errors.Add(1);
      return status;
    }
    LogWarning("postgres sink: commit is tried again", {{"uid", token.uid()},
                                                        {"slot", token.slot()},
                                                        {"epoch", token.epoch()},
                                                        {"error", status.ToString()}});
    if (stop_.WaitForNotificationWithTimeout(kRetryPause)) return status;
  }
}

absl::Status PostgresSink::CommitOnce(const v1::CommitToken& token) {
  if (connection_ == nullptr) {
    MILLRACE_ASSIGN_OR_RETURN(connection_, PgConnection::Open(options_.table, false));
    MILLRACE_RETURN_IF_ERROR(
        connection_
            ->Run("SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = '60s'")
            .status());
  }
  if (!fenced_[token.slot()]) MILLRACE_RETURN_IF_ERROR(Fence(token.slot()));
  fenced_[token.slot()] = true;
  MILLRACE_RETURN_IF_ERROR(connection_->Run("BEGIN").status());
  const absl::Status status = Apply(token);
  if (!status.ok()) {
    (void)connection_->Run("ROLLBACK");  // The connection is given up anyway.
    return status;
  }
  MILLRACE_FAILPOINT("postgres.before_commit");
  MILLRACE_RETURN_IF_ERROR(connection_->Run("COMMIT").status());
  MILLRACE_FAILPOINT("postgres.after_commit");
  return absl::OkStatus();
}

// The row lock waits for a transaction that the former owner left open; a later one of it finds the
// higher generation.
absl::Status PostgresSink::Fence(uint32_t slot) {
  MILLRACE_ASSIGN_OR_RETURN(
      const PgRows fenced,
      connection_->Run(
          Concat("INSERT INTO ", Markers(),
                 " AS m (job_id, sink, slot, epoch, generation) VALUES ($1, "
                 "$2, $3, 0, $4) ON CONFLICT (job_id, sink, slot) DO UPDATE SET generation = "
                 "EXCLUDED.generation WHERE m.generation <= EXCLUDED.generation"),
          {context_->job_id, context_->node.uid(), std::to_string(slot),
           std::to_string(context_->generation.number)}));
  if (fenced.affected() == 1) return absl::OkStatus();
  return absl::AbortedError(Concat("a newer generation has slot ", slot));
}

absl::Status PostgresSink::Apply(const v1::CommitToken& token) {
  const std::vector<std::optional<std::string>> who = {context_->job_id, context_->node.uid(),
                                                       std::to_string(token.slot())};
  MILLRACE_ASSIGN_OR_RETURN(
      const PgRows marker,
      connection_->Run(Concat("SELECT epoch, generation FROM ", Markers(),
                              " WHERE job_id = $1 AND sink = $2 AND slot = $3 FOR UPDATE"),
                       who));
  if (marker.rows() == 0) {
    return absl::DataLossError(Concat("the marker of slot ", token.slot(), " was deleted from ",
                                      Markers(), "; what is committed cannot be known"));
  }
  const uint64_t committed = NumberOf(marker.Text(0, 0));
  const uint64_t checkpoint = std::max(token.epoch(), context_->restored_epoch.number);
  if (NumberOf(marker.Text(0, 1)) > context_->generation.number) {
    return absl::AbortedError(Concat("a newer generation has slot ", token.slot()));
  }
  if (committed > checkpoint) {
    return absl::FailedPreconditionError(
        Concat("the table already holds later output than the checkpoint: ", options_.table.Text(),
               " slot=", token.slot(), " checkpoint_epoch=", checkpoint,
               " committed_epoch=", committed, "; going on would write it twice"));
  }
  if (committed >= token.epoch()) return absl::OkStatus();
  PgBatch batch(options_.table.Quoted(), columns_);
  MILLRACE_RETURN_IF_ERROR(context_->outbox.Read(token, [&](std::string_view block) {
    while (!block.empty()) {
      bool deleted = false;
      PgValues values;
      MILLRACE_RETURN_IF_ERROR(ReadPgRow(block, columns_.size(), &deleted, &values));
      batch.Add(deleted, std::move(values));
      if (batch.rows() < static_cast<size_t>(options_.batch_rows) &&
          batch.bytes() < kBatchBytesMax) {
        continue;
      }
      MILLRACE_RETURN_IF_ERROR(batch.Write(*connection_));
    }
    return absl::OkStatus();
  }));
  MILLRACE_RETURN_IF_ERROR(batch.Write(*connection_));
  MILLRACE_FAILPOINT("postgres.before_marker");
  auto parameters = who;
  parameters.push_back(std::to_string(token.epoch()));
  return connection_
      ->Run(Concat("UPDATE ", Markers(),
                   " SET epoch = $4 WHERE job_id = $1 AND sink = $2 AND slot = $3"),
            parameters)
      .status();
}

}  // namespace millrace
