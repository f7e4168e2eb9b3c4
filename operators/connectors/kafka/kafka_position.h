// The position of a Kafka split as bytes of a checkpoint, and split ids ("topic/partition").
//
// Threading: pure functions. Errors: decoders return kDataLoss for bytes that are not a position,
// kFailedPrecondition for a newer version.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace millrace {

struct KafkaPosition {
  int64_t offset = 0;          // The next offset to read.
  std::optional<int64_t> end;  // Bounded: the first offset not to read.
  bool operator==(const KafkaPosition&) const = default;
};

std::string EncodeKafkaPosition(const KafkaPosition& position);
absl::StatusOr<KafkaPosition> DecodeKafkaPosition(std::string_view bytes);

struct KafkaPartition {
  std::string topic;
  int32_t partition = 0;
  auto operator<=>(const KafkaPartition&) const = default;
};

std::string KafkaSplitId(const KafkaPartition& partition);
absl::StatusOr<KafkaPartition> ParseKafkaSplitId(std::string_view id);

}  // namespace millrace
