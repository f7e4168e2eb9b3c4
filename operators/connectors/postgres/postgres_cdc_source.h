// Changes of one PostgreSQL table: its rows as of an exported snapshot, then its logical
// replication stream from that very point on; no gap, no overlap. Rows are captured changes
// (sql/changelog.h) for `normalize`.
//
// The slot is confirmed only up to positions of completed epochs. A restart goes on behind the last
// row of the restored epoch, also in the middle of a transaction; during the snapshot it begins
// anew, with a truncate first.
//
// Threading: as for Source; it blocks while it opens.
// Errors:    kDataLoss: the slot is lost, was moved by somebody else, or belongs to another server.
//            kFailedPrecondition: the server, the table or the publication is not fit; all problems
//            at once. kUnavailable: the connection, during the snapshot, or for more than a minute
//            of the stream; the job restarts.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "operators/connectors/postgres/pg_connection.h"
#include "operators/connectors/postgres/pg_position.h"
#include "operators/connectors/postgres/pg_snapshot.h"
#include "operators/connectors/postgres/pg_table_identity.h"
#include "operators/connectors/postgres/pg_values.h"
#include "operators/connectors/postgres/pgoutput.h"
#include "operators/connectors/postgres/postgres_options.h"
#include "runtime/task/operator_metrics.h"
#include "runtime/task/source.h"

namespace millrace {

class PostgresCdcSource : public Source {
 public:
  explicit PostgresCdcSource(PostgresSourceOptions options) : options_(std::move(options)) {}

  absl::Status Open(SourceContext& context, std::vector<Split> splits) override;
  absl::Status AddSplits(std::vector<Split> splits) override;
  absl::StatusOr<PollResult> Poll(Emitter& out) override;
  std::vector<Split> Positions() const override;
  void OnEpochCompleted(const std::vector<Split>& positions) override;

 private:
  // postgres_cdc_open.cc: what must be there before rows can be read.
  absl::Status Begin();
  absl::Status CheckTable(PgConnection& connection);
  absl::Status CheckKey(PgConnection& connection, const std::string& oid, std::string_view identity,
                        std::vector<std::string>& problems);
  absl::Status CheckColumns(PgConnection& connection, const std::string& oid,
                            std::vector<std::string>& problems);
  absl::Status EnsurePublication(PgConnection& connection);
  absl::Status CheckPublication(PgConnection& connection);
  absl::Status MakeSlot(PgConnection& connection);
  absl::Status CheckSlot(PgConnection& connection, PgLsn end);
  absl::Status BeginStream();
  // kDataLoss, with what to do.
  absl::Status Lost(std::string_view why) const;

  absl::StatusOr<PollResult> PollSnapshot(Emitter& out);
  absl::StatusOr<PollResult> PollStream(Emitter& out);
  absl::Status ReadStream(bool* any);
  // After the connection was lost: again and again, until it is back or patience ends.
  absl::StatusOr<PollResult> Reconnect();
  absl::Status WaitAfter(const absl::Status& failure);
  absl::Status Handle(std::string_view payload);
  absl::Status HandleRelation(const PgRelation& relation);
  absl::Status HandleUpdate(const PgUpdate& update);
  // False: the row was emitted before a restart.
  bool IsNewRow();
  absl::Status AppendMoved(const PgUpdate& update);
  void AppendCopied(const std::vector<PgField>& fields);
  void AppendRow(const PgTuple& tuple, RowKind kind, bool only_key);
  void AppendTruncate();
  void AppendLetter(std::string_view column, std::string_view value, std::string_view row);
  void Flush(Emitter& out);
  absl::Status SendStatus(bool now);
  absl::Status LookAtSlot();

  const PostgresSourceOptions options_;
  SourceContext* context_ = nullptr;
  std::optional<Split> split_;  // Without one, this task has nothing to do.

  // Columns of the table that are wanted: first those of the schema, in its order.
  std::vector<Field> columns_;
  std::vector<bool> in_key_;  // By column.
  int sequence_column_ = -1, unavailable_column_ = -1;
  std::unique_ptr<BatchBuilder> builder_;
  std::unique_ptr<BatchBuilder> letters_;
  PgValueReader values_;

  std::string server_;  // "system identifier/timeline"
  std::unique_ptr<PgConnection> stream_;
  std::unique_ptr<PgConnection> monitor_;  // Asks how far behind the slot is.
  std::unique_ptr<PgSnapshot> snapshot_;
  bool truncate_first_ = false;

  PgPosition position_;         // Behind the last row appended.
  PgLsn skip_transaction_ = 0;  // Of the restored position.
  uint64_t skip_rows_ = 0;
  PgLsn transaction_ = 0;  // The open one; 0 = none.
  uint64_t transaction_rows_ = 0;
  PgLsn confirmed_ = 0;  // What a completed epoch has.
  PgLsn received_ = 0;
  int64_t status_sent_ns_ = 0;
  int64_t looked_ns_ = 0;
  int64_t lost_ns_ = 0;       // When the connection was lost; 0 = it is there.
  int64_t reconnect_ns_ = 0;  // When to try again.
  OperatorMetrics::Number* retained_bytes_ = nullptr;
  OperatorMetrics::Number* lag_bytes_ = nullptr;
  // The position of each wanted column in tuples: as COPY sends them, then by relation messages.
  uint32_t relation_ = 0;   // Described by the stream; 0 = not yet.
  uint32_t table_oid_ = 0;  // Of the catalog.
  std::vector<int> tuple_index_;
};

}  // namespace millrace
