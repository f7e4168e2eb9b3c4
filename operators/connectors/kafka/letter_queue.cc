#include "operators/connectors/kafka/letter_queue.h"

#include <algorithm>
#include <memory>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "operators/connectors/kafka/kafka_client.h"
#include "operators/connectors/kafka/kafka_errors.h"
#include "operators/connectors/kafka/kafka_marker.h"
#include "operators/connectors/kafka/kafka_marker_log.h"
#include "operators/connectors/kafka/kafka_produce.h"
#include "operators/connectors/kafka/kafka_sink.h"
#include "operators/connectors/kafka/text.h"
#include "operators/connectors/kafka/wire_bytes.h"
#include "runtime/base/failpoint.h"
#include "runtime/base/status_macros.h"
#include "runtime/checkpoint/segment_file.h"

namespace millrace {
namespace {

constexpr uint8_t kProgressMagic = 'R';
constexpr uint8_t kVersion = 1;
constexpr uint64_t kPartitionsMax = 100'000;
constexpr absl::Duration kSilenceMax = absl::Seconds(60);  // Of brokers, before it is an error.
constexpr int kPollMs = 100;
constexpr size_t kTransactionRecords = 1000;
constexpr size_t kTransactionBytes = size_t{4} << 20;
constexpr char kReplayHeader[] = "__millrace.replay";

struct MessageDeleter {
  void operator()(rd_kafka_message_t* message) const { rd_kafka_message_destroy(message); }
};
using MessageHandle = std::unique_ptr<rd_kafka_message_t, MessageDeleter>;

std::optional<std::string_view> Nullable(const void* bytes, size_t size) {
  if (bytes == nullptr) return std::nullopt;
  return std::string_view(static_cast<const char*>(bytes), size);
}

void ReadHeaders(const rd_kafka_message_t& message, std::vector<KafkaHeader>& out) {
  out.clear();
  rd_kafka_headers_t* headers = nullptr;
  if (rd_kafka_message_headers(&message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) return;
  const char* name = nullptr;
  const void* value = nullptr;
  size_t size = 0;
  for (size_t i = 0;
       rd_kafka_header_get_all(headers, i, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR;
       ++i) {
    out.push_back({name, Nullable(value, size)});
  }
}

// Reads the committed records of a topic that are there when it is opened.
class BoundedReader {
 public:
  explicit BoundedReader(Clock& clock) : clock_(clock) {}

  // `next`: where to begin, per partition; elsewhere at `since_ms`, or at the beginning.
  absl::Status Open(const LetterTopic& from, const std::map<int32_t, int64_t>& next,
                    std::optional<int64_t> since_ms) {
    topic_ = from.topic;
    MILLRACE_ASSIGN_OR_RETURN(client_, KafkaClient::Make(KafkaClient::Role::kConsumer, from.client,
                                                         {{"group.id", "millrace-dlq"},
                                                          {"enable.auto.commit", "false"},
                                                          {"enable.partition.eof", "true"},
                                                          {"auto.offset.reset", "error"},
                                                          {"check.crcs", "true"},
                                                          {"isolation.level", "read_committed"}}));
    const KafkaDeadline deadline(clock_, from.client.request_timeout);
    MILLRACE_ASSIGN_OR_RETURN(const int32_t count, client_->PartitionCount(topic_, deadline));
    std::vector<KafkaPartition> partitions;
    for (int32_t i = 0; i < count; ++i) partitions.push_back({topic_, i});
    std::map<KafkaPartition, int64_t> since;
    if (since_ms) {
      MILLRACE_ASSIGN_OR_RETURN(since, client_->OffsetsForTime(partitions, *since_ms, deadline));
    }
    const KafkaListHandle list(rd_kafka_topic_partition_list_new(count));
    for (const KafkaPartition& partition : partitions) {
      MILLRACE_ASSIGN_OR_RETURN(const KafkaOffsetRange range,
                                client_->OffsetRange(partition, deadline));
      int64_t begin = range.low;
      if (since_ms) {  // -1: everything is older.
        begin = since[partition] < 0 ? range.high : std::max(range.low, since[partition]);
      }
      if (const auto known = next.find(partition.partition); known != next.end()) {
        if (known->second > range.high) {
          return absl::FailedPreconditionError(
              Text("the topic ends before the place where this replay stood: topic=", topic_,
                   " partition=", partition.partition, " next=", known->second, " end=", range.high,
                   "; it was truncated or made anew: give another --name"));
        }
        expired_ += static_cast<uint64_t>(std::max<int64_t>(0, range.low - known->second));
        begin = std::max(begin, known->second);
      }
      next_[partition.partition] = begin;
      end_[partition.partition] = range.high;
      if (begin >= range.high) continue;
      ++open_;
      rd_kafka_topic_partition_list_add(list.get(), topic_.c_str(), partition.partition)->offset =
          begin;
    }
    if (open_ == 0) return absl::OkStatus();
    rd_kafka_poll_set_consumer(client_->handle());
    const rd_kafka_resp_err_t code = rd_kafka_assign(client_->handle(), list.get());
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
      return client_->Failed(code, Text("cannot read topic=", topic_));
    }
    return absl::OkStatus();
  }

  // The next record; null at the end.
  absl::StatusOr<MessageHandle> Next(const std::function<bool()>& interrupted) {
    KafkaDeadline silence(clock_, kSilenceMax);
    while (open_ > 0) {
      if (interrupted()) return absl::CancelledError("interrupted");
      if (silence.passed()) {
        return absl::UnavailableError(Text("no answer for ", absl::FormatDuration(kSilenceMax),
                                           ": topic=", topic_, " brokers=", client_->brokers()));
      }
      MessageHandle message(rd_kafka_consumer_poll(client_->handle(), kPollMs));
      if (message == nullptr) continue;
      if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        if (message->offset >= end_[message->partition]) Close(message->partition);
        continue;
      }
      if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        if (message->rkt == nullptr) continue;  // A broker comes or goes; the deadline decides.
        return client_->Failed(
            message->err, Text("cannot read topic=", topic_, " partition=", message->partition));
      }
      const int64_t end = end_[message->partition];
      if (message->offset >= end) {
        Close(message->partition);
        continue;
      }
      next_[message->partition] = message->offset + 1;
      if (message->offset + 1 >= end) Close(message->partition);
      return message;
    }
    return MessageHandle();
  }

