#include "operators/connectors/kafka/native/native_fetch.h"

#include <poll.h>

#include <algorithm>
#include <utility>

#include "operators/connectors/kafka/kafka_errors.h"
#include "operators/connectors/kafka/text.h"
#include "runtime/base/log.h"
#include "runtime/base/status.h"
#include "runtime/base/status_macros.h"

namespace millrace {
namespace {

// A topic that was just created, or whose brokers restart, may be unknown for a moment.
constexpr absl::Duration kUnknownTopicPatience = absl::Seconds(5);
// Between the answers of a busy stream it is worth waiting for the next one; a task that has
// nothing to do looks again every 2 ms anyway.
constexpr int64_t kBusyNs = 5'000'000;
constexpr int kWaitMs = 1;
// Ids of the brokers to ask first count down from here; real ones are not negative.
constexpr int32_t kFirstSeed = -2;

constexpr rd_kafka_resp_err_t CodeOf(int16_t error) {
  return static_cast<rd_kafka_resp_err_t>(error);
}

// Another broker has the partition by now, or this one soon will.
bool IsPassing(rd_kafka_resp_err_t code) {
  constexpr int kUnknownTopicId = 100;
  constexpr int kInconsistentTopicId = 103;
  switch (static_cast<int>(code)) {
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
    case RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR:
    case RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH:
    case RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH:
    case RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE:
    case kUnknownTopicId:
    case kInconsistentTopicId:
      return true;
    default:
      return false;
  }
}

}  // namespace

NativeFetch::NativeFetch(FetchSettings settings, Env& env, std::string name)
    : settings_(std::move(settings)), env_(env), name_(std::move(name)) {
  int32_t id = kFirstSeed;
  for (const std::string& address : settings_.brokers) {
    brokers_[id--].address = address;
  }
}

absl::Status NativeFetch::Add(const std::vector<Split>& splits) {
  for (const Split& split : splits) {
    if (readings_.size() <= split.index) readings_.resize(split.index + 1);
    readings_[split.index] = {.partition = split.partition,
                              .topic_id = split.topic_id,
                              .active = true,
                              .fetch_offset = split.offset,
                              .next_offset = split.offset};
    topics_[split.partition.topic].splits[split.partition.partition] = split.index;
  }
  NeedMetadata(0);
  return absl::OkStatus();
}

void NativeFetch::Remove(uint32_t split) {
  Reading& reading = readings_[split];
  reading.active = false;
  const auto topic = topics_.find(reading.partition.topic);
  topic->second.splits.erase(reading.partition.partition);
  if (!topic->second.splits.empty()) return;
  topic_names_.erase(topic->second.id);
  topics_.erase(topic);
}

std::optional<int64_t> NativeFetch::HighWatermark(uint32_t split) {
  const int64_t known = readings_[split].high_watermark;
  return known < 0 ? std::nullopt : std::optional(known);
}

absl::Status NativeFetch::Poll(size_t records_max, KafkaArrivals& out) {
  now_ns_ = env_.clock.MonotonicNanos();
  DropFinishedAnswers();
  MILLRACE_RETURN_IF_ERROR(Advance(out));
  MILLRACE_RETURN_IF_ERROR(HandOn(records_max, out));
  if (!out.runs.empty()) {
    busy_until_ns_ = now_ns_ + kBusyNs;
  } else if (now_ns_ < busy_until_ns_ && WaitForAnswer()) {
    MILLRACE_RETURN_IF_ERROR(Advance(out));
    MILLRACE_RETURN_IF_ERROR(HandOn(records_max, out));
  }
  return absl::OkStatus();
}

absl::Status NativeFetch::Advance(KafkaArrivals& out) {
  for (auto& [id, broker] : brokers_) {
    // What has not been read yet waits in the socket, while the broker works on.
    if (broker.connection == nullptr || broker.waiting > 0) continue;
    if (absl::Status status = AdvanceBroker(id, broker, out); !status.ok()) {
      MILLRACE_RETURN_IF_ERROR(Lost(id, broker, status));
    }
  }
  AskForMetadata();
  for (auto& [id, broker] : brokers_) {
    if (id < 0 || broker.fetching) continue;
    if (absl::Status status = SendFetch(id, broker); !status.ok()) {
      MILLRACE_RETURN_IF_ERROR(Lost(id, broker, status));
    }
  }
  return refusal_;
}

// True: perhaps something has come.
bool NativeFetch::WaitForAnswer() {
  std::vector<pollfd> sockets;
  for (const auto& [id, broker] : brokers_) {
    if (broker.fetching) sockets.push_back({.fd = broker.connection->fd(), .events = POLLIN});
  }
  return !sockets.empty() && poll(sockets.data(), sockets.size(), kWaitMs) > 0;
}

void NativeFetch::DropFinishedAnswers() {
  while (!answers_.empty() && answers_.front().next_part == answers_.front().parts.size()) {
    Broker& broker = brokers_[answers_.front().broker];
    --broker.waiting;
    if (broker.connection != nullptr) {
      broker.connection->Recycle(std::move(answers_.front().block));
    }
    answers_.pop_front();
  }
}

// ---- Brokers.

absl::Status NativeFetch::AdvanceBroker(int32_t id, Broker& broker, KafkaArrivals& out) {
  MILLRACE_RETURN_IF_ERROR(broker.connection->Advance());
  MILLRACE_ASSIGN_OR_RETURN(std::optional<BrokerConnection::Response> response,
                            broker.connection->Take());
  if (!response) return absl::OkStatus();
  broker.backoff = settings_.reconnect_backoff;
  if (response->version.api == KafkaApi::kMetadata) {
    MILLRACE_ASSIGN_OR_RETURN(const MetadataResponse metadata,
                              DecodeMetadata(response->version.version, response->body));
    metadata_broker_ = kNoBroker;
    OnMetadata(metadata, out);
    // The real brokers are known now.
    if (id < 0) broker.connection.reset();
    return refusal_;
  }
  MILLRACE_ASSIGN_OR_RETURN(FetchResponse fetched,
                            DecodeFetch(response->version.version, response->body));
  if (fetched.error != 0) {
    return KafkaStatus(CodeOf(fetched.error), Text("cannot fetch from broker=", broker.address));
  }
  Answer answer{.broker = id, .block = std::move(response->block), .parts = {}};
  OnFetched(id, fetched, answer, out);
  EndFetch(broker);
  if (answer.parts.empty()) {
    broker.connection->Recycle(std::move(answer.block));
  } else {
    ++broker.waiting;
    answers_.push_back(std::move(answer));
  }
  return refusal_;
}

absl::Status NativeFetch::Lost(int32_t id, Broker& broker, const absl::Status& why) {
  if (!refusal_.ok()) return refusal_;
  if (why.code() != absl::StatusCode::kUnavailable) {
    return Annotate(why, Text("cannot read from broker=", broker.address));
  }
  LogWarning("kafka source",
             {{"uid", name_}, {"broker", broker.address}, {"error", why.ToString()}});
  broker.Lose(settings_, now_ns_);
  EndFetch(broker);
  if (metadata_broker_ == id) metadata_broker_ = kNoBroker;
  // Perhaps others lead by now.
  NeedMetadata(now_ns_ + absl::ToInt64Nanoseconds(settings_.error_backoff));
  return absl::OkStatus();
}

void NativeFetch::EndFetch(Broker& broker) {
  for (const uint32_t split : broker.requested) readings_[split].fetched_from = kNoBroker;
  broker.requested.clear();
  broker.fetching = false;
}

// False: not yet, or not possible now.
bool NativeFetch::Connect(int32_t id, Broker& broker) {
  const absl::StatusOr<bool> ready = broker.Connect(settings_, env_, now_ns_);
  if (ready.ok()) return *ready;
  if (absl::Status status = Lost(id, broker, ready.status()); !status.ok()) {
    Refuse(std::move(status));
  }
  return false;
}

void NativeFetch::Refuse(absl::Status status) {
  if (refusal_.ok()) refusal_ = std::move(status);
}

// ---- Metadata.

void NativeFetch::NeedMetadata(int64_t not_before_ns) {
  metadata_ns_ = metadata_wanted_ ? std::min(metadata_ns_, not_before_ns) : not_before_ns;
  metadata_wanted_ = true;
}

void NativeFetch::AskForMetadata() {
  if (!metadata_wanted_ || metadata_broker_ != kNoBroker || now_ns_ < metadata_ns_ ||
      topics_.empty()) {
    return;
  }
  auto asked = brokers_.end();
  for (auto it = brokers_.begin(); it != brokers_.end(); ++it) {
    const Broker& broker = it->second;
    if (broker.connection == nullptr || !broker.connection->ready()) continue;
    // One that does not work for us answers sooner.
    if (asked == brokers_.end() || broker.waiting + broker.fetching == 0) asked = it;
  }
  if (asked == brokers_.end()) {
    for (auto& [id, broker] : brokers_) Connect(id, broker);
    return;
  }
  BrokerConnection& connection = *asked->second.connection;
  const auto version = connection.VersionFor(KafkaApi::kMetadata, kMetadataVersions);
  if (!version.ok()) return Refuse(version.status());
  std::vector<std::string> names;
  for (const auto& [name, topic] : topics_) names.push_back(name);
  connection.Send({KafkaApi::kMetadata, *version}, EncodeMetadataRequest(*version, names));
  metadata_broker_ = asked->first;
  metadata_wanted_ = false;
}

void NativeFetch::OnMetadata(const MetadataResponse& metadata, KafkaArrivals& out) {
  for (const MetadataResponse::Broker& found : metadata.brokers) {
    if (found.id < 0) continue;
    brokers_[found.id].MoveTo(found, settings_);
  }
  for (const MetadataResponse::Topic& found : metadata.topics) OnTopic(found, out);
  const bool all_led = std::all_of(readings_.begin(), readings_.end(), [](const Reading& reading) {
    return !reading.active || reading.leader != kNoBroker;
  });
  if (!all_led) NeedMetadata(now_ns_ + absl::ToInt64Nanoseconds(settings_.error_backoff));
}

void NativeFetch::OnTopic(const MetadataResponse::Topic& found, KafkaArrivals& out) {
  const auto it = topics_.find(found.name);
  if (it == topics_.end()) return;
  auto& [name, topic] = *it;
  if (found.error != 0) {
    const rd_kafka_resp_err_t code = CodeOf(found.error);
    if (topic.unknown_since_ns == 0) topic.unknown_since_ns = now_ns_;
    const int64_t unknown_ns = now_ns_ - topic.unknown_since_ns;
    if (!IsPassing(code) || unknown_ns > absl::ToInt64Nanoseconds(kUnknownTopicPatience)) {
      out.faults.push_back({topic.splits.begin()->second, code, {}});
    }
    return;
  }
  topic.unknown_since_ns = 0;
  for (const auto& [partition, split] : topic.splits) {
    KafkaTopicId& known = readings_[split].topic_id;
    if (known != KafkaTopicId{} && found.id != KafkaUuid{} && known != found.id) {
      return Refuse(absl::DataLossError(
          Text("the topic was created anew while it was read, or since the checkpoint that the job "
               "goes on from; its former records are gone: topic=",
               name, " partition=", partition, " next=", readings_[split].next_offset,
               "; start a new job from the beginning of the new topic")));
    }
    if (found.id != KafkaUuid{}) known = found.id;
  }
  topic.id = found.id;
  topic_names_[found.id] = name;
  for (const MetadataResponse::Partition& partition : found.partitions) {
    const auto split = topic.splits.find(partition.partition);
    if (split == topic.splits.end()) continue;
    Reading& reading = readings_[split->second];
    // Some brokers learn of a new leader later than others.
    if (partition.leader_epoch < reading.leader_epoch) continue;
    reading.leader = brokers_.contains(partition.leader) ? partition.leader : kNoBroker;
    reading.leader_epoch = partition.leader_epoch;
  }
}

// ---- Fetches.

absl::Status NativeFetch::SendFetch(int32_t id, Broker& broker) {
  std::vector<uint32_t> splits;
  for (uint32_t split = 0; split < readings_.size(); ++split) {
    const Reading& reading = readings_[split];
    if (reading.active && reading.leader == id && reading.fetched_from == kNoBroker &&
        reading.retry_ns <= now_ns_) {
      splits.push_back(split);
    }
  }
  if (splits.empty() || !Connect(id, broker)) return absl::OkStatus();
  // The broker fills its answer in the order of the request: who got nothing is first.
  std::stable_sort(splits.begin(), splits.end(), [this](uint32_t a, uint32_t b) {
    return readings_[a].last_turn < readings_[b].last_turn;
  });
  FetchRequest request{.wait_max_ms = settings_.wait_max_ms,
                       .bytes_min = settings_.bytes_min,
                       .bytes_max = settings_.bytes_max,
                       .partition_bytes_max = settings_.partition_bytes_max,
                       .topics = {}};
  ApiRange versions = settings_.fetch_versions;
  std::map<std::string_view, size_t> places;
  for (const uint32_t split : splits) {
    Reading& reading = readings_[split];
    const auto& [name, topic] = *topics_.find(reading.partition.topic);
    const auto [place, is_new] = places.emplace(name, request.topics.size());
    if (is_new) request.topics.push_back({.name = name, .id = topic.id, .partitions = {}});
    if (topic.id == KafkaUuid{}) versions.high = std::min<int16_t>(versions.high, 12);
    request.topics[place->second].partitions.push_back({reading.partition.partition,
                                                        reading.fetch_offset, reading.leader_epoch,
                                                        reading.last_epoch});
    reading.fetched_from = id;
  }
  broker.requested = std::move(splits);
  broker.fetching = true;
  MILLRACE_ASSIGN_OR_RETURN(const int16_t version,
                            broker.connection->VersionFor(KafkaApi::kFetch, versions));
  broker.connection->Send({KafkaApi::kFetch, version}, EncodeFetchRequest(version, request));
  return broker.connection->Flush();
}

void NativeFetch::OnFetched(int32_t id, FetchResponse& response, Answer& answer,
                            KafkaArrivals& out) {
  for (FetchResponse::Topic& found : response.topics) {
    std::string_view name = found.name;
    if (name.empty()) {
      const auto named = topic_names_.find(found.id);
      if (named == topic_names_.end()) continue;
      name = named->second;
    }
    const auto topic = topics_.find(name);
    if (topic == topics_.end()) continue;  // Nobody wants it any more.
    for (FetchResponse::Partition& partition : found.partitions) {
      const auto split = topic->second.splits.find(partition.partition);
      if (split == topic->second.splits.end()) continue;
      Reading& reading = readings_[split->second];
      if (reading.fetched_from != id) continue;
      reading.fetched_from = kNoBroker;  // Twice in an answer is once too often.
      OnPartition(split->second, partition, answer, out);
    }
  }
}

void NativeFetch::OnPartition(uint32_t split, FetchResponse::Partition& fetched, Answer& answer,
                              KafkaArrivals& out) {
  Reading& reading = readings_[split];
  const rd_kafka_resp_err_t code = CodeOf(fetched.error);
  if (IsPassing(code)) {
    reading.leader = kNoBroker;
    reading.retry_ns = now_ns_ + absl::ToInt64Nanoseconds(settings_.error_backoff);
    return NeedMetadata(now_ns_);
  }
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
    out.faults.push_back({split, code, {}});
    return;
  }
  if (fetched.diverging_end >= 0) {
    return Refuse(absl::DataLossError(
        Text("the log was cut behind the position of the job, by a leader that had less of it: ",
             Where(reading), " end=", fetched.diverging_end,
             " missing=", reading.fetch_offset - fetched.diverging_end)));
  }
  reading.high_watermark = fetched.high_watermark;
  if (fetched.records.empty()) return;
  answer.parts.push_back(
      {split, reading.fetch_offset, fetched.records, std::move(fetched.aborted)});
  reading.last_turn = ++turn_;
  const RecordSetEnd end = FindRecordSetEnd(fetched.records);
  if (end.next_offset <= reading.fetch_offset) return;
  reading.fetch_offset = end.next_offset;
  reading.last_epoch = end.leader_epoch;
}

