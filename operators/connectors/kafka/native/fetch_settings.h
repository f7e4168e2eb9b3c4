// What of a source's client properties the native reader needs, under the names and with the
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
#include "operators/connectors/kafka/native/messages.h"
#include "runtime/base/secret.h"
#include "runtime/base/tls.h"

namespace millrace {

struct FetchSettings {
  std::vector<std::string> brokers;  // host:port, to ask first.
  std::string client_id = "millrace";
  std::unique_ptr<TlsClient> tls;  // Null: plain.
  std::string sasl_mechanism;      // Empty: none.
  std::string sasl_user;
  Secret sasl_password;

  // A fetch small enough to be in the cache when it is decoded.
  int32_t bytes_max = 4 << 20;
  int32_t partition_bytes_max = 1 << 20;
  int32_t bytes_min = 1;
  int32_t wait_max_ms = 100;
  int32_t response_bytes_max = 100'000'000;
  absl::Duration error_backoff = absl::Milliseconds(100);
  absl::Duration reconnect_backoff = absl::Milliseconds(100);
  absl::Duration reconnect_backoff_max = absl::Seconds(10);
  absl::Duration silence_max = absl::Seconds(60);  // Of a broker that owes an answer.
  ApiRange fetch_versions = kFetchVersions;
};

// Whether the native reader has what the properties ask for: kInvalidArgument names one that it
// does not have. Tuning of librdkafka's own machinery is ignored.
absl::Status CheckNativeFetch(const KafkaClientOptions& options);

absl::StatusOr<FetchSettings> MakeFetchSettings(const KafkaClientOptions& options);

}  // namespace millrace
