// Where things are in a batch of records, message format 2 (Kafka's documentation, "Record Batch").
// All numbers are big-endian.
#pragma once

#include <cstddef>
#include <cstdint>

namespace millrace {

// Of every message format: offset, length, (checksum or leader epoch,) format.
inline constexpr size_t kBatchLengthAt = 8;
inline constexpr size_t kBatchBeforeLengthEnds = 12;
inline constexpr size_t kBatchMagicAt = 16;
// Of format 2. The checksum is of all from the attributes on.
inline constexpr uint8_t kBatchMagic = 2;
inline constexpr size_t kBatchChecksumAt = 17;
inline constexpr size_t kBatchAttributesAt = 21;
inline constexpr size_t kBatchHeadBytes = 61;

inline constexpr int16_t kBatchCodecMask = 0x07;
inline constexpr int16_t kBatchAppendTime = 0x08;
inline constexpr int16_t kBatchTransactional = 0x10;
inline constexpr int16_t kBatchControl = 0x20;

}  // namespace millrace
