#include "operators/connectors/kafka/kafka_errors.h"

#include <gtest/gtest.h>

#include <string>

namespace millrace {
namespace {

TEST(KafkaErrorsTest, CodesSayWhetherARestartCanHelp) {
  const struct {
    rd_kafka_resp_err_t code;
    absl::StatusCode expected;
  } cases[] = {
      {RD_KAFKA_RESP_ERR__TRANSPORT, absl::StatusCode::kUnavailable},
      {RD_KAFKA_RESP_ERR__TIMED_OUT, absl::StatusCode::kUnavailable},
      {RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, absl::StatusCode::kUnavailable},
      {RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, absl::StatusCode::kNotFound},
      {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, absl::StatusCode::kPermissionDenied},
      {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, absl::StatusCode::kInvalidArgument},
      {RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE, absl::StatusCode::kDataLoss},
      {RD_KAFKA_RESP_ERR__BAD_MSG, absl::StatusCode::kDataLoss},
      {RD_KAFKA_RESP_ERR__FENCED, absl::StatusCode::kAborted},
      {RD_KAFKA_RESP_ERR_PRODUCER_FENCED, absl::StatusCode::kAborted},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(rd_kafka_err2name(c.code));
    const absl::Status status = KafkaStatus(c.code, "cannot do it: topic=t");
    EXPECT_EQ(status.code(), c.expected);
    EXPECT_NE(std::string(status.message()).find("cannot do it: topic=t"), std::string::npos);
    EXPECT_NE(std::string(status.message()).find(rd_kafka_err2name(c.code)), std::string::npos);
  }
}

TEST(KafkaErrorsTest, TransactionErrorsAreTriedInTheDocumentedOrder) {
  const struct {
    TransactionError error;
    TransactionRemedy expected;
  } cases[] = {
      {{.code = RD_KAFKA_RESP_ERR__INCONSISTENT, .requires_abort = true, .retriable = true},
       TransactionRemedy::kAbort},
      {{.code = RD_KAFKA_RESP_ERR__TIMED_OUT, .retriable = true}, TransactionRemedy::kCallAgain},
      {{.code = RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, .fatal = true},
       TransactionRemedy::kNewProducer},
      {{.code = RD_KAFKA_RESP_ERR__STATE}, TransactionRemedy::kNewProducer},
      {{.code = RD_KAFKA_RESP_ERR__FENCED, .fatal = true}, TransactionRemedy::kFenced},
      {{.code = RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, .fatal = true},
       TransactionRemedy::kFenced},
      {{.code = RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, .requires_abort = true},
       TransactionRemedy::kGiveUp},
      {{.code = RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, .requires_abort = true},
       TransactionRemedy::kGiveUp},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(rd_kafka_err2name(c.error.code));
    EXPECT_EQ(RemedyForTransaction(c.error), c.expected);
  }
}

}  // namespace
}  // namespace millrace
