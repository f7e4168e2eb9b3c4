#include "operators/connectors/kafka/kafka_produce.h"

namespace millrace {

rd_kafka_resp_err_t ProduceFrame(rd_kafka_t* producer, rd_kafka_topic_t* topic,
                                 const KafkaFrame& frame) {
  // The client does not write to the bytes.
  void* const value = frame.value ? const_cast<char*>(frame.value->data()) : nullptr;
  const size_t value_size = frame.value ? frame.value->size() : 0;
  const char* const key = frame.key ? frame.key->data() : nullptr;
  const size_t key_size = frame.key ? frame.key->size() : 0;
  if (frame.headers.empty()) {
    const int result = rd_kafka_produce(topic, frame.partition, RD_KAFKA_MSG_F_COPY, value,
                                        value_size, key, key_size, nullptr);
    return result == 0 ? RD_KAFKA_RESP_ERR_NO_ERROR : rd_kafka_last_error();
  }
  rd_kafka_headers_t* const headers = rd_kafka_headers_new(frame.headers.size());
  for (const KafkaHeader& header : frame.headers) {
    rd_kafka_header_add(headers, header.name.data(), static_cast<ssize_t>(header.name.size()),
                        header.value ? header.value->data() : nullptr,
                        header.value ? static_cast<ssize_t>(header.value->size()) : 0);
  }
  const rd_kafka_resp_err_t code = rd_kafka_producev(
      producer, RD_KAFKA_V_RKT(topic), RD_KAFKA_V_PARTITION(frame.partition),
      RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_VALUE(value, value_size),
      RD_KAFKA_V_KEY(key, key_size), RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) rd_kafka_headers_destroy(headers);
  return code;
}

}  // namespace millrace
