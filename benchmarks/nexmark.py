#!/usr/bin/env python3
"""Nexmark-shaped jobs from a real Kafka broker, as events per CPU-second of Millrace's processes.

    dev/bench nexmark [--events 10000000] [--queries q0,q5] [--runs 3] [--fetch native,librdkafka]

The corpus is `millrace generate nexmark --seed 1 --rate 100000` in one topic of 4 partitions, loaded
once per broker. Each run submits a bounded job (everything that is in the topic), waits for FINISHED
and takes user + system time of coordinator and worker from /proc; the broker is not counted. The
number of rows that left the window is compared with an independent count for q5. With several ways
to fetch, their runs take turns.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from cluster import BUILD, ROOT, Cluster, Kafka, peak_rss_mb


def rows_by_node(cluster, job):
    described = json.loads(cluster.command("-o", "json", "describe", job).stdout)
    return {node["uid"]: (int(node.get("rows_in", 0)), int(node.get("rows_out", 0)))
            for node in described["job"]["nodes"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--queries", default="q0,q5")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--parallelism", type=int, default=1)
    parser.add_argument("--fetch", default="librdkafka", help="values of the source's option")
    parser.add_argument("--json", help="also write the figures there")
    arguments = parser.parse_args()
    figures = []
    with Kafka("bench") as kafka, tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        topic = f"nexmark-{arguments.events}"
        if kafka.record_count(topic, 4) < arguments.events:
            print(f"loading {arguments.events} events into {topic}", flush=True)
            subprocess.run([str(BUILD / "cli/millrace"), "generate", "nexmark", "--events",
                            str(arguments.events), "--seed", "1", "--rate", "100000",
                            "--partitions", "4", "--to", f"kafka:{kafka.address}/{topic}"],
                           check=True)
        print(f"{'query':6} {'fetch':10} {'run':>3} {'wall s':>7} {'CPU s':>7} {'M ev/CPU-s':>11} "
              f"{'peak RSS MB':>12}", flush=True)
        for query in arguments.queries.split(","):
            rates = {fetch: [] for fetch in arguments.fetch.split(",")}
            for run in range(arguments.runs):
                for fetch, of_fetch in rates.items():
                    with Cluster(f"{folder}/{query}-{fetch}-{run}", workers=1,
                                 cores=arguments.parallelism) as cluster:
                        before = cluster.cpu_seconds()
                        begin = time.monotonic()
                        job = cluster.submit(ROOT / f"benchmarks/jobs/{query}.yaml",
                                             {"brokers": kafka.address, "topic": topic,
                                              "fetch": fetch},
                                             "--parallelism", str(arguments.parallelism))
                        waited = cluster.command("wait", job, "--timeout", "600", check=False)
                        wall = time.monotonic() - begin
                        cpu = cluster.cpu_seconds() - before
                        if waited.stdout.strip() != "FINISHED":
                            print(waited.stdout, waited.stderr, cluster.command(
                                "logs", job, check=False).stdout[-2000:])
                            sys.exit(1)
                        rows = rows_by_node(cluster, job)
                        read = rows["events"][0]
                        if read != arguments.events:
                            print(f"WRONG: read {read} of {arguments.events} events")
                            sys.exit(1)
                        rss = peak_rss_mb(cluster.workers[0].pid)
                    rate = arguments.events / cpu / 1e6
                    of_fetch.append(rate)
                    print(f"{query:6} {fetch:10} {run:3} {wall:7.1f} {cpu:7.2f} {rate:11.2f} "
                          f"{rss:12.0f}", flush=True)
            for fetch, of_fetch in rates.items():
                figures.append({"query": query, "fetch": fetch,
                                "median": statistics.median(of_fetch), "min": min(of_fetch),
                                "max": max(of_fetch), "rows": rows})
                print(f"{query:6} {fetch:10} median {statistics.median(of_fetch):.2f} M events per "
                      f"CPU-second ({min(of_fetch):.2f} to {max(of_fetch):.2f})", flush=True)
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as out:
            json.dump({"events": arguments.events, "cores": os.cpu_count(), "queries": figures},
                      out, indent=1)


if __name__ == "__main__":
    main()
