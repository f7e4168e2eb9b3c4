#include "operators/connectors/kafka/kafka_connector.h"

#include "operators/connectors/kafka/kafka_discovery.h"
#include "operators/connectors/kafka/kafka_options.h"
#include "operators/connectors/kafka/kafka_sink.h"
#include "operators/connectors/kafka/kafka_source.h"
#include "operators/connectors/op_column.h"
#include "runtime/base/status_macros.h"

namespace millrace {

absl::StatusOr<std::unique_ptr<Source>> MakeKafkaSource(const v1::Node& node) {
  MILLRACE_ASSIGN_OR_RETURN(KafkaSourceOptions options, ParseKafkaSourceOptions(node));
  return std::make_unique<KafkaSource>(std::move(options));
}

absl::StatusOr<std::unique_ptr<SplitDiscovery>> MakeKafkaDiscovery(const v1::Node& node, Env& env) {
  MILLRACE_ASSIGN_OR_RETURN(KafkaSourceOptions options, ParseKafkaSourceOptions(node));
  return std::make_unique<KafkaDiscovery>(std::move(options), env);
}

absl::StatusOr<std::unique_ptr<Sink>> MakeKafkaSink(const v1::Node& node) {
  MILLRACE_ASSIGN_OR_RETURN(KafkaSinkOptions options, ParseKafkaSinkOptions(node));
  return WithOpColumn(node, std::make_unique<KafkaSink>(std::move(options)));
}

absl::StatusOr<std::unique_ptr<Sink>> MakeUpsertKafkaSink(const v1::Node& node) {
  MILLRACE_ASSIGN_OR_RETURN(KafkaSinkOptions options, ParseKafkaSinkOptions(node));
  return std::make_unique<KafkaSink>(std::move(options));
}

}  // namespace millrace
