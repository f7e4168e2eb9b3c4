// What librdkafka's errors mean for us.
//
// Threading: pure functions.
#pragma once

#include <librdkafka/rdkafka.h>

#include <string_view>

#include "absl/status/status.h"

namespace millrace {

// The status of a failed call; `attempted` says what was tried, with its values.
absl::Status KafkaStatus(rd_kafka_resp_err_t code, std::string_view attempted,
                         std::string_view detail = {});

// What to do after a failed step of a transaction. The commit's own outcome is never assumed: where
// it may be unknown, a new producer fences the transaction and the marker tells.
enum class TransactionRemedy {
  kCallAgain,    // The call goes on in the background; repeat it until the deadline.
  kAbort,        // This transaction failed: abort it, then produce the epoch again.
  kNewProducer,  // The instance is dead or the outcome unknown: new producer, fence, read marker.
  kGiveUp,       // The same epoch would fail again (too large, not allowed, no such topic).
  kFenced,       // A newer owner has the slot: stop.
};

struct TransactionError {
  rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
  bool requires_abort = false;
  bool retriable = false;
  bool fatal = false;
};

TransactionRemedy RemedyForTransaction(const TransactionError& error);

}  // namespace millrace
