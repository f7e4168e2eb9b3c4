// Commits the epochs of one sink slot: fence first, read the marker second, act third.
//
// Threading: one io thread at a time. Blocks.
// Ownership: borrows options, env and stop, which outlive it.
// Errors:    kAborted: a newer owner has the slot. kFailedPrecondition: the marker is ahead of the
//            epoch, or the target is not fit. kUnavailable: not done within the delivery timeout,
//            or the outcome is unknown; calling again with the same token is safe after any error.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/notification.h"
#include "operators/connectors/kafka/kafka_client.h"
#include "operators/connectors/kafka/kafka_errors.h"
#include "operators/connectors/kafka/kafka_marker.h"
#include "operators/connectors/kafka/kafka_options.h"
#include "operators/connectors/kafka/kafka_producer.h"
#include "runtime/base/env.h"
#include "runtime/base/ids.h"

namespace millrace {

namespace v1 {
class CommitToken;
}
class Outbox;

struct KafkaCommitterContext {
  const KafkaSinkOptions& options;
  Env& env;
  std::string job_id;
  Generation generation;
  Epoch restored_epoch;
  const absl::Notification& stop;  // Ends waits between attempts.
};

class KafkaCommitter {
 public:
  explicit KafkaCommitter(KafkaCommitterContext context) : context_(std::move(context)) {}

  // Makes the token's epoch visible, unless the marker says that it is.
  absl::Status Commit(const v1::CommitToken& token, Outbox& outbox);

 private:
  absl::Status CommitDecided(const v1::CommitToken& token, const KafkaCommitPayload& payload,
                             Outbox& outbox, const KafkaDeadline& deadline);
  // Producer, fence, marker.
  absl::Status Start(const v1::CommitToken& token, const KafkaCommitPayload& payload,
                     const KafkaDeadline& deadline);
  absl::Status Transact(const v1::CommitToken& token, const KafkaCommitPayload& payload,
                        Outbox& outbox, const KafkaDeadline& deadline);
  // The epoch's records and, last, its marker, which is returned.
  absl::StatusOr<KafkaMarker> ProduceAll(const v1::CommitToken& token,
                                         const KafkaCommitPayload& payload, Outbox& outbox,
                                         const KafkaDeadline& deadline);
  // Takes the producer's remedy, and says where it failed.
  absl::Status Judge(const absl::Status& status, std::string_view where);
  // Of an open transaction whose commit was not asked for or has failed for certain.
  void Abort(const KafkaDeadline& deadline);
  bool WaitBeforeRetry(const KafkaDeadline& deadline, int attempt);

  const KafkaCommitterContext context_;
  std::string transactional_id_;
  std::unique_ptr<KafkaProducer> producer_;  // Null until Start, and after failures.
  // The last committed epoch of the slot; known while there is a producer.
  std::optional<KafkaMarker> marker_;
  // What the last failed step calls for.
  TransactionRemedy remedy_ = TransactionRemedy::kNewProducer;
};

}  // namespace millrace
