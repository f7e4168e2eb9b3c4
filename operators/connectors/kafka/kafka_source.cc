#include "operators/connectors/kafka/kafka_source.h"

#include <algorithm>
#include <limits>

#include "millrace/v1/graph.pb.h"
#include "operators/connectors/kafka/kafka_errors.h"
#include "operators/connectors/kafka/text.h"
#include "runtime/base/check.h"
#include "runtime/base/log.h"
#include "runtime/base/status_macros.h"
#include "runtime/task/counters.h"

namespace millrace {
namespace {

constexpr uint32_t kNoSplit = ~uint32_t{0};
constexpr int64_t kLagIntervalNs = 200'000'000;

KafkaProperties ConsumerSettings(const KafkaSourceOptions& options, std::string_view uid) {
  KafkaProperties settings = {
      // Nobody joins the group: partitions are assigned by hand. The client wants a name all the
      // same.
      {"group.id", options.group_id.empty() ? Text("millrace-", uid) : options.group_id},
      {"enable.auto.commit", "false"},
      {"enable.auto.offset.store", "false"},
      {"enable.partition.eof", "true"},
      {"auto.offset.reset", "error"},
      {"check.crcs", "true"},
      {"isolation.level", "read_committed"},
      {"max.poll.interval.ms", "86400000"},
  };
  // Bounds over all partitions of the task. A short queue of small fetches is still in the cache
  // when it is decoded: a fifth more events per CPU-second than 64 MB, and less memory.
  const auto unless_given = [&](std::string_view name, std::string_view value) {
    if (!options.client.properties.contains(name)) settings.emplace(name, value);
  };
  unless_given("queued.max.messages.kbytes", "8192");
  unless_given("queued.min.messages", "1000000");
  if (rd_kafka_version() >= kKafkaWithQueueBackoff) unless_given("fetch.queue.backoff.ms", "5");
  unless_given("fetch.wait.max.ms", "20");
  unless_given("fetch.message.max.bytes", "524288");
  unless_given("fetch.error.backoff.ms", "100");
  return settings;
}

absl::StatusOr<TypeKind> MetadataType(std::string_view name) {
  if (name == "topic") return TypeKind::kString;
  if (name == "partition") return TypeKind::kInt32;
  if (name == "offset") return TypeKind::kInt64;
  if (name == "timestamp") return TypeKind::kTimestamp;
  if (name == "key") return TypeKind::kBytes;
  return absl::InvalidArgumentError(Text("no such metadata of a Kafka source: '", name,
                                         "'; there are topic, partition, offset, timestamp, key"));
}

std::string_view KeyOf(const rd_kafka_message_t& message) {
  return {static_cast<const char*>(message.key), message.key_len};
}

FormatOptions OptionsOf(const v1::Node& node) {
  return {node.source().options().begin(), node.source().options().end()};
}

}  // namespace

KafkaSource::~KafkaSource() {
  // No wake after this: the task may be gone before the client is.
  if (queue_ != nullptr) rd_kafka_queue_cb_event_enable(queue_.get(), nullptr, nullptr);
}

absl::Status KafkaSource::Open(SourceContext& context, std::vector<Split> splits) {
  context_ = &context;
  MILLRACE_RETURN_IF_ERROR(BindColumns());
  MILLRACE_ASSIGN_OR_RETURN(client_,
                            KafkaClient::Make(KafkaClient::Role::kConsumer, options_.client,
                                              ConsumerSettings(options_, context.node.uid())));
  rd_kafka_poll_set_consumer(client_->handle());
  queue_.reset(rd_kafka_queue_get_consumer(client_->handle()));
  if (context.wake != nullptr) {
    rd_kafka_queue_cb_event_enable(
        queue_.get(),
        [](rd_kafka_t*, void* opaque) { static_cast<SourceContext*>(opaque)->wake(); }, &context);
  }
  fetch_lag_ = &context.counters.metrics.Gauge(
      "millrace_source_fetch_lag_seconds",
      "Age of the newest record when it was fetched, of the split where it was oldest.", {});
  fetched_.resize(static_cast<size_t>(std::max<int64_t>(1, context.batch_rows_max)));
  return AddSplits(std::move(splits));
}

absl::Status KafkaSource::BindColumns() {
  const v1::Schema& declared = context_->node.schema();
  const Schema& wanted = *context_->schema;
  std::vector<Field> decoded;
  std::vector<Field> described;
  for (const Field& field : wanted.fields()) {
    std::string_view metadata;
    for (const v1::Field& f : declared.fields()) {
      if (f.name() == field.name) metadata = f.metadata();
    }
    if (metadata.empty() ||
        field.name.starts_with('$')) {  // The format knows where a change stands.
      decoded.push_back(field);
      continue;
    }
    MILLRACE_ASSIGN_OR_RETURN(const TypeKind type, MetadataType(metadata));
    const bool text_key = metadata == "key" && field.type == TypeKind::kString;
    const bool wide_partition = metadata == "partition" && field.type == TypeKind::kInt64;
    if (field.type != type && !text_key && !wide_partition) {
      return absl::InvalidArgumentError(Text("metadata column '", field.name, "': '", metadata,
                                             "' is ", TypeName(type), ", declared as ",
                                             TypeName(field.type)));
    }
    const Metadata kind = metadata == "topic"       ? Metadata::kTopic
                          : metadata == "partition" ? Metadata::kPartition
                          : metadata == "offset"    ? Metadata::kOffset
                          : metadata == "timestamp" ? Metadata::kTimestamp
                                                    : Metadata::kKey;
    metadata_.push_back({kind, field.type, static_cast<int>(described.size())});
    described.push_back(field);
  }
  std::vector<Field> key;
  for (const uint32_t id : context_->node.key().ids()) {
    const int i = wanted.IndexOfId(id);
    if (i < 0) return absl::InternalError("the key of the source is not among its columns");
    key.push_back(wanted.field(i));
  }
  dead_letter_schema_ = DeadLetterSchema();
  MILLRACE_ASSIGN_OR_RETURN(records_,
                            MakeRowMaker(options_.format, std::move(decoded), described, key));
  if (!options_.upsert) return absl::OkStatus();
  const std::string_view key_format = KeyFormat(options_.key_format, key);
  MILLRACE_ASSIGN_OR_RETURN(deletes_, MakeRowMaker(key_format, key, described, key));
  return absl::OkStatus();
}

absl::StatusOr<KafkaSource::RowMaker> KafkaSource::MakeRowMaker(
    std::string_view format_name, std::vector<Field> decoded, const std::vector<Field>& described,
    const std::vector<Field>& key) const {
  MILLRACE_ASSIGN_OR_RETURN(const Format* format, FindFormat(format_name));
  if (format->make_decoder == nullptr) {
    return absl::InvalidArgumentError(Text("the format cannot be read: '", format_name, "'"));
  }
  RowMaker maker;
  DecodedTable table{.schema = Schema::Make(decoded)};
  for (const Field& field : key) table.key.push_back(table.schema->IndexOfId(field.id));
  for (const Field& field : decoded) table.places.push_back(context_->schema->IndexOfId(field.id));
  MILLRACE_ASSIGN_OR_RETURN(maker.decoder, format->make_decoder(table, OptionsOf(context_->node)));
  maker.metadata_base = static_cast<int>(decoded.size());
  for (const Field& field : context_->schema->fields()) {
    const auto value = std::find(decoded.begin(), decoded.end(), field);
    const auto metadata = std::find(described.begin(), described.end(), field);
    maker.order.push_back(value != decoded.end() ? static_cast<int>(value - decoded.begin())
                          : metadata != described.end()
                              ? maker.metadata_base + static_cast<int>(metadata - described.begin())
                              : -1);
  }
  decoded.insert(decoded.end(), described.begin(), described.end());
  maker.builder =
      std::make_unique<BatchBuilder>(Schema::Make(std::move(decoded)), context_->batch_rows_max);
  return maker;
}

absl::Status KafkaSource::AddSplits(std::vector<Split> splits) {
  if (splits.empty()) return absl::OkStatus();
  const KafkaDeadline deadline(context_->env.clock, options_.client.request_timeout);
  KafkaListHandle assigned(rd_kafka_topic_partition_list_new(static_cast<int>(splits.size())));
  for (Split& split : splits) {
    SplitState state;
    MILLRACE_ASSIGN_OR_RETURN(state.partition, ParseKafkaSplitId(split.id));
    MILLRACE_ASSIGN_OR_RETURN(const KafkaPosition position, DecodeKafkaPosition(split.position));
    state.id = std::move(split.id);
    state.next_offset = position.offset;
    state.end = position.end;
    state.finished = split.finished || (state.end && state.next_offset >= *state.end);
    if (!state.finished) {
      // Besides the check, asking first makes the first message arrive in 20 ms instead of 500.
      MILLRACE_ASSIGN_OR_RETURN(const KafkaOffsetRange range,
                                client_->OffsetRange(state.partition, deadline));
      MILLRACE_RETURN_IF_ERROR(CheckRange(state, range));
      rd_kafka_topic_partition_list_add(assigned.get(), state.partition.topic.c_str(),
                                        state.partition.partition)
          ->offset = state.next_offset;
      ++unfinished_;
    }
    state.lag = &context_->counters.metrics.Gauge(
        "millrace_source_partition_lag_records", "Records known to wait, by partition.",
        {{"topic", state.partition.topic},
         {"partition", std::to_string(state.partition.partition)}});
    state.lag->Set(std::numeric_limits<double>::quiet_NaN());  // Not known yet.
    split_index_[state.partition] = static_cast<uint32_t>(splits_.size());
    splits_.push_back(std::move(state));
  }
  last_topic_ = nullptr;
  if (assigned->cnt == 0) return absl::OkStatus();
  const KafkaErrorHandle error(rd_kafka_incremental_assign(client_->handle(), assigned.get()));
  if (error != nullptr) {
    return client_->Failed(rd_kafka_error_code(error.get()), "cannot assign partitions");
  }
  return absl::OkStatus();
}

absl::Status KafkaSource::CheckRange(const SplitState& split, const KafkaOffsetRange& range) const {
  const std::string where =
      Text("topic=", split.partition.topic, " partition=", split.partition.partition);
  if (split.next_offset < range.low) {
    return absl::DataLossError(Text("records were deleted before they were read: ", where,
                                    " next=", split.next_offset, " first_available=", range.low,
                                    " missing=", range.low - split.next_offset));
  }
  if (split.next_offset > range.high) {
    return absl::DataLossError(Text(
        "the log ends before the position of the job, the topic was truncated or created anew: ",
        where, " next=", split.next_offset, " end=", range.high,
        " missing=", split.next_offset - range.high));
  }
  return absl::OkStatus();
}

absl::StatusOr<PollResult> KafkaSource::Poll(Emitter& out) {
  if (unfinished_ == 0) {
    // Unbounded sources without a split (more tasks than partitions) wait for new ones.
    return options_.end == KafkaEnd::kUnbounded ? PollResult::kIdle : PollResult::kEnd;
  }
  const ssize_t count =
      rd_kafka_consume_batch_queue(queue_.get(), 0, fetched_.data(), fetched_.size());
  if (count < 0) return client_->Failed(rd_kafka_last_error(), "cannot read messages");
  absl::Status status;
  for (ssize_t i = 0; i < count && status.ok(); ++i) {
    const rd_kafka_message_t& message = *fetched_[static_cast<size_t>(i)];
    if (message.err != RD_KAFKA_RESP_ERR_NO_ERROR) {
      status = HandleError(message);
      continue;
    }
    SplitState* split = Find(message);
    if (split == nullptr || split->finished || message.offset < split->next_offset) continue;
    if (split->end && message.offset >= *split->end) {
      Finish(*split);
      continue;
    }
    split->arrived.push_back(&message);
    split->next_offset = message.offset + 1;
    if (split->end && split->next_offset >= *split->end) Finish(*split);
  }
  const int64_t now_ms = absl::ToUnixMillis(context_->env.clock.Now());
  for (uint32_t i = 0; i < splits_.size(); ++i) {
    if (!splits_[i].arrived.empty()) {
      rd_kafka_timestamp_type_t type;
      const int64_t at_ms = rd_kafka_message_timestamp(splits_[i].arrived.back(), &type);
      if (at_ms > 0) splits_[i].fetch_lag_s = static_cast<double>(now_ms - at_ms) / 1e3;
    }
    // Nothing of a Poll that failed may be seen: its positions will not be stored either.
    if (status.ok() && !splits_[i].arrived.empty()) EmitSplit(i, out);
    splits_[i].arrived.clear();
  }
  for (ssize_t i = 0; i < count; ++i) rd_kafka_message_destroy(fetched_[static_cast<size_t>(i)]);
  MILLRACE_RETURN_IF_ERROR(status);
  UpdateLag();
  if (count > 0) client_->WakeFetchers();
  if (unfinished_ == 0) return PollResult::kEnd;
  return count > 0 ? PollResult::kEmitted : PollResult::kIdle;
}

absl::Status KafkaSource::HandleError(const rd_kafka_message_t& message) {
  SplitState* split = message.rkt != nullptr ? Find(message) : nullptr;
  if (message.err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
    if (split == nullptr || split->finished) return absl::OkStatus();
    // What lies between the last row and here are aborted and control records.
    split->next_offset = std::max(split->next_offset, message.offset);
    if (split->end && split->next_offset >= *split->end) {
      split->next_offset = *split->end;
      Finish(*split);
    }
    return absl::OkStatus();
  }
  const std::string attempted =
      split == nullptr
          ? "cannot read messages:"
          : Text("cannot read messages: topic=", split->partition.topic,
                 " partition=", split->partition.partition, " offset=", split->next_offset);
  if (split != nullptr && (message.err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ||
                           message.err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE)) {
    const KafkaDeadline deadline(context_->env.clock, options_.client.request_timeout);
    MILLRACE_ASSIGN_OR_RETURN(const KafkaOffsetRange range,
                              client_->OffsetRange(split->partition, deadline));
    MILLRACE_RETURN_IF_ERROR(CheckRange(*split, range));
  }
  if (rd_kafka_fatal_error(client_->handle(), nullptr, 0) != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return client_->Failed(message.err, attempted);
  }
  if (split == nullptr) {
    // Brokers that come and go; the client reconnects by itself, and the job stands still
    // meanwhile.
    LogWarning("kafka source", {{"uid", context_->node.uid()},
                                {"brokers", options_.client.brokers},
                                {"error", rd_kafka_message_errstr(&message)}});
    return absl::OkStatus();
  }
  if (message.err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
      message.err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION ||
      message.err == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC) {
    // Perhaps only for a moment. A restart asks again, and fails the job when it is true.
    return absl::UnavailableError(Text(attempted, ": ", rd_kafka_message_errstr(&message)));
  }
  return KafkaStatus(message.err, attempted, rd_kafka_message_errstr(&message));
}

void KafkaSource::Finish(SplitState& split) {
  split.finished = true;
  split.lag->Set(0);
  --unfinished_;
  const KafkaListHandle list(rd_kafka_topic_partition_list_new(1));
  rd_kafka_topic_partition_list_add(list.get(), split.partition.topic.c_str(),
                                    split.partition.partition);
  // Only saves the fetching of what nobody wants; what still arrives is skipped.
  const KafkaErrorHandle ignored(rd_kafka_incremental_unassign(client_->handle(), list.get()));
}

KafkaSource::SplitState* KafkaSource::Find(const rd_kafka_message_t& message) {
  if (message.rkt != last_topic_) {
    last_topic_ = message.rkt;
    last_topic_name_ = rd_kafka_topic_name(message.rkt);
    last_topic_splits_.clear();
    for (auto it = split_index_.lower_bound({last_topic_name_, 0});
         it != split_index_.end() && it->first.topic == last_topic_name_; ++it) {
      const auto partition = static_cast<size_t>(it->first.partition);
      if (last_topic_splits_.size() <= partition)
        last_topic_splits_.resize(partition + 1, kNoSplit);
      last_topic_splits_[partition] = it->second;
    }
  }
  const auto partition = static_cast<size_t>(message.partition);
  if (message.partition < 0 || partition >= last_topic_splits_.size()) return nullptr;
  const uint32_t index = last_topic_splits_[partition];
  return index == kNoSplit ? nullptr : &splits_[index];
}

void KafkaSource::EmitSplit(uint32_t index, Emitter& out) {
  Messages rest = splits_[index].arrived;
  if (!options_.upsert) return EmitRun(index, rest, false, out);
  while (!rest.empty()) {
    const bool deletes = rest[0]->payload == nullptr;
    const auto end = std::find_if(rest.begin(), rest.end(), [deletes](const auto* message) {
      return (message->payload == nullptr) != deletes;
    });
    const Messages run = rest.first(static_cast<size_t>(end - rest.begin()));
    EmitRun(index, run, deletes, out);
    rest = rest.subspan(run.size());
  }
}

void KafkaSource::EmitRun(uint32_t index, Messages run, bool deletes, Emitter& out) {
  const SplitState& split = splits_[index];
  RowMaker& maker = deletes ? deletes_ : records_;
  messages_.clear();
  none_.clear();
  uint64_t bytes = 0;
  for (const rd_kafka_message_t* m : run) {
    const std::string_view value(static_cast<const char*>(m->payload), m->len);
    messages_.push_back({.value = deletes ? KeyOf(*m) : value,
                         .is_null = (deletes ? m->key : m->payload) == nullptr});
    bytes += m->len + m->key_len;
  }
  padding_.Pad(messages_);
  maker.decoder->BeginSplit(split.id);
  maker.decoder->Decode(messages_, *maker.builder, none_);
  size_t next_none = 0;
  if (!metadata_.empty()) {
    for (size_t i = 0; i < run.size(); ++i) {
      if (next_none < none_.size() && none_[next_none].index == i) {
        ++next_none;
        continue;
      }
      for (const MetadataColumn& column : metadata_) {
        AppendMetadata(column, maker.builder->column(maker.metadata_base + column.index), split,
                       *run[i]);
      }
    }
  }
  context_->counters.rows_in.Add(run.size());
  context_->counters.rows_skipped.Add(CountSkipped(none_));
  context_->counters.bytes_in.Add(bytes);
  const int64_t rows = static_cast<int64_t>(run.size() - none_.size());
  if (rows > 0) {
    const Batch built = maker.builder->Finish();
    MILLRACE_CHECK(built.column_count() == 0 || built.rows() == rows);
    std::vector<Column> columns;
    columns.reserve(maker.order.size());
    for (size_t i = 0; i < maker.order.size(); ++i) {
      const int from = maker.order[i];
      const TypeKind type = context_->schema->field(static_cast<int>(i)).type;
      columns.push_back(from < 0 ? NullColumn(type, rows) : built.column(from));
    }
    Batch batch(context_->schema, rows, std::move(columns));
    batch.split = index;
    batch.set_kinds(built.kinds_buffer());
    if (deletes) {
      batch.set_kinds(Buffer::CopyOf(
          std::string(static_cast<size_t>(rows), static_cast<char>(RowKind::kDelete))));
    }
    out.Emit(std::move(batch));
  }
  if (!none_.empty()) EmitDeadLetters(index, run, out);
}

void KafkaSource::AppendMetadata(const MetadataColumn& column, ColumnBuilder& builder,
                                 const SplitState& split, const rd_kafka_message_t& message) {
  switch (column.kind) {
    case Metadata::kTopic:
      builder.AppendString(split.partition.topic);
      break;
    case Metadata::kPartition:
      if (column.type == TypeKind::kInt64) {
        builder.AppendInt64(message.partition);
      } else {
        builder.AppendInt32(message.partition);
      }
      break;
    case Metadata::kOffset:
      builder.AppendInt64(message.offset);
      break;
    case Metadata::kTimestamp: {
      rd_kafka_timestamp_type_t type;
      const int64_t millis = rd_kafka_message_timestamp(&message, &type);
      if (type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE) {
        builder.AppendNull();
      } else {
        builder.AppendInt64(millis * 1000);
      }
      break;
    }
    case Metadata::kKey:
      if (message.key == nullptr) {
        builder.AppendNull();
      } else {
        builder.AppendString(KeyOf(message));
      }
      break;
  }
}

void KafkaSource::EmitDeadLetters(uint32_t index, Messages run, Emitter& out) {
  const SplitState& split = splits_[index];
  BatchBuilder letters(dead_letter_schema_, static_cast<int64_t>(none_.size()));
  const int64_t now_us = absl::ToUnixMicros(context_->env.clock.Now());
  for (const NoRow& bad : none_) {
    if (!bad.is_bad()) continue;
    const rd_kafka_message_t& message = *run[bad.index];
    letters.column(0).AppendString(context_->node.uid());
    letters.column(1).AppendString(split.partition.topic);
    letters.column(2).AppendInt32(message.partition);
    letters.column(3).AppendInt64(message.offset);
    letters.column(4).AppendInt64(now_us);
    letters.column(5).AppendString(bad.code);
    letters.column(6).AppendString(bad.error);
    if (message.key == nullptr) {
      letters.column(7).AppendNull();
    } else {
      letters.column(7).AppendString(KeyOf(message));
    }
    if (message.payload == nullptr) {
      letters.column(8).AppendNull();
    } else {
      letters.column(8).AppendString({static_cast<const char*>(message.payload), message.len});
    }
    CountDeadLetters(context_->counters, bad.code, 1);
  }
  Batch batch = letters.Finish();
  batch.split = index;
  out.Emit(OutputPort::kDeadLetter, std::move(batch));
}

void KafkaSource::UpdateLag() {
  const int64_t now_ns = context_->env.clock.MonotonicNanos();
  // The last one says that nothing waits any more.
  if (now_ns - lag_updated_ns_ < kLagIntervalNs && unfinished_ > 0) return;
  lag_updated_ns_ = now_ns;
  uint64_t lag = 0;
  double fetch_lag_s = 0;
  for (const SplitState& split : splits_) {
    if (split.finished) continue;
    fetch_lag_s = std::max(fetch_lag_s, split.fetch_lag_s);
    int64_t low = 0;
    int64_t high = 0;
    // Cached from the last fetch: no request.
    if (rd_kafka_get_watermark_offsets(client_->handle(), split.partition.topic.c_str(),
                                       split.partition.partition, &low,
                                       &high) != RD_KAFKA_RESP_ERR_NO_ERROR) {
      continue;
    }
    const int64_t end = std::min(high, split.end.value_or(high));
    const int64_t waiting = std::max<int64_t>(0, end - split.next_offset);
    split.lag->Set(static_cast<double>(waiting));
    lag += static_cast<uint64_t>(waiting);
  }
  context_->counters.lag_rows.Set(lag);
  fetch_lag_->Set(fetch_lag_s);
}

std::vector<Split> KafkaSource::Positions() const {
  std::vector<Split> positions;
  positions.reserve(splits_.size());
  for (const SplitState& split : splits_) {
    positions.push_back({.id = split.id,
                         .position = EncodeKafkaPosition({split.next_offset, split.end}),
                         .finished = split.finished});
  }
  return positions;
}

void KafkaSource::OnEpochCompleted(const std::vector<Split>& positions) {
  if (options_.group_id.empty() || client_ == nullptr || positions.empty()) return;
  const KafkaListHandle list(rd_kafka_topic_partition_list_new(static_cast<int>(positions.size())));
  for (const Split& split : positions) {
    const auto partition = ParseKafkaSplitId(split.id);
    const auto position = DecodeKafkaPosition(split.position);
    if (!partition.ok() || !position.ok()) continue;
    rd_kafka_topic_partition_list_add(list.get(), partition->topic.c_str(), partition->partition)
        ->offset = position->offset;
  }
  // For lag tools only; a failure is repaired by the next epoch.
  rd_kafka_commit(client_->handle(), list.get(), /*async=*/1);
}

}  // namespace millrace
