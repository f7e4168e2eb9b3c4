#!/usr/bin/env python3
"""Nexmark's queries from a real Kafka broker, as events per CPU-second: Millrace alone, or side by
side with Flink.

    dev/bench nexmark [--events 10000000] [--queries q0,q5] [--runs 3] [--parallelism 1]
                      [--flink heap,rocksdb] [--check-events 1000000] [--memory-mb 6144]
                      [--patience 300] [--fetch native] [--produce native] [--json FILE]

The corpus is `millrace generate nexmark --seed 1 --rate 100000` in one topic of 4 partitions, loaded
once per broker. Both engines run the scripts of tests/integration/sql/queries, the same text, over
everything that is in the topic, into a sink that counts for nothing. What counts is user + system
time from /proc: of Millrace, coordinator and worker; of Flink, the TaskManager alone. The broker is
not counted. Before a query is measured, both engines run it into files over the first events of the
corpus (--check-events), and the rows must be the same. Flink keeps one JVM for all queries, which
runs each once without being measured. Then they take turns.

--fetch is the option of Millrace's source; its default when left out. --produce makes Millrace write
the results to Kafka, exactly once, with that option of the sink; then the events and the rows count.
--flink installs Flink (350 MB) into .dev. --json adds to the figures in FILE, or replaces those of
the same query, backend and parallelism; `dev/bench performance FILE` makes docs/performance.md.
"""

import argparse
import datetime
import decimal
import hashlib
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import flink as flink_cluster
from cluster import BUILD, ROOT, Cluster, Kafka, peak_rss_mb

QUERIES = ROOT / "tests/integration/sql/queries"
PARTITIONS = 4
BLACKHOLE = "'connector' = 'blackhole'"
ENDED_ZEROS = re.compile(r"(:\d\d)(?:\.0+|(\.\d*?[1-9])0*)$")


def topic_of(events):
    return f"nexmark-{events}"


def load_corpus(kafka, events):
    topic = topic_of(events)
    if kafka.record_count(topic, PARTITIONS) < events:
        print(f"loading {events} events into {topic}", flush=True)
        subprocess.run([str(BUILD / "cli/millrace"), "generate", "nexmark", "--events",
                        str(events), "--seed", "1", "--rate", "100000", "--partitions",
                        str(PARTITIONS), "--to", f"kafka:{kafka.address}/{topic}"], check=True)


def script_of(query, kafka, events, sink, more=""):
    source = (f"'connector' = 'kafka', 'topic' = '{topic_of(events)}', "
              f"'properties.bootstrap.servers' = '{kafka.address}', "
              "'scan.startup.mode' = 'earliest-offset', "
              f"'scan.bounded.mode' = 'latest-offset', 'format' = 'json'{more}")
    text = (QUERIES / "tables.sql").read_text() + "\n" + (QUERIES / f"{query}.sql").read_text()
    return text.replace("${source}", source).replace("${sink}", sink)


def canonical(value):
    """The same text for the same value: 90.8 and 90.800, 12:00:00 and 12:00:00.000."""
    if isinstance(value, decimal.Decimal):
        return format(value.normalize(), "f")
    if isinstance(value, str):
        return ENDED_ZEROS.sub(lambda m: m[1] + (m[2] or ""), value)
    return str(value)


def answer_in(folder):
    """Number and fingerprint of the rows, whatever their order."""
    count, total = 0, 0
    for path in folder.rglob("*"):
        if not path.is_file() or path.name.startswith((".", "_")):
            continue
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line, parse_float=decimal.Decimal)
                text = "\0".join(f"{name}={canonical(row[name])}" for name in sorted(row))
                digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
                total = (total + int.from_bytes(digest, "big")) % (1 << 128)
                count += 1
    return count, f"{total:032x}"


def rows_read(cluster, job):
    described = json.loads(cluster.command("-o", "json", "describe", job).stdout)
    return max(int(node.get("rows_in", 0)) for node in described["job"]["nodes"]
               if node["operator"] == "source kafka")


