// Writes many values to a topic as fast as the client can: for `millrace generate`, not for sinks.
//
// Threading: one thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/base/env.h"

namespace millrace {

class BulkProducer {
 public:
  // Makes the topic with `partitions` partitions when it is not there; an existing topic must have
  // as many (kFailedPrecondition).
  static absl::StatusOr<std::unique_ptr<BulkProducer>> Open(const std::string& brokers,
                                                            const std::string& topic,
                                                            int32_t partitions, Clock& clock);
  virtual ~BulkProducer() = default;
  // Queues; waits while the queue is full.
  virtual absl::Status Send(int32_t partition, std::string_view value, int64_t timestamp_ms) = 0;
  // Waits for every delivery; an error when one failed.
  virtual absl::Status Finish() = 0;
};

}  // namespace millrace
