#include "operators/connectors/kafka/native/native_producer.h"

#include <poll.h>

#include <algorithm>
#include <utility>

#include "operators/connectors/kafka/text.h"
#include "runtime/base/check.h"
#include "runtime/base/log.h"
#include "runtime/base/status.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

// Leaders remember the last five batches of a producer, to know a repeated one.
constexpr size_t kUnderWayMax = 5;
// A request may be larger by one batch.
constexpr size_t kRequestBytesEnough = size_t{4} << 20;
constexpr int kWaitMs = 2;
// A coordinator that completes the last transaction needs milliseconds.
constexpr absl::Duration kFirstPause = absl::Milliseconds(2);
// A topic that was just created may be unknown for a moment.
constexpr absl::Duration kUnknownTopicPatience = absl::Seconds(5);
// Ids of the brokers to ask first count down from here; real ones are not negative.
constexpr int32_t kFirstSeed = -2;

constexpr int16_t kOutOfOrderSequence = 45;

// Brokers before 2.1 do not know zstd.
constexpr ApiRange VersionsOf(KafkaCodec codec) {
  return codec == KafkaCodec::kZstd ? ApiRange{7, kProduceVersions.high} : kProduceVersions;
}

constexpr rd_kafka_resp_err_t CodeOf(int16_t error) {
  return static_cast<rd_kafka_resp_err_t>(error);
}

}  // namespace

NativeProducer::NativeProducer(ProduceSettings settings, Env& env, std::string transactional_id,
                               std::vector<std::string> topics, const absl::Notification& stop)
    : settings_(std::move(settings)),
      env_(env),
      transactional_id_(std::move(transactional_id)),
      stop_(stop),
      compressor_(settings_.codec, settings_.codec_level) {
  for (std::string& topic : topics) {
    topics_.emplace_back();
    topics_.back().name = std::move(topic);
  }
  int32_t id = kFirstSeed;
  for (const std::string& address : settings_.brokers) brokers_[id--].address = address;
}

// ---- What a committer calls.

absl::Status NativeProducer::Fence(const KafkaDeadline& deadline) {
  NeedMetadata(0);
  MILLRACE_RETURN_IF_ERROR(AwaitTopics(deadline));
  return InitProducerId(deadline);
}

absl::Status NativeProducer::Begin(const KafkaDeadline&) { return absl::OkStatus(); }

absl::Status NativeProducer::Add(size_t topic, const KafkaFrame& frame,
                                 const KafkaDeadline& deadline) {
  auto& [name, partitions, error] = topics_[topic];
  const auto where = [&] {
    return Text("cannot write a record: topic=", name, " partition=", frame.partition,
                " bytes=", frame.value ? frame.value->size() : 0);
  };
  if (static_cast<size_t>(frame.partition) >= partitions.size()) {
    return Fail(TransactionRemedy::kGiveUp,
                KafkaStatus(RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, where(),
                            Text("the topic has ", partitions.size(), " partitions")));
  }
  const size_t bytes = RecordBatchWriter::BytesOf(frame);
  if (bytes > static_cast<size_t>(settings_.record_bytes_max)) {
    return Fail(TransactionRemedy::kGiveUp,
                KafkaStatus(RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, where(),
                            Text("at most ", settings_.record_bytes_max,
                                 " are taken: set 'properties.message.max.bytes' higher, and "
                                 "'max.message.bytes' of the topic")));
  }
  Partition& partition = partitions[static_cast<size_t>(frame.partition)];
  if (partition.open.records() >= settings_.batch_records ||
      (partition.open.records() > 0 &&
       partition.open.bytes() + bytes > static_cast<size_t>(settings_.batch_bytes))) {
    MILLRACE_RETURN_IF_ERROR(CloseBatch(partition));
    MILLRACE_RETURN_IF_ERROR(AddPartitions(deadline));
    MILLRACE_RETURN_IF_ERROR(Advance());
  }
  if (open_bytes_ + unacknowledged_bytes_ > settings_.unacknowledged_bytes_max) {
    MILLRACE_RETURN_IF_ERROR(CloseAll());
    MILLRACE_RETURN_IF_ERROR(AddPartitions(deadline));
    while (unacknowledged_bytes_ > settings_.unacknowledged_bytes_max / 2) {
      MILLRACE_RETURN_IF_ERROR(Step(where(), deadline));
    }
  }
  if (partition.open.records() == 0) partition.open_ms = absl::ToUnixMillis(env_.clock.Now());
  const size_t before = partition.open.bytes();
  partition.open.Add(frame, partition.open_ms);
  open_bytes_ += partition.open.bytes() - before;
  return absl::OkStatus();
}

