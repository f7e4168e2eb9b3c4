#include "operators/connectors/kafka/kafka_position.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "operators/connectors/kafka/text.h"
#include "operators/connectors/kafka/wire_bytes.h"

namespace millrace {
namespace {

constexpr uint8_t kMagic = 'K';
constexpr uint8_t kVersion = 1;
constexpr uint8_t kVersionWithTopicId = 2;
constexpr uint8_t kHasEnd = 1;

}  // namespace

std::string EncodeKafkaPosition(const KafkaPosition& position) {
  std::string out;
  PutFixed(out, kMagic);
  const bool has_topic_id = position.topic_id != KafkaTopicId{};
  PutFixed(out, has_topic_id ? kVersionWithTopicId : kVersion);
  PutFixed<uint8_t>(out, position.end ? kHasEnd : 0);
  PutFixed(out, position.offset);
  if (position.end) PutFixed(out, *position.end);
  if (has_topic_id) out.append(position.topic_id.data(), position.topic_id.size());
  return out;
}

absl::StatusOr<KafkaPosition> DecodeKafkaPosition(std::string_view bytes) {
  ByteReader reader(bytes);
  const auto magic = reader.Fixed<uint8_t>();
  const auto version = reader.Fixed<uint8_t>();
  if (!reader.ok() || magic != kMagic || version == 0) {
    return absl::DataLossError(Text("not a position of a Kafka split: ", bytes.size(), " bytes"));
  }
  if (version > kVersionWithTopicId) {
    return absl::FailedPreconditionError(Text("the position of a Kafka split has version ", version,
                                              "; this build reads ", kVersionWithTopicId));
  }
  KafkaPosition position;
  const auto flags = reader.Fixed<uint8_t>();
  position.offset = reader.Fixed<int64_t>();
  if ((flags & kHasEnd) != 0) position.end = reader.Fixed<int64_t>();
  if (version == kVersionWithTopicId) {
    const std::string_view id = reader.Take(position.topic_id.size());
    std::copy(id.begin(), id.end(), position.topic_id.begin());
    if (position.topic_id == KafkaTopicId{}) return absl::DataLossError("a topic id of zeros");
  }
  if (!reader.ok() || !reader.done() || (flags & ~kHasEnd) != 0 || position.offset < 0 ||
      position.end.value_or(0) < 0) {
    return absl::DataLossError(Text("corrupt position of a Kafka split: ", bytes.size(), " bytes"));
  }
  return position;
}

std::string KafkaSplitId(const KafkaPartition& partition) {
  return Text(partition.topic, "/", partition.partition);
}

absl::StatusOr<KafkaPartition> ParseKafkaSplitId(std::string_view id) {
  const size_t slash = id.rfind('/');
  KafkaPartition out;
  if (slash == std::string_view::npos || slash == 0 ||
      !absl::SimpleAtoi(ToAbsl(id.substr(slash + 1)), &out.partition) || out.partition < 0) {
    return absl::InvalidArgumentError(Text("not the id of a Kafka split: '", id, "'"));
  }
  out.topic = std::string(id.substr(0, slash));
  return out;
}

}  // namespace millrace
