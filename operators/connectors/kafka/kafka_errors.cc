#include "operators/connectors/kafka/kafka_errors.h"

#include "operators/connectors/kafka/text.h"

namespace millrace {
namespace {

absl::StatusCode CodeFor(rd_kafka_resp_err_t code) {
  switch (code) {
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
      return absl::StatusCode::kNotFound;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM:
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
      return absl::StatusCode::kPermissionDenied;
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR:
    case RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT:
    case RD_KAFKA_RESP_ERR__INVALID_ARG:
    case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION:
      return absl::StatusCode::kInvalidArgument;
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR__BAD_MSG:
    case RD_KAFKA_RESP_ERR_INVALID_MSG:
      return absl::StatusCode::kDataLoss;
    case RD_KAFKA_RESP_ERR__FENCED:
    case RD_KAFKA_RESP_ERR_PRODUCER_FENCED:
    case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH:
      return absl::StatusCode::kAborted;
    default:
      return absl::StatusCode::kUnavailable;
  }
}

}  // namespace

absl::Status KafkaStatus(rd_kafka_resp_err_t code, std::string_view attempted,
                         std::string_view detail) {
  std::string message =
      Text(attempted, ": ", rd_kafka_err2str(code), " (", rd_kafka_err2name(code), ")");
  if (!detail.empty() && detail != rd_kafka_err2str(code)) message += Text("; ", detail);
  return absl::Status(CodeFor(code), message);
}

TransactionRemedy RemedyForTransaction(const TransactionError& error) {
  const absl::StatusCode code = CodeFor(error.code);
  if (code == absl::StatusCode::kAborted) return TransactionRemedy::kFenced;
  if (code == absl::StatusCode::kPermissionDenied || code == absl::StatusCode::kInvalidArgument) {
    return TransactionRemedy::kGiveUp;
  }
  if (error.requires_abort) return TransactionRemedy::kAbort;
  if (error.retriable) return TransactionRemedy::kCallAgain;
  // Fatal, or none of the flags, which librdkafka recommends to treat as fatal.
  return TransactionRemedy::kNewProducer;
}

}  // namespace millrace