absl::Status NativeProducer::Flush(const KafkaDeadline& deadline) {
  MILLRACE_RETURN_IF_ERROR(CloseAll());
  MILLRACE_RETURN_IF_ERROR(AddPartitions(deadline));
  MILLRACE_RETURN_IF_ERROR(Advance());
  while (unacknowledged_bytes_ > 0) {
    MILLRACE_RETURN_IF_ERROR(Step("not all records are acknowledged", deadline));
  }
  return absl::OkStatus();
}

absl::Status NativeProducer::Commit(const KafkaDeadline& deadline) {
  MILLRACE_RETURN_IF_ERROR(Flush(deadline));
  MILLRACE_RETURN_IF_ERROR(Ask(
      "cannot commit a transaction", KafkaApi::kEndTxn, kEndTxnVersions, IfLost::kUnknown, deadline,
      [&](int16_t version) { return EncodeEndTxn(version, transactional_id_, producer_); },
      DecodeEndTxn));
  for (Topic& topic : topics_) {
    for (Partition& partition : topic.partitions) partition.in_transaction = false;
  }
  return absl::OkStatus();
}

absl::Status NativeProducer::Abort(const KafkaDeadline& deadline) {
  ForgetRecords();
  return InitProducerId(deadline);
}

// ---- Batches.

absl::Status NativeProducer::CloseBatch(Partition& partition) {
  if (partition.open.records() == 0) return absl::OkStatus();
  const int32_t records = partition.open.records();
  open_bytes_ -= partition.open.bytes();
  auto bytes = partition.open.Finish(
      {.producer = producer_, .first_sequence = partition.next_sequence, .transactional = true},
      compressor_);
  if (!bytes.ok()) return Fail(TransactionRemedy::kGiveUp, bytes.status());
  // Sequences begin anew at zero after the largest one.
  partition.next_sequence = static_cast<int32_t>(
      (static_cast<uint32_t>(partition.next_sequence) + static_cast<uint32_t>(records)) &
      uint32_t{INT32_MAX});
  unacknowledged_bytes_ += (*bytes)->size();
  partition.batches.push_back({.bytes = *std::move(bytes)});
  return absl::OkStatus();
}

absl::Status NativeProducer::CloseAll() {
  for (Topic& topic : topics_) {
    for (Partition& partition : topic.partitions) MILLRACE_RETURN_IF_ERROR(CloseBatch(partition));
  }
  return absl::OkStatus();
}

void NativeProducer::ForgetRecords() {
  open_bytes_ = unacknowledged_bytes_ = 0;
  for (Topic& topic : topics_) {
    for (Partition& partition : topic.partitions) {
      partition = {.leader = partition.leader, .leader_epoch = partition.leader_epoch};
    }
  }
  // Nobody waits for their answers any more.
  for (auto& [id, broker] : brokers_) {
    if (broker.produces.empty() && call_.broker != id) continue;
    broker.produces.clear();
    broker.connection.reset();
    if (metadata_broker_ == id) {
      metadata_broker_ = kNoBroker;
      NeedMetadata(0);
    }
  }
  call_ = {};
  failure_ = absl::OkStatus();
}

// ---- The coordinator.

