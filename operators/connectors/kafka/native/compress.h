// Packs the records of a batch: gzip, plain snappy, lz4 frames, zstd.
//
// Threading: one thread at a time; contexts are kept from call to call.
// Errors:    kInternal when a codec fails, which none does on memory it was given.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "operators/connectors/kafka/native/decompress.h"

namespace millrace {

class Compressor {
 public:
  // `level`: -1 is the codec's own default; out of range, its nearest one. Snappy has none.
  Compressor(KafkaCodec codec, int level);
  ~Compressor();
  KafkaCodec codec() const { return codec_; }
  // Appends to `out`. Not for kNone.
  absl::Status Pack(std::string_view bytes, std::string& out);

 private:
  struct Contexts;
  const KafkaCodec codec_;
  const int level_;
  const std::unique_ptr<Contexts> contexts_;
};

}  // namespace millrace