def run_millrace(folder, script, events, parallelism, patience):
    """The figures of a run; everything that is in the topic must have been read."""
    folder = pathlib.Path(folder)
    with Cluster(folder, workers=1, cores=parallelism) as cluster:
        job_file = folder / "job.sql"
        job_file.write_text("SET 'execution.checkpointing.interval' = '10 s';\n" + script)
        before, begin = cluster.cpu_seconds(), time.monotonic()
        job = cluster.submit(job_file, {}, "--parallelism", str(parallelism))
        waited = cluster.command("wait", job, "--timeout", str(patience), check=False)
        wall, cpu = time.monotonic() - begin, cluster.cpu_seconds() - before
        if waited.stdout.strip() != "FINISHED":
            sys.exit(waited.stdout + waited.stderr
                     + cluster.command("logs", job, check=False).stdout[-2000:])
        if (read := rows_read(cluster, job)) != events:
            sys.exit(f"WRONG: read {read} of {events} events")
        return {"wall": wall, "cpu": cpu, "peak_rss_mb": peak_rss_mb(cluster.workers[0].pid)}


class Bench:
    def __init__(self, arguments, kafka, folder):
        self.arguments, self.kafka, self.folder = arguments, kafka, folder
        self.runs = 0

    def millrace(self, query, events, sink=BLACKHOLE):
        self.runs += 1
        folder = self.folder / f"millrace-{self.runs}"
        fetch = self.arguments.fetch
        more = f", 'fetch' = '{fetch}'" if fetch else ""
        script = script_of(query, self.kafka, events, sink, more)
        figures = run_millrace(folder, script, events, self.arguments.parallelism,
                               self.arguments.patience)
        shutil.rmtree(folder)
        return figures

    def millrace_measured(self, query, events):
        if not self.arguments.produce:
            return self.millrace(query, events)
        topic = f"nexmark-out-{time.time_ns()}"
        self.kafka.create_topic(topic, PARTITIONS)
        figures = self.millrace(
            query, events, f"'connector' = 'kafka', 'topic' = '{topic}', 'format' = 'json', "
            f"'properties.bootstrap.servers' = '{self.kafka.address}', "
            f"'sink.delivery-guarantee' = 'exactly-once', 'produce' = '{self.arguments.produce}'")
        self.kafka.delete_topic(topic)
        return figures

    def flink(self, cluster, query, events, sink=BLACKHOLE):
        """None: it did not end in time."""
        script = script_of(query, self.kafka, events, sink)
        figures = cluster.run(script, self.arguments.patience)
        cluster.drop_tables(script)
        return figures

    def check_answers(self, cluster, query):
        """Number of rows that both have; None: Flink did not end in time."""
        events = self.arguments.check_events
        ours, theirs = self.folder / "ours", self.folder / "theirs"
        self.millrace(query, events, f"'connector' = 'file', 'path' = '{ours}', 'format' = 'json'")
        done = self.flink(cluster, query, events, f"'connector' = 'filesystem', "
                          f"'path' = 'file://{theirs}', 'format' = 'json'")
        answers = answer_in(ours), answer_in(theirs)
        for folder in (ours, theirs):
            shutil.rmtree(folder, ignore_errors=True)
        if done is None:
            return None
        if answers[0] != answers[1] or answers[0][0] == 0:
            sys.exit(f"WRONG: {query}: Millrace has {answers[0]}, Flink {answers[1]}")
        return answers[0][0]

    def show(self, query, engine, run, figures):
        rate = self.arguments.events / figures["cpu"] / 1e6
        print(f"{query:6} {engine:14} {run:3} {figures['wall']:7.1f} {figures['cpu']:7.2f} "
              f"{rate:11.2f} {figures['peak_rss_mb']:12.0f}", flush=True)

    def prepare(self, query, cluster, record):
        """Compares the answers and warms Flink. None: it does not end in time."""
        if (rows := self.check_answers(cluster, query)) is not None:
            print(f"{query:6} both answers are the same {rows} rows", flush=True)
            record["rows"] = rows
            if self.flink(cluster, query, self.arguments.events) is not None:
                return cluster
        record["not_done_in_s"] = self.arguments.patience
        print(f"{query:6} Flink ({cluster.backend}) did not end in {self.arguments.patience} s",
              flush=True)
        return None

    def measure(self, query, cluster):
        """Pairs of runs, one after the other."""
        record = {"query": query, "events": self.arguments.events,
                  "parallelism": self.arguments.parallelism, "fetch": self.arguments.fetch,
                  "millrace": [],
                  "day": datetime.date.today().isoformat(), "machine": machine()}
        if cluster is not None:
            record |= {"backend": cluster.backend, "memory_mb": self.arguments.memory_mb,
                       "flink": [], "flink_version": flink_cluster.version()}
            cluster = self.prepare(query, cluster, record)
        for run in range(self.arguments.runs):
            record["millrace"].append(self.millrace_measured(query, self.arguments.events))
            self.show(query, "Millrace", run, record["millrace"][-1])
            if cluster is None:
                continue
            if (figures := self.flink(cluster, query, self.arguments.events)) is None:
                sys.exit(f"Flink did not end in {self.arguments.patience} s, and did before")
            record["flink"].append(figures)
            self.show(query, f"Flink {cluster.backend}", run, figures)
        rates = [record["events"] / one["cpu"] / 1e6 for one in record["millrace"]]
        print(f"{query:6} median {statistics.median(rates):.2f} M events per CPU-second "
              f"({min(rates):.2f} to {max(rates):.2f})", end="")
        if cluster is not None:
            ratios = [theirs["cpu"] / ours["cpu"]
                      for ours, theirs in zip(record["millrace"], record["flink"])]
            print(f"; {statistics.median(ratios):.1f} times Flink's "
                  f"({min(ratios):.1f} to {max(ratios):.1f})", end="")
        print(flush=True)
        return record


