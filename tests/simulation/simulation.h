// A whole cluster in one thread: the real coordinators, the real workers and tasks, in a SimWorld.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "coordinator/coordinator.h"
#include "coordinator/leader_election.h"
#include "coordinator/metadata/memory_metadata_store.h"
#include "tests/simulation/sim_env.h"
#include "tests/simulation/sim_job.h"
#include "worker/worker.h"

namespace millrace {

struct SimulationOptions {
  int workers = 2;
  int coordinators = 2;  // One leads, the others stand by.
  // Chance of each fault per thousand events.
  double worker_crashes = 0;
  double leader_crashes = 0;
  // A leader stops for up to twice its lease and goes on as if nothing had been.
  double leader_pauses = 0;
  double cuts = 0;  // Of connections between workers.
  // A connection between worker and leader loses what is sent in one direction, and stays open.
  double silences = 0;
  // The metadata store is away for some seconds.
  double store_outages = 0;
  // Chance of each call of the store, per thousand, to have an unknown outcome.
  double store_unknowns = 0;
  // A worker stops for up to twice the lease and goes on.
  double worker_pauses = 0;
  // Chance of each failpoint that is reached, per thousand, to return an error; in half of the
  // cases the machine crashes there.
  double failpoints = 0;
  // Chance of each change of a file, per thousand, to fail.
  double disk_errors = 0;
  // A worker is asked to end, hands its tasks over and comes back.
  double worker_leaves = 0;
  bool asks = false;  // See SimJob.
  // The job is given another parallelism, from 1 to 6.
  double rescales = 0;
  // The job is upgraded to a graph that does the same; one in four cannot run and is taken back.
  double upgrades = 0;
  // The wall time of a machine is set wrong by up to ten minutes, or its clock runs twice or half
  // as fast from now on.
  double wrong_clocks = 0;
  // A worker's local copy of a segment is lost, cut, damaged or exchanged for another.
  double spoilt_copies = 0;
  // Of the job's checkpoints; 0 = they stay aligned.
  uint32_t alignment_timeout_ms = 0;
  // Tasks behind an exchange come to run only once in so many times, and channels hold next to
  // nothing, so that rows wait everywhere; 0 = as fast as they can.
  uint32_t slow_receivers = 0;
};

// Which faults, and how many of each: drawn from the seed.
SimulationOptions MixOfFaults(uint64_t seed);

class Simulation {
 public:
  Simulation(uint64_t seed, SimulationOptions options);
  ~Simulation();

  void Submit();
  // Runs without faults until all tasks run; false when they do not after `events_max`.
  bool RunUntilRunning(uint64_t events_max);
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
  int elections() const { return elections_; }
  // How often each failpoint was reached, and how often it did something.
  const std::map<std::string, std::pair<int, int>>& failpoints() const { return failpoints_; }
  // Local copies of segments that were read, and that were refused; by all workers so far.
  struct CopyReads {
    uint64_t used = 0;
    uint64_t refused = 0;
  };
  CopyReads copy_reads() const;
  int workers_left() const { return workers_left_; }  // In peace.
  int rescales() const { return rescales_; }          // That were answered.
  int upgrades() const { return upgrades_; }          // Likewise.
  int rollbacks() const { return rollbacks_; }        // Likewise.

 private:
  struct Wire;
  struct WorkerProcess;
  struct CoordinatorProcess;
  class Link;
  class Watcher;

  void StartWorker(int number);
  void CrashWorker(int number);
  void EndWorker(int number);
  static void AddCopyReads(const Worker& worker, CopyReads& sum);
  void AskToLeave(int number);
  void EndThoseThatMayLeave();
  void AskToRescale();
  void AskToUpgrade();
  void StartCoordinator(int number);
  void Lead(CoordinatorProcess& process, const Leadership& leadership);
  void EndCoordinator(int number);
  CoordinatorProcess* Leader();
  // A worker looks for a coordinator that listens, until it has one.
  void Dial(int number, absl::Duration delay);
  void Connect(int number, CoordinatorProcess& process);
  void Hangup(int number, const std::shared_ptr<Wire>& wire);
  void Watch(Coordinator& coordinator);
  MemoryMetadataStore::Fault NextStoreFault();
  bool Happens(double per_thousand);
  absl::Duration SomePause();
  std::vector<SimMachine*> Machines() const;  // Of the processes that live.
  void MakeAClockWrong();
  void InjectFaults();
  absl::Status OnFailpoint(std::string_view name);
  void CrashMachine(int number);
  void EndCoordinatorsThatAreOver();
  bool RunOne();
  std::string Violation() const;

  const SimulationOptions options_;
  SimWorld world_;
  SimJob job_;
  SimTarget target_{world_.random};
  MemoryMetadataStore store_;
  std::unique_ptr<NodeFactory> nodes_;
  std::vector<std::unique_ptr<CoordinatorProcess>> coordinators_;
  std::vector<std::unique_ptr<WorkerProcess>> workers_;
  bool healthy_ = true;  // No fault is injected.
  bool store_is_away_ = false;
  std::string job_id_;
  v1::JobState state_ = v1::JOB_STATE_UNSPECIFIED;
  std::string last_error_;
  int faults_ = 0;
  int elections_ = 0;
  int workers_left_ = 0;
  int rescales_ = 0;
  int upgrades_ = 0;
  int rollbacks_ = 0;
  CopyReads copy_reads_;  // By workers that are gone.
  std::map<std::string, std::pair<int, int>> failpoints_;
};

}  // namespace millrace
