#include "operators/connectors/kafka/native/messages.h"

#include "runtime/base/check.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

constexpr int8_t kReadCommitted = 1;
constexpr uint32_t kDivergingEpochTag = 0;

MetadataResponse::Partition ReadPartition(int16_t version, WireReader& in) {
  MetadataResponse::Partition partition{.error = in.Number<int16_t>(),
                                        .partition = in.Number<int32_t>(),
                                        .leader = in.Number<int32_t>()};
  if (version >= 7) partition.leader_epoch = in.Number<int32_t>();
  for (int list = 0; list < 3; ++list) in.SkipNumbers(4);  // Replicas: all, in sync, offline.
  in.SkipTags();
  return partition;
}

FetchResponse::Partition ReadFetched(int16_t version, WireReader& in) {
  FetchResponse::Partition fetched{.partition = in.Number<int32_t>(),
                                   .error = in.Number<int16_t>(),
                                   .high_watermark = in.Number<int64_t>()};
  in.Number<int64_t>();                    // Last stable offset.
  if (version >= 5) in.Number<int64_t>();  // Start of the log.
  const size_t aborted = in.Elements(16);
  fetched.aborted.reserve(aborted);
  for (size_t i = 0; i < aborted && in.ok(); ++i) {
    fetched.aborted.push_back({in.Number<int64_t>(), in.Number<int64_t>()});
    in.SkipTags();
  }
  if (version >= 11) in.Number<int32_t>();  // Preferred replica: given to clients with a rack only.
  fetched.records = in.Bytes();
  in.Tags([&](uint32_t tag, WireReader field) {
    if (tag != kDivergingEpochTag) return;
    field.Number<int32_t>();  // Epoch.
    fetched.diverging_end = field.Number<int64_t>();
  });
  return fetched;
}

}  // namespace

absl::Status NotAResponseTo(std::string_view request) {
  return absl::DataLossError(Concat("the broker's answer is not a response to ", request));
}

bool ApiVersion::flexible() const {
  switch (api) {
    case KafkaApi::kFetch:
      return version >= 12;
    case KafkaApi::kProduce:
    case KafkaApi::kMetadata:
      return version >= 9;
    case KafkaApi::kInitProducerId:
      return version >= 2;
    case KafkaApi::kFindCoordinator:
    case KafkaApi::kAddPartitionsToTxn:
    case KafkaApi::kEndTxn:
      return version >= 3;
    case KafkaApi::kSaslHandshake:
    case KafkaApi::kApiVersions:
    case KafkaApi::kSaslAuthenticate:
      return false;  // In the versions used here.
  }
  return false;
}

std::string EncodeRequestHead(ApiVersion version, int32_t correlation_id,
                              std::string_view client_id, size_t body_bytes) {
  WireWriter header(/*flexible=*/false);  // The client's name is not compact, ever.
  header.Number(static_cast<int16_t>(version.api));
  header.Number(version.version);
  header.Number(correlation_id);
  header.Text(client_id);
  std::string after_length = header.Take();
  if (version.flexible()) after_length.push_back(0);  // No tags.
  std::string head;
  PutBigEndian(head, static_cast<int32_t>(after_length.size() + body_bytes));
  return head.append(after_length);
}

absl::StatusOr<std::string_view> ResponseBody(ApiVersion version, int32_t correlation_id,
                                              std::string_view response) {
  WireReader header(response, version.flexible());
  const auto found = header.Number<int32_t>();
  header.SkipTags();
  if (!header.ok() || found != correlation_id) return NotAResponseTo("the request that was sent");
  return response.substr(response.size() - header.left());
}

absl::StatusOr<ApiVersionsResponse> DecodeApiVersions(std::string_view body) {
  WireReader in(body, /*flexible=*/false);
  ApiVersionsResponse response{.error = in.Number<int16_t>()};
  for (size_t count = in.Elements(6); count > 0 && in.ok(); --count) {
    response.apis.push_back({in.Number<int16_t>(), {in.Number<int16_t>(), in.Number<int16_t>()}});
  }
  if (!in.ok()) return NotAResponseTo("ApiVersions");
  return response;
}

std::string EncodeSaslHandshake(std::string_view mechanism) {
  WireWriter out(/*flexible=*/false);
  out.Text(mechanism);
  return out.Take();
}

absl::StatusOr<SaslHandshakeResponse> DecodeSaslHandshake(std::string_view body) {
  WireReader in(body, /*flexible=*/false);
  SaslHandshakeResponse response{.error = in.Number<int16_t>()};
  for (size_t count = in.Elements(2); count > 0 && in.ok(); --count) {
    response.mechanisms.push_back(in.Text());
  }
  if (!in.ok()) return NotAResponseTo("SaslHandshake");
  return response;
}

std::string EncodeSaslAuthenticate(std::string_view bytes) {
  WireWriter out(/*flexible=*/false);
  out.Bytes(bytes);
  return out.Take();
}

