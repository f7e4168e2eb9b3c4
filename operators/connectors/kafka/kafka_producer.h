// The transactions of one transactional id, by whichever client writes them.
//
// Threading: one thread at a time. Every call may block until its deadline.
// Ownership: what a deadline's clock and the environment name outlives it.
// Errors:    as KafkaStatus; after any, remedy() says what to do. The commit's own outcome is never
//            assumed: where it may be unknown, remedy() is kNewProducer.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/notification.h"
#include "operators/connectors/kafka/kafka_client.h"
#include "operators/connectors/kafka/kafka_errors.h"
#include "operators/connectors/kafka/kafka_marker.h"
#include "operators/connectors/kafka/kafka_options.h"
#include "runtime/base/env.h"

namespace millrace {

class KafkaProducer {
 public:
  virtual ~KafkaProducer() = default;
  // Refuses earlier owners of the id from now on, and aborts what they left open. To be called
  // first, once.
  virtual absl::Status Fence(const KafkaDeadline& deadline) = 0;
  virtual absl::Status Begin(const KafkaDeadline& deadline) = 0;
  // `topic`: its place in the list that the producer was made with. Copies the frame.
  virtual absl::Status Add(size_t topic, const KafkaFrame& frame,
                           const KafkaDeadline& deadline) = 0;
  // Leaves nothing that was added waiting in this process to be sent. Commit does so too.
  virtual absl::Status Flush(const KafkaDeadline& deadline) = 0;
  // OK: every record since Begin is committed.
  virtual absl::Status Commit(const KafkaDeadline& deadline) = 0;
  // Of an open transaction whose commit was not asked for or has failed for certain. OK: the
  // producer may begin the next one.
  virtual absl::Status Abort(const KafkaDeadline& deadline) = 0;
  // What the last failed call calls for.
  TransactionRemedy remedy() const { return remedy_; }

 protected:
  TransactionRemedy remedy_ = TransactionRemedy::kNewProducer;
};

// As options.native_produce says. `topics` must exist. `stop` ends waits; it and `env` outlive the
// producer.
absl::StatusOr<std::unique_ptr<KafkaProducer>> MakeKafkaProducer(
    const KafkaSinkOptions& options, Env& env, const std::string& transactional_id,
    std::vector<std::string> topics, const absl::Notification& stop);

}  // namespace millrace
