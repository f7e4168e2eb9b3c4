// Builds batches of message format 2, to be produced.
//
// Threading: one thread at a time. Ownership: copies what is added.
// Errors:    those of the codec.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "operators/connectors/kafka/kafka_marker.h"
#include "operators/connectors/kafka/native/compress.h"
#include "operators/connectors/kafka/native/produce_messages.h"

namespace millrace {

class RecordBatchWriter {
 public:
  struct Origin {
    KafkaProducerId producer;
    int32_t first_sequence = 0;
    bool transactional = false;
  };

  // Of the record's parts: what limits on its size count.
  static size_t BytesOf(const KafkaFrame& frame);

  // The frame's partition is not looked at.
  void Add(const KafkaFrame& frame, int64_t timestamp_ms);
  int32_t records() const { return records_; }
  size_t bytes() const { return bytes_.size(); }  // Not packed; 0 without records.
  // The whole batch; there must be records. The next one begins empty.
  absl::StatusOr<std::shared_ptr<const std::string>> Finish(const Origin& origin,
                                                            Compressor& compressor);

 private:
  std::string bytes_;          // Room for the batch's head, and the records.
  size_t expected_bytes_ = 0;  // As the last batch.
  int32_t records_ = 0;
  int64_t first_timestamp_ms_ = 0;
  int64_t max_timestamp_ms_ = 0;
};

}  // namespace millrace
