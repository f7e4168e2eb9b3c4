// The requests and responses of Kafka's protocol that reading needs, in the versions that brokers
// from 2.0 on know. Those of writing: produce_messages.h.
//
// Threading: pure functions. Ownership: decoded texts and bytes view the response.
// Errors:    kDataLoss for bytes that are not the response; counts are bounded by what was
//            received.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "operators/connectors/kafka/native/record_set.h"
#include "operators/connectors/kafka/native/wire.h"

namespace millrace {

enum class KafkaApi : int16_t {
  kProduce = 0,
  kFetch = 1,
  kMetadata = 3,
  kFindCoordinator = 10,
  kSaslHandshake = 17,
  kApiVersions = 18,
  kInitProducerId = 22,
  kAddPartitionsToTxn = 24,
  kEndTxn = 26,
  kSaslAuthenticate = 36,
};

struct ApiVersion {
  KafkaApi api;
  int16_t version;
  // Texts and arrays are compact, and fields may be tagged.
  bool flexible() const;
};

// The versions of an API that this code speaks.
struct ApiRange {
  int16_t low;
  int16_t high;
};
inline constexpr ApiRange kFetchVersions{4, 13};
inline constexpr ApiRange kMetadataVersions{5, 12};

// Of a frame: length and header, which are followed by `body_bytes`.
std::string EncodeRequestHead(ApiVersion version, int32_t correlation_id,
                              std::string_view client_id, size_t body_bytes);
// Takes the header off a response (without its length). kDataLoss unless it has `correlation_id`.
absl::StatusOr<std::string_view> ResponseBody(ApiVersion version, int32_t correlation_id,
                                              std::string_view response);

// What decoders return for bytes that are something else.
absl::Status NotAResponseTo(std::string_view request);

// A part of a request: text of its own, or bytes that are shared with whoever may send them again.
struct RequestPiece {
  std::string text;
  std::shared_ptr<const std::string> shared;  // Instead of `text`, unless null.
  std::string_view bytes() const { return shared == nullptr ? text : *shared; }
};

// ---- ApiVersions 0: its request has no body.

struct ApiVersionsResponse {
  int16_t error = 0;
  struct Api {
    int16_t api;
    ApiRange versions;
  };
  std::vector<Api> apis;
};
absl::StatusOr<ApiVersionsResponse> DecodeApiVersions(std::string_view body);

// ---- SaslHandshake 1, SaslAuthenticate 0.

std::string EncodeSaslHandshake(std::string_view mechanism);
struct SaslHandshakeResponse {
  int16_t error = 0;
  std::vector<std::string_view> mechanisms;
};
absl::StatusOr<SaslHandshakeResponse> DecodeSaslHandshake(std::string_view body);

std::string EncodeSaslAuthenticate(std::string_view bytes);
struct SaslAuthenticateResponse {
  int16_t error = 0;
  std::string_view message;
  std::string_view bytes;
};
absl::StatusOr<SaslAuthenticateResponse> DecodeSaslAuthenticate(std::string_view body);

// ---- Metadata.

std::string EncodeMetadataRequest(int16_t version, const std::vector<std::string>& topics);
struct MetadataResponse {
  struct Broker {
    int32_t id;
    std::string_view host;
    int32_t port;
  };
  struct Partition {
    int16_t error;
    int32_t partition;
    int32_t leader;             // A broker; -1: none.
    int32_t leader_epoch = -1;  // -1: not told.
  };
  struct Topic {
    int16_t error;
    std::string_view name;
    KafkaUuid id{};  // Zero: not told.
    std::vector<Partition> partitions;
  };
  std::vector<Broker> brokers;
  std::vector<Topic> topics;
};
absl::StatusOr<MetadataResponse> DecodeMetadata(int16_t version, std::string_view body);

// ---- Fetch, of committed records, without sessions.

struct FetchRequest {
  struct Partition {
    int32_t partition;
    int64_t offset;
    int32_t leader_epoch;  // -1: any.
    int32_t last_epoch;    // Of the last record before `offset`; -1: not known.
  };
  struct Topic {
    std::string_view name;
    KafkaUuid id;
    std::vector<Partition> partitions;
  };
  int32_t wait_max_ms = 0;
  int32_t bytes_min = 1;
  int32_t bytes_max = 0;            // Soft: one batch is always given.
  int32_t partition_bytes_max = 0;  // Soft.
  std::vector<Topic> topics;
};
std::string EncodeFetchRequest(int16_t version, const FetchRequest& request);

struct FetchResponse {
  struct Partition {
    int32_t partition;
    int16_t error;
    int64_t high_watermark;
    // The log that `last_epoch` was of ends there: what was read after it is no longer in the log.
    // -1: no such thing.
    int64_t diverging_end = -1;
    std::vector<AbortedTransaction> aborted;
    std::string_view records;
  };
  struct Topic {
    std::string_view name;  // Versions before 13.
    KafkaUuid id{};         // From version 13 on.
    std::vector<Partition> partitions;
  };
  int16_t error = 0;
  std::vector<Topic> topics;
};
absl::StatusOr<FetchResponse> DecodeFetch(int16_t version, std::string_view body);

}  // namespace millrace
