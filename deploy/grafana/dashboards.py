"""Writes the dashboards beside it: python3 dashboards.py

A panel is a title, what it tells, a unit and its expressions. $__rate_interval, $cluster and the
other variables are Grafana's. Standard library only.
"""

import json
import pathlib

FOLDER = pathlib.Path(__file__).resolve().parent
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
TAG = "millrace"
WIDTH, HEIGHT = 24, 8


def panel(title, description, unit, *targets, kind="timeseries"):
    """`targets`: (expression, legend). Sizes and ids come from the place in the list."""
    return {"title": title, "description": description, "unit": unit, "targets": targets,
            "kind": kind}


def variable(name, query, label, multi=False):
    return {"type": "query", "name": name, "label": label, "datasource": DATASOURCE,
            "query": {"query": query, "refId": name}, "definition": query, "refresh": 2, "sort": 1,
            "multi": multi, "includeAll": multi, "allValue": ".*" if multi else None}


CLUSTER = [
    panel("Coordinators", "One, always.", "none",
          ('sum(millrace_coordinator_leader{cluster="$cluster"})', "coordinators"), kind="stat"),
    panel("Workers", "Registered workers; more were lost than are here now when they restarted.",
          "none", ('sum by (state) (millrace_workers{cluster="$cluster"})', "{{state}}"),
          kind="stat"),
    panel("Jobs by state", "Restarting and failed jobs have their reason in `millrace describe`.",
          "none", ('sum by (state) (millrace_jobs{cluster="$cluster"})', "{{state}}"), kind="stat"),
    panel("Firing alerts", "What each means and what to do: docs/runbooks.md.", "none",
          ('count by (alertname, severity) (ALERTS{alertstate="firing",alertname=~"Millrace.*"})',
           "{{alertname}}"), kind="stat"),
    panel("Records read per job", "All sources of a job together.", "cps",
          ('sum by (job_id) (rate(millrace_source_records_total{cluster="$cluster"}'
           '[$__rate_interval]))', "{{job_id}}")),
    panel("Lag per job", "Records that the sources know to wait.", "none",
          ('sum by (job_id) (millrace_source_lag_records{cluster="$cluster"})', "{{job_id}}")),
    panel("CPU", "Cores in use by each process.", "none",
          ('rate(process_cpu_seconds_total{cluster="$cluster"}[$__rate_interval])',
           "{{instance}}")),
    panel("Memory", "Resident memory of each process.", "bytes",
          ('process_resident_memory_bytes{cluster="$cluster"}', "{{instance}}")),
    panel("State memory in use", "Share of --memory-mb; beyond it rows go to disk.", "percentunit",
          ('millrace_state_memory_used_bytes{cluster="$cluster"} / '
           'millrace_state_memory_budget_bytes{cluster="$cluster"}', "{{worker}}")),
    panel("Worst back-pressure", "Share of time in which a task waits for its receivers.",
          "percentunit",
          ('topk(10, max by (job_id, task) (rate(millrace_task_backpressured_seconds_total'
           '{cluster="$cluster"}[$__rate_interval])))', "{{job_id}} {{task}}")),
    panel("Heartbeat age", "Since the coordinator heard of a worker.", "s",
          ('time() - millrace_worker_last_heartbeat_timestamp_seconds{cluster="$cluster"}',
           "{{worker}}")),
    panel("Tasks per worker", "Even, when all workers have as many cores.", "none",
          ('millrace_worker_tasks{cluster="$cluster"}', "{{worker}}")),
    panel("Checkpoint success", "Share of the epochs of the last hour that completed.",
          "percentunit",
          ('sum by (job_id) (increase(millrace_checkpoints_total{cluster="$cluster",'
           'result="completed"}[1h])) / sum by (job_id) '
           '(increase(millrace_checkpoints_total{cluster="$cluster"}[1h]))', "{{job_id}}")),
    panel("Checkpoint age", "Since a job's newest complete checkpoint.", "s",
          ('time() - millrace_checkpoint_last_completed_timestamp_seconds{cluster="$cluster"}',
           "{{job_id}}")),
    panel("Restarts in an hour", "By reason.", "none",
          ('sum by (job_id, reason) (increase(millrace_job_restarts_total{cluster="$cluster"}'
           '[1h]))', "{{job_id}} {{reason}}")),
    panel("Dead letters and late rows", "Rows that are in no result, per second.", "cps",
          ('sum by (job_id) (rate(millrace_operator_dead_letter_records_total{cluster="$cluster"}'
           '[$__rate_interval]))', "{{job_id}} dead letters"),
          ('sum by (job_id) (rate(millrace_operator_late_records_dropped_total'
           '{cluster="$cluster"}[$__rate_interval]))', "{{job_id}} late")),
]

