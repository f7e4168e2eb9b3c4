// Fetches partitions from their leaders over connections of its own. Per broker one request is
// under way, and one answer may wait: the next fetch is sent before the last one is decoded.
//
// Threading: the task thread; host names are looked up there, and between the answers of a busy
//            stream it waits for at most a millisecond. Ownership: `env` outlives it.
// Errors:    kDataLoss for a log that was cut behind the position, a topic that was created anew
//            while it was read or since its position was taken, and corrupt batches;
//            kPermissionDenied; kUnavailable for a topic that stays unknown. Brokers that are away
//            are no error.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "operators/connectors/kafka/kafka_fetch.h"
#include "operators/connectors/kafka/native/broker_connection.h"
#include "operators/connectors/kafka/native/messages.h"
#include "operators/connectors/kafka/native/native_settings.h"
#include "operators/connectors/kafka/native/record_set.h"
#include "runtime/base/env.h"

namespace millrace {

class NativeFetch final : public KafkaFetch {
 public:
  // `name` is for log lines.
  NativeFetch(FetchSettings settings, Env& env, std::string name);

  absl::Status Add(const std::vector<Split>& splits) override;
  void Remove(uint32_t split) override;
  absl::Status Poll(size_t records_max, KafkaArrivals& out) override;
  std::optional<int64_t> HighWatermark(uint32_t split) override;
  KafkaTopicId TopicId(uint32_t split) const override { return readings_[split].topic_id; }
  bool padded() const override { return true; }

 private:
  static constexpr int32_t kNoBroker = -1;

  struct Reading {
    KafkaPartition partition;
    KafkaTopicId topic_id{};  // Zero until the topic is known.
    bool active = false;
    int32_t leader = kNoBroker;
    int32_t leader_epoch = -1;
    int32_t fetched_from = kNoBroker;  // A request for it is under way there.
    int32_t last_epoch = -1;           // Of the last record fetched.
    int64_t fetch_offset = 0;          // Of the next request.
    int64_t next_offset = 0;           // After what was handed on.
    int64_t high_watermark = -1;
    int64_t retry_ns = 0;    // Not before.
    uint64_t last_turn = 0;  // When it last gave records: others come first.
  };
  struct Topic {
    KafkaUuid id{};
    int64_t unknown_since_ns = 0;        // 0: it is known.
    std::map<int32_t, uint32_t> splits;  // By partition.
  };
  // Of one partition, in an answer.
  struct Part {
    uint32_t split;
    int64_t offset;  // Where it begins for us.
    std::string_view records;
    std::vector<AbortedTransaction> aborted;
  };
  struct Answer {
    int32_t broker;
    ByteBlock block;
    std::vector<Part> parts;
    size_t next_part = 0;
  };
  struct Broker : BrokerLink {
    int waiting = 0;  // Answers.
    bool fetching = false;
    std::vector<uint32_t> requested;  // Splits of the fetch that is under way.
  };
  absl::Status Advance(KafkaArrivals& out);
  bool WaitForAnswer();
  absl::Status AdvanceBroker(int32_t id, Broker& broker, KafkaArrivals& out);
  // Drops the connection, to be made again later; or returns what cannot be helped.
  absl::Status Lost(int32_t id, Broker& broker, const absl::Status& why);
  bool Connect(int32_t id, Broker& broker);
  void EndFetch(Broker& broker);
  void NeedMetadata(int64_t not_before_ns);
  void AskForMetadata();
  void OnMetadata(const MetadataResponse& metadata, KafkaArrivals& out);
  void OnTopic(const MetadataResponse::Topic& found, KafkaArrivals& out);
  absl::Status SendFetch(int32_t id, Broker& broker);
  void OnFetched(int32_t id, FetchResponse& response, Answer& answer, KafkaArrivals& out);
  void OnPartition(uint32_t split, FetchResponse::Partition& fetched, Answer& answer,
                   KafkaArrivals& out);
  absl::Status HandOn(size_t records_max, KafkaArrivals& out);
  void DropFinishedAnswers();
  void Refuse(absl::Status status);
  static std::string Where(const Reading& reading);

  const FetchSettings settings_;
  Env& env_;
  const std::string name_;
  int64_t now_ns_ = 0;         // Of the current call.
  int64_t busy_until_ns_ = 0;  // Records came a moment ago.

  std::vector<Reading> readings_;  // By split.
  std::map<std::string, Topic, std::less<>> topics_;
  std::map<KafkaUuid, std::string> topic_names_;
  std::map<int32_t, Broker> brokers_;  // Those to ask first have negative ids.
  absl::Status refusal_;               // What ends the reading: the first such thing.

  bool metadata_wanted_ = false;
  int64_t metadata_ns_ = 0;              // Not before.
  int32_t metadata_broker_ = kNoBroker;  // Whom it was asked from; kNoBroker: nobody.

  std::deque<Answer> answers_;  // In order of arrival, so that a split's parts are in order.
  RecordSetReader reader_;      // Of the current part.
  bool reading_part_ = false;
  std::vector<KafkaRecord> records_;
  uint64_t turn_ = 0;
};

}  // namespace millrace
