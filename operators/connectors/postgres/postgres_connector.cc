#include "operators/connectors/postgres/postgres_connector.h"

#include "operators/connectors/postgres/pg_position.h"
#include "operators/connectors/postgres/postgres_cdc_source.h"
#include "operators/connectors/postgres/postgres_options.h"
#include "operators/connectors/postgres/postgres_sink.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

// The table is one split: its changes have one order.
class PostgresCdcDiscovery : public SplitDiscovery {
 public:
  explicit PostgresCdcDiscovery(PostgresSourceOptions options) : options_(std::move(options)) {}
  absl::StatusOr<std::vector<Split>> Discover(bool) override {
    return std::vector<Split>{
        {.id = Concat(options_.slot, "/", options_.table.schema, ".", options_.table.table),
         .position = EncodePgPosition({})}};
  }

 private:
  const PostgresSourceOptions options_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Source>> MakePostgresCdcSource(const v1::Node& node) {
  MILLRACE_ASSIGN_OR_RETURN(PostgresSourceOptions options, ReadPostgresSourceOptions(node));
  return std::make_unique<PostgresCdcSource>(std::move(options));
}

absl::StatusOr<std::unique_ptr<SplitDiscovery>> MakePostgresCdcDiscovery(const v1::Node& node,
                                                                         Env&) {
  MILLRACE_ASSIGN_OR_RETURN(PostgresSourceOptions options, ReadPostgresSourceOptions(node));
  return std::make_unique<PostgresCdcDiscovery>(std::move(options));
}

absl::StatusOr<std::unique_ptr<Sink>> MakePostgresSink(const v1::Node& node) {
  MILLRACE_ASSIGN_OR_RETURN(PostgresSinkOptions options, ReadPostgresSinkOptions(node));
  return std::make_unique<PostgresSink>(std::move(options));
}

}  // namespace millrace