def machine():
    model = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], check=True,
                            capture_output=True, text=True).stdout.strip()
    return {"cpu": model[1] if model else platform.machine(), "cores": os.cpu_count(),
            "memory_gb": round(memory), "kernel": platform.release().split("-")[0],
            "load": round(os.getloadavg()[1], 1), "commit": commit}


def key_of(record):
    return record["query"], record.get("backend", ""), record["parallelism"]


def store(path, record):
    path = pathlib.Path(path)
    records = json.loads(path.read_text()) if path.exists() else []
    records = [one for one in records if key_of(one) != key_of(record)] + [record]
    text = json.dumps(sorted(records, key=key_of))
    rounded = json.loads(text, parse_float=lambda number: round(float(number), 2))
    path.write_text(json.dumps(rounded, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, usage=argparse.SUPPRESS,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--queries", default="q0,q5")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--parallelism", type=int, default=1)
    parser.add_argument("--flink", default="")
    parser.add_argument("--check-events", type=int, default=1_000_000)
    parser.add_argument("--memory-mb", type=int, default=6144)
    parser.add_argument("--patience", type=int, default=300)
    parser.add_argument("--fetch", default="")
    parser.add_argument("--produce", default="")
    parser.add_argument("--json")
    arguments = parser.parse_args()
    backends = arguments.flink.split(",") if arguments.flink else []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # Ends what it has started.
    if backends:
        subprocess.run([str(ROOT / "dev/setup"), "--flink"], check=True)
    with Kafka("bench") as kafka, tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        folder = pathlib.Path(folder)
        load_corpus(kafka, arguments.events)
        if backends:
            load_corpus(kafka, arguments.check_events)
        bench = Bench(arguments, kafka, folder)

        def measure_all(cluster):
            for query in arguments.queries.split(","):
                record = bench.measure(query, cluster)
                if arguments.json:
                    store(arguments.json, record)

        print(f"{'query':6} {'engine':14} {'run':>3} {'wall s':>7} {'CPU s':>7} "
              f"{'M ev/CPU-s':>11} {'peak RSS MB':>12}", flush=True)
        if not backends:
            measure_all(None)
        for backend in backends:
            with flink_cluster.Flink(folder / backend, backend, arguments.parallelism,
                                     arguments.memory_mb) as cluster:
                measure_all(cluster)


if __name__ == "__main__":
    main()