  // Per partition the offset behind the last record given out; at its end, the end.
  const std::map<int32_t, int64_t>& next() const { return next_; }
  uint64_t expired() const { return expired_; }

 private:
  void Close(int32_t partition) {
    if (!closed_.insert(partition).second) return;
    next_[partition] = end_[partition];
    --open_;
  }

  Clock& clock_;
  std::string topic_;
  std::unique_ptr<KafkaClient> client_;
  std::map<int32_t, int64_t> next_, end_;
  std::set<int32_t> closed_;
  size_t open_ = 0;
  uint64_t expired_ = 0;
};

bool Selects(const LetterSelection& selection, const LetterRecord& record) {
  const auto& codes = selection.codes;
  if (!codes.empty() && std::find(codes.begin(), codes.end(), record.letter.code) == codes.end()) {
    return false;
  }
  if (!selection.job_id.empty() && record.letter.job != selection.job_id) return false;
  if (!selection.uid.empty() && record.letter.uid != selection.uid) return false;
  if (selection.since_us && record.timestamp_ms * 1000 < *selection.since_us) return false;
  if (selection.offsets.empty()) return true;
  const auto places = selection.offsets.find(record.partition);
  return places != selection.offsets.end() && places->second.contains(record.offset);
}

std::optional<int64_t> SinceMs(const LetterSelection& selection) {
  if (!selection.since_us) return std::nullopt;
  return *selection.since_us / 1000;
}

// Nothing: the message is no letter.
std::optional<LetterRecord> LetterOf(const rd_kafka_message_t& message,
                                     std::vector<KafkaHeader>& headers) {
  ReadHeaders(message, headers);
  const std::optional<KafkaLetter> letter = ReadKafkaLetter(headers);
  if (!letter) return std::nullopt;
  rd_kafka_timestamp_type_t type = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
  return LetterRecord{.partition = message.partition,
                      .offset = message.offset,
                      .timestamp_ms = rd_kafka_message_timestamp(&message, &type),
                      .key = Nullable(message.key, message.key_len),
                      .value = Nullable(message.payload, message.len),
                      .letter = *letter};
}

// Produces the records of letters in transactions, each with how far the replay is.
class Replayer {
 public:
  Replayer(const ReplayOptions& options, Clock& clock, const std::function<bool()>& interrupted)
      : options_(options), clock_(clock), interrupted_(interrupted), reader_(clock) {}

