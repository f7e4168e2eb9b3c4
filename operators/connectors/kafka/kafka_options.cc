#include "operators/connectors/kafka/kafka_options.h"

#include <algorithm>
#include <array>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "millrace/v1/graph.pb.h"
#include "operators/catalog/catalog.h"
#include "operators/connectors/kafka/native/native_settings.h"
#include "operators/connectors/kafka/text.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

using NodeOptions = google::protobuf::Map<std::string, std::string>;

constexpr std::string_view kPropertyPrefix = "properties.";
constexpr size_t kTopicsMax = 1000;
constexpr size_t kTopicLengthMax = 249;  // Kafka's own limit.

// Sorted. Nothing here reads a file, runs a command, loads code or calls a URL.
constexpr std::string_view kAllowedProperties[] = {
    "acks",
    "batch.num.messages",
    "batch.size",
    "broker.address.family",
    "client.id",
    "client.rack",
    "compression.codec",
    "compression.level",
    "compression.type",
    "connections.max.idle.ms",
    "delivery.timeout.ms",
    "enable.ssl.certificate.verification",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "linger.ms",
    "max.partition.fetch.bytes",
    "message.max.bytes",
    "message.timeout.ms",
    "metadata.max.age.ms",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queue.buffering.max.ms",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "receive.message.max.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "retry.backoff.ms",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "socket.connection.setup.timeout.ms",
    "socket.keepalive.enable",
    "socket.nagle.disable",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "socket.timeout.ms",
    "ssl.ca.pem",
    "ssl.certificate.pem",
    "ssl.cipher.suites",
    "ssl.endpoint.identification.algorithm",
    "ssl.key.password",
    "ssl.key.pem",
    "topic.metadata.refresh.interval.ms",
    "transaction.timeout.ms",
};

// Properties that the connector decides itself, and where to say it instead.
struct Refusal {
  std::string_view name;
  std::string_view hint;
};
constexpr Refusal kRefusals[] = {
    {"check.crcs", "it is always on"},
    {"enable.auto.commit", "offsets are kept in checkpoints"},
    {"enable.idempotence", "it is always on"},
    {"isolation.level", "it is always read_committed"},
    {"max.in.flight.requests.per.connection",
     "it is decided by the connector; librdkafka may lose records with more than 1"},
    {"partitioner", "use 'sink.partitioner'"},
    {"plugin.library.paths", "it loads code"},
    {"sasl.jaas.config", "use 'properties.sasl.username' and 'properties.sasl.password'"},
    {"sasl.kerberos.kinit.cmd", "it runs a command"},
    {"ssl.ca.location", "it names a file; use 'properties.ssl.ca.pem'"},
    {"ssl.certificate.location", "it names a file; use 'properties.ssl.certificate.pem'"},
    {"ssl.engine.location", "it loads code"},
    {"ssl.key.location", "it names a file; use 'properties.ssl.key.pem'"},
    {"ssl.keystore.location",
     "it names a file; use 'properties.ssl.certificate.pem' and "
     "'properties.ssl.key.pem'"},
    {"ssl.truststore.location", "it names a file; use 'properties.ssl.ca.pem'"},
    {"transactional.id", "use 'sink.transactional-id-prefix'"},
};

// Read by the connector itself, never handed to the client.
constexpr std::string_view kOwnProperties[] = {
    "auto.offset.reset", "bootstrap.servers", "default.api.timeout.ms", "group.id", "max.block.ms",
};

std::optional<std::string_view> Find(const NodeOptions& options, std::string_view name) {
  const auto it = options.find(std::string(name));
  if (it == options.end()) return std::nullopt;
  return std::string_view(it->second);
}

absl::Status BadOption(std::string_view name, std::string_view value, std::string_view expected) {
  return absl::InvalidArgumentError(
      Text("option '", name, "': expected ", expected, ", found '", value, "'"));
}