absl::StatusOr<SaslAuthenticateResponse> DecodeSaslAuthenticate(std::string_view body) {
  WireReader in(body, /*flexible=*/false);
  SaslAuthenticateResponse response{.error = in.Number<int16_t>()};
  response.message = in.Text();
  response.bytes = in.Bytes();
  if (!in.ok()) return NotAResponseTo("SaslAuthenticate");
  return response;
}

std::string EncodeMetadataRequest(int16_t version, const std::vector<std::string>& topics) {
  WireWriter out(ApiVersion{KafkaApi::kMetadata, version}.flexible());
  out.Elements(topics.size());
  for (const std::string& topic : topics) {
    if (version >= 10) out.Uuid({});
    out.Text(topic);
    out.NoTags();
  }
  out.Number<int8_t>(0);                                     // Does not create topics.
  if (version >= 8 && version <= 10) out.Number<int8_t>(0);  // Nor asks for permissions.
  if (version >= 8) out.Number<int8_t>(0);
  out.NoTags();
  return out.Take();
}

absl::StatusOr<MetadataResponse> DecodeMetadata(int16_t version, std::string_view body) {
  WireReader in(body, ApiVersion{KafkaApi::kMetadata, version}.flexible());
  MetadataResponse response;
  in.Number<int32_t>();  // Throttle time: the broker itself waits.
  for (size_t count = in.Elements(8); count > 0 && in.ok(); --count) {
    response.brokers.push_back({in.Number<int32_t>(), in.Text(), in.Number<int32_t>()});
    in.Text();  // Rack.
    in.SkipTags();
  }
  in.Text();             // Cluster.
  in.Number<int32_t>();  // Controller.
  for (size_t count = in.Elements(5); count > 0 && in.ok(); --count) {
    MetadataResponse::Topic topic{.error = in.Number<int16_t>(), .name = in.Text()};
    if (version >= 10) topic.id = in.Uuid();
    in.Number<int8_t>();  // Internal.
    for (size_t partitions = in.Elements(13); partitions > 0 && in.ok(); --partitions) {
      topic.partitions.push_back(ReadPartition(version, in));
    }
    if (version >= 8) in.Number<int32_t>();  // Permissions.
    in.SkipTags();
    response.topics.push_back(std::move(topic));
  }
  if (version >= 8 && version <= 10) in.Number<int32_t>();
  in.SkipTags();
  if (!in.ok()) return NotAResponseTo("Metadata");
  return response;
}

std::string EncodeFetchRequest(int16_t version, const FetchRequest& request) {
  WireWriter out(ApiVersion{KafkaApi::kFetch, version}.flexible());
  out.Number<int32_t>(-1);  // Not a replica.
  out.Number(request.wait_max_ms);
  out.Number(request.bytes_min);
  out.Number(request.bytes_max);
  out.Number(kReadCommitted);
  if (version >= 7) {
    out.Number<int32_t>(0);   // No session …
    out.Number<int32_t>(-1);  // … and none to be made.
  }
  out.Elements(request.topics.size());
  for (const FetchRequest::Topic& topic : request.topics) {
    if (version >= 13) {
      out.Uuid(topic.id);
    } else {
      out.Text(topic.name);
    }
    out.Elements(topic.partitions.size());
    for (const FetchRequest::Partition& partition : topic.partitions) {
      out.Number(partition.partition);
      if (version >= 9) out.Number(partition.leader_epoch);
      out.Number(partition.offset);
      if (version >= 12) out.Number(partition.last_epoch);
      if (version >= 5) out.Number<int64_t>(-1);  // Followers only.
      out.Number(request.partition_bytes_max);
      out.NoTags();
    }
    out.NoTags();
  }
  if (version >= 7) out.Elements(0);  // Forgotten topics.
  if (version >= 11) out.Text("");    // Rack.
  out.NoTags();
  return out.Take();
}

absl::StatusOr<FetchResponse> DecodeFetch(int16_t version, std::string_view body) {
  WireReader in(body, ApiVersion{KafkaApi::kFetch, version}.flexible());
  FetchResponse response;
  in.Number<int32_t>();  // Throttle time: the broker itself waits.
  if (version >= 7) {
    response.error = in.Number<int16_t>();
    in.Number<int32_t>();  // Session.
  }
  for (size_t count = in.Elements(3); count > 0 && in.ok(); --count) {
    FetchResponse::Topic topic;
    if (version >= 13) {
      topic.id = in.Uuid();
    } else {
      topic.name = in.Text();
    }
    for (size_t partitions = in.Elements(24); partitions > 0 && in.ok(); --partitions) {
      topic.partitions.push_back(ReadFetched(version, in));
    }
    in.SkipTags();
    response.topics.push_back(std::move(topic));
  }
  in.SkipTags();
  if (!in.ok()) return NotAResponseTo("Fetch");
  return response;
}

}  // namespace millrace
