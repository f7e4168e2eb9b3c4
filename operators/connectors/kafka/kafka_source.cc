#include "operators/connectors/kafka/kafka_source.h"

#include <algorithm>
#include <limits>

#include "millrace/v1/graph.pb.h"
#include "operators/connectors/kafka/kafka_errors.h"
#include "operators/connectors/kafka/native/native_fetch.h"
#include "operators/connectors/kafka/rdkafka_fetch.h"
#include "operators/connectors/kafka/text.h"
#include "runtime/base/check.h"
#include "runtime/base/status_macros.h"
#include "runtime/task/counters.h"
#include "runtime/task/dead_letters.h"

namespace millrace {
namespace {

constexpr int64_t kLagIntervalNs = 200'000'000;

KafkaProperties ConsumerSettings(const KafkaSourceOptions& options, std::string_view uid) {
  return {
      // Nobody joins the group: partitions are assigned by hand. The client wants a name all the
      // same.
      {"group.id", options.group_id.empty() ? Text("millrace-", uid) : options.group_id},
      {"enable.auto.commit", "false"},
      {"enable.auto.offset.store", "false"},
      {"isolation.level", "read_committed"},
      {"max.poll.interval.ms", "86400000"},
  };
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

void AppendBytes(std::string_view bytes, bool present, ColumnBuilder& builder) {
  if (present) {
    builder.AppendString(bytes);
  } else {
    builder.AppendNull();
  }
}

RowOrigin OriginOf(const KafkaPartition& partition, const KafkaRecord& record) {
  RowOrigin origin{
      .source = partition.topic, .partition = partition.partition, .offset = record.offset};
  if (record.has_key) origin.key = record.key;
  if (record.has_value) origin.value = record.value;
  return origin;
}

FormatOptions OptionsOf(const v1::Node& node) {
  return {node.source().options().begin(), node.source().options().end()};
}

}  // namespace

void KafkaSource::Origins::Begin(const KafkaPartition& partition,
                                 std::span<const KafkaRecord> records,
                                 const std::vector<NoRow>& none) {
  if (partition_.partition != partition.partition || partition_.topic != partition.topic) {
    partition_ = partition;
  }
  records_ = records;
  RecordOrigins::Begin(records.size(), none);
}

RowOrigin KafkaSource::Origins::Record(size_t index) const {
  return OriginOf(partition_, records_[index]);
}

absl::Status KafkaSource::Open(SourceContext& context, std::vector<Split> splits) {
  context_ = &context;
  MILLRACE_RETURN_IF_ERROR(BindColumns());
  KafkaProperties settings = ConsumerSettings(options_, context.node.uid());
  if (!options_.native_fetch) settings.merge(RdkafkaFetchSettings(options_.client));
  MILLRACE_ASSIGN_OR_RETURN(
      client_, KafkaClient::Make(KafkaClient::Role::kConsumer, options_.client, settings));
  if (options_.native_fetch) {
    MILLRACE_ASSIGN_OR_RETURN(FetchSettings fetch, MakeFetchSettings(options_.client));
    fetch_ = std::make_unique<NativeFetch>(std::move(fetch), context.env, context.node.uid());
  } else {
    fetch_ = std::make_unique<RdkafkaFetch>(*client_, context.node.uid(), context.wake);
  }
  fetch_lag_ = &context.counters.metrics.Gauge(
      "millrace_source_fetch_lag_seconds",
      "Age of the newest record when it was fetched, of the split where it was oldest.", {});
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
  std::vector<KafkaFetch::Split> added;
  for (Split& split : splits) {
    SplitState state;
    MILLRACE_ASSIGN_OR_RETURN(state.partition, ParseKafkaSplitId(split.id));
    MILLRACE_ASSIGN_OR_RETURN(const KafkaPosition position, DecodeKafkaPosition(split.position));
    state.id = std::move(split.id);
    state.next_offset = position.offset;
    state.end = position.end;
    state.topic_id = position.topic_id;
    state.finished = split.finished || (state.end && state.next_offset >= *state.end);
    if (!state.finished) {
      // Besides the check, asking first makes the first message arrive in 20 ms instead of 500.
      MILLRACE_ASSIGN_OR_RETURN(const KafkaOffsetRange range,
                                client_->OffsetRange(state.partition, deadline));
      MILLRACE_RETURN_IF_ERROR(CheckRange(state, range));
      added.push_back({static_cast<uint32_t>(splits_.size()), state.partition, state.next_offset,
                       position.topic_id});
      ++unfinished_;
      state.fetched = true;
    }
    state.lag = &context_->counters.metrics.Gauge(
        "millrace_source_partition_lag_records", "Records known to wait, by partition.",
        {{"topic", state.partition.topic},
         {"partition", std::to_string(state.partition.partition)}});
    state.lag->Set(std::numeric_limits<double>::quiet_NaN());  // Not known yet.
    splits_.push_back(std::move(state));
  }
  return added.empty() ? absl::OkStatus() : fetch_->Add(added);
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
  origins_.Reclaim();
  arrivals_.Clear();
  MILLRACE_RETURN_IF_ERROR(
      fetch_->Poll(static_cast<size_t>(std::max<int64_t>(1, context_->batch_rows_max)), arrivals_));
  // Nothing of a Poll that failed may be seen: its positions will not be stored either.
  for (const KafkaFault& fault : arrivals_.faults) MILLRACE_RETURN_IF_ERROR(HandleFault(fault));
  for (const KafkaRun& run : arrivals_.runs) Take(run, out);
  UpdateLag();
  if (unfinished_ == 0) return PollResult::kEnd;
  return arrivals_.empty() ? PollResult::kIdle : PollResult::kEmitted;
}

void KafkaSource::Take(const KafkaRun& run, Emitter& out) {
  SplitState& split = splits_[run.split];
  if (split.finished) return;
  Records records = run.records;
  // What was read before, and what nobody wants.
  while (!records.empty() && records.front().offset < split.next_offset) {
    records = records.subspan(1);
  }
  while (!records.empty() && split.end && records.back().offset >= *split.end) {
    records = records.first(records.size() - 1);
  }
  split.next_offset = std::max(split.next_offset, run.next_offset);
  if (split.end && split.next_offset >= *split.end) {
    split.next_offset = *split.end;
    Finish(run.split);
  }
  if (records.empty()) return;
  const int64_t now_ms = absl::ToUnixMillis(context_->env.clock.Now());
  const int64_t at_ms = records.back().timestamp_ms;
  if (at_ms > 0) split.fetch_lag_s = static_cast<double>(now_ms - at_ms) / 1e3;
  EmitSplit(run.split, records, out);
}

absl::Status KafkaSource::HandleFault(const KafkaFault& fault) {
  const SplitState& split = splits_[fault.split];
  if (split.finished) return absl::OkStatus();
  const std::string attempted =
      Text("cannot read messages: topic=", split.partition.topic,
           " partition=", split.partition.partition, " offset=", split.next_offset);
  if (fault.code == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ||
      fault.code == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE) {
    const KafkaDeadline deadline(context_->env.clock, options_.client.request_timeout);
    MILLRACE_ASSIGN_OR_RETURN(const KafkaOffsetRange range,
                              client_->OffsetRange(split.partition, deadline));
    MILLRACE_RETURN_IF_ERROR(CheckRange(split, range));
  }
  if (fault.code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
      fault.code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION ||
      fault.code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC) {
    // Perhaps only for a moment. A restart asks again, and fails the job when it is true.
    return absl::UnavailableError(Text(attempted, ": ", rd_kafka_err2str(fault.code)));
  }
  return KafkaStatus(fault.code, attempted, fault.detail);
}

void KafkaSource::Finish(uint32_t index) {
  SplitState& split = splits_[index];
  split.finished = true;
  split.lag->Set(0);
  --unfinished_;
  fetch_->Remove(index);
}

void KafkaSource::EmitSplit(uint32_t index, Records rest, Emitter& out) {
  if (!options_.upsert) return EmitRun(index, rest, false, out);
  while (!rest.empty()) {
    const bool deletes = !rest[0].has_value;
    const auto end = std::find_if(rest.begin(), rest.end(), [deletes](const KafkaRecord& record) {
      return record.has_value == deletes;
    });
    const Records run = rest.first(static_cast<size_t>(end - rest.begin()));
    EmitRun(index, run, deletes, out);
    rest = rest.subspan(run.size());
  }
}

void KafkaSource::EmitRun(uint32_t index, Records run, bool deletes, Emitter& out) {
  const SplitState& split = splits_[index];
  RowMaker& maker = deletes ? deletes_ : records_;
  messages_.clear();
  none_.clear();
  uint64_t bytes = 0;
  for (const KafkaRecord& record : run) {
    messages_.push_back({.value = deletes ? record.key : record.value,
                         .is_null = !(deletes ? record.has_key : record.has_value)});
    bytes += record.value.size() + record.key.size();
  }
  if (!fetch_->padded()) padding_.Pad(messages_);
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
                       run[i]);
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
    const std::shared_ptr<Origins> origins = origins_.Lend();
    origins->Begin(split.partition, run, none_);
    batch.set_origins(origins);
    out.Emit(std::move(batch));
  }
  if (!none_.empty()) EmitDeadLetters(index, run, out);
}

