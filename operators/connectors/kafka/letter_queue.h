// A topic of dead letters as people work with it: read up to its end, and the records of chosen
// letters produced again, each once.
//
// Threading: one thread; blocks. `interrupted` is asked now and then.
// Errors:    kNotFound, kUnavailable and the like name brokers and topic; kCancelled after an
//            interrupt. A replay that failed goes on where it stood when it is called again.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "operators/connectors/kafka/kafka_letters.h"
#include "operators/connectors/kafka/kafka_options.h"
#include "runtime/base/env.h"

namespace millrace {

struct LetterTopic {
  KafkaClientOptions client;
  std::string topic;
};

// Which letters; every condition that is given must hold.
struct LetterSelection {
  std::vector<std::string> codes;  // One of these.
  std::string job_id;
  std::string uid;
  std::optional<int64_t> since_us;  // Written then or later.
  // By place in the topic of letters.
  std::map<int32_t, std::set<int64_t>> offsets;

  // One text for one meaning.
  std::string Canonical() const;
  // kInvalidArgument: "0:12,0:15,3:7" is expected.
  static absl::StatusOr<std::map<int32_t, std::set<int64_t>>> ParseOffsets(std::string_view text);
};

// A record of the topic that is a letter. Views live until the call with it returns.
struct LetterRecord {
  int32_t partition = 0;
  int64_t offset = 0;
  int64_t timestamp_ms = -1;
  std::optional<std::string_view> key;
  std::optional<std::string_view> value;
  KafkaLetter letter;
};

struct LetterCounts {
  uint64_t read = 0;         // Records, letters or not.
  uint64_t not_letters = 0;  // Without the headers of one.
};

// Calls `each` for every committed letter of the selection that is there when the call begins, in
// the order of each partition; false from it ends the reading.
absl::StatusOr<LetterCounts> ReadLetters(const LetterTopic& from, const LetterSelection& selection,
                                         Clock& clock, const std::function<bool()>& interrupted,
                                         const std::function<bool(const LetterRecord&)>& each);

struct ReplayOptions {
  LetterTopic from;
  LetterTopic to;
  LetterSelection selection;
  // Says which replay it is: one of the same name goes on where the former ended or was killed.
  // Empty: made of topics and selection.
  std::string name;
  bool dry_run = false;  // Nothing is written; what was done before is not looked at.
};

struct ReplayCounts {
  uint64_t replayed = 0;
  // The bytes of a Kafka record are not there: a row as JSON, a line of a file, a value that was
  // too large.
  uint64_t without_record = 0;
};
struct ReplayResult {
  std::string name;
  std::map<std::string, ReplayCounts> by_code;
  LetterCounts counts;
  uint64_t replayed_before = 0;  // By earlier calls of this name.
  uint64_t expired = 0;          // Records that were deleted before this replay came to them.
};

// Every transaction produces records and, last, how far the replay is, into kMarkerTopic.
// kFailedPrecondition: the name is that of another selection. kAborted: another process has begun
// the same replay.
absl::StatusOr<ReplayResult> ReplayLetters(
    const ReplayOptions& options, Clock& clock, const std::function<bool()>& interrupted,
    const std::function<void(const ReplayResult&)>& after_transaction);

// How far a replay is; the value of its record in kMarkerTopic. Decoder: kDataLoss,
// kFailedPrecondition for a newer version.
struct ReplayProgress {
  uint32_t selection = 0;  // CRC32C of topics and selection.
  uint64_t replayed = 0;
  std::map<int32_t, int64_t> next;  // Per partition of letters the first offset not looked at.
  bool operator==(const ReplayProgress&) const = default;
};
std::string EncodeReplayProgress(const ReplayProgress& progress);
absl::StatusOr<ReplayProgress> DecodeReplayProgress(std::string_view bytes);

}  // namespace millrace
