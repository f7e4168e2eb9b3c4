#include "operators/connectors/kafka/kafka_discovery.h"

#include <algorithm>

#include "operators/connectors/kafka/kafka_position.h"
#include "operators/connectors/kafka/text.h"
#include "runtime/base/status_macros.h"

namespace millrace {

absl::StatusOr<std::vector<Split>> KafkaDiscovery::Discover(bool first) {
  if (client_ == nullptr) {
    KafkaProperties settings;
    if (!options_.group_id.empty()) settings["group.id"] = options_.group_id;
    MILLRACE_ASSIGN_OR_RETURN(
        client_, KafkaClient::Make(KafkaClient::Role::kConsumer, options_.client, settings));
  }
  const KafkaDeadline deadline(env_.clock, options_.client.request_timeout);
  MILLRACE_ASSIGN_OR_RETURN(const std::vector<KafkaPartition> partitions, NewPartitions(deadline));
  std::vector<KafkaOffsetRange> ranges;
  for (const KafkaPartition& partition : partitions) {
    MILLRACE_ASSIGN_OR_RETURN(ranges.emplace_back(), client_->OffsetRange(partition, deadline));
  }
  std::vector<int64_t> starts;
  std::vector<int64_t> ends;
  if (first) {
    MILLRACE_ASSIGN_OR_RETURN(starts, Starts(partitions, ranges, deadline));
    MILLRACE_ASSIGN_OR_RETURN(ends, Ends(partitions, ranges, deadline));
  }
  std::vector<Split> splits;
  for (size_t i = 0; i < partitions.size(); ++i) {
    KafkaPosition position;
    // Found while the job runs: all of it is new, whatever the start-up mode.
    position.offset = first ? starts[i] : ranges[i].low;
    if (!ends.empty()) position.end = std::max(ends[i], position.offset);
    splits.push_back(
        {.id = KafkaSplitId(partitions[i]), .position = EncodeKafkaPosition(position)});
  }
  known_.insert(partitions.begin(), partitions.end());
  return splits;
}

absl::StatusOr<std::vector<KafkaPartition>> KafkaDiscovery::NewPartitions(
    const KafkaDeadline& deadline) {
  std::vector<KafkaPartition> partitions;
  for (const std::string& topic : options_.topics) {
    MILLRACE_ASSIGN_OR_RETURN(const int32_t count, client_->PartitionCount(topic, deadline));
    for (int32_t p = 0; p < count; ++p) {
      if (!known_.contains({topic, p})) partitions.push_back({topic, p});
    }
  }
  return partitions;
}

absl::StatusOr<std::vector<int64_t>> KafkaDiscovery::Starts(
    const std::vector<KafkaPartition>& partitions, const std::vector<KafkaOffsetRange>& ranges,
    const KafkaDeadline& deadline) {
  std::map<KafkaPartition, int64_t> looked_up;
  if (options_.start == KafkaStart::kTimestamp) {
    MILLRACE_ASSIGN_OR_RETURN(
        looked_up, client_->OffsetsForTime(partitions, options_.start_timestamp_ms, deadline));
  } else if (options_.start == KafkaStart::kGroupOffsets) {
    MILLRACE_ASSIGN_OR_RETURN(looked_up, client_->CommittedOffsets(partitions, deadline));
  } else if (options_.start == KafkaStart::kSpecificOffsets) {
    for (const auto& [partition, offset] : options_.start_offsets) {
      const KafkaPartition key{options_.topics[0], partition};
      if (std::find(partitions.begin(), partitions.end(), key) == partitions.end()) {
        return absl::InvalidArgumentError(
            Text("option 'scan.startup.specific-offsets' names a partition that does not "
                 "exist: topic=",
                 key.topic, " partition=", partition));
      }
      looked_up[key] = offset;
    }
  }
  std::vector<int64_t> starts;
  for (size_t i = 0; i < partitions.size(); ++i) {
    const auto found = looked_up.find(partitions[i]);
    switch (options_.start) {
      case KafkaStart::kEarliest:
        starts.push_back(ranges[i].low);
        break;
      case KafkaStart::kLatest:
        starts.push_back(ranges[i].high);
        break;
      case KafkaStart::kTimestamp:
        starts.push_back(found->second < 0 ? ranges[i].high : found->second);
        break;
      case KafkaStart::kSpecificOffsets:
        // As Flink: partitions that are not named go on from the group's offsets or the beginning;
        // without a group that is the beginning.
        starts.push_back(found == looked_up.end() ? ranges[i].low : found->second);
        break;
      case KafkaStart::kGroupOffsets:
        if (found != looked_up.end()) {
          starts.push_back(found->second);
        } else if (options_.group_reset == KafkaReset::kNone) {
          return absl::FailedPreconditionError(
              Text("the consumer group has no offset here: group=", options_.group_id,
                   " topic=", partitions[i].topic, " partition=", partitions[i].partition,
                   "; set 'properties.auto.offset.reset' or another 'scan.startup.mode'"));
        } else {
          starts.push_back(options_.group_reset == KafkaReset::kEarliest ? ranges[i].low
                                                                         : ranges[i].high);
        }
        break;
    }
  }
  return starts;
}

absl::StatusOr<std::vector<int64_t>> KafkaDiscovery::Ends(
    const std::vector<KafkaPartition>& partitions, const std::vector<KafkaOffsetRange>& ranges,
    const KafkaDeadline& deadline) {
  std::vector<int64_t> ends;
  if (options_.end == KafkaEnd::kUnbounded) return ends;
  std::map<KafkaPartition, int64_t> looked_up;
  if (options_.end == KafkaEnd::kTimestamp) {
    MILLRACE_ASSIGN_OR_RETURN(
        looked_up, client_->OffsetsForTime(partitions, options_.end_timestamp_ms, deadline));
  }
  for (size_t i = 0; i < partitions.size(); ++i) {
    int64_t end = ranges[i].high;
    if (options_.end == KafkaEnd::kTimestamp && looked_up[partitions[i]] >= 0) {
      end = looked_up[partitions[i]];
    }
    if (options_.end == KafkaEnd::kSpecificOffsets) {
      const auto found = options_.end_offsets.find(partitions[i].partition);
      if (found == options_.end_offsets.end()) {
        return absl::InvalidArgumentError(
            Text("option 'scan.bounded.specific-offsets' misses a partition: topic=",
                 partitions[i].topic, " partition=", partitions[i].partition));
      }
      end = found->second;
    }
    ends.push_back(end);
  }
  return ends;
}

}  // namespace millrace
