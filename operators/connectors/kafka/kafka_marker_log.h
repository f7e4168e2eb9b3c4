// The topic of markers: made sure of, and read for one key.
//
// Threading: one io thread. Errors: kUnavailable when the answer is not certain in time ("no
// marker" is an answer only after the whole log was read); kFailedPrecondition when the topic's
// settings would let markers expire.
#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "operators/connectors/kafka/kafka_client.h"
#include "operators/connectors/kafka/kafka_marker.h"

namespace millrace {

// Creates the topic when it is missing and checks that it is compacted and never expires.
absl::Status EnsureMarkerTopic(KafkaClient& producer, const KafkaDeadline& deadline);

// The value of the last committed record of `key`. Call it after the slot is fenced, so that no
// transaction of the slot is undecided. `producer` asks for the end of the log.
absl::StatusOr<std::optional<std::string>> ReadMarkerValue(KafkaClient& producer,
                                                           const KafkaClientOptions& options,
                                                           const std::string& key,
                                                           const KafkaDeadline& deadline);
// The same for a slot of a sink.
absl::StatusOr<std::optional<KafkaMarker>> ReadKafkaMarker(KafkaClient& producer,
                                                           const KafkaClientOptions& options,
                                                           const std::string& key,
                                                           const KafkaDeadline& deadline);

}  // namespace millrace
