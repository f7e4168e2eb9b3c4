#include "operators/connectors/kafka/native/record_set.h"

#include <algorithm>
#include <utility>

#include "operators/connectors/kafka/native/record_batch_format.h"
#include "operators/connectors/kafka/native/wire.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"
#include "runtime/checkpoint/segment_file.h"

namespace millrace {
namespace {

constexpr int16_t kAbortMarker = 0;
// Length, attributes, time, offset, lengths of key and value, number of headers.
constexpr size_t kRecordBytesMin = 7;
// A Read that has unpacked so much stops, and so many blocks are kept for the next one.
constexpr size_t kUnpackedBytesEnough = size_t{4} << 20;
constexpr size_t kBlocksKept = 16;

absl::Status Corrupt(std::string_view what) {
  return absl::DataLossError(Concat("corrupt batch of records: ", what));
}

// A zigzag varint of at most 64 bits. Moves `at`; null where it does not end before `end`.
inline const char* Varint(const char* at, const char* end, int64_t& value) {
  if (at < end && static_cast<uint8_t>(*at) < 0x80) [[likely]] {
    const auto byte = static_cast<uint64_t>(*at);
    value = static_cast<int64_t>(byte >> 1) ^ -static_cast<int64_t>(byte & 1);
    return at + 1;
  }
  uint64_t bits = 0;
  for (int shift = 0; shift < 64 && at < end; shift += 7) {
    const auto byte = static_cast<uint8_t>(*at++);
    bits |= uint64_t{byte & 0x7Fu} << shift;
    if (byte < 0x80) {
      value = static_cast<int64_t>(bits >> 1) ^ -static_cast<int64_t>(bits & 1);
      return at;
    }
  }
  return nullptr;
}

// A length and as many bytes; -1 is NULL. Null where they do not end before `end`.
inline const char* Bytes(const char* at, const char* end, std::string_view& bytes, bool& present) {
  int64_t length = 0;
  at = Varint(at, end, length);
  if (at == nullptr || length < -1 || length > end - at) return nullptr;
  present = length >= 0;
  if (!present) return at;
  bytes = {at, static_cast<size_t>(length)};
  return at + length;
}

}  // namespace

struct RecordSetReader::Head {
  size_t bytes;  // Of the whole batch.
  int64_t base_offset;
  int64_t last_offset;
  int32_t leader_epoch;
  uint32_t checksum;
  int16_t attributes;
  int64_t base_timestamp_ms;
  int64_t max_timestamp_ms;
  int64_t producer_id;
  int32_t records;
};

// Nothing: the batch is cut off.
absl::StatusOr<std::optional<RecordSetReader::Head>> RecordSetReader::ParseHead(
    std::string_view bytes) {
  if (bytes.size() <= kBatchMagicAt) return std::nullopt;
  const auto length = LoadBigEndian<int32_t>(bytes.data() + kBatchLengthAt);
  if (length < 0) return Corrupt("negative length");
  if (static_cast<size_t>(length) > bytes.size() - kBatchBeforeLengthEnds) return std::nullopt;
  const auto magic = static_cast<uint8_t>(bytes[kBatchMagicAt]);
  if (magic < kBatchMagic) {
    return absl::FailedPreconditionError(
        Concat("records were written in message format ", int{magic},
               ", before Kafka 0.11; read them with option 'fetch' = 'librdkafka'"));
  }
  if (magic > kBatchMagic) return Corrupt(Concat("unknown message format ", int{magic}));
  if (static_cast<size_t>(length) < kBatchHeadBytes - kBatchBeforeLengthEnds)
    return Corrupt("too short");
  const char* at = bytes.data();
  const auto last_delta = LoadBigEndian<int32_t>(at + 23);
  Head head{.bytes = kBatchBeforeLengthEnds + static_cast<size_t>(length),
            .base_offset = LoadBigEndian<int64_t>(at),
            .last_offset = 0,
            .leader_epoch = LoadBigEndian<int32_t>(at + 12),
            .checksum = LoadBigEndian<uint32_t>(at + kBatchChecksumAt),
            .attributes = LoadBigEndian<int16_t>(at + kBatchAttributesAt),
            .base_timestamp_ms = LoadBigEndian<int64_t>(at + 27),
            .max_timestamp_ms = LoadBigEndian<int64_t>(at + 35),
            .producer_id = LoadBigEndian<int64_t>(at + 43),
            .records = LoadBigEndian<int32_t>(at + 57)};
  if (head.base_offset < 0 || last_delta < 0 || head.records < 0 ||
      head.base_offset > INT64_MAX - 1 - last_delta) {
    return Corrupt("impossible offsets");
  }
  head.last_offset = head.base_offset + last_delta;
  return head;
}

RecordSetEnd FindRecordSetEnd(std::string_view bytes) {
  RecordSetEnd end;
  // The first fields are enough, and the reader checks them.
  while (bytes.size() >= kBatchHeadBytes) {
    const auto length = LoadBigEndian<int32_t>(bytes.data() + kBatchLengthAt);
    const auto base = LoadBigEndian<int64_t>(bytes.data());
    const auto last_delta = LoadBigEndian<int32_t>(bytes.data() + 23);
    const size_t size = kBatchBeforeLengthEnds + static_cast<size_t>(std::max(0, length));
    if (size < kBatchHeadBytes || size > bytes.size() || bytes[kBatchMagicAt] != kBatchMagic ||
        base < 0 || last_delta < 0 || base > INT64_MAX - 1 - last_delta) {
      break;
    }
    end = {base + last_delta + 1, LoadBigEndian<int32_t>(bytes.data() + 12)};
    bytes.remove_prefix(size);
  }
  return end;
}

void RecordSetReader::Reset(std::string_view bytes, int64_t next_offset,
                            std::vector<AbortedTransaction> aborted) {
  rest_ = bytes;
  next_offset_ = next_offset;
  records_left_ = 0;
  aborted_ = std::move(aborted);
  std::sort(aborted_.begin(), aborted_.end(),
            [](const auto& a, const auto& b) { return a.first_offset > b.first_offset; });
  aborting_.clear();
}

absl::Status RecordSetReader::Read(size_t records_max, std::vector<KafkaRecord>& out) {
  // Only the current batch is still needed.
  if (unpacked_used_ > 0) std::swap(unpacked_[0], unpacked_[unpacked_used_ - 1]);
  unpacked_used_ = std::min<size_t>(unpacked_used_, records_left_ > 0 ? 1 : 0);
  unpacked_bytes_ = 0;
  if (unpacked_.size() > kBlocksKept) unpacked_.resize(kBlocksKept);

  const size_t begin = out.size();
  while (out.size() - begin < records_max) {
    if (records_left_ > 0) {
      MILLRACE_RETURN_IF_ERROR(ReadRecord(out));
      continue;
    }
    if (rest_.empty() || unpacked_bytes_ >= kUnpackedBytesEnough) break;
    MILLRACE_RETURN_IF_ERROR(NextBatch());
  }
  return absl::OkStatus();
}

absl::Status RecordSetReader::NextBatch() {
  MILLRACE_ASSIGN_OR_RETURN(const std::optional<Head> head, ParseHead(rest_));
  if (!head) {
    rest_ = {};
    return absl::OkStatus();
  }
  const std::string_view batch = rest_.substr(0, head->bytes);
  if (Crc32c(batch.substr(kBatchAttributesAt)) != head->checksum) return Corrupt("wrong checksum");
  rest_.remove_prefix(head->bytes);
  const std::string_view records = batch.substr(kBatchHeadBytes);
  MILLRACE_ASSIGN_OR_RETURN(const bool wanted, IsWanted(*head, records));
  if (!wanted || head->records == 0) {
    next_offset_ = std::max(next_offset_, head->last_offset + 1);
    return absl::OkStatus();
  }
  at_ = records.data();
  end_ = at_ + records.size();
  MILLRACE_RETURN_IF_ERROR(Unpack(static_cast<KafkaCodec>(head->attributes & kBatchCodecMask)));
  if (static_cast<size_t>(head->records) > static_cast<size_t>(end_ - at_) / kRecordBytesMin) {
    return Corrupt("more records than bytes");
  }
  records_left_ = head->records;
  base_offset_ = record_offset_min_ = head->base_offset;
  last_offset_ = head->last_offset;
  base_timestamp_ms_ = head->base_timestamp_ms;
  append_timestamp_ms_.reset();
  if ((head->attributes & kBatchAppendTime) != 0) append_timestamp_ms_ = head->max_timestamp_ms;
  return absl::OkStatus();
}

// Also follows the beginnings and ends of aborted transactions.
absl::StatusOr<bool> RecordSetReader::IsWanted(const Head& head, std::string_view records) {
  while (!aborted_.empty() && aborted_.back().first_offset <= head.last_offset) {
    aborting_.insert(aborted_.back().producer_id);
    aborted_.pop_back();
  }
  if ((head.attributes & kBatchControl) != 0) {
    // One record, whose key is a version and the kind of the marker.
    int64_t number = 0;
    std::string_view key;
    bool has_key = false;
    const char* at = records.data();
    const char* end = at + records.size();
    at = Varint(at, end, number);  // Length.
    if (at == nullptr || at == end) return Corrupt("cut off marker");
    ++at;  // Attributes.
    for (int skipped = 0; skipped < 2 && at != nullptr; ++skipped) at = Varint(at, end, number);
    if (at != nullptr) at = Bytes(at, end, key, has_key);
    if (at == nullptr || key.size() < 4) return Corrupt("cut off marker");
    if (LoadBigEndian<int16_t>(key.data() + 2) == kAbortMarker) aborting_.erase(head.producer_id);
    return false;
  }
  if (head.last_offset < next_offset_) return false;
  return (head.attributes & kBatchTransactional) == 0 || !aborting_.contains(head.producer_id);
}

absl::Status RecordSetReader::Unpack(KafkaCodec codec) {
  if (codec == KafkaCodec::kNone) return absl::OkStatus();
  if (unpacked_used_ == unpacked_.size()) unpacked_.emplace_back();
  ByteBlock& block = unpacked_[unpacked_used_];
  MILLRACE_RETURN_IF_ERROR(decompressor_.Unpack(codec, {at_, static_cast<size_t>(end_ - at_)},
                                                kUnpackedBatchBytesMax, block));
  ++unpacked_used_;
  unpacked_bytes_ += block.size();
  at_ = block.data();
  end_ = at_ + block.size();
  return absl::OkStatus();
}

absl::Status RecordSetReader::ReadRecord(std::vector<KafkaRecord>& out) {
  int64_t length = 0;
  const char* at = Varint(at_, end_, length);
  if (at == nullptr || length < 1 || length > end_ - at) return Corrupt("length of a record");
  const char* end = at + length;
  ++at;  // Attributes: none are defined.
  int64_t time_delta = 0;
  int64_t offset_delta = 0;
  KafkaRecord record;
  at = Varint(at, end, time_delta);
  if (at != nullptr) at = Varint(at, end, offset_delta);
  if (at != nullptr) at = Bytes(at, end, record.key, record.has_key);
  if (at != nullptr) at = Bytes(at, end, record.value, record.has_value);
  if (at == nullptr) return Corrupt("a record ends too early");
  // Headers follow, which nobody reads.
  if (offset_delta < record_offset_min_ - base_offset_ ||
      offset_delta > last_offset_ - base_offset_) {
    return Corrupt("offsets of records");
  }
  record.offset = base_offset_ + offset_delta;
  const auto time = static_cast<int64_t>(static_cast<uint64_t>(base_timestamp_ms_) +
                                         static_cast<uint64_t>(time_delta));
  record.timestamp_ms = std::max<int64_t>(-1, append_timestamp_ms_.value_or(time));
  record_offset_min_ = record.offset + 1;
  at_ = end;
  --records_left_;
  if (record.offset >= next_offset_) {
    next_offset_ = record.offset + 1;
    out.push_back(record);
  }
  if (records_left_ == 0) {
    if (at_ != end_) return Corrupt("bytes behind the records");
    next_offset_ = std::max(next_offset_, last_offset_ + 1);  // Compaction may have taken the last.
  }
  return absl::OkStatus();
}

}  // namespace millrace