absl::Status NativeFetch::HandOn(size_t records_max, KafkaArrivals& out) {
  records_.clear();
  while (!answers_.empty() && answers_.front().next_part < answers_.front().parts.size()) {
    Answer& answer = answers_.front();
    Part& part = answer.parts[answer.next_part];
    Reading& reading = readings_[part.split];
    if (!reading.active) {
      reading_part_ = false;
      ++answer.next_part;
      continue;
    }
    if (!std::exchange(reading_part_, true)) {
      if (part.offset != reading.next_offset) {
        return absl::InternalError(
            Text("records came out of order: ", Where(reading), " found=", part.offset));
      }
      reader_.Reset(part.records, part.offset, std::move(part.aborted));
    }
    if (absl::Status status = reader_.Read(records_max, records_); !status.ok()) {
      return Annotate(status, Text("cannot read messages: ", Where(reading)));
    }
    reading.next_offset = reader_.next_offset();
    if (reader_.done()) {
      reading_part_ = false;
      ++answer.next_part;
    }
    out.runs.push_back({part.split, records_, reading.next_offset});
    return absl::OkStatus();
  }
  return absl::OkStatus();
}

std::string NativeFetch::Where(const Reading& reading) {
  return Text("topic=", reading.partition.topic, " partition=", reading.partition.partition,
              " offset=", reading.next_offset);
}

}  // namespace millrace
