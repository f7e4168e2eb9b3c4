// The records of one partition in a fetch response: batches of message format 2, the last one
// perhaps cut off. Markers of transactions and records of aborted ones are passed over.
//
// Threading: one thread at a time.
// Ownership: borrows the bytes of the response from Reset until the last Read.
// Errors:    kDataLoss for what is not a batch or does not match its checksum; kFailedPrecondition
//            for older message formats and for a batch that unpacks to too much.
//            Every number in the bytes is checked before it is used.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "operators/connectors/kafka/kafka_record.h"
#include "operators/connectors/kafka/native/byte_block.h"
#include "operators/connectors/kafka/native/decompress.h"

namespace millrace {

// What a batch may unpack to.
inline constexpr size_t kUnpackedBatchBytesMax = size_t{256} << 20;

struct AbortedTransaction {
  int64_t producer_id = -1;
  int64_t first_offset = -1;
};

// Where the whole batches of a record set end.
struct RecordSetEnd {
  int64_t next_offset = -1;   // -1: there is no whole batch.
  int32_t leader_epoch = -1;  // Of the last batch.
};

// Looks at the heads of the batches only. What it cannot read ends it; RecordSetReader says why.
RecordSetEnd FindRecordSetEnd(std::string_view bytes);

class RecordSetReader {
 public:
  RecordSetReader() = default;

  // `bytes` are readable kMessagePadding bytes beyond their end. Records before `next_offset` are
  // passed over. `aborted` is in any order.
  void Reset(std::string_view bytes, int64_t next_offset, std::vector<AbortedTransaction> aborted);
  // Appends up to `records_max` records, ascending; fewer than that only at the end or where much
  // was unpacked. Keys and values have kMessagePadding readable bytes behind them and live until
  // the next call.
  absl::Status Read(size_t records_max, std::vector<KafkaRecord>& out);
  bool done() const { return records_left_ == 0 && rest_.empty(); }
  // The offset after what was read and passed over.
  int64_t next_offset() const { return next_offset_; }

 private:
  struct Head;
  static absl::StatusOr<std::optional<Head>> ParseHead(std::string_view bytes);
  // Enters the next batch, or passes it over.
  absl::Status NextBatch();
  absl::StatusOr<bool> IsWanted(const Head& head, std::string_view records);
  absl::Status Unpack(KafkaCodec codec);
  absl::Status ReadRecord(std::vector<KafkaRecord>& out);

  std::string_view rest_;  // Whole batches to come, and perhaps a cut-off one.
  int64_t next_offset_ = 0;
  std::vector<AbortedTransaction> aborted_;  // By offset, descending: the next one is the last.
  absl::flat_hash_set<int64_t> aborting_;    // Producers of aborted transactions, here.

  // The current batch.
  const char* at_ = nullptr;
  const char* end_ = nullptr;
  int32_t records_left_ = 0;
  int64_t base_offset_ = 0;
  int64_t last_offset_ = 0;
  int64_t base_timestamp_ms_ = 0;
  std::optional<int64_t> append_timestamp_ms_;  // The time of all records.
  int64_t record_offset_min_ = 0;               // After the last record of the batch.

  Decompressor decompressor_;
  // Unpacked batches that records of the last Read view; the current batch's is the last.
  std::vector<ByteBlock> unpacked_;
  size_t unpacked_used_ = 0;
  size_t unpacked_bytes_ = 0;
};

}  // namespace millrace
