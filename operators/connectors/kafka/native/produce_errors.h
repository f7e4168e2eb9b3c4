// What the errors of a broker mean to a producer: a table of request and code.
//
// Threading: pure functions.
#pragma once

#include <cstdint>

#include "operators/connectors/kafka/kafka_errors.h"
#include "operators/connectors/kafka/native/messages.h"

namespace millrace {

enum class ProduceOutcome {
  kDone,
  kAgain,      // The same broker will do it in a moment. It may have been done.
  kElsewhere,  // Another broker leads the partition or coordinates by now; this one did nothing.
  kFailed,     // The remedy tells.
};

struct ProduceVerdict {
  ProduceOutcome outcome = ProduceOutcome::kDone;
  TransactionRemedy remedy = TransactionRemedy::kNewProducer;  // Of kFailed.
};

ProduceVerdict JudgeProduceError(KafkaApi api, int16_t error);

}  // namespace millrace