std::string JoinNames(const std::vector<std::string_view>& names) {
  std::string joined;
  for (const std::string_view name : names) joined += Text(joined.empty() ? "" : ", ", name);
  return joined;
}

bool ConsumePrefix(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

template <typename T, size_t N>
absl::StatusOr<T> OneOf(std::string_view name, std::string_view value,
                        const std::array<std::pair<std::string_view, T>, N>& choices) {
  std::vector<std::string_view> names;
  for (const auto& [choice, result] : choices) {
    if (EqualsIgnoringCase(value, choice)) return result;
    names.push_back(choice);
  }
  return BadOption(name, value, Text("one of ", JoinNames(names)));
}

absl::StatusOr<int64_t> Millis(std::string_view name, std::string_view value) {
  int64_t number = 0;
  if (!absl::SimpleAtoi(ToAbsl(value), &number) || number < 0) {
    return BadOption(name, value, "milliseconds");
  }
  return number;
}

absl::StatusOr<int64_t> RequiredMillis(const NodeOptions& options, std::string_view name,
                                       std::string_view because) {
  const auto value = Find(options, name);
  if (!value) {
    return absl::InvalidArgumentError(Text("option '", name, "' is needed by ", because));
  }
  return Millis(name, *value);
}

// Whether option `name` says so; `otherwise` where it is not given.
absl::StatusOr<bool> IsNative(const NodeOptions& options, std::string_view name,
                              const absl::Status& possible, bool otherwise) {
  static constexpr std::array<std::pair<std::string_view, bool>, 2> kClients = {{
      {"native", true},
      {"librdkafka", false},
  }};
  const auto value = Find(options, name);
  if (!value) return otherwise;
  MILLRACE_ASSIGN_OR_RETURN(const bool native, OneOf(name, *value, kClients));
  if (native) MILLRACE_RETURN_IF_ERROR(possible);
  return native;
}

absl::StatusOr<std::map<int32_t, int64_t>> RequiredOffsets(const NodeOptions& options,
                                                           std::string_view name,
                                                           std::string_view because) {
  const auto value = Find(options, name);
  if (!value) {
    return absl::InvalidArgumentError(Text("option '", name, "' is needed by ", because));
  }
  auto offsets = ParsePartitionOffsets(*value);
  if (!offsets.ok()) {
    return BadOption(name, *value, "'partition:0,offset:42;partition:1,offset:300'");
  }
  return offsets;
}

absl::Status CheckTopicName(std::string_view topic) {
  const bool valid = !topic.empty() && topic.size() <= kTopicLengthMax && topic != "." &&
                     topic != ".." && std::all_of(topic.begin(), topic.end(), [](char c) {
                       return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' ||
                              c == '_' || c == '-';
                     });
  if (!valid) return BadOption("topic", topic, "a topic name of [a-zA-Z0-9._-], at most 249 long");
  return absl::OkStatus();
}

absl::StatusOr<KafkaClientOptions> ParseClientOptions(const NodeOptions& options) {
  KafkaClientOptions client;
  // Sorted, so that of several problems the same one is reported each time.
  const std::map<std::string, std::string> sorted(options.begin(), options.end());
  for (const auto& [name, value] : sorted) {
    std::string_view property = name;
    if (!ConsumePrefix(property, kPropertyPrefix)) continue;
    if (std::find(std::begin(kOwnProperties), std::end(kOwnProperties), property) !=
        std::end(kOwnProperties)) {
      continue;
    }
    MILLRACE_RETURN_IF_ERROR(CheckKafkaProperty(property));
    client.properties.emplace(property, Secret(value));
  }
  const auto brokers = Find(options, "properties.bootstrap.servers");
  if (!brokers || brokers->empty()) {
    return absl::InvalidArgumentError("option 'properties.bootstrap.servers' is missing");
  }
  client.brokers = std::string(*brokers);
  if (const auto value = Find(options, "properties.default.api.timeout.ms")) {
    MILLRACE_ASSIGN_OR_RETURN(const int64_t millis,
                              Millis("properties.default.api.timeout.ms", *value));
    client.request_timeout = absl::Milliseconds(millis);
  }
  return client;
}

absl::Status ParseStart(const NodeOptions& options, KafkaSourceOptions& out) {
  const auto mode = Find(options, "scan.startup.mode");
  if (!mode) {
    // Flink's default is the group's offsets, which need a group.
    out.start = out.group_id.empty() ? KafkaStart::kEarliest : KafkaStart::kGroupOffsets;
  } else {
    static constexpr std::array<std::pair<std::string_view, KafkaStart>, 5> kModes = {{
        {"earliest-offset", KafkaStart::kEarliest},
        {"latest-offset", KafkaStart::kLatest},
        {"timestamp", KafkaStart::kTimestamp},
        {"specific-offsets", KafkaStart::kSpecificOffsets},
        {"group-offsets", KafkaStart::kGroupOffsets},
    }};
    MILLRACE_ASSIGN_OR_RETURN(out.start, OneOf("scan.startup.mode", *mode, kModes));
  }
  if (out.start == KafkaStart::kTimestamp) {
    MILLRACE_ASSIGN_OR_RETURN(out.start_timestamp_ms,
                              RequiredMillis(options, "scan.startup.timestamp-millis",
                                             "'scan.startup.mode' = 'timestamp'"));
  }
  if (out.start == KafkaStart::kSpecificOffsets) {
    MILLRACE_ASSIGN_OR_RETURN(out.start_offsets,
                              RequiredOffsets(options, "scan.startup.specific-offsets",
                                              "'scan.startup.mode' = 'specific-offsets'"));
  }
  if (out.start == KafkaStart::kGroupOffsets) {
    if (out.group_id.empty()) {
      return absl::InvalidArgumentError(
          "option 'properties.group.id' is needed by 'scan.startup.mode' = 'group-offsets'");
    }
    static constexpr std::array<std::pair<std::string_view, KafkaReset>, 3> kResets = {{
        {"none", KafkaReset::kNone},
        {"earliest", KafkaReset::kEarliest},
        {"latest", KafkaReset::kLatest},
    }};
    const auto reset = Find(options, "properties.auto.offset.reset");
    MILLRACE_ASSIGN_OR_RETURN(
        out.group_reset, OneOf("properties.auto.offset.reset", reset.value_or("none"), kResets));
  }
  return absl::OkStatus();
}

absl::Status ParseEnd(const NodeOptions& options, KafkaSourceOptions& out) {
  static constexpr std::array<std::pair<std::string_view, KafkaEnd>, 4> kModes = {{
      {"unbounded", KafkaEnd::kUnbounded},
      {"latest-offset", KafkaEnd::kLatest},
      {"timestamp", KafkaEnd::kTimestamp},
      {"specific-offsets", KafkaEnd::kSpecificOffsets},
  }};
  const auto mode = Find(options, "scan.bounded.mode").value_or("unbounded");
  MILLRACE_ASSIGN_OR_RETURN(out.end, OneOf("scan.bounded.mode", mode, kModes));
  if (out.end == KafkaEnd::kTimestamp) {
    MILLRACE_ASSIGN_OR_RETURN(out.end_timestamp_ms,
                              RequiredMillis(options, "scan.bounded.timestamp-millis",
                                             "'scan.bounded.mode' = 'timestamp'"));
  }
  if (out.end == KafkaEnd::kSpecificOffsets) {
    MILLRACE_ASSIGN_OR_RETURN(out.end_offsets,
                              RequiredOffsets(options, "scan.bounded.specific-offsets",
                                              "'scan.bounded.mode' = 'specific-offsets'"));
  }
  return absl::OkStatus();
}

constexpr std::string_view kUpsertKafka = "upsert-kafka";

}  // namespace

