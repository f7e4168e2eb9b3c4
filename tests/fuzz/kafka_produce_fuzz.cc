// What a Kafka broker answers to the native producer: any bytes either are refused or give views
// that lie within them. The first byte says which response, the second one its version.
#include <cstdint>
#include <string_view>

#include "operators/connectors/kafka/native/produce_messages.h"
#include "tests/fuzz/kafka_responses.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace millrace;
  if (size < 2) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  const auto version = [&](ApiRange range) { return VersionIn(range, data[1]); };
  switch (data[0] % 5) {
    case 0:
      if (const auto produced = DecodeProduce(version(kProduceVersions), bytes); produced.ok()) {
        for (const ProduceResponse::Topic& topic : produced->topics) {
          CheckWithin(topic.name, bytes);
          for (const auto& partition : topic.partitions) CheckWithin(partition.message, bytes);
        }
      }
      break;
    case 1:
      if (const auto found = DecodeFindCoordinator(version(kFindCoordinatorVersions), bytes);
          found.ok()) {
        CheckWithin(found->message, bytes);
        CheckWithin(found->broker.host, bytes);
      }
      break;
    case 2:
      (void)DecodeInitProducerId(version(kInitProducerIdVersions), bytes);  // Holds no views.
      break;
    case 3:
      if (const auto added = DecodeAddPartitionsToTxn(version(kAddPartitionsToTxnVersions), bytes);
          added.ok()) {
        for (const auto& partition : added->partitions) CheckWithin(partition.topic, bytes);
      }
      break;
    default:
      (void)DecodeEndTxn(version(kEndTxnVersions), bytes);  // Holds no views.
  }
  return 0;
}
