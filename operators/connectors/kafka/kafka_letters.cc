#include "operators/connectors/kafka/kafka_letters.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "operators/connectors/kafka/text.h"
#include "runtime/columns/time_text.h"

namespace millrace {
namespace {

// Places in DeadLetterSchema().
enum Place { kUid, kSource, kPartition, kOffset, kTime, kCode, kError, kKey, kRaw, kColumns };

constexpr size_t kNameBytesMax = 8 << 10;  // Of a topic, a uid, a list of columns.
// What a record needs beside names and values; generous.
constexpr size_t kRecordOverhead = 512;

std::string_view TextAt(const Column& column, int64_t row, size_t bytes_max) {
  return column.IsNull(row) ? std::string_view() : column.StringAt(row).substr(0, bytes_max);
}

template <typename Number>
void ReadNumber(std::string_view text, std::optional<Number>& out) {
  Number number = 0;
  if (absl::SimpleAtoi(ToAbsl(text), &number)) out = number;
}

}  // namespace

std::string_view LetterStage(std::string_view code) {
  return code.starts_with("MR3") ? "VALUE_CONVERTER" : "TRANSFORMATION";
}

absl::StatusOr<KafkaLetterWriter> KafkaLetterWriter::Make(const Schema& schema,
                                                          std::string_view job_id, uint32_t slot,
                                                          size_t bytes_max) {
  KafkaLetterWriter writer;
  for (const Field& field : DeadLetterSchema()->fields()) {
    const int i = schema.IndexOfName(field.name);
    if (i < 0 || schema.field(i).type != field.type) {
      return absl::InvalidArgumentError(Text("format '", kDeadLetterFormat, "' needs column '",
                                             field.name, " ", TypeText(field.type), "'"));
    }
    writer.columns_.push_back(i);
  }
  writer.job_id_ = std::string(job_id);
  writer.slot_ = std::to_string(slot);
  writer.bytes_max_ = bytes_max;
  return writer;
}

KafkaFrame KafkaLetterWriter::FrameOf(const Batch& batch, int64_t row) {
  const auto column = [&](Place place) -> const Column& { return batch.column(columns_[place]); };
  headers_.clear();
  if (!column(kSource).IsNull(row)) {
    Add(kLetterTopic, TextAt(column(kSource), row, kNameBytesMax));
  }
  if (!column(kPartition).IsNull(row)) {
    partition_ = std::to_string(column(kPartition).values<int32_t>()[row]);
    Add(kLetterPartition, partition_);
  }
  if (!column(kOffset).IsNull(row)) {
    offset_ = std::to_string(column(kOffset).values<int64_t>()[row]);
    Add(kLetterOffset, offset_);
  }
  const std::string_view code = TextAt(column(kCode), row, kNameBytesMax);
  Add(kLetterJob, job_id_);
  Add(kLetterSlot, slot_);
  Add(kLetterStage, LetterStage(code));
  Add(kLetterUid, TextAt(column(kUid), row, kNameBytesMax));
  Add(kLetterCode, code);
  // Of late rows all that there is.
  Add(kLetterError, TextAt(column(kError), row, bytes_max_ / 2));
  if (!column(kTime).IsNull(row)) {
    time_.clear();
    TimestampPrinter(TimestampText::kIso8601).Append(column(kTime).values<int64_t>()[row], time_);
    time_ += 'Z';
    Add(kLetterTime, time_);
  }
  if (!column(kColumns).IsNull(row)) {
    Add(kLetterColumns, TextAt(column(kColumns), row, kNameBytesMax));
  }
  KafkaFrame frame;
  if (!column(kKey).IsNull(row)) frame.key = column(kKey).StringAt(row);
  if (!column(kRaw).IsNull(row)) frame.value = column(kRaw).StringAt(row);
  size_t bytes = kRecordOverhead + frame.key.value_or("").size();
  for (const KafkaHeader& header : headers_) {
    bytes += header.name.size() + header.value->size() + 10;
  }
  // A letter that nobody takes would end the job, again and again: one without its value tells at
  // least where the record is.
  if (frame.value && bytes + frame.value->size() > bytes_max_) {
    left_out_ = std::to_string(frame.value->size());
    Add(kLetterLeftOut, left_out_);
    frame.value.reset();
  }
  frame.headers = headers_;
  return frame;
}

std::optional<KafkaLetter> ReadKafkaLetter(std::span<const KafkaHeader> headers) {
  KafkaLetter letter;
  bool is_letter = false;
  for (const KafkaHeader& header : headers) {
    const std::string_view value = header.value.value_or("");
    is_letter |= header.name.starts_with("__connect.errors.");
    if (header.name == kLetterTopic) letter.topic = value;
    if (header.name == kLetterPartition) ReadNumber(value, letter.partition);
    if (header.name == kLetterOffset) ReadNumber(value, letter.offset);
    if (header.name == kLetterJob) letter.job = value;
    if (header.name == kLetterSlot) letter.slot = value;
    if (header.name == kLetterStage) letter.stage = value;
    if (header.name == kLetterUid) letter.uid = value;
    if (header.name == kLetterCode) letter.code = value;
    if (header.name == kLetterError) letter.error = value;
    if (header.name == kLetterTime) letter.time = value;
    if (header.name == kLetterColumns) letter.columns = value;
    if (header.name == kLetterLeftOut) letter.left_out = value;
  }
  if (!is_letter) return std::nullopt;
  return letter;
}

}  // namespace millrace
