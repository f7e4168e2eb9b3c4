// Persistent formats of the exactly-once sink: the marker, which says in Kafka itself what a slot
// has committed, the payload of commit tokens, and the frames of records in the outbox.
//
// Threading: pure functions. Errors: decoders return kDataLoss for corrupt bytes and
// kFailedPrecondition for a newer version.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace millrace {

// The last record of every transaction of a slot, in kMarkerTopic.
struct KafkaMarker {
  uint64_t epoch = 0;
  uint64_t generation = 0;
  uint64_t count = 0;  // Records of the transaction.
  uint32_t hash = 0;   // CRC32C over their frames.
  bool operator==(const KafkaMarker&) const = default;
};

// Compacted, one partition, never expires; created when it is missing.
inline constexpr char kMarkerTopic[] = "__millrace_markers";

std::string KafkaMarkerKey(std::string_view job_id, std::string_view sink_uid, uint32_t slot);
std::string EncodeKafkaMarker(const KafkaMarker& marker);
absl::StatusOr<KafkaMarker> DecodeKafkaMarker(std::string_view bytes);

// What v1::CommitToken::payload holds: everything, besides the outbox, that another process needs
// to commit the epoch.
struct KafkaCommitPayload {
  std::string transactional_id;
  std::string topic;
  uint64_t count = 0;  // Of the epoch's own records; zero: nothing to commit.
  uint32_t hash = 0;
  bool has_headers = false;  // The frames may have some: version 2, which older builds refuse.
  bool operator==(const KafkaCommitPayload&) const = default;
};

std::string EncodeKafkaCommitPayload(const KafkaCommitPayload& payload);
absl::StatusOr<KafkaCommitPayload> DecodeKafkaCommitPayload(std::string_view bytes);

struct KafkaHeader {
  std::string_view name;
  std::optional<std::string_view> value;
};

// One record of the topic, as it waits in the outbox.
struct KafkaFrame {
  int32_t partition = 0;
  std::optional<std::string_view> key;
  std::optional<std::string_view> value;
  std::span<const KafkaHeader> headers = {};
};

struct KafkaOutboxTotals {
  uint64_t count = 0;
  uint32_t hash = 0;
  bool operator==(const KafkaOutboxTotals&) const = default;
};

// Builds what goes to the outbox: blocks of frames, and at the end of each epoch a trailer with
// count and hash.
class KafkaOutboxWriter {
 public:
  // Headers of frames are kept `with_headers` only.
  explicit KafkaOutboxWriter(bool with_headers = false) : with_headers_(with_headers) {}
  // Adds a frame to the block being built.
  void Add(const KafkaFrame& frame);
  size_t block_bytes() const { return block_.size(); }
  bool empty_epoch() const { return totals_.count == 0; }
  // The block built so far, or nothing when it is empty; valid until the next call.
  std::string_view TakeBlock();
  // The trailer; begins the next epoch. Call TakeBlock first.
  std::string TakeTrailer(KafkaOutboxTotals& totals);

 private:
  const bool with_headers_;
  std::string block_;
  std::string taken_;
  KafkaOutboxTotals totals_;
};

// Reads the records of a token's outbox, which may hold several epochs: those that were abandoned
// come first. Verifies that nothing is missing.
class KafkaOutboxReader {
 public:
  using Handle = std::function<absl::Status(const KafkaFrame&)>;
  // `handle` is called for each frame; its first error ends the reading.
  absl::Status Add(std::string_view record, const Handle& handle);
  // After the last record: kDataLoss unless the last epoch has the totals of its token.
  absl::Status Finish(const KafkaOutboxTotals& last_epoch) const;
  const KafkaOutboxTotals& all() const { return all_; }

 private:
  KafkaOutboxTotals epoch_;  // Since the last trailer.
  KafkaOutboxTotals last_;   // The last trailer.
  KafkaOutboxTotals all_;
  std::vector<KafkaHeader> headers_;  // Of the frame at hand.
};

}  // namespace millrace
