#include "operators/connectors/kafka/kafka_sink.h"

#include <algorithm>

#include "millrace/v1/checkpoint.pb.h"
#include "millrace/v1/graph.pb.h"
#include "operators/connectors/kafka/kafka_errors.h"
#include "operators/connectors/kafka/kafka_produce.h"
#include "operators/connectors/kafka/text.h"
#include "runtime/base/status_macros.h"
#include "runtime/checkpoint/outbox.h"
#include "runtime/task/counters.h"

namespace millrace {
namespace {

constexpr size_t kBlockBytes = 64 << 10;

FormatOptions OptionsOf(const v1::Node& node) {
  return {node.sink().options().begin(), node.sink().options().end()};
}

absl::StatusOr<std::unique_ptr<Encoder>> MakeEncoder(const std::string& name,
                                                     const SchemaPtr& schema,
                                                     const FormatOptions& options) {
  MILLRACE_ASSIGN_OR_RETURN(const Format* format, FindFormat(name));
  if (format->make_encoder == nullptr) {
    return absl::InvalidArgumentError(Text("the format cannot be written: '", name, "'"));
  }
  return format->make_encoder(schema, options);
}

Batch SelectColumns(const Batch& batch, const SchemaPtr& schema, const std::vector<int>& columns) {
  std::vector<Column> selected;
  selected.reserve(columns.size());
  for (const int i : columns) selected.push_back(batch.column(i));
  return batch.WithColumns(schema, std::move(selected));
}

}  // namespace

uint32_t KafkaKeyHash(std::string_view key) {
  constexpr uint32_t kMultiplier = 0x5bd1e995;
  const auto byte = [&](size_t i) { return uint32_t{static_cast<uint8_t>(key[i])}; };
  uint32_t hash = 0x9747b28c ^ static_cast<uint32_t>(key.size());
  size_t i = 0;
  for (; i + 4 <= key.size(); i += 4) {
    uint32_t k = byte(i) | byte(i + 1) << 8 | byte(i + 2) << 16 | byte(i + 3) << 24;
    k *= kMultiplier;
    k ^= k >> 24;
    k *= kMultiplier;
    hash = hash * kMultiplier ^ k;
  }
  const size_t rest = key.size() - i;
  if (rest == 3) hash ^= byte(i + 2) << 16;
  if (rest >= 2) hash ^= byte(i + 1) << 8;
  if (rest >= 1) hash = (hash ^ byte(i)) * kMultiplier;
  hash ^= hash >> 13;
  hash *= kMultiplier;
  hash ^= hash >> 15;
  return hash & 0x7fffffff;
}

KafkaSink::~KafkaSink() { stop_.Notify(); }

absl::Status KafkaSink::Open(SinkContext& context) {
  context_ = &context;
  MILLRACE_RETURN_IF_ERROR(MakeEncoders());
  KafkaProperties settings;
  if (!options_.exactly_once) {
    settings = {{"enable.idempotence", "true"}, {"delivery.report.only.error", "true"}};
  }
  MILLRACE_ASSIGN_OR_RETURN(
      std::unique_ptr<KafkaClient> producer,
      KafkaClient::Make(KafkaClient::Role::kProducer, options_.client, settings,
                        [this](const rd_kafka_message_t& message) {
                          ++failed_deliveries_;
                          if (!first_failure_.ok()) return;
                          first_failure_ = KafkaStatus(
                              message.err,
                              Text("cannot write a record: topic=", options_.topic,
                                   " partition=", message.partition, " bytes=", message.len));
                        }));
  const KafkaDeadline deadline(context.env.clock, options_.client.request_timeout);
  MILLRACE_ASSIGN_OR_RETURN(partition_count_, producer->PartitionCount(options_.topic, deadline));
  // Slots begin at different partitions.
  next_round_robin_ = context.slot;
  if (options_.exactly_once) return absl::OkStatus();
  topic_.reset(rd_kafka_topic_new(producer->handle(), options_.topic.c_str(), nullptr));
  producer_ = std::move(producer);
  return absl::OkStatus();
}

absl::Status KafkaSink::MakeEncoders() {
  const Schema& schema = *context_->schema;
  if (options_.format == kDeadLetterFormat) {
    MILLRACE_ASSIGN_OR_RETURN(letters_,
                              KafkaLetterWriter::Make(schema, context_->job_id, context_->slot,
                                                      options_.record_bytes_max));
    return absl::OkStatus();
  }
  std::vector<Field> key_fields;
  for (const std::string& name : options_.key_fields) {
    const int i = schema.IndexOfName(name);
    if (i < 0) {
      return absl::InvalidArgumentError(
          Text("option 'key.fields' names a column that does not exist: '", name, "'"));
    }
    key_columns_.push_back(i);
    key_fields.push_back(schema.field(i));
  }
  for (const uint32_t id : context_->node.key().ids()) {
    const int i = schema.IndexOfId(id);
    if (i < 0) return absl::InternalError("the key of the sink is not among its columns");
    key_columns_.push_back(i);
    key_fields.push_back(schema.field(i));
  }
  std::vector<Field> value_fields;
  for (int i = 0; i < schema.size(); ++i) {
    const bool in_key =
        std::find(key_columns_.begin(), key_columns_.end(), i) != key_columns_.end();
    if (in_key && !options_.key_fields_in_value) continue;
    value_columns_.push_back(i);
    value_fields.push_back(schema.field(i));
  }
  value_schema_ = Schema::Make(std::move(value_fields));
  const FormatOptions format_options = OptionsOf(context_->node);
  MILLRACE_ASSIGN_OR_RETURN(encoder_, MakeEncoder(options_.format, value_schema_, format_options));
  if (key_fields.empty()) return absl::OkStatus();
  const std::string_view key_format = KeyFormat(options_.key_format, key_fields);
  const bool plain_bytes = key_fields.size() == 1 && IsVariableWidth(key_fields[0].type);
  key_schema_ = Schema::Make(std::move(key_fields));
  if (plain_bytes && key_format == "raw") return absl::OkStatus();
  MILLRACE_ASSIGN_OR_RETURN(key_encoder_,
                            MakeEncoder(std::string(key_format), key_schema_, format_options));
  return absl::OkStatus();
}

absl::Status KafkaSink::EncodeKeys(const Batch& batch) {
  if (key_encoder_ == nullptr) return absl::OkStatus();
  return key_encoder_->Encode(SelectColumns(batch, key_schema_, key_columns_), encoded_keys_);
}

std::optional<std::string_view> KafkaSink::KeyOf(const Batch& batch, int64_t row) const {
  if (key_columns_.empty()) return std::nullopt;
  if (key_encoder_ != nullptr) return encoded_keys_.row(static_cast<size_t>(row));
  const Column& column = batch.column(key_columns_[0]);
  if (column.IsNull(row)) return std::nullopt;
  return column.StringAt(row);
}

int32_t KafkaSink::PartitionOf(const std::optional<std::string_view>& key) {
  const auto count = static_cast<uint64_t>(partition_count_);
  if (options_.partitioner == KafkaPartitioner::kFixed) {
    return static_cast<int32_t>(context_->slot % count);
  }
  // The changes of a row with a NULL key keep their order, too: they stay in one partition.
  const bool ordered =
      !key_columns_.empty() && context_->node.changelog_mode() > v1::CHANGELOG_MODE_APPEND;
  if (options_.partitioner == KafkaPartitioner::kByKey && (key || ordered)) {
    return static_cast<int32_t>(KafkaKeyHash(key.value_or("")) % count);
  }
  return static_cast<int32_t>(next_round_robin_++ % count);
}

absl::Status KafkaSink::Write(const Batch& batch) {
  if (batch.rows() == 0) return absl::OkStatus();
  if (letters_) return WriteLetters(batch);
  MILLRACE_RETURN_IF_ERROR(EncodeKeys(batch));
  MILLRACE_RETURN_IF_ERROR(
      encoder_->Encode(SelectColumns(batch, value_schema_, value_columns_), encoded_));
  for (int64_t row = 0; row < batch.rows(); ++row) {
    if (options_.upsert && batch.kind(row) == RowKind::kUpdateBefore) continue;  // +U replaces it.
    const std::optional<std::string_view> key = KeyOf(batch, row);
    KafkaFrame frame{
        .partition = PartitionOf(key), .key = key, .value = encoded_.row(static_cast<size_t>(row))};
    if (options_.upsert && batch.kind(row) == RowKind::kDelete) frame.value.reset();
    MILLRACE_RETURN_IF_ERROR(options_.exactly_once ? WriteToOutbox(frame) : ProduceNow(frame));
  }
  context_->counters.bytes_out.Add(encoded_.bytes.size());
  return AfterWrite();
}

absl::Status KafkaSink::WriteLetters(const Batch& batch) {
  for (int64_t row = 0; row < batch.rows(); ++row) {
    KafkaFrame frame = letters_->FrameOf(batch, row);
    frame.partition = PartitionOf(frame.key);
    context_->counters.bytes_out.Add(frame.value.value_or("").size());
    MILLRACE_RETURN_IF_ERROR(options_.exactly_once ? WriteToOutbox(frame) : ProduceNow(frame));
  }
  return AfterWrite();
}

absl::Status KafkaSink::AfterWrite() {
  if (options_.exactly_once) return absl::OkStatus();
  producer_->Poll(0);
  return CheckDeliveries();
}

absl::Status KafkaSink::WriteToOutbox(const KafkaFrame& frame) {
  writer_.Add(frame);
  if (writer_.block_bytes() < kBlockBytes) return absl::OkStatus();
  return context_->outbox.Append(writer_.TakeBlock());
}

absl::Status KafkaSink::ProduceNow(const KafkaFrame& frame) {
  const KafkaDeadline deadline(context_->env.clock, options_.delivery_timeout);
  while (true) {
    const rd_kafka_resp_err_t code = ProduceFrame(producer_->handle(), topic_.get(), frame);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return absl::OkStatus();
    if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL || deadline.passed()) {
      context_->counters.sink_errors.Add(1);
      return producer_->Failed(code, Text("cannot write a record: topic=", options_.topic,
                                          " partition=", frame.partition,
                                          " bytes=", frame.value ? frame.value->size() : 0));
    }
    producer_->Poll(100);
    MILLRACE_RETURN_IF_ERROR(CheckDeliveries());
  }
}

