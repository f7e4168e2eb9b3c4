// What a Kafka broker sends to the native reader: any bytes either are refused or give views that
// lie within them. The first byte says which response, the second one its version.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "operators/connectors/kafka/native/messages.h"
#include "operators/connectors/kafka/native/record_batch_format.h"
#include "operators/connectors/kafka/native/record_set.h"
#include "operators/connectors/kafka/native/wire.h"
#include "runtime/checkpoint/segment_file.h"
#include "tests/fuzz/kafka_responses.h"

namespace millrace {
namespace {

// Gives the batches the checksums that they should have: mutations would not come further.
void Sign(std::string& bytes) {
  for (size_t at = 0; at + kBatchAttributesAt <= bytes.size();) {
    const auto length = LoadBigEndian<int32_t>(bytes.data() + at + kBatchLengthAt);
    if (length < 9 || static_cast<size_t>(length) > bytes.size() - at - kBatchBeforeLengthEnds) {
      return;
    }
    const size_t size = kBatchBeforeLengthEnds + static_cast<size_t>(length);
    const uint32_t crc =
        Crc32c(std::string_view(bytes).substr(at + kBatchAttributesAt, size - kBatchAttributesAt));
    for (size_t i = 0; i < 4; ++i) {
      bytes[at + kBatchChecksumAt + i] = static_cast<char>(crc >> (24 - 8 * i));
    }
    at += size;
  }
}

void ReadRecords(std::string_view given, uint8_t how) {
  std::string bytes(given);
  Sign(bytes);
  ByteBlock block;
  block.Resize(bytes.size());
  std::memcpy(block.data(), bytes.data(), bytes.size());
  RecordSetReader reader;
  reader.Reset(block.view(), how & 15, {{1, 0}, {2, 3}});
  size_t sum = 0;
  int64_t last = -1;
  while (!reader.done()) {
    std::vector<KafkaRecord> records;
    const bool ok = reader.Read(1 + (how >> 4), records).ok();
    for (const KafkaRecord& record : records) {
      if (record.offset <= last) std::abort();
      last = record.offset;
      for (const char c : record.key) sum += static_cast<uint8_t>(c);
      for (const char c : record.value) sum += static_cast<uint8_t>(c);
    }
    if (reader.next_offset() <= last) std::abort();
    if (!ok) return;
  }
  // What was found by the heads alone is what was read.
  const int64_t end = FindRecordSetEnd(block.view()).next_offset;
  if (end > reader.next_offset()) std::abort();
  volatile size_t used = sum;
  (void)used;
}

}  // namespace
}  // namespace millrace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace millrace;
  if (size < 2) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  const auto version = [&](ApiRange range) { return VersionIn(range, data[1]); };
  switch (data[0] % 6) {
    case 0:
      ReadRecords(bytes, data[1]);
      break;
    case 1:
      if (const auto fetched = DecodeFetch(version(kFetchVersions), bytes); fetched.ok()) {
        for (const FetchResponse::Topic& topic : fetched->topics) {
          CheckWithin(topic.name, bytes);
          for (const auto& partition : topic.partitions) CheckWithin(partition.records, bytes);
        }
      }
      break;
    case 2:
      if (const auto metadata = DecodeMetadata(version(kMetadataVersions), bytes); metadata.ok()) {
        for (const auto& broker : metadata->brokers) CheckWithin(broker.host, bytes);
        for (const auto& topic : metadata->topics) CheckWithin(topic.name, bytes);
      }
      break;
    case 3:
      (void)DecodeApiVersions(bytes);  // Holds no views.
      break;
    case 4:
      if (const auto answer = DecodeSaslHandshake(bytes); answer.ok()) {
        for (const std::string_view mechanism : answer->mechanisms) CheckWithin(mechanism, bytes);
      }
      break;
    default:
      if (const auto answer = DecodeSaslAuthenticate(bytes); answer.ok()) {
        CheckWithin(answer->message, bytes);
        CheckWithin(answer->bytes, bytes);
      }
  }
  return 0;
}
