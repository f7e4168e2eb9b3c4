#include "operators/connectors/kafka/kafka_marker.h"

#include <limits>

#include "operators/connectors/kafka/text.h"
#include "operators/connectors/kafka/wire_bytes.h"
#include "runtime/base/status_macros.h"
#include "runtime/checkpoint/segment_file.h"

namespace millrace {
namespace {

constexpr uint8_t kMarkerMagic = 'M';
constexpr uint8_t kPayloadMagic = 'T';
constexpr uint8_t kVersion = 1;
// First bytes of the outbox's records.
constexpr char kBlockOfFrames = 'F';
constexpr char kTrailer = 'E';

absl::Status ReadHeader(ByteReader& reader, uint8_t magic, std::string_view what) {
  const auto found_magic = reader.Fixed<uint8_t>();
  const auto version = reader.Fixed<uint8_t>();
  if (!reader.ok() || found_magic != magic) {
    return absl::DataLossError(Text("not a ", what));
  }
  if (version != kVersion) {
    return absl::FailedPreconditionError(
        Text("the ", what, " has version ", version, "; this build reads ", kVersion));
  }
  return absl::OkStatus();
}

// Length + 1, so that 0 means NULL.
void PutNullable(std::string& out, const std::optional<std::string_view>& bytes) {
  PutVarint(out, bytes ? bytes->size() + 1 : 0);
  if (bytes) out.append(*bytes);
}

std::optional<std::string_view> TakeNullable(ByteReader& reader) {
  const uint64_t size = reader.Varint();
  if (size == 0) return std::nullopt;
  return reader.Take(size - 1);
}

}  // namespace

std::string KafkaMarkerKey(std::string_view job_id, std::string_view sink_uid, uint32_t slot) {
  return Text(job_id, "/", sink_uid, "/", slot);
}

std::string EncodeKafkaMarker(const KafkaMarker& marker) {
  std::string out;
  PutFixed(out, kMarkerMagic);
  PutFixed(out, kVersion);
  PutFixed(out, marker.epoch);
  PutFixed(out, marker.generation);
  PutFixed(out, marker.count);
  PutFixed(out, marker.hash);
  return out;
}

absl::StatusOr<KafkaMarker> DecodeKafkaMarker(std::string_view bytes) {
  ByteReader reader(bytes);
  MILLRACE_RETURN_IF_ERROR(ReadHeader(reader, kMarkerMagic, "marker of a Kafka sink"));
  KafkaMarker marker;
  marker.epoch = reader.Fixed<uint64_t>();
  marker.generation = reader.Fixed<uint64_t>();
  marker.count = reader.Fixed<uint64_t>();
  marker.hash = reader.Fixed<uint32_t>();
  if (!reader.ok() || !reader.done()) {
    return absl::DataLossError(Text("corrupt marker of a Kafka sink: ", bytes.size(), " bytes"));
  }
  return marker;
}

std::string EncodeKafkaCommitPayload(const KafkaCommitPayload& payload) {
  std::string out;
  PutFixed(out, kPayloadMagic);
  PutFixed(out, kVersion);
  PutBytes(out, payload.transactional_id);
  PutBytes(out, payload.topic);
  PutFixed(out, payload.count);
  PutFixed(out, payload.hash);
  return out;
}

absl::StatusOr<KafkaCommitPayload> DecodeKafkaCommitPayload(std::string_view bytes) {
  ByteReader reader(bytes);
  MILLRACE_RETURN_IF_ERROR(ReadHeader(reader, kPayloadMagic, "commit token of a Kafka sink"));
  KafkaCommitPayload payload;
  payload.transactional_id = std::string(reader.Bytes());
  payload.topic = std::string(reader.Bytes());
  payload.count = reader.Fixed<uint64_t>();
  payload.hash = reader.Fixed<uint32_t>();
  if (!reader.ok() || !reader.done() || payload.transactional_id.empty() || payload.topic.empty()) {
    return absl::DataLossError(
        Text("corrupt commit token of a Kafka sink: ", bytes.size(), " bytes"));
  }
  return payload;
}

void KafkaOutboxWriter::Add(const KafkaFrame& frame) {
  if (block_.empty()) block_.push_back(kBlockOfFrames);
  PutVarint(block_, static_cast<uint64_t>(frame.partition));
  PutNullable(block_, frame.key);
  PutNullable(block_, frame.value);
  ++totals_.count;
}

std::string_view KafkaOutboxWriter::TakeBlock() {
  if (block_.empty()) return {};
  totals_.hash = Crc32c(block_, totals_.hash);
  std::swap(block_, taken_);
  block_.clear();
  return taken_;
}

std::string KafkaOutboxWriter::TakeTrailer(KafkaOutboxTotals& totals) {
  totals = totals_;
  std::string trailer(1, kTrailer);
  PutFixed(trailer, totals_.count);
  PutFixed(trailer, totals_.hash);
  totals_ = {};
  return trailer;
}

absl::Status KafkaOutboxReader::Add(std::string_view record, const Handle& handle) {
  if (record.empty()) return absl::DataLossError("empty record in the outbox of a Kafka sink");
  ByteReader reader(record.substr(1));
  if (record[0] == kTrailer) {
    last_.count = reader.Fixed<uint64_t>();
    last_.hash = reader.Fixed<uint32_t>();
    if (!reader.ok() || !reader.done() || last_ != epoch_) {
      return absl::DataLossError(Text("the outbox of a Kafka sink is incomplete: records=",
                                      epoch_.count, " expected=", last_.count));
    }
    epoch_ = {};
    return absl::OkStatus();
  }
  if (record[0] != kBlockOfFrames) {
    return absl::DataLossError("unknown record in the outbox of a Kafka sink");
  }
  epoch_.hash = Crc32c(record, epoch_.hash);
  all_.hash = Crc32c(record, all_.hash);
  while (!reader.done()) {
    KafkaFrame frame;
    const uint64_t partition = reader.Varint();
    frame.key = TakeNullable(reader);
    frame.value = TakeNullable(reader);
    if (!reader.ok() || partition > uint64_t{std::numeric_limits<int32_t>::max()}) {
      return absl::DataLossError("corrupt record in the outbox of a Kafka sink");
    }
    frame.partition = static_cast<int32_t>(partition);
    MILLRACE_RETURN_IF_ERROR(handle(frame));
    ++epoch_.count;
    ++all_.count;
  }
  return absl::OkStatus();
}

absl::Status KafkaOutboxReader::Finish(const KafkaOutboxTotals& last_epoch) const {
  // An epoch without records has no trailer; the last one is then of an abandoned epoch.
  const bool foreign = last_epoch.count != 0 && last_ != last_epoch;
  if (epoch_.count != 0 || foreign) {
    return absl::DataLossError(
        Text("the outbox does not belong to the commit token of a Kafka sink: records=",
             epoch_.count != 0 ? epoch_.count : last_.count, " expected=", last_epoch.count));
  }
  return absl::OkStatus();
}

}  // namespace millrace