  absl::StatusOr<ReplayResult> Run(const std::function<void(const ReplayResult&)>& report) {
    const std::string meaning =
        Text(options_.from.topic, "\n", options_.to.topic, "\n", options_.selection.Canonical());
    progress_.selection = Crc32c(meaning, 0);
    result_.name = options_.name;
    if (result_.name.empty()) {
      result_.name =
          Text(options_.from.topic, "-", absl::Hex(progress_.selection, absl::kZeroPad8));
    }
    if (!options_.dry_run) MILLRACE_RETURN_IF_ERROR(Fence());
    MILLRACE_RETURN_IF_ERROR(
        reader_.Open(options_.from, progress_.next, SinceMs(options_.selection)));
    result_.expired = reader_.expired();
    while (true) {
      MILLRACE_ASSIGN_OR_RETURN(const bool more, Collect());
      if (!options_.dry_run && (!chosen_.empty() || reader_.next() != progress_.next)) {
        MILLRACE_RETURN_IF_ERROR(Transact());
      }
      for (const auto& [code, counts] : collected_) {
        result_.by_code[code].replayed += counts.replayed;
        result_.by_code[code].without_record += counts.without_record;
      }
      if (report) report(result_);
      if (!more) return result_;
    }
  }

 private:
  struct Chosen {
    MessageHandle message;
    std::string source;  // "topic/3/17"
    int32_t partition;   // Of the target.
  };

  std::string MarkerKey() const { return Text("dlq-replay/", result_.name); }
  std::string Where() const { return Text("replay=", result_.name, " topic=", options_.to.topic); }

  // Ends a former process of the same name, then reads how far it came: in this order.
  absl::Status Fence() {
    MILLRACE_ASSIGN_OR_RETURN(
        producer_,
        KafkaClient::Make(KafkaClient::Role::kProducer, options_.to.client,
                          {{"transactional.id", Text("millrace-dlq-replay/", result_.name)},
                           {"enable.idempotence", "true"},
                           {"isolation.level", "read_uncommitted"},
                           {"transaction.timeout.ms", "30000"},
                           {"message.timeout.ms", "30000"},
                           {"delivery.report.only.error", "true"},
                           {"linger.ms", "5"}},
                          [this](const rd_kafka_message_t& message) {
                            if (delivery_.ok()) {
                              delivery_ = KafkaStatus(message.err, "cannot deliver a record");
                            }
                          }));
    const KafkaDeadline deadline(clock_, kSilenceMax);
    MILLRACE_RETURN_IF_ERROR(Call("cannot fence", [&](int timeout_ms) {
      return rd_kafka_init_transactions(producer_->handle(), timeout_ms);
    }));
    MILLRACE_RETURN_IF_ERROR(EnsureMarkerTopic(*producer_, deadline));
    MILLRACE_ASSIGN_OR_RETURN(partitions_, producer_->PartitionCount(options_.to.topic, deadline));
    MILLRACE_RETURN_IF_ERROR(producer_->PartitionCount(kMarkerTopic, deadline).status());
    topic_.reset(rd_kafka_topic_new(producer_->handle(), options_.to.topic.c_str(), nullptr));
    markers_.reset(rd_kafka_topic_new(producer_->handle(), kMarkerTopic, nullptr));
    MILLRACE_ASSIGN_OR_RETURN(
        const std::optional<std::string> marker,
        ReadMarkerValue(*producer_, options_.to.client, MarkerKey(), deadline));
    if (!marker) return absl::OkStatus();
    MILLRACE_ASSIGN_OR_RETURN(const ReplayProgress known, DecodeReplayProgress(*marker));
    if (known.selection != progress_.selection) {
      return absl::FailedPreconditionError(
          Text("the replay '", result_.name,
               "' was begun with other topics or another selection; repeat those, or give another "
               "--name"));
    }
    progress_ = known;
    result_.replayed_before = known.replayed;
    return absl::OkStatus();
  }

  // Letters for one transaction. False: there are no more.
  absl::StatusOr<bool> Collect() {
    chosen_.clear();
    collected_.clear();
    size_t bytes = 0;
    while (chosen_.size() < kTransactionRecords && bytes < kTransactionBytes) {
      MILLRACE_ASSIGN_OR_RETURN(MessageHandle message, reader_.Next(interrupted_));
      if (message == nullptr) return false;
      ++result_.counts.read;
      const std::optional<LetterRecord> record = LetterOf(*message, headers_);
      if (!record) {
        ++result_.counts.not_letters;
        continue;
      }
      if (!Selects(options_.selection, *record)) continue;
      ReplayCounts& counts = collected_[std::string(record->letter.code)];
      if (!record->letter.has_original()) {
        ++counts.without_record;
        continue;
      }
      ++counts.replayed;
      const KafkaLetter& letter = record->letter;
      bytes += record->value.value_or("").size() + record->key.value_or("").size();
      Chosen chosen{.source = Text(letter.topic, "/", *letter.partition, "/", *letter.offset),
                    .partition = PartitionOf(*record)};
      chosen.message = std::move(message);
      if (!options_.dry_run) chosen_.push_back(std::move(chosen));
    }
    return true;
  }