template <typename Encode, typename Decode>
absl::Status NativeProducer::Ask(std::string_view attempted, KafkaApi api, ApiRange versions,
                                 IfLost if_lost, const KafkaDeadline& deadline,
                                 const Encode& encode, const Decode& decode) {
  absl::Duration pause = kFirstPause;
  int64_t not_before_ns = 0;
  while (true) {
    MILLRACE_ASSIGN_OR_RETURN(const int32_t id, ReadyBrokerFor(api, deadline));
    if (id == kNoBroker || env_.clock.MonotonicNanos() < not_before_ns) {
      MILLRACE_RETURN_IF_ERROR(Step(attempted, deadline));
      continue;
    }
    BrokerConnection& connection = *brokers_[id].connection;
    const absl::StatusOr<int16_t> version = connection.VersionFor(api, versions);
    if (!version.ok()) return Fail(TransactionRemedy::kGiveUp, version.status());
    call_ = {.api = api, .broker = id, .answer = std::nullopt};
    connection.Send({api, *version}, encode(*version));
    while (call_.broker != kNoBroker && !call_.answer) {
      MILLRACE_RETURN_IF_ERROR(Step(attempted, deadline));
    }
    if (!call_.answer) {
      if (if_lost == IfLost::kUnknown) {
        return Fail(
            TransactionRemedy::kNewProducer,
            absl::UnavailableError(Text(attempted, ": the outcome is unknown: ", trouble_)));
      }
      coordinator_ = kNoBroker;
      continue;
    }
    const BrokerConnection::Response answer = *std::exchange(call_, {}).answer;
    const absl::StatusOr<int16_t> error = decode(answer.version.version, answer.body);
    if (!error.ok()) return Fail(TransactionRemedy::kNewProducer, error.status());
    const ProduceVerdict verdict = JudgeProduceError(api, *error);
    if (verdict.outcome == ProduceOutcome::kDone) return absl::OkStatus();
    const absl::Status status = KafkaStatus(CodeOf(*error), attempted);
    if (verdict.outcome == ProduceOutcome::kFailed) return Fail(verdict.remedy, status);
    trouble_ = ToStd(status.message());
    if (verdict.outcome == ProduceOutcome::kElsewhere) coordinator_ = kNoBroker;
    not_before_ns = env_.clock.MonotonicNanos() + absl::ToInt64Nanoseconds(pause);
    pause = std::min(2 * pause, std::max(kFirstPause, settings_.retry_backoff));
  }
}

absl::StatusOr<int32_t> NativeProducer::ReadyBrokerFor(KafkaApi api,
                                                       const KafkaDeadline& deadline) {
  if (api != KafkaApi::kFindCoordinator) {
    if (coordinator_ == kNoBroker) MILLRACE_RETURN_IF_ERROR(FindCoordinator(deadline));
    const int32_t id = coordinator_;  // A connection that fails forgets it.
    return Connect(id, brokers_[id]) ? id : kNoBroker;
  }
  for (auto& [id, broker] : brokers_) {
    if (broker.connection != nullptr && broker.connection->ready()) return id;
  }
  for (auto& [id, broker] : brokers_) Connect(id, broker);
  return kNoBroker;
}

absl::Status NativeProducer::FindCoordinator(const KafkaDeadline& deadline) {
  return Ask(
      "cannot find the coordinator of transactions", KafkaApi::kFindCoordinator,
      kFindCoordinatorVersions, IfLost::kSendAgain, deadline,
      [&](int16_t version) { return EncodeFindCoordinator(version, transactional_id_); },
      [&](int16_t version, std::string_view body) -> absl::StatusOr<int16_t> {
        MILLRACE_ASSIGN_OR_RETURN(const FindCoordinatorResponse found,
                                  DecodeFindCoordinator(version, body));
        if (found.error != 0) return found.error;
        if (found.broker.id < 0) return NotAResponseTo("FindCoordinator");
        brokers_[found.broker.id].MoveTo(found.broker, settings_);
        coordinator_ = found.broker.id;
        return found.error;
      });
}

absl::Status NativeProducer::InitProducerId(const KafkaDeadline& deadline) {
  MILLRACE_RETURN_IF_ERROR(Ask(
      "cannot fence the slot", KafkaApi::kInitProducerId, kInitProducerIdVersions,
      IfLost::kSendAgain, deadline,
      [&](int16_t version) {
        return EncodeInitProducerId(version, transactional_id_, settings_.transaction_timeout_ms,
                                    producer_);
      },
      [&](int16_t version, std::string_view body) -> absl::StatusOr<int16_t> {
        MILLRACE_ASSIGN_OR_RETURN(const InitProducerIdResponse made,
                                  DecodeInitProducerId(version, body));
        if (made.error == 0) producer_ = made.producer;
        return made.error;
      }));
  ForgetRecords();
  return absl::OkStatus();
}