JOB = [
    panel("State", "1 for the state that the job is in.", "none",
          ('millrace_job_state{J} == 1', "{{state}}"), kind="stat"),
    panel("Restarts", "Since the coordinator started, by reason.", "none",
          ('sum by (reason) (millrace_job_restarts_total{J})', "{{reason}}"), kind="stat"),
    panel("Checkpoint age", "Since the newest complete checkpoint.", "s",
          ('time() - millrace_checkpoint_last_completed_timestamp_seconds{J}', "age"),
          kind="stat"),
    panel("Time to catch up", "At the rate of the last five minutes.", "s",
          ('sum by (operator) (millrace_source_lag_records{J}) / '
           'sum by (operator) (rate(millrace_source_records_total{J}[5m]))', "{{operator}}"),
          kind="stat"),
    panel("Records in", "Per node, all its tasks together.", "cps",
          ('sum by (operator) (rate(millrace_operator_records_in_total{J}[$__rate_interval]))',
           "{{operator}}")),
    panel("Records out", "Per node, all its tasks together.", "cps",
          ('sum by (operator) (rate(millrace_operator_records_out_total{J}[$__rate_interval]))',
           "{{operator}}")),
    panel("Lag", "Records that the sources know to wait.", "none",
          ('sum by (operator) (millrace_source_lag_records{J})', "{{operator}}")),
    panel("Event time behind now", "By the watermark of each node; a silent split holds it.", "s",
          ('max by (operator) (time() - millrace_operator_watermark_timestamp_seconds{J})',
           "{{operator}}")),
    panel("Latency", "From reading a row until it is visible in the target, 99 of 100.", "s",
          ('histogram_quantile(0.99, sum by (le, operator) '
           '(rate(millrace_end_to_end_latency_seconds_bucket{J}[$__rate_interval])))',
           "{{operator}}")),
    panel("Busy", "Share of time; the busiest task of a chain sets the pace.", "percentunit",
          ('max by (task) (rate(millrace_task_busy_seconds_total{J}[$__rate_interval]))',
           "{{task}}")),
    panel("Back-pressured", "Share of time in which a task waits for its receivers.",
          "percentunit",
          ('max by (task) (rate(millrace_task_backpressured_seconds_total{J}'
           '[$__rate_interval]))', "{{task}}")),
    panel("Long steps", "Steps of a task that took over 100 ms, per second.", "cps",
          ('sum by (task) (rate(millrace_event_loop_stalls_total{J}[$__rate_interval]))',
           "{{task}}")),
    panel("Skew", "The busiest task of a node, in shares of the mean.", "none",
          ('max by (operator) (rate(millrace_operator_records_in_total{J}[5m])) / '
           'avg by (operator) (rate(millrace_operator_records_in_total{J}[5m]))',
           "{{operator}}")),
    panel("Queued between tasks", "Bytes sent and not yet taken.", "bytes",
          ('sum by (task) (millrace_channel_queued_bytes{J})', "{{task}}")),
    panel("Splits", "Active, idle and finished.", "none",
          ('sum by (state) (millrace_source_splits{J})', "{{state}}")),
    panel("Rows that need a look", "Dead letters, late rows and rows from the future, per second.",
          "cps",
          ('sum by (operator, reason) (rate(millrace_dlq_records_total{J}[$__rate_interval]))',
           "{{operator}} dead letters {{reason}}"),
          ('sum by (operator) (rate(millrace_operator_late_records_dropped_total{J}'
           '[$__rate_interval]))', "{{operator}} late"),
          ('sum by (operator) (rate(millrace_operator_future_records_total{J}'
           '[$__rate_interval]))', "{{operator}} future")),
    panel("Checkpoint duration", "From the trigger to the last task, 99 of 100.", "s",
          ('histogram_quantile(0.99, sum by (le) (rate(millrace_checkpoint_duration_seconds_bucket'
           '{J}[$__rate_interval])))', "p99")),
    panel("Checkpoint phases", "Mean per task: the way of the barrier, then the writing.", "s",
          ('sum by (phase) (rate(millrace_checkpoint_task_phase_seconds_sum{J}'
           '[$__rate_interval])) / sum by (phase) (rate('
           'millrace_checkpoint_task_phase_seconds_count{J}[$__rate_interval]))', "{{phase}}")),
    panel("Checkpoint size", "Of the newest.", "bytes",
          ('max by (kind) (millrace_checkpoint_last_size_bytes{J})', "{{kind}}")),
    panel("State size", "Per task.", "bytes",
          ('sum by (task) (millrace_state_size_bytes{J})', "{{task}}")),
    panel("Commits", "Epochs that a target took, per second.", "cps",
          ('sum by (operator) (rate(millrace_sink_commits_total{J}[$__rate_interval]))',
           "{{operator}}")),
    panel("Sink errors", "Answers of targets that were no success, per second.", "cps",
          ('sum by (operator) (rate(millrace_sink_errors_total{J}[$__rate_interval]))',
           "{{operator}}")),
    panel("Model latency", "Of a call, 99 of 100.", "s",
          ('histogram_quantile(0.99, sum by (le, model) (rate(millrace_model_inference_seconds_'
           'bucket{J}[$__rate_interval])))', "{{model}}")),
    panel("Drift of features", "Population stability index; 0.1 something, 0.25 much.", "none",
          ('max by (model, feature) (millrace_feature_drift_psi{J})', "{{model}} {{feature}}")),
]