void KafkaSource::AppendMetadata(const MetadataColumn& column, ColumnBuilder& builder,
                                 const SplitState& split, const KafkaRecord& record) {
  switch (column.kind) {
    case Metadata::kTopic:
      builder.AppendString(split.partition.topic);
      break;
    case Metadata::kPartition:
      if (column.type == TypeKind::kInt64) {
        builder.AppendInt64(split.partition.partition);
      } else {
        builder.AppendInt32(split.partition.partition);
      }
      break;
    case Metadata::kOffset:
      builder.AppendInt64(record.offset);
      break;
    case Metadata::kTimestamp:
      if (record.timestamp_ms < 0) {
        builder.AppendNull();
      } else {
        builder.AppendInt64(record.timestamp_ms * 1000);
      }
      break;
    case Metadata::kKey:
      AppendBytes(record.key, record.has_key, builder);
      break;
  }
}

void KafkaSource::EmitDeadLetters(uint32_t index, Records run, Emitter& out) {
  const SplitState& split = splits_[index];
  BatchBuilder letters(dead_letter_schema_, static_cast<int64_t>(none_.size()));
  const int64_t now_us = absl::ToUnixMicros(context_->env.clock.Now());
  for (const NoRow& bad : none_) {
    if (!bad.is_bad()) continue;
    const KafkaRecord& record = run[bad.index];
    AppendDeadLetter({.uid = context_->node.uid(),
                      .time_us = now_us,
                      .code = bad.code,
                      .error = bad.error,
                      .origin = OriginOf(split.partition, record)},
                     letters);
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
  if (options_.native_fetch) client_->Poll(0);  // Else it is served with the messages.
  uint64_t lag = 0;
  double fetch_lag_s = 0;
  for (uint32_t i = 0; i < splits_.size(); ++i) {
    const SplitState& split = splits_[i];
    if (split.finished) continue;
    fetch_lag_s = std::max(fetch_lag_s, split.fetch_lag_s);
    const std::optional<int64_t> high = fetch_->HighWatermark(i);
    if (!high) continue;
    const int64_t end = std::min(*high, split.end.value_or(*high));
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
  for (uint32_t i = 0; i < splits_.size(); ++i) {
    const SplitState& split = splits_[i];
    const KafkaTopicId topic_id = split.fetched ? fetch_->TopicId(i) : split.topic_id;
    positions.push_back({.id = split.id,
                         .position = EncodeKafkaPosition({split.next_offset, split.end, topic_id}),
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