absl::Status KafkaSink::CheckDeliveries() {
  if (failed_deliveries_ == 0) return absl::OkStatus();
  context_->counters.sink_errors.Add(failed_deliveries_);
  failed_deliveries_ = 0;
  return first_failure_;
}

absl::StatusOr<v1::CommitToken> KafkaSink::Prepare(Epoch epoch) {
  if (!options_.exactly_once) {
    const rd_kafka_resp_err_t code =
        rd_kafka_flush(producer_->handle(),
                       static_cast<int>(absl::ToInt64Milliseconds(options_.delivery_timeout)));
    MILLRACE_RETURN_IF_ERROR(CheckDeliveries());
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
      return producer_->Failed(code,
                               Text("not all records are acknowledged: topic=", options_.topic,
                                    " waiting=", rd_kafka_outq_len(producer_->handle())));
    }
    return context_->outbox.Seal(epoch);
  }
  KafkaCommitPayload payload;
  payload.transactional_id = Text(options_.transactional_id_prefix, "/", context_->job_id, "/",
                                  context_->node.uid(), "/", context_->slot);
  payload.topic = options_.topic;
  payload.has_headers = letters_.has_value();
  if (!writer_.empty_epoch()) {
    if (writer_.block_bytes() > 0) {
      MILLRACE_RETURN_IF_ERROR(context_->outbox.Append(writer_.TakeBlock()));
    }
    KafkaOutboxTotals totals;
    MILLRACE_RETURN_IF_ERROR(context_->outbox.Append(writer_.TakeTrailer(totals)));
    payload.count = totals.count;
    payload.hash = totals.hash;
  }
  MILLRACE_ASSIGN_OR_RETURN(v1::CommitToken token, context_->outbox.Seal(epoch));
  token.set_payload(EncodeKafkaCommitPayload(payload));
  return token;
}

absl::Status KafkaSink::Commit(const v1::CommitToken& token) {
  // At least once: everything was acknowledged in Prepare.
  if (token.payload().empty()) return absl::OkStatus();
  std::unique_ptr<KafkaCommitter>& committer = committers_[token.slot()];
  if (committer == nullptr) {
    committer = std::make_unique<KafkaCommitter>(
        KafkaCommitterContext{.options = options_,
                              .env = context_->env,
                              .job_id = context_->job_id,
                              .generation = context_->generation,
                              .restored_epoch = context_->restored_epoch,
                              .stop = stop_});
  }
  const absl::Status status = committer->Commit(token, context_->outbox);
  if (token.slot() != context_->slot) committers_.erase(token.slot());
  return status;
}

}  // namespace millrace
