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
constexpr uint8_t kVersionWithHeaders = 2;  // Of commit tokens.
// First bytes of the outbox's records.
constexpr char kBlockOfFrames = 'F';
constexpr char kBlockWithHeaders = 'H';
constexpr char kTrailer = 'E';

// The version, which is at most `newest`.
absl::StatusOr<uint8_t> ReadHeader(ByteReader& reader, uint8_t magic, uint8_t newest,
                                   std::string_view what) {
  const auto found_magic = reader.Fixed<uint8_t>();
  const auto version = reader.Fixed<uint8_t>();
  if (!reader.ok() || found_magic != magic || version == 0) {
    return absl::DataLossError(Text("not a ", what));
  }
  if (version > newest) {
    return absl::FailedPreconditionError(
        Text("the ", what, " has version ", version, "; this build reads ", newest));
  }
  return version;
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
  MILLRACE_RETURN_IF_ERROR(
      ReadHeader(reader, kMarkerMagic, kVersion, "marker of a Kafka sink").status());
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
  PutFixed(out, payload.has_headers ? kVersionWithHeaders : kVersion);
  PutBytes(out, payload.transactional_id);
  PutBytes(out, payload.topic);
  PutFixed(out, payload.count);
  PutFixed(out, payload.hash);
  return out;
}

absl::StatusOr<KafkaCommitPayload> DecodeKafkaCommitPayload(std::string_view bytes) {
  ByteReader reader(bytes);
  MILLRACE_ASSIGN_OR_RETURN(
      const uint8_t version,
      ReadHeader(reader, kPayloadMagic, kVersionWithHeaders, "commit token of a Kafka sink"));
  KafkaCommitPayload payload;
  payload.has_headers = version == kVersionWithHeaders;
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
  if (block_.empty()) block_.push_back(with_headers_ ? kBlockWithHeaders : kBlockOfFrames);
  PutVarint(block_, static_cast<uint64_t>(frame.partition));
  PutNullable(block_, frame.key);
  PutNullable(block_, frame.value);
  if (with_headers_) {
    PutVarint(block_, frame.headers.size());
    for (const KafkaHeader& header : frame.headers) {
      PutBytes(block_, header.name);
      PutNullable(block_, header.value);
    }
  }
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
  const bool with_headers = record[0] == kBlockWithHeaders;
  if (record[0] != kBlockOfFrames && !with_headers) {
    return absl::DataLossError("unknown record in the outbox of a Kafka sink");
  }
  epoch_.hash = Crc32c(record, epoch_.hash);
  all_.hash = Crc32c(record, all_.hash);
  while (!reader.done()) {
    KafkaFrame frame;
    const uint64_t partition = reader.Varint();
    frame.key = TakeNullable(reader);
    frame.value = TakeNullable(reader);
    headers_.clear();
    const uint64_t headers = with_headers ? reader.Varint() : 0;
    for (uint64_t i = 0; i < headers && reader.ok(); ++i) {
      const std::string_view name = reader.Bytes();
      headers_.push_back({name, TakeNullable(reader)});
    }
    frame.headers = headers_;
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
