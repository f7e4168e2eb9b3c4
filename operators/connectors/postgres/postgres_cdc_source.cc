#include "operators/connectors/postgres/postgres_cdc_source.h"

#include <algorithm>
#include <utility>

#include "absl/time/time.h"
#include "millrace/v1/graph.pb.h"
#include "runtime/base/log.h"
#include "runtime/base/status.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"
#include "runtime/task/counters.h"
#include "runtime/task/dead_letters.h"

namespace millrace {
namespace {

constexpr int64_t kStatusIntervalNs = 5'000'000'000;
constexpr int64_t kLookIntervalNs = 5'000'000'000;
// Without a connection: pauses, and how long before the job restarts.
constexpr int64_t kReconnectPauseNs = 200'000'000;
constexpr int64_t kPatienceNs = 60'000'000'000;
constexpr char kBadValue[] = "MR3201";
constexpr size_t kLetterBytesMax = 4096;

}  // namespace

absl::Status PostgresCdcSource::Open(SourceContext& context, std::vector<Split> splits) {
  context_ = &context;
  const Schema& schema = *context.schema;
  std::vector<uint32_t> key(context.node.key().ids().begin(), context.node.key().ids().end());
  for (int i = 0; i < schema.size(); ++i) {
    const Field& field = schema.field(i);
    if (field.name == "$sequence") {
      sequence_column_ = i;
    } else if (field.name == "$unavailable") {
      unavailable_column_ = i;
    } else {
      tuple_index_.push_back(static_cast<int>(columns_.size()));  // As COPY sends them.
      columns_.push_back(field);
      in_key_.push_back(std::find(key.begin(), key.end(), field.id) != key.end());
    }
  }
  builder_ = std::make_unique<BatchBuilder>(context.schema, context.batch_rows_max);
  letters_ = std::make_unique<BatchBuilder>(DeadLetterSchema());
  return AddSplits(std::move(splits));
}

absl::Status PostgresCdcSource::AddSplits(std::vector<Split> splits) {
  if (splits.empty()) return absl::OkStatus();
  split_ = std::move(splits[0]);
  MILLRACE_ASSIGN_OR_RETURN(position_, DecodePgPosition(split_->position));
  retained_bytes_ = &context_->counters.metrics.Gauge(
      "millrace_cdc_slot_retained_bytes", "Log that the server keeps for the slot.", {});
  lag_bytes_ = &context_->counters.metrics.Gauge("millrace_cdc_lag_bytes",
                                                 "Log that was written and not read yet.", {});
  return Begin();
}

std::vector<Split> PostgresCdcSource::Positions() const {
  if (!split_) return {};
  Split split = *split_;
  split.position = EncodePgPosition(position_);
  return {split};
}

void PostgresCdcSource::OnEpochCompleted(const std::vector<Split>& positions) {
  if (positions.empty()) return;
  const absl::StatusOr<PgPosition> position = DecodePgPosition(positions[0].position);
  if (!position.ok() || position->phase != PgPosition::Phase::kStreaming) return;
  if (position->lsn <= confirmed_) return;
  confirmed_ = position->lsn;
  status_sent_ns_ = -kStatusIntervalNs;  // The next Poll tells the server.
}

absl::StatusOr<PollResult> PostgresCdcSource::Poll(Emitter& out) {
  if (!split_) return PollResult::kIdle;
  if (std::exchange(truncate_first_, false)) AppendTruncate();
  return snapshot_ != nullptr ? PollSnapshot(out) : PollStream(out);
}

absl::StatusOr<PollResult> PostgresCdcSource::PollSnapshot(Emitter& out) {
  std::vector<PgField> fields;
  std::string_view row;
  bool any = false;
  while (builder_->rows() < context_->batch_rows_max) {
    const auto next = snapshot_->Read(&row);
    if (!next.ok()) return Annotate(next.status(), "the snapshot was interrupted, it begins anew");
    if (*next == PgSnapshot::Next::kEnd) {
      Flush(out);
      snapshot_ = nullptr;
      MILLRACE_RETURN_IF_ERROR(BeginStream());
      return PollResult::kEmitted;
    }
    if (*next == PgSnapshot::Next::kNothing) break;
    any = true;
    context_->counters.bytes_in.Add(row.size());
    if (!SplitCopyRow(row, columns_.size(), fields)) {
      return absl::DataLossError(Concat("malformed row of ", options_.table.Text()));
    }
    AppendCopied(fields);
  }
  Flush(out);
  return any ? PollResult::kEmitted : PollResult::kIdle;
}

absl::StatusOr<PollResult> PostgresCdcSource::PollStream(Emitter& out) {
  if (lost_ns_ != 0) return Reconnect();
  bool any = false;
  absl::Status status = ReadStream(&any);
  // Rows that were read stand, and the position is behind them.
  Flush(out);
  if (status.ok()) status = SendStatus(false);
  if (status.ok()) status = LookAtSlot();
  if (status.ok()) return any ? PollResult::kEmitted : PollResult::kIdle;
  if (!absl::IsUnavailable(status)) return status;
  LogWarning("the replication stream was interrupted",
             {{"uid", context_->node.uid()}, {"error", status.ToString()}});
  lost_ns_ = context_->env.clock.MonotonicNanos();
  MILLRACE_RETURN_IF_ERROR(WaitAfter(status));
  return PollResult::kIdle;
}

absl::StatusOr<PollResult> PostgresCdcSource::Reconnect() {
  if (context_->env.clock.MonotonicNanos() < reconnect_ns_) return PollResult::kIdle;
  relation_ = 0;
  if (const absl::Status status = Begin(); !status.ok()) {
    if (!absl::IsUnavailable(status)) return status;
    MILLRACE_RETURN_IF_ERROR(WaitAfter(status));
    return PollResult::kIdle;
  }
  lost_ns_ = 0;
  LogInfo("the replication stream goes on",
          {{"uid", context_->node.uid()}, {"position", EncodePgPosition(position_)}});
  return PollResult::kEmitted;
}

absl::Status PostgresCdcSource::WaitAfter(const absl::Status& failure) {
  stream_ = nullptr;
  monitor_ = nullptr;
  const int64_t now_ns = context_->env.clock.MonotonicNanos();
  if (now_ns - lost_ns_ > kPatienceNs) {
    return Annotate(failure, "the replication stream was interrupted");
  }
  // Pauses grow with the time that it takes.
  reconnect_ns_ = now_ns + kReconnectPauseNs + (now_ns - lost_ns_) / 4;
  return absl::OkStatus();
}

absl::Status PostgresCdcSource::ReadStream(bool* any) {
  std::string_view data;
  while (builder_->rows() < context_->batch_rows_max) {
    MILLRACE_ASSIGN_OR_RETURN(const PgConnection::Copy copy, stream_->Receive(&data));
    if (copy == PgConnection::Copy::kEnd) {
      return absl::UnavailableError("the server has ended the replication stream");
    }
    if (copy == PgConnection::Copy::kNothing) break;
    *any = true;
    MILLRACE_ASSIGN_OR_RETURN(const auto frame, ReadPgFrame(data));
    if (const auto* keepalive = std::get_if<PgKeepalive>(&frame)) {
      received_ = std::max(received_, keepalive->end);
      // Between transactions, everything up to there has been sent.
      if (transaction_ == 0) position_.lsn = std::max(position_.lsn, keepalive->end);
      if (keepalive->reply_requested) MILLRACE_RETURN_IF_ERROR(SendStatus(true));
      continue;
    }
    const auto& wal = std::get<PgWalData>(frame);
    received_ = std::max(received_, wal.start);
    context_->counters.bytes_in.Add(wal.payload.size());
    MILLRACE_RETURN_IF_ERROR(Handle(wal.payload));
  }
  return absl::OkStatus();
}

absl::Status PostgresCdcSource::Handle(std::string_view payload) {
  MILLRACE_ASSIGN_OR_RETURN(const PgMessage message, ReadPgMessage(payload));
  if (const auto* begin = std::get_if<PgBegin>(&message)) {
    // Transactions come in the order of their commits.
    if (position_.transaction != 0 && begin->final_lsn > position_.transaction) {
      return Lost(Concat("the transaction ", PgLsnText(position_.transaction),
                         ", of which rows were read, did not come again"));
    }
    transaction_ = begin->final_lsn;
    transaction_rows_ = 0;
  } else if (const auto* commit = std::get_if<PgCommit>(&message)) {
    transaction_ = 0;
    position_.lsn = std::max(position_.lsn, commit->end_lsn);
    position_.transaction = position_.rows = 0;
  } else if (const auto* relation = std::get_if<PgRelation>(&message)) {
    return HandleRelation(*relation);
  } else if (const auto* insert = std::get_if<PgInsert>(&message)) {
    if (insert->relation == relation_ && IsNewRow())
      AppendRow(insert->row, RowKind::kInsert, false);
  } else if (const auto* update = std::get_if<PgUpdate>(&message)) {
    if (update->relation == relation_ && IsNewRow()) return HandleUpdate(*update);
  } else if (const auto* gone = std::get_if<PgDelete>(&message)) {
    if (gone->relation == relation_ && IsNewRow()) AppendRow(gone->old_row, RowKind::kDelete, true);
  } else if (const auto* truncate = std::get_if<PgTruncate>(&message)) {
    const auto& tables = truncate->relations;
    const bool ours = std::find(tables.begin(), tables.end(), relation_) != tables.end();
    if (ours && IsNewRow()) AppendTruncate();
  }
  return absl::OkStatus();
}

// Rows are counted within their transaction, so that a checkpoint in its middle is exact.
bool PostgresCdcSource::IsNewRow() {
  ++transaction_rows_;
  if (transaction_ == skip_transaction_ && transaction_rows_ <= skip_rows_) return false;
  position_.transaction = transaction_;
  position_.rows = transaction_rows_;
  return true;
}

absl::Status PostgresCdcSource::HandleRelation(const PgRelation& relation) {
  const bool named =
      relation.schema == options_.table.schema && relation.name == options_.table.table;
  if (!named && relation.oid != table_oid_) return absl::OkStatus();  // Of another table.
  if (!named) return Lost(Concat("it is now called ", relation.schema, ".", relation.name));
  std::vector<std::string> problems;
  std::vector<PgTableColumn> read;
  tuple_index_.assign(columns_.size(), -1);
  for (size_t i = 0; i < columns_.size(); ++i) {
    for (size_t at = 0; at < relation.columns.size(); ++at) {
      if (relation.columns[at].name == columns_[i].name) tuple_index_[i] = static_cast<int>(at);
    }
    if (tuple_index_[i] < 0) {
      problems.push_back(Concat("column '", columns_[i].name, "' is gone, or not published"));
      continue;
    }
    const auto& column = relation.columns[static_cast<size_t>(tuple_index_[i])];
    read.push_back({column.name, column.type_oid, column.type_modifier});
    if (in_key_[i] && !column.in_key && relation.replica_identity != 'f') {
      problems.push_back(Concat("column '", column.name,
                                "' of the key is not part of the table's replica identity"));
    }
  }
  if (problems.empty()) {
    if (auto change = PgTableChange(position_.table, relation.oid, read); !change.empty()) {
      problems.push_back(std::move(change));
    }
  }
  if (!problems.empty()) return Lost(Concat("the table has changed: ", Join(problems, "; ")));
  relation_ = relation.oid;
  return absl::OkStatus();
}

absl::Status PostgresCdcSource::HandleUpdate(const PgUpdate& update) {
  // The old row comes when the key has changed, or always with REPLICA IDENTITY FULL.
  bool key_changed = update.old_kind == 'K';
  if (update.old_kind == 'O') {
    for (size_t i = 0; i < columns_.size(); ++i) {
      if (!in_key_[i]) continue;
      const auto at = static_cast<size_t>(tuple_index_[i]);
      if (at >= update.old_row.size() || at >= update.row.size()) break;
      // A long value that did not change is not sent again.
      if (update.row[at].kind == PgColumnValue::Kind::kUnchanged) continue;
      key_changed |= update.old_row[at].kind != update.row[at].kind ||
                     update.old_row[at].text != update.row[at].text;
    }
  }
  if (!key_changed) {
    PgTuple row = update.row;
    for (size_t i = 0; i < row.size() && i < update.old_row.size(); ++i) {
      if (row[i].kind == PgColumnValue::Kind::kUnchanged) row[i] = update.old_row[i];
    }
    AppendRow(row, RowKind::kUpdateAfter, false);
    return absl::OkStatus();
  }
  AppendRow(update.old_row, RowKind::kDelete, true);
  return AppendMoved(update);
}

// The row of an update under its new key. What did not change belongs to the old key for those
// behind, so it must be here: in the old row, or else in the table.
absl::Status PostgresCdcSource::AppendMoved(const PgUpdate& update) {
  PgTuple row = update.row;
  std::vector<size_t> missing;
  for (size_t i = 0; i < columns_.size(); ++i) {
    const auto at = static_cast<size_t>(tuple_index_[i]);
    if (at >= row.size() || row[at].kind != PgColumnValue::Kind::kUnchanged) continue;
    if (update.old_kind == 'O' && at < update.old_row.size()) {
      row[at] = update.old_row[at];
    } else {
      missing.push_back(i);
    }
  }
  if (missing.empty()) {
    AppendRow(row, RowKind::kInsert, false);
    return absl::OkStatus();
  }
  std::vector<std::string> names, conditions;
  std::vector<std::optional<std::string>> key;
  for (const size_t i : missing) names.push_back(QuotedName(columns_[i].name));
  for (size_t i = 0; i < columns_.size(); ++i) {
    if (!in_key_[i]) continue;
    key.emplace_back(row[static_cast<size_t>(tuple_index_[i])].text);
    conditions.push_back(Concat(QuotedName(columns_[i].name), " = $", key.size()));
  }
  const auto found =
      monitor_->Run(Concat("SELECT ", Join(names, ", "), " FROM ", options_.table.Quoted(),
                           " WHERE ", Join(conditions, " AND ")),
                    key);
  // The old key is already gone from this batch: only a restart from the checkpoint is exact.
  if (!found.ok()) {
    return absl::AbortedError(
        Concat("cannot look up a value that did not change: ", MessageOf(found.status())));
  }
  const PgRows& now = *found;
  // It may have changed again, which the stream will tell; or be gone, which it will tell too.
  if (now.rows() == 0) return absl::OkStatus();
  for (size_t i = 0; i < missing.size(); ++i) {
    const int column = static_cast<int>(i);
    row[static_cast<size_t>(tuple_index_[missing[i]])] = {
        .kind = now.IsNull(0, column) ? PgColumnValue::Kind::kNull : PgColumnValue::Kind::kText,
        .text = now.Text(0, column)};
  }
  AppendRow(row, RowKind::kInsert, false);
  return absl::OkStatus();
}

void PostgresCdcSource::AppendCopied(const std::vector<PgField>& fields) {
  PgTuple tuple;
  for (const PgField& field : fields) {
    tuple.push_back(
        {.kind = field.is_null ? PgColumnValue::Kind::kNull : PgColumnValue::Kind::kText,
         .text = field.text});
  }
  AppendRow(tuple, RowKind::kInsert, false);
}

// `only_key`: of a deleted row nothing else is to be believed.
void PostgresCdcSource::AppendRow(const PgTuple& tuple, RowKind kind, bool only_key) {
  context_->counters.rows_in.Add(1);
  const int64_t row = builder_->rows();
  std::string unavailable((columns_.size() + 2 + 7) / 8, '\0');
  bool any_unavailable = false;
  int to = -1;
  for (size_t i = 0; i < columns_.size(); ++i) {
    do ++to;
    while (to == sequence_column_ || to == unavailable_column_);
    ColumnBuilder& column = builder_->column(to);
    const auto at = static_cast<size_t>(tuple_index_[i]);
    const PgColumnValue value =
        at < tuple.size() && (!only_key || in_key_[i]) ? tuple[at] : PgColumnValue{};
    if (value.kind == PgColumnValue::Kind::kUnchanged) {
      any_unavailable = true;
      unavailable[static_cast<size_t>(to) / 8] |= static_cast<char>(1 << (to % 8));
    }
    if (value.kind != PgColumnValue::Kind::kText) {
      column.AppendNull();
    } else if (!values_.Append(value.text, column)) {
      for (int c = 0; c <= to; ++c) {
        if (builder_->column(c).length() > row) builder_->column(c).Truncate(row);
      }
      std::string text;
      for (const PgColumnValue& one : tuple) text += Concat(one.text, "\t");
      return AppendLetter(columns_[i].name, value.text, text);
    }
  }
  if (sequence_column_ >= 0) builder_->column(sequence_column_).AppendNull();
  if (unavailable_column_ >= 0) {
    if (any_unavailable) {
      builder_->column(unavailable_column_).AppendString(unavailable);
    } else {
      builder_->column(unavailable_column_).AppendNull();
    }
  }
  builder_->SetKind(kind);
}

void PostgresCdcSource::AppendTruncate() {
  context_->counters.rows_in.Add(1);
  for (int i = 0; i < context_->schema->size(); ++i) builder_->column(i).AppendNull();
  builder_->SetKind(RowKind::kTruncate);
}

void PostgresCdcSource::AppendLetter(std::string_view column, std::string_view value,
                                     std::string_view row) {
  const std::string type = [&] {
    for (const Field& field : columns_) {
      if (field.name == column) return TypeText(field.type);
    }
    return std::string();
  }();
  const std::string table = Concat(options_.table.schema, ".", options_.table.table);
  const std::string error =
      Concat("column '", column, "': '", value.substr(0, kLetterBytesMax), "' cannot be read as ",
             type, ", transaction ", PgLsnText(transaction_));
  AppendDeadLetter({.uid = context_->node.uid(),
                    .time_us = absl::ToUnixMicros(context_->env.clock.Now()),
                    .code = kBadValue,
                    .error = error,
                    .origin = RowOrigin{.source = table,
                                        .offset = static_cast<int64_t>(transaction_),
                                        .value = row.substr(0, kLetterBytesMax)}},
                   *letters_);
  CountDeadLetters(context_->counters, kBadValue, 1);
}

void PostgresCdcSource::Flush(Emitter& out) {
  if (builder_->rows() > 0) out.Emit(builder_->Finish());
  if (letters_->rows() > 0) out.Emit(OutputPort::kDeadLetter, letters_->Finish());
}

// Tells the server how far it may forget: nothing behind a completed epoch.
absl::Status PostgresCdcSource::SendStatus(bool now) {
  const int64_t now_ns = context_->env.clock.MonotonicNanos();
  if (!now && now_ns - status_sent_ns_ < kStatusIntervalNs) return absl::OkStatus();
  status_sent_ns_ = now_ns;
  return stream_->Send(
      PgStatusUpdate(received_, confirmed_, absl::ToUnixMicros(context_->env.clock.Now())));
}

// What the stream does not tell: how far behind it is, and that the table is not published any
// more.
absl::Status PostgresCdcSource::LookAtSlot() {
  const int64_t now_ns = context_->env.clock.MonotonicNanos();
  if (now_ns - looked_ns_ < kLookIntervalNs) return absl::OkStatus();
  looked_ns_ = now_ns;
  MILLRACE_RETURN_IF_ERROR(CheckPublication(*monitor_));
  MILLRACE_ASSIGN_OR_RETURN(
      const PgRows rows,
      monitor_->Run("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint, "
                    "pg_wal_lsn_diff(pg_current_wal_lsn(), $2::pg_lsn)::bigint FROM "
                    "pg_replication_slots WHERE slot_name = $1",
                    {options_.slot, PgLsnText(position_.lsn)}));
  if (rows.rows() == 0) return absl::OkStatus();
  const auto number = [&](int column) {
    int64_t bytes = 0;
    (void)ParseNumber(rows.Text(0, column), bytes);  // NULL: 0.
    return static_cast<double>(std::max<int64_t>(0, bytes));
  };
  retained_bytes_->Set(number(0));
  lag_bytes_->Set(number(1));
  return absl::OkStatus();
}

}  // namespace millrace
