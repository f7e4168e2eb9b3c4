#include "operators/connectors/kafka/native/produce_errors.h"

namespace millrace {
namespace {

// Kafka's protocol guide; librdkafka 2.0 has no names for all of them.
enum Code : int16_t {
  kNone = 0,
  kCorruptMessage = 2,
  kUnknownTopicOrPartition = 3,
  kLeaderNotAvailable = 5,
  kNotLeader = 6,
  kRequestTimedOut = 7,
  kMessageTooLarge = 10,
  kNetwork = 13,
  kCoordinatorLoading = 14,
  kCoordinatorNotAvailable = 15,
  kNotCoordinator = 16,
  kInvalidTopic = 17,
  kRecordListTooLarge = 18,
  kNotEnoughReplicas = 19,
  kNotEnoughReplicasAfterAppend = 20,
  kInvalidRequiredAcks = 21,
  kTopicAuthorization = 29,
  kClusterAuthorization = 31,
  kInvalidTimestamp = 32,
  kUnsupportedVersion = 35,
  kInvalidRequest = 42,
  kUnsupportedForMessageFormat = 43,
  kPolicyViolation = 44,
  kOutOfOrderSequence = 45,
  kDuplicateSequence = 46,
  kInvalidProducerEpoch = 47,
  kInvalidTxnState = 48,
  kInvalidTransactionTimeout = 50,
  kConcurrentTransactions = 51,
  kTransactionalIdAuthorization = 53,
  kOperationNotAttempted = 55,
  kStorageError = 56,
  kUnknownProducerId = 59,
  kFencedLeaderEpoch = 74,
  kUnknownLeaderEpoch = 75,
  kUnsupportedCompression = 76,
  kInvalidRecord = 87,
  kThrottlingQuota = 89,
  kProducerFenced = 90,
  kTransactionAbortable = 120,
};

constexpr ProduceVerdict kDone{ProduceOutcome::kDone};
constexpr ProduceVerdict kAgain{ProduceOutcome::kAgain};
constexpr ProduceVerdict kElsewhere{ProduceOutcome::kElsewhere};
constexpr ProduceVerdict Failed(TransactionRemedy remedy) {
  return {ProduceOutcome::kFailed, remedy};
}

// What means the same for every request.
ProduceVerdict JudgeAny(int16_t error) {
  switch (error) {
    case kNone:
      return kDone;
    case kRequestTimedOut:
    case kNetwork:
    case kConcurrentTransactions:  // The last one is still being completed.
    case kThrottlingQuota:
      return kAgain;
    case kInvalidProducerEpoch:
    case kProducerFenced:
      return Failed(TransactionRemedy::kFenced);
    case kInvalidTopic:
    case kTopicAuthorization:
    case kClusterAuthorization:
    case kUnsupportedVersion:
    case kInvalidRequest:
    case kPolicyViolation:
    case kInvalidTransactionTimeout:
    case kTransactionalIdAuthorization:
      return Failed(TransactionRemedy::kGiveUp);
    case kTransactionAbortable:
      return Failed(TransactionRemedy::kAbort);
    default:
      // Also what nobody has thought of: a new producer looks at the marker.
      return Failed(TransactionRemedy::kNewProducer);
  }
}

ProduceVerdict JudgeProduce(int16_t error) {
  switch (error) {
    case kDuplicateSequence:  // An earlier attempt wrote it.
      return kDone;
    case kCorruptMessage:  // On its way: it was right when it was made.
    case kNotEnoughReplicas:
    case kNotEnoughReplicasAfterAppend:
      return kAgain;
    case kUnknownTopicOrPartition:
    case kLeaderNotAvailable:
    case kNotLeader:
    case kStorageError:
    case kFencedLeaderEpoch:
    case kUnknownLeaderEpoch:
      return kElsewhere;
    case kMessageTooLarge:
    case kRecordListTooLarge:
    case kInvalidRequiredAcks:
    case kInvalidTimestamp:
    case kUnsupportedForMessageFormat:
    case kUnsupportedCompression:
    case kInvalidRecord:
      return Failed(TransactionRemedy::kGiveUp);
    // Records before these are not in the log, or the transaction has ended without us.
    case kOutOfOrderSequence:
    case kUnknownProducerId:
    case kInvalidTxnState:
      return Failed(TransactionRemedy::kAbort);
    default:
      return JudgeAny(error);
  }
}

ProduceVerdict JudgeCoordination(KafkaApi api, int16_t error) {
  switch (error) {
    case kCoordinatorLoading:
    case kCoordinatorNotAvailable:
    case kNotCoordinator:
      return kElsewhere;
    case kUnknownTopicOrPartition:
    case kOperationNotAttempted:  // Because of another partition, whose error is its own.
      return api == KafkaApi::kAddPartitionsToTxn ? kAgain : JudgeAny(error);
    default:
      return JudgeAny(error);
  }
}

}  // namespace

ProduceVerdict JudgeProduceError(KafkaApi api, int16_t error) {
  return api == KafkaApi::kProduce ? JudgeProduce(error) : JudgeCoordination(api, error);
}

}  // namespace millrace
