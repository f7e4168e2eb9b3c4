#include "operators/connectors/kafka/native/produce_messages.h"

#include <utility>

namespace millrace {
namespace {

constexpr int16_t kAllInSync = -1;
constexpr int8_t kTransactions = 1;  // Whose coordinator.
constexpr int8_t kCommit = 1;

WireWriter BodyOf(KafkaApi api, int16_t version) {
  return WireWriter(ApiVersion{api, version}.flexible());
}
WireReader BodyOf(KafkaApi api, int16_t version, std::string_view body) {
  return WireReader(body, ApiVersion{api, version}.flexible());
}

void PutTransactionalId(WireWriter& out, std::string_view id) {
  if (id.empty()) {
    out.NullText();
  } else {
    out.Text(id);
  }
}

void PutProducer(WireWriter& out, KafkaProducerId producer) {
  out.Number(producer.id);
  out.Number(producer.epoch);
}

ProduceResponse::Partition ReadProduced(int16_t version, WireReader& in) {
  ProduceResponse::Partition partition{
      .partition = in.Number<int32_t>(), .error = in.Number<int16_t>(), .message = {}};
  in.Number<int64_t>();                    // Offset of the first record.
  in.Number<int64_t>();                    // Time of appending.
  if (version >= 5) in.Number<int64_t>();  // Start of the log.
  if (version >= 8) {
    for (size_t records = in.Elements(5); records > 0 && in.ok(); --records) {
      in.Number<int32_t>();  // Which record of the batch.
      const std::string_view why = in.Text();
      if (partition.message.empty()) partition.message = why;
      in.SkipTags();
    }
    const std::string_view why = in.Text();
    if (!why.empty()) partition.message = why;
  }
  in.SkipTags();
  return partition;
}

}  // namespace

std::vector<RequestPiece> EncodeProduceRequest(int16_t version, const ProduceRequest& request) {
  std::vector<RequestPiece> pieces;
  WireWriter out = BodyOf(KafkaApi::kProduce, version);
  PutTransactionalId(out, request.transactional_id);
  out.Number(kAllInSync);
  out.Number(request.timeout_ms);
  out.Elements(request.topics.size());
  for (const ProduceRequest::Topic& topic : request.topics) {
    out.Text(topic.name);
    out.Elements(topic.partitions.size());
    for (const ProduceRequest::Partition& partition : topic.partitions) {
      out.Number(partition.partition);
      out.BytesLength(partition.batch->size());
      pieces.push_back({.text = out.Take(), .shared = nullptr});
      pieces.push_back({.text = {}, .shared = partition.batch});
      out.NoTags();
    }
    out.NoTags();
  }
  out.NoTags();
  pieces.push_back({.text = out.Take(), .shared = nullptr});
  return pieces;
}

absl::StatusOr<ProduceResponse> DecodeProduce(int16_t version, std::string_view body) {
  WireReader in = BodyOf(KafkaApi::kProduce, version, body);
  ProduceResponse response;
  for (size_t topics = in.Elements(3); topics > 0 && in.ok(); --topics) {
    ProduceResponse::Topic topic{.name = in.Text(), .partitions = {}};
    for (size_t partitions = in.Elements(22); partitions > 0 && in.ok(); --partitions) {
      topic.partitions.push_back(ReadProduced(version, in));
    }
    in.SkipTags();
    response.topics.push_back(std::move(topic));
  }
  in.Number<int32_t>();  // Throttle time: the broker itself waits.
  in.SkipTags();
  if (!in.ok()) return NotAResponseTo("Produce");
  return response;
}

std::string EncodeFindCoordinator(int16_t version, std::string_view transactional_id) {
  WireWriter out = BodyOf(KafkaApi::kFindCoordinator, version);
  out.Text(transactional_id);
  out.Number(kTransactions);
  out.NoTags();
  return out.Take();
}

absl::StatusOr<FindCoordinatorResponse> DecodeFindCoordinator(int16_t version,
                                                              std::string_view body) {
  WireReader in = BodyOf(KafkaApi::kFindCoordinator, version, body);
  in.Number<int32_t>();  // Throttle time.
  FindCoordinatorResponse response{
      .error = in.Number<int16_t>(), .message = in.Text(), .broker = {}};
  response.broker = {in.Number<int32_t>(), in.Text(), in.Number<int32_t>()};
  in.SkipTags();
  if (!in.ok()) return NotAResponseTo("FindCoordinator");
  return response;
}

std::string EncodeInitProducerId(int16_t version, std::string_view transactional_id,
                                 int32_t transaction_timeout_ms, KafkaProducerId current) {
  WireWriter out = BodyOf(KafkaApi::kInitProducerId, version);
  PutTransactionalId(out, transactional_id);
  out.Number(transaction_timeout_ms);
  if (version >= kInitWithCurrentVersion) PutProducer(out, current);
  out.NoTags();
  return out.Take();
}

absl::StatusOr<InitProducerIdResponse> DecodeInitProducerId(int16_t version,
                                                            std::string_view body) {
  WireReader in = BodyOf(KafkaApi::kInitProducerId, version, body);
  in.Number<int32_t>();  // Throttle time.
  const InitProducerIdResponse response{
      .error = in.Number<int16_t>(),
      .producer = {.id = in.Number<int64_t>(), .epoch = in.Number<int16_t>()}};
  in.SkipTags();
  if (!in.ok()) return NotAResponseTo("InitProducerId");
  return response;
}

std::string EncodeAddPartitionsToTxn(int16_t version, std::string_view transactional_id,
                                     KafkaProducerId producer,
                                     const std::vector<TopicPartitions>& topics) {
  WireWriter out = BodyOf(KafkaApi::kAddPartitionsToTxn, version);
  out.Text(transactional_id);
  PutProducer(out, producer);
  out.Elements(topics.size());
  for (const TopicPartitions& topic : topics) {
    out.Text(topic.topic);
    out.Elements(topic.partitions.size());
    for (const int32_t partition : topic.partitions) out.Number(partition);
    out.NoTags();
  }
  out.NoTags();
  return out.Take();
}

absl::StatusOr<AddPartitionsToTxnResponse> DecodeAddPartitionsToTxn(int16_t version,
                                                                    std::string_view body) {
  WireReader in = BodyOf(KafkaApi::kAddPartitionsToTxn, version, body);
  in.Number<int32_t>();  // Throttle time.
  AddPartitionsToTxnResponse response;
  for (size_t topics = in.Elements(3); topics > 0 && in.ok(); --topics) {
    const std::string_view topic = in.Text();
    for (size_t partitions = in.Elements(6); partitions > 0 && in.ok(); --partitions) {
      response.partitions.push_back({topic, in.Number<int32_t>(), in.Number<int16_t>()});
      in.SkipTags();
    }
    in.SkipTags();
  }
  in.SkipTags();
  if (!in.ok()) return NotAResponseTo("AddPartitionsToTxn");
  return response;
}

std::string EncodeEndTxn(int16_t version, std::string_view transactional_id,
                         KafkaProducerId producer) {
  WireWriter out = BodyOf(KafkaApi::kEndTxn, version);
  out.Text(transactional_id);
  PutProducer(out, producer);
  out.Number(kCommit);
  out.NoTags();
  return out.Take();
}

absl::StatusOr<int16_t> DecodeEndTxn(int16_t version, std::string_view body) {
  WireReader in = BodyOf(KafkaApi::kEndTxn, version, body);
  in.Number<int32_t>();  // Throttle time.
  const auto error = in.Number<int16_t>();
  in.SkipTags();
  if (!in.ok()) return NotAResponseTo("EndTxn");
  return error;
}

}  // namespace millrace
