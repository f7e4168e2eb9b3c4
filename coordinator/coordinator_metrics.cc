#include "coordinator/coordinator_metrics.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/synchronization/notification.h"
#include "coordinator/coordinator.h"
#include "coordinator/job_state.h"
#include "runtime/metrics/metrics.h"

namespace millrace {
namespace {

// Copied on the loop, written out on the scraping thread.
struct JobView {
  std::string job_id;
  std::string name;
  v1::JobState state;
  bool live;
  bool stalled;
  JobCounters counters;
  std::map<v1::JobState, absl::Duration> time_in_states;
  bool in_progress;
  double interval_s;
  double timeout_s;
  double last_bytes;
  double last_unix_s;
};

struct Snapshot {
  absl::Notification ready;
  std::vector<JobView> jobs;
  std::vector<v1::Worker> workers;
  uint64_t workers_lost = 0;
  uint64_t term = 0;
};

std::string StateLabel(v1::JobState state) {
  return absl::AsciiStrToLower(std::string(JobStateName(state)));
}

std::vector<v1::JobState> AllStates() {
  std::vector<v1::JobState> states;
  for (int i = v1::JOB_STATE_CREATED; i <= v1::JobState_MAX; ++i) {
    states.push_back(static_cast<v1::JobState>(i));
  }
  return states;
}

JobView ViewOf(const JobController& job) {
  const v1::EpochRecord* newest = job.newest_epoch();
  const CheckpointTimes times = CheckpointTimesOf(job.graph().settings());
  return {.job_id = job.job_id(),
          .name = job.spec().graph().name(),
          .state = job.state(),
          .live = job.live(),
          .stalled = job.stalled(),
          .counters = job.counters(),
          .time_in_states = job.TimeInStates(),
          .in_progress = job.epoch_in_flight(),
          .interval_s = absl::ToDoubleSeconds(times.interval),
          .timeout_s = absl::ToDoubleSeconds(times.timeout),
          .last_bytes = newest == nullptr ? 0 : static_cast<double>(newest->bytes()),
          .last_unix_s =
              newest == nullptr ? 0 : static_cast<double>(newest->completed_unix_us()) / 1e6};
}

void WriteJob(const JobView& job, MetricsSink& sink) {
  const MetricLabels id = {{"job_id", job.job_id}};
  const auto with = [&](const char* name, const std::string& value) {
    return MetricLabels{{"job_id", job.job_id}, {name, value}};
  };
  sink.Gauge("millrace_job_info", "Names of jobs.", with("job_name", job.name), 1);
  for (v1::JobState state : AllStates()) {
    sink.Gauge("millrace_job_state", "1 for the state that the job is in.",
               with("state", StateLabel(state)), state == job.state ? 1 : 0);
  }
  if (!job.live) return;
  for (const auto& [state, time] : job.time_in_states) {
    sink.Counter("millrace_job_state_seconds_total", "Time that the job spent in a state.",
                 with("state", StateLabel(state)), absl::ToDoubleSeconds(time));
  }
  sink.Gauge("millrace_job_desired_running", "1 while the job should run.", id,
             job.state == v1::JOB_STATE_CANCELLING || job.state == v1::JOB_STATE_STOPPING ? 0 : 1);
  sink.Gauge("millrace_job_stalled", "1 while nothing moves although something waits.", id,
             job.stalled ? 1 : 0);
  for (const auto& [reason, count] : job.counters.restarts_by_reason) {
    sink.Counter("millrace_job_restarts_total", "Restarts of the job.", with("reason", reason),
                 static_cast<double>(count));
  }
  sink.Counter("millrace_checkpoints_total", "Checkpoints by their end.",
               with("result", "completed"), static_cast<double>(job.counters.epochs_completed));
  sink.Counter("millrace_checkpoints_total", "Checkpoints by their end.",
               with("result", "abandoned"), static_cast<double>(job.counters.epochs_abandoned));
  sink.Counter("millrace_checkpoints_unaligned_total",
               "Completed checkpoints whose barriers overtook rows.", id,
               static_cast<double>(job.counters.epochs_unaligned));
  sink.Counter("millrace_checkpoint_in_flight_bytes_total",
               "Rows that barriers overtook, as bytes of checkpoints.", id,
               static_cast<double>(job.counters.in_flight_bytes));
  const auto checks = [&](const char* result, uint64_t count) {
    sink.Counter("millrace_conservation_checks_total",
                 "Checkpoints whose sums of rows were compared along the graph.",
                 with("result", result), static_cast<double>(count));
  };
  checks("held", job.counters.conservation_held);
  checks("violated", job.counters.conservation_violated);
  sink.Histogram("millrace_checkpoint_duration_seconds",
                 "From the trigger to the last acknowledgement.", id, job.counters.epochs->whole);
  const auto phase = [&](const char* name, const DurationHistogram& values) {
    sink.Histogram("millrace_checkpoint_task_phase_seconds", "Phases of checkpoints in each task.",
                   with("phase", name), values);
  };
  phase("start_delay", job.counters.epochs->start_delay);
  phase("align", job.counters.epochs->align);
  phase("sync", job.counters.epochs->sync);
  phase("async", job.counters.epochs->async);
  sink.Gauge("millrace_checkpoint_in_progress", "Checkpoints under way.", id,
             job.in_progress ? 1 : 0);
  sink.Gauge("millrace_checkpoint_interval_seconds", "Configured interval.", id, job.interval_s);
  sink.Gauge("millrace_checkpoint_timeout_seconds", "Configured timeout.", id, job.timeout_s);
  sink.Counter("millrace_control_messages_fenced_total",
               "Messages of attempts that are over: dropped.", id,
               static_cast<double>(job.counters.messages_fenced));
  if (job.last_unix_s == 0) return;
  sink.Gauge("millrace_checkpoint_last_size_bytes", "All that the last checkpoint refers to.",
             with("kind", "full"), job.last_bytes);
  sink.Gauge("millrace_checkpoint_last_completed_timestamp_seconds",
             "When the last checkpoint was completed.", id, job.last_unix_s);
}

void Write(const Snapshot& snapshot, MetricsSink& sink) {
  std::map<v1::JobState, int> jobs;
  for (const JobView& job : snapshot.jobs) {
    ++jobs[job.state];
    WriteJob(job, sink);
  }
  for (v1::JobState state : AllStates()) {
    sink.Gauge("millrace_jobs", "Jobs by state.", {{"state", StateLabel(state)}}, jobs[state]);
  }
  sink.Gauge("millrace_workers", "Workers by state.", {{"state", "registered"}},
             static_cast<double>(snapshot.workers.size()));
  sink.Counter("millrace_workers_lost_total", "Workers whose connection or heartbeat was lost.", {},
               static_cast<double>(snapshot.workers_lost));
  for (const v1::Worker& worker : snapshot.workers) {
    const MetricLabels labels = {{"worker", worker.worker_id()}};
    sink.Gauge("millrace_worker_last_heartbeat_timestamp_seconds", "When the worker spoke last.",
               labels, static_cast<double>(worker.last_heartbeat_unix_us()) / 1e6);
    sink.Gauge("millrace_worker_tasks", "Tasks placed on the worker.", labels, worker.tasks());
    sink.Gauge("millrace_worker_cores", "Task threads of the worker.", labels, worker.cores());
  }
  sink.Gauge("millrace_coordinator_leader", "1 while this process leads.", {}, 1);
  sink.Gauge("millrace_coordinator_term", "Raised by each change of the leader.", {},
             static_cast<double>(snapshot.term));
}

}  // namespace

void ExportCoordinatorMetrics(Coordinator& coordinator, MetricsRegistry& registry) {
  registry.Add([&coordinator](MetricsSink& sink) {
    auto snapshot = std::make_shared<Snapshot>();
    coordinator.Post([&coordinator, snapshot] {
      coordinator.VisitJobs(
          [&](const JobController& job) { snapshot->jobs.push_back(ViewOf(job)); });
      snapshot->workers = coordinator.Workers();
      snapshot->workers_lost = coordinator.workers_lost();
      snapshot->term = coordinator.term();
      snapshot->ready.Notify();
    });
    if (snapshot->ready.WaitForNotificationWithTimeout(absl::Seconds(2))) Write(*snapshot, sink);
  });
}

}  // namespace millrace