// Of all partitions that have batches and are not in the transaction yet.
absl::Status NativeProducer::AddPartitions(const KafkaDeadline& deadline) {
  std::vector<TopicPartitions> wanted;
  for (const Topic& topic : topics_) {
    std::vector<int32_t> partitions;
    for (size_t i = 0; i < topic.partitions.size(); ++i) {
      const Partition& partition = topic.partitions[i];
      if (partition.in_transaction ||
          (partition.batches.empty() && partition.open.records() == 0)) {
        continue;
      }
      partitions.push_back(static_cast<int32_t>(i));
    }
    if (!partitions.empty()) wanted.push_back({topic.name, std::move(partitions)});
  }
  if (wanted.empty()) return absl::OkStatus();
  MILLRACE_RETURN_IF_ERROR(Ask(
      "cannot add partitions to a transaction", KafkaApi::kAddPartitionsToTxn,
      kAddPartitionsToTxnVersions, IfLost::kSendAgain, deadline,
      [&](int16_t version) {
        return EncodeAddPartitionsToTxn(version, transactional_id_, producer_, wanted);
      },
      [&](int16_t version, std::string_view body) -> absl::StatusOr<int16_t> {
        MILLRACE_ASSIGN_OR_RETURN(const AddPartitionsToTxnResponse added,
                                  DecodeAddPartitionsToTxn(version, body));
        size_t missing = 0;
        for (const TopicPartitions& topic : wanted) missing += topic.partitions.size();
        if (added.partitions.size() != missing) return NotAResponseTo("AddPartitionsToTxn");
        // Of several errors the worst: one that is not to be tried again.
        int16_t worst = 0;
        for (const auto& partition : added.partitions) {
          const auto outcome = JudgeProduceError(KafkaApi::kAddPartitionsToTxn, partition.error);
          if (outcome.outcome == ProduceOutcome::kFailed) return partition.error;
          if (partition.error != 0) worst = partition.error;
        }
        return worst;
      }));
  for (const TopicPartitions& topic : wanted) {
    const auto found = std::find_if(topics_.begin(), topics_.end(),
                                    [&](const Topic& t) { return t.name == topic.topic; });
    for (const int32_t i : topic.partitions) {
      found->partitions[static_cast<size_t>(i)].in_transaction = true;
    }
  }
  return absl::OkStatus();
}

absl::Status NativeProducer::AwaitTopics(const KafkaDeadline& deadline) {
  const KafkaDeadline patience(env_.clock, kUnknownTopicPatience);
  while (true) {
    bool known = true;
    for (const Topic& topic : topics_) {
      known = known && !topic.partitions.empty();
      if (topic.error == 0) continue;
      const ProduceVerdict verdict = JudgeProduceError(KafkaApi::kProduce, topic.error);
      if (verdict.outcome != ProduceOutcome::kFailed && !patience.passed()) continue;
      return Fail(TransactionRemedy::kGiveUp,
                  KafkaStatus(CodeOf(topic.error), Text("cannot write to topic=", topic.name)));
    }
    if (known) return absl::OkStatus();
    MILLRACE_RETURN_IF_ERROR(Step("cannot learn who leads the partitions", deadline));
  }
}

// ---- Sockets.

absl::Status NativeProducer::Step(std::string_view attempted, const KafkaDeadline& deadline) {
  MILLRACE_RETURN_IF_ERROR(Advance());
  if (deadline.passed() || stop_.HasBeenNotified()) {
    return Fail(TransactionRemedy::kNewProducer,
                absl::UnavailableError(Text(
                    attempted, stop_.HasBeenNotified() ? ": the sink was closed" : ": no time left",
                    "; brokers=", Join(settings_.brokers, ","),
                    trouble_.empty() ? "" : "; last trouble: ", trouble_)));
  }
  WaitForSockets();
  return Advance();
}

absl::Status NativeProducer::Advance() {
  now_ns_ = env_.clock.MonotonicNanos();
  AskForMetadata();
  for (auto& [id, broker] : brokers_) {
    const absl::Status status = AdvanceBroker(id, broker);
    if (!status.ok()) Lost(id, broker, status);
  }
  return failure_;
}

