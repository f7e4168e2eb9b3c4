#include "operators/connectors/postgres/pg_snapshot.h"

#include <algorithm>
#include <cstdlib>

#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {

absl::StatusOr<std::unique_ptr<PgSnapshot>> PgSnapshot::Begin(const PostgresSourceOptions& options,
                                                              const std::string& columns,
                                                              const std::string& snapshot) {
  std::unique_ptr<PgSnapshot> made(new PgSnapshot);
  made->select_ = Concat("SELECT ", columns, " FROM ", options.table.Quoted());
  for (int i = 0; i < options.snapshot_connections; ++i) {
    Reader reader;
    MILLRACE_ASSIGN_OR_RETURN(reader.connection, PgConnection::Open(options.table, false));
    MILLRACE_RETURN_IF_ERROR(
        reader.connection
            ->Run(
                Concat("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT ",
                       QuotedText(snapshot)))
            .status());
    made->readers_.push_back(std::move(reader));
  }
  MILLRACE_RETURN_IF_ERROR(made->PlanChunks(options));
  for (Reader& reader : made->readers_) MILLRACE_RETURN_IF_ERROR(made->BeginChunk(reader));
  return made;
}

absl::Status PgSnapshot::PlanChunks(const PostgresSourceOptions& options) {
  MILLRACE_ASSIGN_OR_RETURN(
      const PgRows rows,
      readers_[0].connection->Run(
          Concat("SELECT relkind, pg_relation_size(oid) / current_setting('block_size')::int FROM "
                 "pg_class WHERE oid = ",
                 QuotedText(options.table.Quoted()), "::regclass")));
  const int64_t pages = std::atoll(std::string(rows.Text(0, 1)).c_str());
  // Only plain tables have their rows in pages of their own.
  if (rows.Text(0, 0) != "r") {
    pending_.emplace_back();
    return absl::OkStatus();
  }
  // Rows may be behind `pages` by now, but the snapshot does not see them. The last is first: the
  // list is taken from its end.
  for (int64_t begin = 0; begin == 0 || begin < pages; begin += options.snapshot_chunk_pages) {
    const bool last = begin + options.snapshot_chunk_pages >= pages;
    pending_.push_back(
        Concat(" WHERE ctid >= '(", begin, ",0)'",
               last ? "" : Concat(" AND ctid < '(", begin + options.snapshot_chunk_pages, ",0)'")));
  }
  std::reverse(pending_.begin(), pending_.end());
  return absl::OkStatus();
}

absl::Status PgSnapshot::BeginChunk(Reader& reader) {
  if (pending_.empty()) {
    reader.connection = nullptr;  // Its transaction ends with it.
    return absl::OkStatus();
  }
  MILLRACE_RETURN_IF_ERROR(
      reader.connection->BeginCopy(Concat("COPY (", select_, pending_.back(), ") TO STDOUT")));
  pending_.pop_back();
  return absl::OkStatus();
}

absl::StatusOr<PgSnapshot::Next> PgSnapshot::Read(std::string_view* row) {
  bool reading = false;
  for (size_t i = 0; i < readers_.size(); ++i) {
    Reader& reader = readers_[next_reader_ % readers_.size()];
    if (reader.connection != nullptr) {
      reading = true;
      MILLRACE_ASSIGN_OR_RETURN(const PgConnection::Copy copy, reader.connection->Receive(row));
      if (copy == PgConnection::Copy::kData) {
        if (!row->empty() && row->back() == '\n') row->remove_suffix(1);
        return Next::kRow;
      }
      if (copy == PgConnection::Copy::kEnd) MILLRACE_RETURN_IF_ERROR(BeginChunk(reader));
    }
    ++next_reader_;
  }
  return reading ? Next::kNothing : Next::kEnd;
}

}  // namespace millrace