def grafana_panel(number, spec, place):
    body = {"id": number, "title": spec["title"], "description": spec["description"],
            "type": spec["kind"], "datasource": DATASOURCE, "gridPos": place,
            "fieldConfig": {"defaults": {"unit": spec["unit"]}, "overrides": []},
            "targets": []}
    for letter, (expression, legend) in zip("ABC", spec["targets"]):
        body["targets"].append({
            "refId": letter, "datasource": DATASOURCE, "legendFormat": legend,
            "expr": expression.replace("{J}", '{cluster="$cluster",job_id="$job_id"}')})
    if spec["kind"] == "timeseries":
        body["options"] = {"legend": {"displayMode": "list", "placement": "bottom"},
                           "tooltip": {"mode": "multi", "sort": "desc"}}
    return body


def dashboard(uid, title, description, variables, specs):
    panels, x, y = [], 0, 0
    for number, spec in enumerate(specs, 1):
        small = spec["kind"] == "stat"
        width, height = (WIDTH // 4, HEIGHT // 2) if small else (WIDTH // 2, HEIGHT)
        panels.append(grafana_panel(number, spec, {"x": x, "y": y, "w": width, "h": height}))
        x += width
        if x >= WIDTH:
            x, y = 0, y + height
    return {
        "uid": uid, "title": title, "description": description, "tags": [TAG],
        "schemaVersion": 39, "version": 1, "editable": False, "timezone": "utc",
        "refresh": "30s", "time": {"from": "now-1h", "to": "now"},
        "links": [{"type": "dashboards", "title": "Millrace", "tags": [TAG], "asDropdown": True,
                   "includeVars": True, "keepTime": True}],
        "templating": {"list": [
            {"type": "datasource", "name": "datasource", "label": "Data source",
             "query": "prometheus"},
            variable("cluster", "label_values(millrace_coordinator_leader, cluster)", "Cluster"),
            *variables]},
        "panels": panels,
    }


def dashboards():
    """Name of the file to its content."""
    return {
        "millrace-cluster.json": dashboard(
            "millrace-cluster", "Millrace cluster", "Coordinator, workers and all jobs.", [],
            CLUSTER),
        "millrace-job.json": dashboard(
            "millrace-job", "Millrace job", "One job: rows, time, state, checkpoints, models.",
            [variable("job_name", 'label_values(millrace_job_info{cluster="$cluster"}, job_name)',
                      "Job"),
             variable("job_id", 'label_values(millrace_job_info{cluster="$cluster",'
                      'job_name="$job_name"}, job_id)', "Job id")],
            JOB),
    }


if __name__ == "__main__":
    for name, content in dashboards().items():
        (FOLDER / name).write_text(json.dumps(content, indent=1) + "\n")
