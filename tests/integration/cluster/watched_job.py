"""A job that exports every metric: chains with an exchange, an event time, state (some with a time to
live), a model, a target that commits, rows that are refused; it never ends."""

JOB = """
name: watched
settings: {checkpoint_interval: 200ms}
models:
  - name: half
    inputs: x FLOAT
    outputs: y DOUBLE
    local: {format: linear-json, path: "${model}"}
    drift_rows_min: 1
    baselines: [{column: event_type, edges: [1, 2], fractions: [0, 1, 0]},
                {column: y, edges: [1], fractions: [1, 0]}]
nodes:
  - uid: events
    source: {connector: nexmark, options: {rate: "1000", events-per-second: "1000"}}
    schema: [event_type INT, at TIMESTAMP(3) FROM 'bid.dateTime', price BIGINT FROM 'bid.price']
  - uid: only-bids
    inputs: [events]
    filter: {predicate: event_type = 2}
  - uid: odd-prices
    inputs: [only-bids]
    project: {columns: [event_type, at, 1 / (price % 2) AS one]}
  - uid: time
    inputs: [odd-prices]
    watermark: {time: at, out_of_orderness: 0s}
  - uid: counts
    inputs: [time]
    window_aggregate:
      window: {kind: tumble, time: at, size: 1s}
      keys: [event_type]
      aggregates: [count(*) AS n]
  - uid: totals
    state_ttl: 1h
    inputs: [time]
    group_aggregate: {keys: [event_type], aggregates: [count(*) AS n]}
  - uid: nowhere
    inputs: [totals]
    sink: {connector: blackhole}
  - uid: score
    inputs: [counts]
    inference: {model: half, features: [event_type], outputs: y}
  - uid: names
    inputs: [score]
    lookup_join:
      left_keys: [event_type]
      right_keys: [kind]
      table: {connector: file, format: csv, options: {path: "${names}"}}
      table_schema: [kind INT, name STRING]
  - uid: out
    inputs: [names]
    sink: {connector: file, format: json, options: {path: "${output}"}}
"""


def submit(cluster, folder):
    """Starts it, with two tasks per chain, on `cluster`; its files are in `folder`. The job's id."""
    job = folder / "job.yaml"
    job.write_text(JOB)
    model = folder / "model.json"
    model.write_text('{"coefficients": [[0.5]], "intercepts": [0], "link": "identity"}')
    names = folder / "names.csv"
    names.write_text("2,bid\n")
    return cluster.submit(job, {"output": folder / "out", "model": model, "names": names},
                          "--parallelism", "2")
