// The position of a Kafka split as bytes of a checkpoint, and split ids ("topic/partition").
//
// Threading: pure functions. Errors: decoders return kDataLoss for bytes that are not a position,
// kFailedPrecondition for a newer version.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace millrace {

using KafkaTopicId = std::array<char, 16>;  // All zero: none is known.

struct KafkaPosition {
  int64_t offset = 0;          // The next offset to read.
  std::optional<int64_t> end;  // Bounded: the first offset not to read.
  KafkaTopicId topic_id = {};  // Of the topic that the offsets are of.
  bool operator==(const KafkaPosition&) const = default;
};

// With a topic's id: version 2. Version 1, without, is read and written, too.
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
