#!/usr/bin/env python3
"""How long a job's output pauses when it gets another parallelism: groups with much state, from a load and
a steady stream, into Kafka exactly once, read by a read_committed reader.

    dev/bench rescale [--keys 6000000] [--steps 2,4,2,1,2] [--rate 20000] [--interval-ms 200]

The gap is the longest time between two rows at the reader; a transaction is visible when its epoch is
complete, so that it is never shorter than the interval of the checkpoints. Every row is checked: the count of its
group must be the one that follows from the last row in it, which shows that state came along.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

from cluster import Cluster, Kafka

STRIDE = 7919  # Between the groups of two rows that follow each other; prime.
SHOWN = 100  # Every such group is written.

JOB = """
SET 'pipeline.name' = 'rescale';
SET 'execution.checkpointing.interval' = '{interval} ms';
CREATE TABLE load (n BIGINT) WITH ('connector' = 'datagen', 'fields.n.kind' = 'sequence',
  'fields.n.start' = '0', 'number-of-rows' = '{keys}', 'splits' = '2');
CREATE TABLE steady (n BIGINT) WITH ('connector' = 'datagen', 'fields.n.kind' = 'sequence',
  'fields.n.start' = '0', 'rows-per-second' = '{rate}', 'splits' = '4');
CREATE TABLE shown (id BIGINT, c BIGINT, last BIGINT, PRIMARY KEY (id) NOT ENFORCED) WITH (
  'connector' = 'upsert-kafka', 'topic' = 'shown', 'properties.bootstrap.servers' = '{broker}',
  'key.format' = 'json', 'value.format' = 'json', 'sink.delivery-guarantee' = 'exactly-once');
INSERT INTO shown SELECT id, c, last FROM (
  SELECT id, COUNT(*) AS c, MAX(n) AS last FROM (
    SELECT n AS id, CAST(-1 AS BIGINT) AS n FROM load
    UNION ALL SELECT MOD(n * {stride}, {keys}) AS id, n FROM steady) GROUP BY id)
WHERE MOD(id, {shown}) = 0;
"""


class Reader:
    """Reads the topic as it grows, on a thread of its own."""

    def __init__(self, broker, keys):
        self.keys, self.arrivals, self.wrong, self.rows = keys, [], [], 0
        self.checks = False  # A group's row of the load comes before others only in the end.
        # With fetch.wait.max.ms, kcat asks again at once.
        self.kcat = subprocess.Popen(
            ["kcat", "-b", broker, "-C", "-t", "shown", "-o", "beginning", "-u", "-q",
             "-X", "isolation.level=read_committed", "-X", "fetch.wait.max.ms=5"],
            stdout=subprocess.PIPE, text=True)
        self.inverse = pow(STRIDE, -1, keys)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        for line in self.kcat.stdout:
            row = json.loads(line)
            if not self.checks:
                self.rows += row["last"] >= 0
                continue
            self.rows += 1
            self.arrivals.append(time.monotonic())
            first = row["id"] * self.inverse % self.keys
            if (row["last"] - first) % self.keys or row["c"] != 2 + (row["last"] - first) // self.keys:
                self.wrong.append(line.strip())

    def gap(self, begin, end):
        times = [begin, *[at for at in list(self.arrivals) if begin <= at <= end]]
        return max((b - a for a, b in zip(times, times[1:])), default=float("inf"))

    def close(self):
        self.kcat.terminate()
        self.kcat.wait()
        self.thread.join()


def state_mb(cluster):
    total = 0.0
    for port in cluster.worker_http_ports:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            for line in answer.read().decode().splitlines():
                if re.match(r"millrace_state_size_bytes\b", line):
                    total += float(line.rsplit(" ", 1)[1])
    return total / 2**20


def rows_in(cluster, job, operator):
    """Of the operators whose name begins so, the most."""
    found = re.findall(rf"^\S+ +{operator} +\d+ +(\d+)", cluster.command("describe", job).stdout,
                       re.MULTILINE)
    return max(map(int, found), default=0)


def await_that(reached, what, patience):
    deadline = time.monotonic() + patience
    while not reached():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} after {patience} s")
        time.sleep(0.05)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--keys", type=int, default=6_000_000, help="no multiple of 7919")
    parser.add_argument("--steps", default="2,4,2,1,2", help="parallelism, one after the other")
    parser.add_argument("--rate", type=int, default=20_000, help="rows per second")
    parser.add_argument("--interval-ms", type=int, default=200)
    parser.add_argument("--memory-mb", type=int, default=4096, help="of each of two workers")
    parser.add_argument("--logs", action="store_true", help="of the job, at the end")
    arguments = parser.parse_args()
    steps = [int(step) for step in arguments.steps.split(",")]
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder, \
            Kafka("rescale", private=True) as kafka, \
            Cluster(folder, workers=2, memory_mb=arguments.memory_mb) as cluster:
        kafka.create_topic("shown", 4)
        job_file = pathlib.Path(folder) / "job.sql"
        job_file.write_text(JOB.format(keys=arguments.keys, rate=arguments.rate, stride=STRIDE,
                                       interval=arguments.interval_ms, shown=SHOWN,
                                       broker=kafka.address))
        job = cluster.submit(job_file, {}, "--parallelism", str(steps[0]))
        reader = Reader(kafka.address, arguments.keys)
        try:
            await_that(lambda: reader.rows > 0, "no row", 600)
            await_that(lambda: rows_in(cluster, job, "group aggregate") >= arguments.keys + arguments.rate,
                       "not all of the load", 600)
            time.sleep(5)
            reader.checks = True
            print(f"{arguments.keys} groups, {state_mb(cluster):.0f} MB of state in memory, "
                  f"{arguments.rate} rows/s, checkpoints every {arguments.interval_ms} ms",
                  flush=True)
            begin = time.monotonic()
            time.sleep(10)
            print(f"undisturbed: longest gap {1000 * reader.gap(begin, time.monotonic()):.0f} ms",
                  flush=True)
            for former, step in zip(steps, steps[1:]):
                begin = time.monotonic()
                said = cluster.command("rescale", job, "--parallelism", str(step)).stderr.strip()
                took = time.monotonic() - begin
                rows = reader.rows
                await_that(lambda: reader.rows > rows, "no row", 60)
                time.sleep(2)
                print(f"{former} -> {step}: longest gap "
                      f"{1000 * reader.gap(begin, time.monotonic()):.0f} ms, answered after "
                      f"{took:.1f} s ({said})", flush=True)
            if arguments.logs:
                print(cluster.command("logs", job).stdout)
            cluster.command("cancel", job)
        except Exception:
            print(cluster.command("logs", job, check=False).stdout[-3000:], file=sys.stderr)
            raise
        finally:
            reader.close()
    print(f"{reader.rows} rows, {len(reader.wrong)} wrong {reader.wrong[:3]}")
    sys.exit(1 if reader.wrong or not reader.rows else 0)


if __name__ == "__main__":
    main()