std::string_view KeyFormat(std::string_view given, const std::vector<Field>& key) {
  if (!given.empty()) return given;
  return key.size() == 1 && IsVariableWidth(key[0].type) ? "raw" : "json";
}

absl::Status CheckKafkaProperty(std::string_view name) {
  for (const Refusal& refusal : kRefusals) {
    if (name == refusal.name) {
      return absl::InvalidArgumentError(
          Text("option 'properties.", name, "' cannot be set: ", refusal.hint));
    }
  }
  if (std::binary_search(std::begin(kAllowedProperties), std::end(kAllowedProperties), name)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(Text(
      "option 'properties.", name,
      "' cannot be set: it is not in the list of client properties that are known to be safe"));
}

absl::StatusOr<std::map<int32_t, int64_t>> ParsePartitionOffsets(std::string_view text) {
  std::map<int32_t, int64_t> offsets;
  for (const std::string& item : SplitList(text)) {
    if (item.empty()) continue;
    const std::vector<std::string> parts = absl::StrSplit(item, ',');
    int32_t partition = 0;
    int64_t offset = 0;
    const auto number = [&](size_t i, std::string_view prefix, auto& out) {
      std::string_view part = ToStd(absl::StripAsciiWhitespace(parts[i]));
      return ConsumePrefix(part, prefix) && absl::SimpleAtoi(ToAbsl(part), &out) && out >= 0;
    };
    if (parts.size() != 2 || !number(0, "partition:", partition) || !number(1, "offset:", offset)) {
      return absl::InvalidArgumentError(Text("not a partition and offset: '", item, "'"));
    }
    if (!offsets.emplace(partition, offset).second) {
      return absl::InvalidArgumentError(Text("partition is named twice: ", partition));
    }
  }
  if (offsets.empty()) return absl::InvalidArgumentError("no partition and offset given");
  return offsets;
}

absl::StatusOr<KafkaClientOptions> ParseKafkaClientOptions(
    const std::string& brokers, const std::map<std::string, std::string>& properties) {
  NodeOptions options;
  for (const auto& [name, value] : properties) options[Text(kPropertyPrefix, name)] = value;
  options["properties.bootstrap.servers"] = brokers;
  return ParseClientOptions(options);
}

absl::StatusOr<KafkaSourceOptions> ParseKafkaSourceOptions(const v1::Node& node) {
  const NodeOptions& options = node.source().options();
  KafkaSourceOptions out;
  MILLRACE_ASSIGN_OR_RETURN(out.client, ParseClientOptions(options));
  const auto topics = Find(options, "topic");
  if (!topics) return absl::InvalidArgumentError("option 'topic' is missing");
  for (const std::string& topic : SplitList(*topics)) {
    MILLRACE_RETURN_IF_ERROR(CheckTopicName(topic));
    if (std::find(out.topics.begin(), out.topics.end(), topic) != out.topics.end()) {
      return BadOption("topic", *topics, "each topic once");
    }
    out.topics.push_back(topic);
  }
  if (out.topics.size() > kTopicsMax) return BadOption("topic", *topics, "at most 1000 topics");
  out.group_id = std::string(Find(options, "properties.group.id").value_or(""));
  MILLRACE_RETURN_IF_ERROR(ParseStart(options, out));
  MILLRACE_RETURN_IF_ERROR(ParseEnd(options, out));
  if (out.topics.size() > 1 &&
      (out.start == KafkaStart::kSpecificOffsets || out.end == KafkaEnd::kSpecificOffsets)) {
    return absl::InvalidArgumentError("'specific-offsets' is possible with a single topic only");
  }
  if (const auto value = Find(options, "scan.topic-partition-discovery.interval")) {
    auto interval = ParseDuration(*value);
    if (!interval.ok()) {
      return BadOption("scan.topic-partition-discovery.interval", *value,
                       "a duration such as '5 min'; 0 = never");
    }
    out.discovery_interval = *interval;
  }
  if (out.end != KafkaEnd::kUnbounded) out.discovery_interval = absl::ZeroDuration();
  const absl::Status possible = CheckNativeFetch(out.client);
  MILLRACE_ASSIGN_OR_RETURN(out.native_fetch, IsNative(options, "fetch", possible, possible.ok()));
  out.format = node.source().format();
  out.upsert = node.source().connector() == kUpsertKafka;
  out.key_format = std::string(Find(options, "key.format").value_or(""));
  return out;
}

absl::StatusOr<KafkaSinkOptions> ParseKafkaSinkOptions(const v1::Node& node) {
  const NodeOptions& options = node.sink().options();
  KafkaSinkOptions out;
  MILLRACE_ASSIGN_OR_RETURN(out.client, ParseClientOptions(options));
  const auto topic = Find(options, "topic");
  if (!topic) return absl::InvalidArgumentError("option 'topic' is missing");
  MILLRACE_RETURN_IF_ERROR(CheckTopicName(*topic));
  out.topic = std::string(*topic);

  static constexpr std::array<std::pair<std::string_view, bool>, 2> kGuarantees = {{
      {"exactly-once", true},
      {"at-least-once", false},
  }};
  out.exactly_once = node.sink().guarantee() != v1::DELIVERY_GUARANTEE_AT_LEAST_ONCE;
  if (const auto value = Find(options, "sink.delivery-guarantee")) {
    MILLRACE_ASSIGN_OR_RETURN(const bool exactly_once,
                              OneOf("sink.delivery-guarantee", *value, kGuarantees));
    if (node.sink().guarantee() != v1::DELIVERY_GUARANTEE_UNSPECIFIED &&
        exactly_once != out.exactly_once) {
      return absl::InvalidArgumentError(
          "option 'sink.delivery-guarantee' contradicts the guarantee of the node");
    }
    out.exactly_once = exactly_once;
  }
  if (const auto value = Find(options, "sink.transactional-id-prefix")) {
    if (value->empty()) return BadOption("sink.transactional-id-prefix", *value, "some text");
    out.transactional_id_prefix = std::string(*value);
  }
  static constexpr std::array<std::pair<std::string_view, KafkaPartitioner>, 3> kPartitioners = {{
      {"default", KafkaPartitioner::kByKey},
      {"fixed", KafkaPartitioner::kFixed},
      {"round-robin", KafkaPartitioner::kRoundRobin},
  }};
  if (const auto value = Find(options, "sink.partitioner")) {
    MILLRACE_ASSIGN_OR_RETURN(out.partitioner, OneOf("sink.partitioner", *value, kPartitioners));
  }
  if (const auto value = Find(options, "key.fields")) {
    for (const std::string& field : SplitList(*value)) {
      if (!field.empty()) out.key_fields.push_back(field);
    }
    if (out.key_fields.empty()) return BadOption("key.fields", *value, "column names");
  }
  out.key_format = std::string(Find(options, "key.format").value_or(""));
  static constexpr std::array<std::pair<std::string_view, bool>, 2> kIncludes = {{
      {"ALL", true},
      {"EXCEPT_KEY", false},
  }};
  if (const auto value = Find(options, "value.fields-include")) {
    MILLRACE_ASSIGN_OR_RETURN(out.key_fields_in_value,
                              OneOf("value.fields-include", *value, kIncludes));
  }
  if (const auto value = Find(options, "properties.max.block.ms")) {
    MILLRACE_ASSIGN_OR_RETURN(const int64_t millis, Millis("properties.max.block.ms", *value));
    out.delivery_timeout = absl::Milliseconds(millis);
  }
  if (const auto value = Find(options, "properties.message.max.bytes")) {
    if (!absl::SimpleAtoi(ToAbsl(*value), &out.record_bytes_max)) {
      return BadOption("properties.message.max.bytes", *value, "a number of bytes");
    }
  }
  MILLRACE_ASSIGN_OR_RETURN(
      out.native_produce,
      IsNative(options, "produce", CheckNativeProduce(out.client), /*otherwise=*/false));
  out.format = node.sink().format();
  out.upsert = node.sink().connector() == kUpsertKafka;
  return out;
}

}  // namespace millrace