  // Back where it came from; elsewhere where other producers put its key.
  int32_t PartitionOf(const LetterRecord& record) {
    if (partitions_ == 0) return 0;  // A dry run.
    if (record.letter.topic == options_.to.topic && *record.letter.partition >= 0 &&
        *record.letter.partition < partitions_) {
      return *record.letter.partition;
    }
    const auto count = static_cast<uint32_t>(partitions_);
    return static_cast<int32_t>((record.key ? KafkaKeyHash(*record.key) : next_partition_++) %
                                count);
  }

  absl::Status Transact() {
    rd_kafka_t* const rk = producer_->handle();
    MILLRACE_RETURN_IF_ERROR(
        Call("cannot begin a transaction", [&](int) { return rd_kafka_begin_transaction(rk); }));
    for (const Chosen& one : chosen_) {
      const KafkaHeader header{.name = kReplayHeader, .value = one.source};
      MILLRACE_RETURN_IF_ERROR(
          Produce(topic_.get(), {.partition = one.partition,
                                 .key = Nullable(one.message->key, one.message->key_len),
                                 .value = Nullable(one.message->payload, one.message->len),
                                 .headers = {&header, 1}}));
    }
    ReplayProgress progress = progress_;
    progress.next = reader_.next();
    progress.replayed += chosen_.size();
    const std::string key = MarkerKey();
    const std::string value = EncodeReplayProgress(progress);
    MILLRACE_RETURN_IF_ERROR(Produce(markers_.get(), {.key = key, .value = value}));
    MILLRACE_FAILPOINT("kafka.replay.before_commit");
    MILLRACE_RETURN_IF_ERROR(Call("cannot commit a transaction", [&](int timeout_ms) {
      return rd_kafka_commit_transaction(rk, timeout_ms);
    }));
    MILLRACE_FAILPOINT("kafka.replay.after_commit");
    progress_ = std::move(progress);
    return absl::OkStatus();
  }

  absl::Status Produce(rd_kafka_topic_t* topic, const KafkaFrame& frame) {
    const KafkaDeadline deadline(clock_, kSilenceMax);
    while (true) {
      const rd_kafka_resp_err_t code = ProduceFrame(producer_->handle(), topic, frame);
      if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return absl::OkStatus();
      if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL || deadline.passed()) {
        return producer_->Failed(code, Text("cannot write a record: ", Where(),
                                            " bytes=", frame.value.value_or("").size()));
      }
      producer_->Poll(kPollMs);
    }
  }

  // What fails for good leaves the transaction to the next call of the replay, which aborts it.
  template <typename Step>
  absl::Status Call(std::string_view attempted, const Step& step) {
    const KafkaDeadline deadline(clock_, kSilenceMax);
    while (true) {
      const KafkaErrorHandle error(step(std::max(1, deadline.remaining_ms(5000))));
      if (error == nullptr) return absl::OkStatus();
      if (rd_kafka_error_is_retriable(error.get()) != 0 && !deadline.passed()) {
        producer_->Poll(kPollMs);
        continue;
      }
      const rd_kafka_resp_err_t code = rd_kafka_error_code(error.get());
      if (code == RD_KAFKA_RESP_ERR__FENCED || code == RD_KAFKA_RESP_ERR_PRODUCER_FENCED ||
          code == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH) {
        return absl::AbortedError(
            Text(attempted, ": another process goes on with this replay: ", Where()));
      }
      const std::string what = Text(attempted, ": ", Where(), " brokers=", producer_->brokers());
      return KafkaStatus(code, what,
                         delivery_.ok() ? std::string_view(rd_kafka_error_string(error.get()))
                                        : ToStd(delivery_.message()));
    }
  }

