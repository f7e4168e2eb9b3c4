// A whole cluster in one thread: the real coordinator, the real workers and tasks, in a SimWorld.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "coordinator/coordinator.h"
#include "coordinator/metadata/memory_metadata_store.h"
#include "tests/simulation/sim_env.h"
#include "tests/simulation/sim_job.h"
#include "worker/worker.h"

namespace millrace {

struct SimulationOptions {
  int workers = 2;
  // Chance of each fault per thousand events.
  double worker_crashes = 0;
  double coordinator_crashes = 0;
  double cuts = 0;
  // A worker is asked to end, hands its tasks over and comes back.
  double worker_leaves = 0;
  bool asks = false;  // See SimJob.
};

class Simulation {
 public:
  Simulation(uint64_t seed, SimulationOptions options);
  ~Simulation();

  void Submit();
  // Runs at most `events` events with faults; nothing wrong may become visible. Returns what is
  // wrong, or empty.
  std::string RunFaulty(uint64_t events);
  // Runs without faults until the job has ended; false when it has not after `events_max`.
  bool RunHealthy(uint64_t events_max);

  const SimTarget& target() const { return target_; }
  const SimJob& job() const { return job_; }
  v1::JobState state() const { return state_; }
  std::string last_error() const { return last_error_; }
  uint64_t trace_hash() const { return world_.events.trace_hash(); }
  int faults() const { return faults_; }
  int workers_left() const { return workers_left_; }  // In peace.

 private:
  struct WorkerProcess;
  struct CoordinatorProcess;
  class Link;
  class Watcher;

  void StartWorker(int number);
  void CrashWorker(int number);
  void EndWorker(int number);
  void AskToLeave(int number);
  void EndThoseThatMayLeave();
  void StartCoordinator();
  void CrashCoordinator();
  void Connect(int number);
  void Watch();
  void InjectFaults();
  std::string Violation() const;

  const SimulationOptions options_;
  SimWorld world_;
  SimJob job_;
  SimTarget target_{world_.random};
  MemoryMetadataStore store_;
  std::unique_ptr<NodeFactory> nodes_;
  std::unique_ptr<CoordinatorProcess> coordinator_;
  std::vector<std::unique_ptr<WorkerProcess>> workers_;
  int next_machine_ = 1;
  std::string job_id_;
  v1::JobState state_ = v1::JOB_STATE_UNSPECIFIED;
  std::string last_error_;
  int faults_ = 0;
  int workers_left_ = 0;
};

}  // namespace millrace
