// Unpacks the records of a batch: gzip, snappy (plain and in the blocks of the Java library), lz4
// frames, zstd.
//
// Threading: one thread at a time; contexts are kept from call to call.
// Errors:    kDataLoss for bytes that are not of the codec; kFailedPrecondition for more than
//            `bytes_max` bytes, before they are unpacked.
#pragma once

#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "operators/connectors/kafka/native/byte_block.h"

namespace millrace {

// As in the attributes of a batch.
enum class KafkaCodec { kNone = 0, kGzip = 1, kSnappy = 2, kLz4 = 3, kZstd = 4 };

class Decompressor {
 public:
  Decompressor();
  ~Decompressor();
  // Replaces the contents of `out`.
  absl::Status Unpack(KafkaCodec codec, std::string_view packed, size_t bytes_max, ByteBlock& out);

 private:
  struct Contexts;
  const std::unique_ptr<Contexts> contexts_;
};

}  // namespace millrace