  const ReplayOptions& options_;
  Clock& clock_;
  const std::function<bool()>& interrupted_;
  BoundedReader reader_;
  std::unique_ptr<KafkaClient> producer_;
  KafkaTopicHandle topic_, markers_;  // Before their client is gone.
  absl::Status delivery_;             // The first failed one.
  int32_t partitions_ = 0;
  uint32_t next_partition_ = 0;
  ReplayProgress progress_;
  ReplayResult result_;
  std::vector<Chosen> chosen_;
  std::map<std::string, ReplayCounts> collected_;
  std::vector<KafkaHeader> headers_;
};

}  // namespace

std::string LetterSelection::Canonical() const {
  std::vector<std::string> sorted = codes;
  std::sort(sorted.begin(), sorted.end());
  std::string text;
  for (const std::string& code : sorted) text += Text("code=", code, "\n");
  text += Text("job=", job_id, "\nuid=", uid, "\n");
  if (since_us) text += Text("since=", *since_us, "\n");
  for (const auto& [partition, places] : offsets) {
    for (const int64_t offset : places) text += Text("at=", partition, ":", offset, "\n");
  }
  return text;
}

absl::StatusOr<std::map<int32_t, std::set<int64_t>>> LetterSelection::ParseOffsets(
    std::string_view text) {
  std::map<int32_t, std::set<int64_t>> places;
  for (const absl::string_view item : absl::StrSplit(ToAbsl(text), ',')) {
    const std::vector<absl::string_view> parts = absl::StrSplit(item, ':');
    int32_t partition = 0;
    int64_t offset = 0;
    if (parts.size() != 2 || !absl::SimpleAtoi(parts[0], &partition) ||
        !absl::SimpleAtoi(parts[1], &offset) || partition < 0 || offset < 0) {
      return absl::InvalidArgumentError(
          Text("expected PARTITION:OFFSET, separated by commas, found '", ToStd(item), "'"));
    }
    places[partition].insert(offset);
  }
  return places;
}

absl::StatusOr<LetterCounts> ReadLetters(const LetterTopic& from, const LetterSelection& selection,
                                         Clock& clock, const std::function<bool()>& interrupted,
                                         const std::function<bool(const LetterRecord&)>& each) {
  BoundedReader reader(clock);
  MILLRACE_RETURN_IF_ERROR(reader.Open(from, {}, SinceMs(selection)));
  LetterCounts counts;
  std::vector<KafkaHeader> headers;
  while (true) {
    MILLRACE_ASSIGN_OR_RETURN(const MessageHandle message, reader.Next(interrupted));
    if (message == nullptr) return counts;
    ++counts.read;
    const std::optional<LetterRecord> record = LetterOf(*message, headers);
    if (!record) {
      ++counts.not_letters;
    } else if (Selects(selection, *record) && !each(*record)) {
      return counts;
    }
  }
}

absl::StatusOr<ReplayResult> ReplayLetters(
    const ReplayOptions& options, Clock& clock, const std::function<bool()>& interrupted,
    const std::function<void(const ReplayResult&)>& after_transaction) {
  return Replayer(options, clock, interrupted).Run(after_transaction);
}

std::string EncodeReplayProgress(const ReplayProgress& progress) {
  std::string out;
  PutFixed(out, kProgressMagic);
  PutFixed(out, kVersion);
  PutFixed(out, progress.selection);
  PutFixed(out, progress.replayed);
  PutVarint(out, progress.next.size());
  for (const auto& [partition, offset] : progress.next) {
    PutFixed(out, partition);
    PutFixed(out, offset);
  }
  return out;
}

absl::StatusOr<ReplayProgress> DecodeReplayProgress(std::string_view bytes) {
  ByteReader reader(bytes);
  const auto magic = reader.Fixed<uint8_t>();
  const auto version = reader.Fixed<uint8_t>();
  if (!reader.ok() || magic != kProgressMagic)
    return absl::DataLossError("not a marker of a replay");
  if (version > kVersion) {
    return absl::FailedPreconditionError(
        Text("the marker of a replay has version ", version, "; this build reads ", kVersion));
  }
  ReplayProgress progress;
  progress.selection = reader.Fixed<uint32_t>();
  progress.replayed = reader.Fixed<uint64_t>();
  const uint64_t count = reader.Varint();
  for (uint64_t i = 0; i < std::min(count, kPartitionsMax) && reader.ok(); ++i) {
    const auto partition = reader.Fixed<int32_t>();
    progress.next[partition] = reader.Fixed<int64_t>();
  }
  if (!reader.ok() || !reader.done() || progress.next.size() != count || version == 0) {
    return absl::DataLossError(Text("corrupt marker of a replay: ", bytes.size(), " bytes"));
  }
  return progress;
}

}  // namespace millrace
