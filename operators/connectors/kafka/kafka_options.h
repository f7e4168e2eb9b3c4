// Options of the `kafka` connector: Flink's names, read from a node of the job graph.
//
// Threading: pure functions.
// Errors:    kInvalidArgument names the option, what was found, and what is expected. Client
//            properties pass an allow list, because librdkafka properties that name files, commands
//            or plugins are code execution for whoever may submit a job.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "runtime/base/secret.h"
#include "runtime/columns/batch.h"

namespace millrace {

namespace v1 {
class Node;
}

using KafkaProperties = std::map<std::string, std::string, std::less<>>;

// How to reach a cluster; common to sources and sinks.
struct KafkaClientOptions {
  std::string brokers;  // properties.bootstrap.servers
  // Allowed librdkafka properties, without the prefix; passwords and keys are among them.
  std::map<std::string, Secret, std::less<>> properties;
  // Longest wait for one answer about metadata or offsets.
  absl::Duration request_timeout = absl::Seconds(10);
};

enum class KafkaStart { kEarliest, kLatest, kTimestamp, kSpecificOffsets, kGroupOffsets };
enum class KafkaEnd { kUnbounded, kLatest, kTimestamp, kSpecificOffsets };
// What a split of a consumer group without a committed offset starts with.
enum class KafkaReset { kNone, kEarliest, kLatest };

struct KafkaSourceOptions {
  KafkaClientOptions client;
  std::vector<std::string> topics;
  std::string group_id;  // Empty: no offsets are published.
  KafkaStart start = KafkaStart::kEarliest;
  int64_t start_timestamp_ms = 0;
  std::map<int32_t, int64_t> start_offsets;
  KafkaReset group_reset = KafkaReset::kNone;
  KafkaEnd end = KafkaEnd::kUnbounded;
  int64_t end_timestamp_ms = 0;
  std::map<int32_t, int64_t> end_offsets;
  absl::Duration discovery_interval = absl::Minutes(5);  // Zero: never.
  bool native_fetch = false;                             // Else librdkafka fetches.
  std::string format;
  // `upsert-kafka`: a record replaces the one with its key; one without a value deletes it.
  bool upsert = false;
  std::string key_format;  // As in KafkaSinkOptions; `upsert-kafka` only.
};

enum class KafkaPartitioner { kByKey, kFixed, kRoundRobin };

struct KafkaSinkOptions {
  KafkaClientOptions client;
  std::string topic;
  bool exactly_once = true;
  std::string transactional_id_prefix = "millrace";
  KafkaPartitioner partitioner = KafkaPartitioner::kByKey;
  std::vector<std::string> key_fields;
  std::string key_format;  // Empty: the text of the only key field, or JSON of several.
  bool key_fields_in_value = true;
  bool upsert = false;  // `upsert-kafka`: the key is that of the node, and deletes have no value.
  bool native_produce = false;  // Else librdkafka produces. Exactly once only.
  std::string format;
  size_t record_bytes_max = 1'000'000;  // properties.message.max.bytes
  // Longest time to deliver or commit before the job restarts.
  absl::Duration delivery_timeout = absl::Seconds(60);
};

// The format of a message key of columns `key`: `given`, or by default the bytes of a single text
// or binary column, else JSON.
std::string_view KeyFormat(std::string_view given, const std::vector<Field>& key);

// How commands reach a cluster: brokers, and allowed properties without the prefix.
absl::StatusOr<KafkaClientOptions> ParseKafkaClientOptions(
    const std::string& brokers, const std::map<std::string, std::string>& properties);
absl::StatusOr<KafkaSourceOptions> ParseKafkaSourceOptions(const v1::Node& node);
absl::StatusOr<KafkaSinkOptions> ParseKafkaSinkOptions(const v1::Node& node);

// Whether users may set librdkafka's property `name`. kInvalidArgument says why not and what to use
// instead.
absl::Status CheckKafkaProperty(std::string_view name);

// "partition:0,offset:42;partition:1,offset:300" (Flink's form).
absl::StatusOr<std::map<int32_t, int64_t>> ParsePartitionOffsets(std::string_view text);

}  // namespace millrace
