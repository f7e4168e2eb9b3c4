// Writes rows into a PostgreSQL table, exactly once: they wait in the outbox until their epoch is
// durable; Commit writes them, and the marker that says so, in one transaction.
//
// With a key, rows replace the row of their key and -D deletes it; without one, rows are inserted.
// The marker is a row of the table `_millrace_commits` in the same schema.
//
// Threading: as for every Sink; what Commit uses is only used by Commit.
// Errors:    kFailedPrecondition: the table is not fit (all problems at once), or the marker is
//            ahead of the checkpoint. kAborted: a newer owner has the slot. kInvalidArgument: the
//            server refuses a row. kUnavailable: not done within the time-out.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/synchronization/notification.h"
#include "operators/connectors/postgres/pg_batch.h"
#include "operators/connectors/postgres/pg_connection.h"
#include "operators/connectors/postgres/postgres_options.h"
#include "runtime/task/sink.h"

namespace millrace {

class PostgresSink : public Sink {
 public:
  explicit PostgresSink(PostgresSinkOptions options) : options_(std::move(options)) {}
  ~PostgresSink() override { stop_.Notify(); }

  absl::Status Open(SinkContext& context) override;
  absl::Status Write(const Batch& batch) override;
  absl::StatusOr<v1::CommitToken> Prepare(Epoch epoch) override;
  absl::Status Commit(const v1::CommitToken& token) override;

 private:
  absl::Status CreateTable(PgConnection& connection) const;
  absl::Status CheckTable(PgConnection& connection);
  absl::Status CheckKey(PgConnection& connection, std::vector<std::string>& problems);
  // Fences whoever had the slot before and makes the marker's row.
  absl::Status Fence(uint32_t slot);
  absl::Status CommitOnce(const v1::CommitToken& token);
  absl::Status Apply(const v1::CommitToken& token);
  std::string Markers() const;

  const PostgresSinkOptions options_;
  SinkContext* context_ = nullptr;
  std::vector<PgTargetColumn> columns_;  // As the schema; constant after Open.
  std::string block_;                    // Rows that are not in the outbox yet.

  // Io thread.
  absl::Notification stop_;  // Ends the pauses between attempts.
  std::unique_ptr<PgConnection> connection_;
  std::map<uint32_t, bool> fenced_;  // By slot; of this connection's owner.
};

}  // namespace millrace
