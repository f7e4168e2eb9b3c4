// What of the client properties the native fetch and producer need, under the names and with the
// defaults of librdkafka.
//
// Threading: pure functions; the settings are constant.
// Errors:    kInvalidArgument for properties that only librdkafka has, with what to do.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "operators/connectors/kafka/kafka_options.h"
#include "operators/connectors/kafka/native/decompress.h"
#include "operators/connectors/kafka/native/messages.h"
#include "runtime/base/secret.h"
#include "runtime/base/tls.h"

namespace millrace {

struct ConnectionSettings {
  std::vector<std::string> brokers;  // host:port, to ask first.
  std::string client_id = "millrace";
  std::unique_ptr<TlsClient> tls;  // Null: plain.
  std::string sasl_mechanism;      // Empty: none.
  std::string sasl_user;
  Secret sasl_password;
  int32_t response_bytes_max = 100'000'000;
  absl::Duration reconnect_backoff = absl::Milliseconds(100);
  absl::Duration reconnect_backoff_max = absl::Seconds(10);
  absl::Duration silence_max = absl::Seconds(60);  // Of a broker that owes an answer.
};

struct FetchSettings : ConnectionSettings {
  // A fetch small enough to be in the cache when it is decoded.
  int32_t bytes_max = 4 << 20;
  int32_t partition_bytes_max = 1 << 20;
  int32_t bytes_min = 1;
  int32_t wait_max_ms = 100;
  absl::Duration error_backoff = absl::Milliseconds(100);
  ApiRange fetch_versions = kFetchVersions;
};

struct ProduceSettings : ConnectionSettings {
  KafkaCodec codec = KafkaCodec::kNone;
  int32_t codec_level = -1;  // -1: the codec's own.
  // Of one batch, before it is packed; a larger record is a batch of its own.
  int32_t batch_bytes = 1'000'000;
  int32_t batch_records = 10'000;
  int32_t record_bytes_max = 1'000'000;
  size_t unacknowledged_bytes_max = size_t{64} << 20;
  absl::Duration retry_backoff = absl::Milliseconds(100);
  int32_t replicas_timeout_ms = 30'000;
  int32_t transaction_timeout_ms = 30'000;
};

// Whether the native fetch or producer has what the properties ask for: kInvalidArgument names one
// that it does not have. Tuning of librdkafka's own machinery is ignored.
absl::Status CheckNativeFetch(const KafkaClientOptions& options);
absl::Status CheckNativeProduce(const KafkaClientOptions& options);

absl::StatusOr<FetchSettings> MakeFetchSettings(const KafkaClientOptions& options);
absl::StatusOr<ProduceSettings> MakeProduceSettings(const KafkaClientOptions& options);

}  // namespace millrace
