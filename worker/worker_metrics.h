// What a worker exports to Prometheus: its tasks' counters and times, and its state.
#pragma once

namespace millrace {

class MetricsRegistry;
class Worker;

// Registers a collector. At a scrape it asks the worker's loop by letter and waits for its answer,
// at most a second. `worker` must outlive the registry's use.
void ExportWorkerMetrics(Worker& worker, MetricsRegistry& registry);

}  // namespace millrace
