// The requests and responses of Kafka's protocol that writing needs, in versions that brokers from
// 2.0 to 4.x know: transactions are those of version 1, which every broker takes.
//
// Threading: pure functions. Ownership: decoded texts view the response.
// Errors:    kDataLoss for bytes that are not the response; counts are bounded by what was
//            received.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "operators/connectors/kafka/native/messages.h"

namespace millrace {

inline constexpr ApiRange kProduceVersions{3, 9};
inline constexpr ApiRange kFindCoordinatorVersions{1, 3};
inline constexpr ApiRange kInitProducerIdVersions{0, 4};
inline constexpr ApiRange kAddPartitionsToTxnVersions{0, 3};
inline constexpr ApiRange kEndTxnVersions{0, 3};

// Who writes: sequences of records are counted per partition for one of these.
struct KafkaProducerId {
  int64_t id = -1;
  int16_t epoch = -1;
};

// ---- Produce: acknowledged by all replicas in sync.

struct ProduceRequest {
  struct Partition {
    int32_t partition;
    std::shared_ptr<const std::string> batch;
  };
  struct Topic {
    std::string_view name;
    std::vector<Partition> partitions;
  };
  std::string_view transactional_id;  // Empty: none.
  int32_t timeout_ms = 0;             // For the replicas.
  std::vector<Topic> topics;
};
std::vector<RequestPiece> EncodeProduceRequest(int16_t version, const ProduceRequest& request);

struct ProduceResponse {
  struct Partition {
    int32_t partition;
    int16_t error;
    std::string_view message;  // Of the broker; mostly empty.
  };
  struct Topic {
    std::string_view name;
    std::vector<Partition> partitions;
  };
  std::vector<Topic> topics;
};
absl::StatusOr<ProduceResponse> DecodeProduce(int16_t version, std::string_view body);

// ---- FindCoordinator, of transactions.

std::string EncodeFindCoordinator(int16_t version, std::string_view transactional_id);
struct FindCoordinatorResponse {
  int16_t error = 0;
  std::string_view message;
  MetadataResponse::Broker broker{};
};
absl::StatusOr<FindCoordinatorResponse> DecodeFindCoordinator(int16_t version,
                                                              std::string_view body);

// ---- InitProducerId: aborts what its transactional id has open, and refuses earlier owners.

// From this version on `current` is told: then a newer owner is not refused, but refuses us.
inline constexpr int16_t kInitWithCurrentVersion = 3;
std::string EncodeInitProducerId(int16_t version, std::string_view transactional_id,
                                 int32_t transaction_timeout_ms, KafkaProducerId current);
struct InitProducerIdResponse {
  int16_t error = 0;
  KafkaProducerId producer;
};
absl::StatusOr<InitProducerIdResponse> DecodeInitProducerId(int16_t version, std::string_view body);

// ---- AddPartitionsToTxn: before their first records in a transaction.

struct TopicPartitions {
  std::string_view topic;
  std::vector<int32_t> partitions;
};
std::string EncodeAddPartitionsToTxn(int16_t version, std::string_view transactional_id,
                                     KafkaProducerId producer,
                                     const std::vector<TopicPartitions>& topics);
struct AddPartitionsToTxnResponse {
  struct Partition {
    std::string_view topic;
    int32_t partition;
    int16_t error;
  };
  std::vector<Partition> partitions;
};
absl::StatusOr<AddPartitionsToTxnResponse> DecodeAddPartitionsToTxn(int16_t version,
                                                                    std::string_view body);

// ---- EndTxn: commits. (InitProducerId aborts.)

std::string EncodeEndTxn(int16_t version, std::string_view transactional_id,
                         KafkaProducerId producer);
absl::StatusOr<int16_t> DecodeEndTxn(int16_t version, std::string_view body);  // The error.

}  // namespace millrace
