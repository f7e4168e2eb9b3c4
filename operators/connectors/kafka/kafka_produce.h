// Hands one record to a producer.
//
// Threading: as for the producer.
#pragma once

#include <librdkafka/rdkafka.h>

#include "operators/connectors/kafka/kafka_marker.h"

namespace millrace {

// The client copies everything. RD_KAFKA_RESP_ERR__QUEUE_FULL: poll and try again.
rd_kafka_resp_err_t ProduceFrame(rd_kafka_t* producer, rd_kafka_topic_t* topic,
                                 const KafkaFrame& frame);

}  // namespace millrace
