#include "worker/worker_metrics.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "runtime/metrics/metrics.h"
#include "runtime/task/task.h"
#include "worker/worker.h"

namespace millrace {
namespace {

double Seconds(uint64_t ns) { return static_cast<double>(ns) / 1e9; }

// Copied on the worker's loop, written out on the scraping thread.
struct TaskView {
  MetricLabels labels;  // job_id, task, worker.
  double busy_s, idle_s, blocked_s, stalls;
  double letters_waiting, letters, letters_wait_s;
  double state_bytes, queued_bytes;
  double source_idle_s, splits_active, splits_idle, splits_finished, drift_s;  // Of a source.
  bool has_source;
  struct Node {
    std::string uid;
    double rows_in, rows_out, late, dead, skipped, bytes_in, bytes_out, lag, unchanged, future;
    double sink_errors, commits, commit_s;
    double watermark_s;
    bool is_source, is_sink;
    bool has_watermark;
    std::vector<OperatorMetrics::Value> own;
  };
  std::vector<Node> nodes;
};

struct Snapshot {
  absl::Notification ready;
  std::vector<TaskView> tasks;
  double budget_bytes = 0, used_bytes = 0;
  bool connected = false;
};

TaskView ViewOf(const std::string& job_id, const std::string& worker_id, Task& task) {
  const auto number = [](const TaskCounter& counter) {
    return static_cast<double>(counter.value());
  };
  const TaskId id = task.options().id;
  TaskView view{.labels = {{"job_id", job_id},
                           {"task", std::to_string(id.chain) + "/" + std::to_string(id.index)},
                           {"worker", worker_id}},
                .busy_s = Seconds(task.busy_ns().value()),
                .idle_s = Seconds(task.idle_ns().value()),
                .blocked_s = Seconds(task.blocked_ns().value()),
                .stalls = number(task.stalls()),
                .letters_waiting = static_cast<double>(task.letters_waiting()),
                .letters = static_cast<double>(task.letters()),
                .letters_wait_s = Seconds(task.letters_wait_ns()),
                .state_bytes = static_cast<double>(task.state_bytes()),
                .queued_bytes = static_cast<double>(task.queued_bytes()),
                .source_idle_s = static_cast<double>(task.source_idle_ns()) / 1e9,
                .splits_active = number(task.splits().active),
                .splits_idle = number(task.splits().idle),
                .splits_finished = number(task.splits().finished),
                .drift_s = static_cast<double>(task.watermark_drift_us()) / 1e6,
                .has_source = task.has_source(),
                .nodes = {}};
  for (const Task::NodeView& node : task.Views()) {
    const OperatorCounters& c = *node.counters;
    const auto watermark = static_cast<int64_t>(node.watermark_us->value());
    view.nodes.push_back(
        {.uid = node.uid,
         .rows_in = number(c.rows_in),
         .rows_out = number(c.rows_out),
         .late = number(c.rows_late),
         .dead = number(c.rows_dead_lettered),
         .skipped = number(c.rows_skipped),
         .bytes_in = number(c.bytes_in),
         .bytes_out = number(c.bytes_out),
         .lag = number(c.lag_rows),
         .unchanged = number(c.rows_unchanged),
         .future = number(c.rows_future),
         .sink_errors = number(c.sink_errors),
         .commits = number(c.commits),
         .commit_s = Seconds(c.commit_ns.value()),
         .watermark_s = static_cast<double>(watermark) / 1e6,
         .is_source = node.is_source,
         .is_sink = node.is_sink,
         .has_watermark = watermark != EventTime::Min().us && watermark != EventTime::Max().us,
         .own = c.metrics.Read()});
  }
  return view;
}

void WriteOwn(const OperatorMetrics::Value& value, MetricLabels labels, MetricsSink& sink) {
  labels.insert(labels.end(), value.labels.begin(), value.labels.end());
  switch (value.kind) {
    case OperatorMetrics::Kind::kCounter:
      return sink.Counter(value.name, value.help, labels, value.number);
    case OperatorMetrics::Kind::kGauge:
      return sink.Gauge(value.name, value.help, labels, value.number);
    case OperatorMetrics::Kind::kHistogram:
      return sink.Histogram(
          value.name, value.help, labels,
          HistogramValues{.bounds = value.bounds, .counts = value.counts, .sum = value.number});
  }
}

void Write(const TaskView& task, MetricsSink& sink) {
  const auto with = [&](const char* name, const std::string& value) {
    MetricLabels labels = task.labels;
    labels.emplace_back(name, value);
    return labels;
  };
  sink.Counter("millrace_task_busy_seconds_total", "Time in which the task worked.", task.labels,
               task.busy_s);
  sink.Counter("millrace_task_idle_seconds_total", "Time in which the task had nothing to do.",
               task.labels, task.idle_s);
  sink.Counter("millrace_task_backpressured_seconds_total",
               "Time in which the task waited for credit or for a snapshot.", with("kind", "hard"),
               task.blocked_s);
  sink.Counter("millrace_event_loop_stalls_total", "Steps of the task that took over 100 ms.",
               task.labels, task.stalls);
  sink.Gauge("millrace_task_mailbox_length", "Letters to the task that it has not read yet.",
             task.labels, task.letters_waiting);
  sink.Counter("millrace_task_mailbox_letters_total", "Letters that the task has read.",
               task.labels, task.letters);
  sink.Counter("millrace_task_mailbox_wait_seconds_total", "Time for which they waited.",
               task.labels, task.letters_wait_s);
  sink.Gauge("millrace_state_size_bytes", "State of the task at its last snapshot.", task.labels,
             task.state_bytes);
  sink.Gauge("millrace_channel_queued_bytes", "Rows sent that the receivers have not taken yet.",
             task.labels, task.queued_bytes);
  if (task.has_source) {
    sink.Gauge("millrace_source_idle_seconds", "Time since the source last had rows.", task.labels,
               task.source_idle_s);
    const auto splits = [&](const char* state, double count) {
      sink.Gauge("millrace_source_splits",
                 "Splits by state; an idle one does not hold the watermark.", with("state", state),
                 count);
    };
    splits("active", task.splits_active);
    splits("idle", task.splits_idle);
    splits("finished", task.splits_finished);
    sink.Gauge("millrace_watermark_drift_seconds",
               "Event time by which the most advanced active split is ahead of the slowest.",
               task.labels, task.drift_s);
  }
  for (const TaskView::Node& node : task.nodes) {
    const MetricLabels labels = with("operator", node.uid);
    sink.Counter("millrace_operator_records_in_total", "Rows that came in.", labels, node.rows_in);
    sink.Counter("millrace_operator_records_out_total", "Rows that went out.", labels,
                 node.rows_out);
    sink.Counter("millrace_operator_bytes_in_total", "Bytes that came in.", labels, node.bytes_in);
    sink.Counter("millrace_operator_bytes_out_total", "Bytes that went out.", labels,
                 node.bytes_out);
    sink.Counter(
        "millrace_operator_late_records_dropped_total",
        "Rows that came after their window was closed; in the late output if there is one.", labels,
        node.late);
    sink.Counter("millrace_operator_dead_letter_records_total",
                 "Records sent to the dead-letter output.", labels, node.dead);
    sink.Counter("millrace_operator_skipped_records_total",
                 "Rows that ended here on purpose: filtered out, messages without a row.", labels,
                 node.skipped);
    sink.Counter("millrace_operator_unchanged_records_total",
                 "Changes that came again or changed nothing.", labels, node.unchanged);
    sink.Counter("millrace_operator_future_records_total",
                 "Rows too far in the future to move the watermark.", labels, node.future);
    if (node.has_watermark) {
      sink.Gauge("millrace_operator_watermark_timestamp_seconds", "Event time reached.", labels,
                 node.watermark_s);
    }
    if (node.is_source) {
      sink.Counter("millrace_source_records_total", "Records read from the source.", labels,
                   node.rows_in);
      sink.Gauge("millrace_source_lag_records", "Records known to wait at the source.", labels,
                 node.lag);
    }
    for (const OperatorMetrics::Value& value : node.own) WriteOwn(value, labels, sink);
    if (!node.is_sink) continue;
    sink.Counter("millrace_sink_errors_total", "Failed writes to the target.", labels,
                 node.sink_errors);
    sink.Counter("millrace_sink_commits_total", "Epochs made visible in the target.", labels,
                 node.commits);
    sink.Counter("millrace_sink_commit_seconds_total", "Time that these commits took.", labels,
                 node.commit_s);
  }
}

void WriteCopies(const LocalCopies::Counters& copies, const MetricLabels& labels,
                 MetricsSink& sink) {
  const auto count = [&](const char* name, const char* help, const char* label, const char* value,
                         uint64_t number) {
    MetricLabels all = labels;
    all.emplace_back(label, value);
    sink.Counter(name, help, all, static_cast<double>(number));
  };
  const auto read = [&](const char* from, uint64_t reads, uint64_t bytes) {
    count("millrace_segment_reads_total",
          "State segments of S3 that were read, from local copies or from the store.", "from", from,
          reads);
    count("millrace_segment_read_bytes_total", "Their bytes.", "from", from, bytes);
  };
  read("local", copies.local_reads, copies.local_bytes);
  read("storage", copies.storage_reads, copies.storage_bytes);
  const auto refused = [&](const char* reason, uint64_t number) {
    count("millrace_local_copies_refused_total",
          "Local copies that were not used; the store was read instead.", "reason", reason, number);
  };
  refused("missing", copies.missing);
  refused("damaged", copies.damaged);
  sink.Gauge("millrace_local_copies_bytes", "Disk that local copies of segments use.", labels,
             static_cast<double>(copies.kept_bytes));
}

}  // namespace

void ExportWorkerMetrics(Worker& worker, MetricsRegistry& registry) {
  registry.Add([&worker](MetricsSink& sink) {
    auto snapshot = std::make_shared<Snapshot>();
    worker.mailbox().Post([&worker, snapshot] {
      worker.VisitTasks([&](const std::string& job_id, Task& task) {
        snapshot->tasks.push_back(ViewOf(job_id, worker.worker_id(), task));
      });
      snapshot->budget_bytes = static_cast<double>(worker.budget().bytes_max());
      snapshot->used_bytes = static_cast<double>(worker.budget().used());
      snapshot->connected = worker.connected();
      snapshot->ready.Notify();
    });
    if (!snapshot->ready.WaitForNotificationWithTimeout(absl::Seconds(1))) return;
    const MetricLabels labels = {{"worker", worker.worker_id()}};
    sink.Gauge("millrace_state_memory_budget_bytes", "Memory that state may use.", labels,
               snapshot->budget_bytes);
    sink.Gauge("millrace_state_memory_used_bytes", "Memory that state uses.", labels,
               snapshot->used_bytes);
    sink.Gauge("millrace_worker_connected", "1 while the coordinator is reached.", labels,
               snapshot->connected ? 1 : 0);
    for (const TaskView& task : snapshot->tasks) Write(task, sink);
    WriteCopies(worker.copies().counters(), labels, sink);
  });
}

}  // namespace millrace
