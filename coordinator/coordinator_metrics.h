// The coordinator's metrics for Prometheus: jobs, checkpoints, workers.
#pragma once

namespace millrace {

class Coordinator;
class MetricsRegistry;

// Asks the coordinator's loop at each scrape; a loop that does not answer within two seconds is
// reported as not ready by the missing values. The coordinator outlives every scrape.
void ExportCoordinatorMetrics(Coordinator& coordinator, MetricsRegistry& registry);

}  // namespace millrace
