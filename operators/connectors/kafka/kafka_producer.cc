#include "operators/connectors/kafka/kafka_producer.h"

#include <utility>

#include "operators/connectors/kafka/native/native_producer.h"
#include "operators/connectors/kafka/native/native_settings.h"
#include "operators/connectors/kafka/rdkafka_producer.h"
#include "runtime/base/status_macros.h"

namespace millrace {

absl::StatusOr<std::unique_ptr<KafkaProducer>> MakeKafkaProducer(
    const KafkaSinkOptions& options, Env& env, const std::string& transactional_id,
    std::vector<std::string> topics, const absl::Notification& stop) {
  if (!options.native_produce) {
    return RdkafkaProducer::Make(options.client, transactional_id, std::move(topics), stop);
  }
  MILLRACE_ASSIGN_OR_RETURN(ProduceSettings settings, MakeProduceSettings(options.client));
  return std::make_unique<NativeProducer>(std::move(settings), env, transactional_id,
                                          std::move(topics), stop);
}

}  // namespace millrace
