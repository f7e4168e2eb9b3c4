// Dead letters as records of Kafka: key and value are the bytes of the record that failed, what is
// known of the failure is in headers, by the names of Kafka Connect's dead letter queues.
//
// Threading: pure functions; a writer belongs to one task thread.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "operators/connectors/kafka/kafka_marker.h"
#include "runtime/columns/batch.h"

namespace millrace {

inline constexpr std::string_view kDeadLetterFormat = "dead-letter";

// The headers of a letter. Names of Kafka Connect, and what they hold here:
inline constexpr std::string_view kLetterTopic = "__connect.errors.topic";  // Or file, or table.
inline constexpr std::string_view kLetterPartition = "__connect.errors.partition";
inline constexpr std::string_view kLetterOffset = "__connect.errors.offset";
inline constexpr std::string_view kLetterJob = "__connect.errors.connector.name";  // Id of the job.
inline constexpr std::string_view kLetterSlot = "__connect.errors.task.id";  // Slot of the sink.
inline constexpr std::string_view kLetterStage = "__connect.errors.stage";
inline constexpr std::string_view kLetterUid = "__connect.errors.class.name";  // Node that failed.
inline constexpr std::string_view kLetterCode = "__connect.errors.exception.class.name";
inline constexpr std::string_view kLetterError = "__connect.errors.exception.message";
// Names of ours.
inline constexpr std::string_view kLetterTime = "__millrace.errors.time";
// The value is not that of the record, but a row as JSON with these columns.
inline constexpr std::string_view kLetterColumns = "__millrace.errors.columns";
// The value was too large for a record of so many bytes, and is left out.
inline constexpr std::string_view kLetterLeftOut = "__millrace.errors.value.bytes";

// "VALUE_CONVERTER" for records that could not be read, else "TRANSFORMATION": the stages of Kafka
// Connect.
std::string_view LetterStage(std::string_view code);

class KafkaLetterWriter {
 public:
  // kInvalidArgument: the columns are not those of dead letters. Records stay below `bytes_max`.
  static absl::StatusOr<KafkaLetterWriter> Make(const Schema& schema, std::string_view job_id,
                                                uint32_t slot, size_t bytes_max);
  // The letter of a row, without a partition; valid until the next call.
  KafkaFrame FrameOf(const Batch& batch, int64_t row);

 private:
  KafkaLetterWriter() = default;
  void Add(std::string_view name, std::string_view value) { headers_.push_back({name, value}); }

  std::vector<int> columns_;  // Of the input, in the order of DeadLetterSchema().
  std::string job_id_, slot_;
  size_t bytes_max_ = 0;
  std::vector<KafkaHeader> headers_;
  std::string partition_, offset_, time_, left_out_;
};

// What the headers of a record tell of a letter; of Kafka Connect's letters, too. Views into them.
struct KafkaLetter {
  std::string_view topic, job, slot, stage, uid, code, error, time, columns;
  std::optional<int32_t> partition;
  std::optional<int64_t> offset;
  std::optional<std::string_view> left_out;
  // True: key and value of the record are those of a record of a Kafka topic.
  bool has_original() const { return partition && offset && columns.empty() && !left_out; }
};
// Nothing: the record is no letter. Numbers that cannot be read are left out.
std::optional<KafkaLetter> ReadKafkaLetter(std::span<const KafkaHeader> headers);

}  // namespace millrace
