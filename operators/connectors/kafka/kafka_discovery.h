// Finds the partitions of a source's topics and turns the start-up mode into numbers.
//
// Threading: one io thread at a time. Errors: kNotFound for a missing topic, kUnavailable for a
// cluster that does not answer, kInvalidArgument where the options do not fit the topic.
#pragma once

#include <memory>
#include <set>
#include <vector>

#include "operators/connectors/kafka/kafka_client.h"
#include "operators/connectors/kafka/kafka_options.h"
#include "runtime/task/source.h"

namespace millrace {

class KafkaDiscovery : public SplitDiscovery {
 public:
  KafkaDiscovery(KafkaSourceOptions options, Env& env) : options_(std::move(options)), env_(env) {}

  absl::StatusOr<std::vector<Split>> Discover(bool first) override;
  absl::Duration interval() const override { return options_.discovery_interval; }

 private:
  absl::StatusOr<std::vector<KafkaPartition>> NewPartitions(const KafkaDeadline& deadline);
  absl::StatusOr<std::vector<int64_t>> Starts(const std::vector<KafkaPartition>& partitions,
                                              const std::vector<KafkaOffsetRange>& ranges,
                                              const KafkaDeadline& deadline);
  absl::StatusOr<std::vector<int64_t>> Ends(const std::vector<KafkaPartition>& partitions,
                                            const std::vector<KafkaOffsetRange>& ranges,
                                            const KafkaDeadline& deadline);

  const KafkaSourceOptions options_;
  Env& env_;
  std::unique_ptr<KafkaClient> client_;  // Kept between calls.
  std::set<KafkaPartition> known_;       // Returned by an earlier call.
};

}  // namespace millrace