void NativeProducer::WaitForSockets() {
  std::vector<pollfd> sockets;
  for (const auto& [id, broker] : brokers_) {
    if (broker.connection == nullptr) continue;
    const bool sending = broker.connection->sending();
    sockets.push_back({.fd = broker.connection->fd(),
                       .events = static_cast<short>(sending ? POLLIN | POLLOUT : POLLIN)});
  }
  poll(sockets.data(), sockets.size(), kWaitMs);
}

absl::Status NativeProducer::AdvanceBroker(int32_t id, Broker& broker) {
  SendProduce(id, broker);
  while (broker.connection != nullptr) {
    MILLRACE_RETURN_IF_ERROR(broker.connection->Advance());
    MILLRACE_ASSIGN_OR_RETURN(std::optional<BrokerConnection::Response> response,
                              broker.connection->Take());
    if (!response) break;
    broker.backoff = absl::ZeroDuration();
    MILLRACE_RETURN_IF_ERROR(OnResponse(id, broker, *std::move(response)));
    SendProduce(id, broker);
  }
  return absl::OkStatus();
}

absl::Status NativeProducer::OnResponse(int32_t id, Broker& broker,
                                        BrokerConnection::Response response) {
  const auto [api, version] = response.version;
  if (api == KafkaApi::kMetadata) {
    MILLRACE_ASSIGN_OR_RETURN(const MetadataResponse metadata,
                              DecodeMetadata(version, response.body));
    metadata_broker_ = kNoBroker;
    OnMetadata(metadata);
    // The real brokers are known now.
    if (id < 0 && call_.broker != id) broker.connection.reset();
    return absl::OkStatus();
  }
  if (api == KafkaApi::kProduce) {
    MILLRACE_ASSIGN_OR_RETURN(const ProduceResponse produced,
                              DecodeProduce(version, response.body));
    MILLRACE_RETURN_IF_ERROR(OnProduced(broker, produced));
    broker.connection->Recycle(std::move(response.block));
    return absl::OkStatus();
  }
  if (call_.broker != id || call_.api != api) return NotAResponseTo("what is waited for");
  call_.answer = std::move(response);
  return absl::OkStatus();
}

bool NativeProducer::Connect(int32_t id, Broker& broker) {
  const absl::StatusOr<bool> ready = broker.Connect(settings_, env_, now_ns_);
  if (ready.ok()) return *ready;
  Lost(id, broker, ready.status());
  return false;
}

void NativeProducer::Lost(int32_t id, Broker& broker, const absl::Status& why) {
  trouble_ = Text("broker=", broker.address, ": ", why.message());
  if (why.code() != absl::StatusCode::kUnavailable) {
    const bool no_answer = why.code() == absl::StatusCode::kDataLoss;
    (void)Fail(no_answer ? TransactionRemedy::kNewProducer : TransactionRemedy::kGiveUp,
               Annotate(why, Text("cannot write to broker=", broker.address)));
  } else {
    LogWarning("kafka sink", {{"transactional_id", transactional_id_},
                              {"broker", broker.address},
                              {"error", ToStd(why.message())}});
  }
  broker.Lose(settings_, now_ns_);
  // Whether it has what was sent is unknown; it knows by the sequences.
  for (const std::vector<Place>& places : std::exchange(broker.produces, {})) {
    for (const Place& place : places) {
      Partition& partition = PartitionOf(place);
      for (Batch& batch : partition.batches) {
        if (batch.state == Batch::State::kSent) batch.state = Batch::State::kRefused;
      }
      partition.sent = 0;
      partition.acknowledged = false;
      Settle(partition);
    }
  }
  if (call_.broker == id && !call_.answer) call_.broker = kNoBroker;
  if (coordinator_ == id) coordinator_ = kNoBroker;
  if (metadata_broker_ == id) metadata_broker_ = kNoBroker;
  // Perhaps others lead by now.
  NeedMetadata(now_ns_ + absl::ToInt64Nanoseconds(settings_.retry_backoff));
}

absl::Status NativeProducer::Fail(TransactionRemedy remedy, absl::Status status) {
  if (failure_.ok()) {
    failure_ = std::move(status);
    remedy_ = remedy;
  }
  return failure_;
}

