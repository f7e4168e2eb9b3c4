// Transactions over connections of its own. Batches of a partition carry sequence numbers; a leader
// refuses what is out of order and does not repeat what it has. Up to five requests are under way
// per broker; a partition has one until its leader has acknowledged a batch, and again after one
// was refused: a leader that knows nothing of a producer takes any sequence as its first.
//
// A transaction is aborted by asking for the next epoch of the producer, which also refuses what
// may still be on its way. Nothing is concluded from an answer to EndTxn that did not come.
//
// Threading: one thread at a time, polled by every call; host names are looked up there.
// Ownership: `env` and `stop` outlive it. Unacknowledged bytes are bounded by the settings.
// Errors:    as KafkaProducer. Brokers that are away are an error at the deadline only.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "operators/connectors/kafka/kafka_producer.h"
#include "operators/connectors/kafka/native/broker_connection.h"
#include "operators/connectors/kafka/native/compress.h"
#include "operators/connectors/kafka/native/native_settings.h"
#include "operators/connectors/kafka/native/produce_errors.h"
#include "operators/connectors/kafka/native/produce_messages.h"
#include "operators/connectors/kafka/native/record_batch.h"

namespace millrace {

class NativeProducer final : public KafkaProducer {
 public:
  NativeProducer(ProduceSettings settings, Env& env, std::string transactional_id,
                 std::vector<std::string> topics, const absl::Notification& stop);

  absl::Status Fence(const KafkaDeadline& deadline) override;
  absl::Status Begin(const KafkaDeadline& deadline) override;
  absl::Status Add(size_t topic, const KafkaFrame& frame, const KafkaDeadline& deadline) override;
  absl::Status Flush(const KafkaDeadline& deadline) override;
  absl::Status Commit(const KafkaDeadline& deadline) override;
  absl::Status Abort(const KafkaDeadline& deadline) override;

 private:
  static constexpr int32_t kNoBroker = -1;

  struct Batch {
    enum class State { kWaiting, kSent, kRefused, kDone };
    std::shared_ptr<const std::string> bytes;
    State state = State::kWaiting;
  };
  struct Partition {
    int32_t leader = kNoBroker;
    int32_t leader_epoch = -1;
    RecordBatchWriter open;
    int64_t open_ms = 0;        // When it was begun: the time of its records.
    std::deque<Batch> batches;  // By sequence.
    int32_t next_sequence = 0;  // Of the open one.
    size_t sent = 0;            // Batches in that state, all to `sent_to`.
    int32_t sent_to = kNoBroker;
    bool acknowledged = false;  // The leader knows the producer.
    bool refused = false;       // Batches in that state: all are sent again once none is sent.
    bool in_transaction = false;
    int64_t retry_ns = 0;  // Not before.

    std::deque<Batch>::iterator NextWaiting() {
      return std::find_if(batches.begin(), batches.end(),
                          [](const Batch& b) { return b.state == Batch::State::kWaiting; });
    }
  };
  struct Topic {
    std::string name;
    // Empty: not known yet. Metadata may add some while one is in use.
    std::deque<Partition> partitions;
    int16_t error = 0;  // What the last metadata said instead.
  };
  struct Place {
    size_t topic;
    int32_t partition;
  };
  struct Broker : BrokerLink {
    std::deque<std::vector<Place>> produces;  // Requests under way: one batch of each place.
  };
  // A request that the caller waits for.
  struct Call {
    KafkaApi api = KafkaApi::kInitProducerId;
    int32_t broker = kNoBroker;  // kNoBroker: the connection was lost.
    std::optional<BrokerConnection::Response> answer;
  };
  enum class IfLost { kSendAgain, kUnknown };

  // Repeats a request until its outcome is certain. `decode` gives the error of an answer.
  template <typename Encode, typename Decode>
  absl::Status Ask(std::string_view attempted, KafkaApi api, ApiRange versions, IfLost if_lost,
                   const KafkaDeadline& deadline, const Encode& encode, const Decode& decode);
  // Whom to ask; kNoBroker: nobody can be asked yet.
  absl::StatusOr<int32_t> ReadyBrokerFor(KafkaApi api, const KafkaDeadline& deadline);
  absl::Status FindCoordinator(const KafkaDeadline& deadline);
  absl::Status InitProducerId(const KafkaDeadline& deadline);
  absl::Status AddPartitions(const KafkaDeadline& deadline);
  absl::Status AwaitTopics(const KafkaDeadline& deadline);
  absl::Status CloseBatch(Partition& partition);
  absl::Status CloseAll();
  void ForgetRecords();

  // Sends and receives what can be; then waits for a moment. kUnavailable: out of time.
  absl::Status Step(std::string_view attempted, const KafkaDeadline& deadline);
  absl::Status Advance();
  void WaitForSockets();
  // What goes wrong with the connection; what goes wrong otherwise is in failure_.
  absl::Status AdvanceBroker(int32_t id, Broker& broker);
  absl::Status OnResponse(int32_t id, Broker& broker, BrokerConnection::Response response);
  absl::Status OnProduced(Broker& broker, const ProduceResponse& response);
  void OnBatch(const Place& place, const ProduceResponse::Partition& answer);
  static void Settle(Partition& partition);
  std::vector<Place> NextPlaces(int32_t id);
  void SendProduce(int32_t id, Broker& broker);
  bool Connect(int32_t id, Broker& broker);  // True: it may be sent to.
  void Lost(int32_t id, Broker& broker, const absl::Status& why);
  void NeedMetadata(int64_t not_before_ns);
  void AskForMetadata();
  void OnMetadata(const MetadataResponse& metadata);
  // The first failure stays until Abort; returns it.
  absl::Status Fail(TransactionRemedy remedy, absl::Status status);
  Partition& PartitionOf(const Place& place) {
    return topics_[place.topic].partitions[static_cast<size_t>(place.partition)];
  }

  const ProduceSettings settings_;
  Env& env_;
  const std::string transactional_id_;
  const absl::Notification& stop_;
  Compressor compressor_;

  std::vector<Topic> topics_;
  std::map<int32_t, Broker> brokers_;  // Those to ask first have negative ids.
  int32_t coordinator_ = kNoBroker;
  KafkaProducerId producer_;
  Call call_;

  size_t open_bytes_ = 0;
  size_t unacknowledged_bytes_ = 0;  // Of closed batches.
  int64_t now_ns_ = 0;               // Of the current step.
  bool metadata_wanted_ = false;
  int64_t metadata_ns_ = 0;              // Not before.
  int32_t metadata_broker_ = kNoBroker;  // Whom it was asked from; kNoBroker: nobody.
  absl::Status failure_;
  std::string trouble_;  // The last thing that did not work, for messages.
};

}  // namespace millrace
