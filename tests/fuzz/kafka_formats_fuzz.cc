// Positions, markers, commit tokens and outbox records of the Kafka connector: any bytes either are
// refused or survive encoding again.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "operators/connectors/kafka/kafka_marker.h"
#include "operators/connectors/kafka/kafka_position.h"
#include "operators/connectors/kafka/letter_queue.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace millrace;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (const auto position = DecodeKafkaPosition(bytes); position.ok()) {
    if (EncodeKafkaPosition(*position) != bytes) std::abort();
  }
  if (const auto marker = DecodeKafkaMarker(bytes); marker.ok()) {
    if (EncodeKafkaMarker(*marker) != bytes) std::abort();
  }
  if (const auto payload = DecodeKafkaCommitPayload(bytes); payload.ok()) {
    // Lengths may be written longer than needed; the values must be the same.
    const auto again = DecodeKafkaCommitPayload(EncodeKafkaCommitPayload(*payload));
    if (!again.ok() || !(*again == *payload)) std::abort();
  }
  if (const auto partition = ParseKafkaSplitId(bytes); partition.ok()) {
    const auto again = ParseKafkaSplitId(KafkaSplitId(*partition));
    if (!again.ok() || *again != *partition) std::abort();
  }
  if (const auto progress = DecodeReplayProgress(bytes); progress.ok()) {
    const auto again = DecodeReplayProgress(EncodeReplayProgress(*progress));
    if (!again.ok() || !(*again == *progress)) std::abort();
  }
  KafkaOutboxReader reader;
  size_t frame_bytes = 0;
  (void)reader.Add(bytes, [&](const KafkaFrame& frame) {  // An error is an answer.
    frame_bytes += frame.key.value_or("").size() + frame.value.value_or("").size();
    for (const KafkaHeader& header : frame.headers) {
      frame_bytes += header.name.size() + header.value.value_or("").size();
    }
    return absl::OkStatus();
  });
  if (frame_bytes > size) std::abort();
  return 0;
}