// ---- Metadata.

void NativeProducer::NeedMetadata(int64_t not_before_ns) {
  metadata_ns_ = metadata_wanted_ ? std::min(metadata_ns_, not_before_ns) : not_before_ns;
  metadata_wanted_ = true;
}

void NativeProducer::AskForMetadata() {
  if (!metadata_wanted_ || metadata_broker_ != kNoBroker || now_ns_ < metadata_ns_) return;
  const auto asked = std::find_if(brokers_.begin(), brokers_.end(), [](const auto& entry) {
    return entry.second.connection != nullptr && entry.second.connection->ready();
  });
  if (asked == brokers_.end()) {
    for (auto& [id, broker] : brokers_) Connect(id, broker);
    return;
  }
  BrokerConnection& connection = *asked->second.connection;
  const auto version = connection.VersionFor(KafkaApi::kMetadata, kMetadataVersions);
  if (!version.ok()) {
    (void)Fail(TransactionRemedy::kGiveUp, version.status());
    return;
  }
  std::vector<std::string> names;
  for (const Topic& topic : topics_) names.push_back(topic.name);
  connection.Send({KafkaApi::kMetadata, *version}, EncodeMetadataRequest(*version, names));
  metadata_broker_ = asked->first;
  metadata_wanted_ = false;
}

void NativeProducer::OnMetadata(const MetadataResponse& metadata) {
  for (const MetadataResponse::Broker& found : metadata.brokers) {
    if (found.id >= 0) brokers_[found.id].MoveTo(found, settings_);
  }
  for (const MetadataResponse::Topic& found : metadata.topics) {
    for (Topic& topic : topics_) {
      if (topic.name != found.name) continue;
      topic.error = found.error;
      if (topic.partitions.size() < found.partitions.size()) {
        topic.partitions.resize(found.partitions.size());
      }
      for (const MetadataResponse::Partition& one : found.partitions) {
        if (one.partition < 0 || static_cast<size_t>(one.partition) >= topic.partitions.size()) {
          continue;
        }
        Partition& partition = topic.partitions[static_cast<size_t>(one.partition)];
        // Some brokers learn of a new leader later than others.
        if (one.leader_epoch < partition.leader_epoch) continue;
        partition.leader = brokers_.contains(one.leader) ? one.leader : kNoBroker;
        partition.leader_epoch = one.leader_epoch;
      }
    }
  }
  const bool all_led = std::all_of(topics_.begin(), topics_.end(), [](const Topic& topic) {
    return !topic.partitions.empty() &&
           std::all_of(topic.partitions.begin(), topic.partitions.end(),
                       [](const Partition& p) { return p.leader != kNoBroker; });
  });
  if (!all_led) NeedMetadata(now_ns_ + absl::ToInt64Nanoseconds(settings_.retry_backoff));
}

// ---- Produce.

// The batches of the next request to this broker.
std::vector<NativeProducer::Place> NativeProducer::NextPlaces(int32_t id) {
  std::vector<Place> places;
  size_t bytes = 0;
  for (size_t t = 0; t < topics_.size(); ++t) {
    for (size_t p = 0; p < topics_[t].partitions.size(); ++p) {
      Partition& partition = topics_[t].partitions[p];
      const size_t sent_max = partition.acknowledged ? kUnderWayMax : 1;
      if (partition.leader != id || partition.refused || partition.sent >= sent_max ||
          (partition.sent > 0 && partition.sent_to != id) || partition.retry_ns > now_ns_ ||
          !partition.in_transaction || bytes >= kRequestBytesEnough) {
        continue;
      }
      const auto next = partition.NextWaiting();
      if (next == partition.batches.end()) continue;
      bytes += next->bytes->size();
      places.push_back({t, static_cast<int32_t>(p)});
    }
  }
  return places;
}

