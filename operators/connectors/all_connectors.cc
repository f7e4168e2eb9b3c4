#include "operators/catalog/catalog.h"
#include "operators/connectors/blackhole/blackhole_connector.h"
#include "operators/connectors/collect/collect_connector.h"
#include "operators/connectors/connector.h"
#include "operators/connectors/datagen/datagen_connector.h"
#include "operators/connectors/file/file_connector.h"
#include "operators/connectors/kafka/kafka_connector.h"
#include "operators/connectors/nexmark/nexmark_connector.h"
#include "operators/connectors/postgres/postgres_connector.h"
#include "operators/connectors/print/print_connector.h"
#include "operators/connectors/redis/redis_connector.h"

namespace millrace {

// Sorted by name.
std::span<const Connector> AllConnectors() {
  static constexpr Connector kConnectors[] = {
      {.name = "blackhole", .make_sink = &MakeBlackholeSink},
      {.name = "collect", .make_sink = &MakeCollectSink},
      {.name = "datagen",
       .make_source = &MakeDatagenSource,
       .make_discovery = &MakeDatagenDiscovery},
      {.name = "file",
       .make_source = &MakeFileSource,
       .make_discovery = &MakeFileDiscovery,
       .make_sink = &MakeFileSink},
      {.name = "kafka",
       .make_source = &MakeKafkaSource,
       .make_discovery = &MakeKafkaDiscovery,
       .make_sink = &MakeKafkaSink,
       .blocking = true},
      {.name = "nexmark",
       .make_source = &MakeNexmarkSource,
       .make_discovery = &MakeNexmarkDiscovery},
      {.name = "postgres",
       .make_sink = &MakePostgresSink,
       .make_lookup = &MakePostgresLookup,
       .blocking = true},
      {.name = "postgres-cdc",
       .make_source = &MakePostgresCdcSource,
       .make_discovery = &MakePostgresCdcDiscovery,
       .clean = &CleanPostgresCdc,
       .blocking = true},
      {.name = "print", .make_sink = &MakePrintSink},
      {.name = "redis", .make_lookup = &MakeRedisLookup, .blocking = true},
      {.name = "upsert-kafka",
       .make_source = &MakeKafkaSource,
       .make_discovery = &MakeKafkaDiscovery,
       .make_sink = &MakeUpsertKafkaSink,
       .blocking = true},
  };
  return kConnectors;
}

absl::StatusOr<const Connector*> FindConnector(std::string_view name) {
  for (const Connector& connector : AllConnectors()) {
    if (connector.name == name) return &connector;
  }
  const auto known = FindConnectorSpec(name);
  if (!known.ok()) return known.status();
  return absl::NotFoundError("connector '" + std::string(name) + "' is not part of this build");
}

}  // namespace millrace
