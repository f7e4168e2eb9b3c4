#include "operators/connectors/kafka/native/record_batch.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "operators/connectors/kafka/native/record_batch_format.h"
#include "operators/connectors/kafka/native/wire.h"
#include "runtime/base/check.h"
#include "runtime/base/status_macros.h"
#include "runtime/checkpoint/segment_file.h"

namespace millrace {
namespace {

// Length, attributes, time, offset.
constexpr size_t kRecordHeadBytes = 40;

constexpr uint64_t Zigzag(int64_t value) {
  return (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63);
}

constexpr size_t VarintBytes(int64_t value) {
  size_t bytes = 1;
  for (uint64_t bits = Zigzag(value); bits >= 0x80; bits >>= 7) ++bytes;
  return bytes;
}

char* PutVarint(char* at, int64_t value) {
  uint64_t bits = Zigzag(value);
  for (; bits >= 0x80; bits >>= 7) *at++ = static_cast<char>(bits | 0x80);
  *at++ = static_cast<char>(bits);
  return at;
}

using Part = std::optional<std::string_view>;

int64_t LengthOf(const Part& part) { return part ? static_cast<int64_t>(part->size()) : -1; }
size_t EncodedBytesOf(const Part& part) {
  return VarintBytes(LengthOf(part)) + (part ? part->size() : 0);
}

// A length and as many bytes; -1 is NULL.
void PutPart(std::string& out, const Part& part) {
  char length[10];
  out.append(length, PutVarint(length, LengthOf(part)));
  if (part) out.append(*part);
}

}  // namespace

size_t RecordBatchWriter::BytesOf(const KafkaFrame& frame) {
  size_t bytes = frame.key.value_or("").size() + frame.value.value_or("").size();
  for (const KafkaHeader& header : frame.headers) {
    bytes += header.name.size() + header.value.value_or("").size();
  }
  return bytes;
}

void RecordBatchWriter::Add(const KafkaFrame& frame, int64_t timestamp_ms) {
  if (records_ == 0) {
    bytes_.reserve(expected_bytes_);
    bytes_.assign(kBatchHeadBytes, '\0');
    first_timestamp_ms_ = max_timestamp_ms_ = timestamp_ms;
  }
  max_timestamp_ms_ = std::max(max_timestamp_ms_, timestamp_ms);
  const int64_t time_delta = timestamp_ms - first_timestamp_ms_;
  const auto headers = static_cast<int64_t>(frame.headers.size());
  size_t size = 1 + VarintBytes(time_delta) + VarintBytes(records_) + EncodedBytesOf(frame.key) +
                EncodedBytesOf(frame.value) + VarintBytes(headers);
  for (const KafkaHeader& header : frame.headers) {
    size += EncodedBytesOf(Part(header.name)) + EncodedBytesOf(header.value);
  }
  char head[kRecordHeadBytes];
  char* at = PutVarint(head, static_cast<int64_t>(size));
  *at++ = 0;  // Attributes: none are defined.
  at = PutVarint(at, time_delta);
  at = PutVarint(at, records_);
  bytes_.append(head, at);
  PutPart(bytes_, frame.key);
  PutPart(bytes_, frame.value);
  bytes_.append(head, PutVarint(head, headers));
  for (const KafkaHeader& header : frame.headers) {
    PutPart(bytes_, header.name);
    PutPart(bytes_, header.value);
  }
  ++records_;
}

absl::StatusOr<std::shared_ptr<const std::string>> RecordBatchWriter::Finish(
    const Origin& origin, Compressor& compressor) {
  MILLRACE_CHECK(records_ > 0);
  expected_bytes_ = bytes_.size();
  auto batch = std::make_shared<std::string>();
  if (compressor.codec() == KafkaCodec::kNone) {
    *batch = std::exchange(bytes_, {});
  } else {
    batch->assign(kBatchHeadBytes, '\0');
    MILLRACE_RETURN_IF_ERROR(
        compressor.Pack(std::string_view(bytes_).substr(kBatchHeadBytes), *batch));
    bytes_.clear();
  }
  const auto attributes = static_cast<int16_t>(static_cast<int16_t>(compressor.codec()) |
                                               (origin.transactional ? kBatchTransactional : 0));
  std::string checked;  // The head's part under the checksum.
  PutBigEndian(checked, attributes);
  PutBigEndian(checked, records_ - 1);  // Offset of the last record.
  PutBigEndian(checked, first_timestamp_ms_);
  PutBigEndian(checked, max_timestamp_ms_);
  PutBigEndian(checked, origin.producer.id);
  PutBigEndian(checked, origin.producer.epoch);
  PutBigEndian(checked, origin.first_sequence);
  PutBigEndian(checked, records_);
  MILLRACE_CHECK(checked.size() == kBatchHeadBytes - kBatchAttributesAt);
  std::memcpy(batch->data() + kBatchAttributesAt, checked.data(), checked.size());
  std::string head;
  PutBigEndian(head, int64_t{0});  // Offset: the broker's.
  PutBigEndian(head, static_cast<int32_t>(batch->size() - kBatchBeforeLengthEnds));
  PutBigEndian(head, int32_t{-1});  // Epoch of the leader: the broker's.
  head.push_back(static_cast<char>(kBatchMagic));
  PutBigEndian(head, Crc32c(std::string_view(*batch).substr(kBatchAttributesAt)));
  MILLRACE_CHECK(head.size() == kBatchAttributesAt);
  std::memcpy(batch->data(), head.data(), head.size());
  records_ = 0;
  return batch;
}

}  // namespace millrace