void NativeProducer::SendProduce(int32_t id, Broker& broker) {
  while (broker.produces.size() < kUnderWayMax && failure_.ok()) {
    std::vector<Place> places = NextPlaces(id);
    if (places.empty() || !Connect(id, broker)) return;
    const auto version =
        broker.connection->VersionFor(KafkaApi::kProduce, VersionsOf(settings_.codec));
    if (!version.ok()) {
      (void)Fail(TransactionRemedy::kGiveUp, version.status());
      return;
    }
    ProduceRequest request{.transactional_id = transactional_id_,
                           .timeout_ms = settings_.replicas_timeout_ms,
                           .topics = {}};
    size_t topic = topics_.size();  // The last one of the request.
    for (const Place& place : places) {
      Partition& partition = PartitionOf(place);
      Batch& batch = *partition.NextWaiting();
      batch.state = Batch::State::kSent;
      ++partition.sent;
      partition.sent_to = id;
      if (place.topic != std::exchange(topic, place.topic)) {
        request.topics.push_back({.name = topics_[topic].name, .partitions = {}});
      }
      request.topics.back().partitions.push_back({place.partition, batch.bytes});
    }
    broker.connection->Send({KafkaApi::kProduce, *version},
                            EncodeProduceRequest(*version, request));
    broker.produces.push_back(std::move(places));
  }
}

absl::Status NativeProducer::OnProduced(Broker& broker, const ProduceResponse& response) {
  if (broker.produces.empty()) return NotAResponseTo("what is waited for");
  std::map<std::pair<std::string_view, int32_t>, const ProduceResponse::Partition*> answers;
  for (const ProduceResponse::Topic& topic : response.topics) {
    for (const ProduceResponse::Partition& partition : topic.partitions) {
      answers[{topic.name, partition.partition}] = &partition;
    }
  }
  for (const Place& place : broker.produces.front()) {
    if (!answers.contains({topics_[place.topic].name, place.partition})) {
      return NotAResponseTo("Produce");
    }
  }
  const std::vector<Place> places = std::move(broker.produces.front());
  broker.produces.pop_front();
  for (const Place& place : places) {
    OnBatch(place, *answers[{topics_[place.topic].name, place.partition}]);
  }
  return absl::OkStatus();
}

void NativeProducer::OnBatch(const Place& place, const ProduceResponse::Partition& answer) {
  Partition& partition = PartitionOf(place);
  const auto batch = std::find_if(partition.batches.begin(), partition.batches.end(),
                                  [](const Batch& b) { return b.state == Batch::State::kSent; });
  MILLRACE_CHECK(batch != partition.batches.end());
  --partition.sent;
  // Behind a batch that was refused, an honest leader says so of each one.
  const ProduceVerdict verdict = partition.refused && answer.error == kOutOfOrderSequence
                                     ? ProduceVerdict{ProduceOutcome::kAgain}
                                     : JudgeProduceError(KafkaApi::kProduce, answer.error);
  if (verdict.outcome == ProduceOutcome::kDone) {
    unacknowledged_bytes_ -= batch->bytes->size();
    batch->state = Batch::State::kDone;
    if (!partition.refused) partition.acknowledged = true;
  } else {
    batch->state = Batch::State::kRefused;
    partition.refused = true;
    partition.acknowledged = false;
    const absl::Status status =
        KafkaStatus(CodeOf(answer.error),
                    Text("cannot write records: topic=", topics_[place.topic].name,
                         " partition=", place.partition, " bytes=", batch->bytes->size()),
                    answer.message);
    if (verdict.outcome == ProduceOutcome::kFailed) {
      (void)Fail(verdict.remedy, status);
    } else {
      trouble_ = ToStd(status.message());
      partition.retry_ns = now_ns_ + absl::ToInt64Nanoseconds(settings_.retry_backoff);
    }
    if (verdict.outcome == ProduceOutcome::kElsewhere) {
      partition.leader = kNoBroker;
      NeedMetadata(now_ns_);
    }
  }
  Settle(partition);
}

// What was refused is sent again once nothing is under way, and what is done at the front goes.
void NativeProducer::Settle(Partition& partition) {
  while (!partition.batches.empty() && partition.batches.front().state == Batch::State::kDone) {
    partition.batches.pop_front();
  }
  if (partition.sent > 0) return;
  for (Batch& batch : partition.batches) {
    if (batch.state == Batch::State::kRefused) batch.state = Batch::State::kWaiting;
  }
  partition.refused = false;
}

}  // namespace millrace
