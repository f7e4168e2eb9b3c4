#!/usr/bin/env python3
"""Kills workers (and now and then everything) at random while a Kafka -> Kafka job runs, or asks
them to end, and checks that a read_committed reader sees every result once.

    dev/bench faults [--kills 100] [--seed 1] [--all-chance 0.1] [--leave-chance 0.2]
                     [--failpoints 36]

The producer writes (seq, key, ts) to a topic. The job passes every row through to one topic and
counts per key in tumbling windows into another. At the end the job is drained; the rows must equal
the input, the counts those of an independent computation. Prints the seed that repeats the kills
(their moments depend on the machine).
"""

import argparse
import collections
import json
import pathlib
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

from cluster import ROOT, Cluster, Kafka

WINDOW_MS = 1000
KEYS = 50
BASE_MS = 1_767_225_600_000  # 2026-01-01 00:00:00


# Steps that this job takes, by who takes them.
OF_COORDINATOR = re.compile(r"checkpoint\.|metadata\.|leader\.(before_load|.*_term)|restore\..*manifest")
OF_WORKER = re.compile(r"kafka\.(commit|init)|segment\.|state\.|task\.|restore\..*open")


def failpoints():
    text = (ROOT / "runtime/base/failpoint.cc").read_text()
    names = re.findall(r'^    "([a-z_.]+)",$', text, re.M)
    return [name for name in names if OF_COORDINATOR.match(name) or OF_WORKER.match(name)]


def crash_at(cluster, name, times):
    """Crashes the coordinator or a worker at the failpoint `name`, when it is reached so often;
    false when it never was. Everything runs again in the end."""
    specification = f"{name}=crash@{times}"
    if OF_COORDINATOR.match(name):
        restarts = re.match(r"restore\.|metadata\..*(status|generation)", name)
        if restarts:  # Of steps that a job takes when it restarts.
            cluster.kill_worker(0)
        cluster.kill_coordinator()
        cluster.start_coordinator(failpoints=specification)
        if restarts:
            cluster.start_worker(0)
        victim = cluster.coordinators[0]
    else:
        for index in range(2):
            cluster.kill_worker(index)
        # Alone, so that every task is placed there.
        cluster.start_worker(0, failpoints=specification)
        victim = cluster.workers[0]
    try:
        reached = victim.wait(15) == -signal.SIGKILL
    except subprocess.TimeoutExpired:
        reached = False
    if OF_COORDINATOR.match(name):
        cluster.kill_coordinator()
        cluster.start_coordinator()
    else:
        cluster.kill_worker(0)
        for index in range(2):
            cluster.start_worker(index)
    return reached


def time_text(ms):
    whole = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(ms // 1000))
    return f"{whole}.{ms % 1000:03d}"


class Producer(threading.Thread):
    """Writes `rate` rows a second until told to stop."""

    def __init__(self, kafka, topic, rate):
        super().__init__()
        self.kafka, self.topic, self.rate = kafka, topic, rate
        self.rows, self.stopping = 0, threading.Event()

    @staticmethod
    def row(seq):
        return {"seq": seq, "k": seq * 7919 % KEYS, "ts": time_text(BASE_MS + seq)}

    def run(self):
        kcat = subprocess.Popen(["kcat", "-b", self.kafka.address, "-P", "-t", self.topic, "-X",
                                 "acks=all", "-X", "enable.idempotence=true", "-X",
                                 "linger.ms=20"], stdin=subprocess.PIPE, text=True)
        start = time.monotonic()
        while not self.stopping.is_set():
            due = int((time.monotonic() - start) * self.rate)
            for seq in range(self.rows, due):
                kcat.stdin.write(json.dumps(self.row(seq)) + "\n")
            self.rows = max(self.rows, due)
            kcat.stdin.flush()
            self.stopping.wait(0.05)
        kcat.stdin.close()
        if kcat.wait(60) != 0:
            raise RuntimeError("the producer failed")


def check(rows, counts, total):
    """Compares what was committed with what must be there; returns a list of differences."""
    problems = []
    seen = collections.Counter(json.loads(line)["seq"] for line in rows)
    lost = [seq for seq in range(total) if seq not in seen]
    twice = [seq for seq, times in seen.items() if times > 1]
    strange = [seq for seq in seen if not 0 <= seq < total]
    if lost or twice or strange:
        problems.append(f"rows: lost={len(lost)} {lost[:5]} duplicated={len(twice)} {twice[:5]} "
                        f"unknown={len(strange)}")
    expected = collections.Counter()
    for seq in range(total):
        row = Producer.row(seq)
        end = (BASE_MS + seq) // WINDOW_MS * WINDOW_MS + WINDOW_MS
        expected[(time_text(end), row["k"])] += 1
    got = collections.Counter()
    for line in counts:
        row = json.loads(line)
        key = (row["window_end"], row["k"])
        if key in got:
            problems.append(f"window {key} was committed twice")
        got[key] += row["n"]
    wrong = [key for key in expected.keys() | got.keys() if expected[key] != got[key]]
    if wrong:
        problems.append(f"windows: {len(wrong)} wrong, e.g. {wrong[0]}: "
                        f"expected {expected[wrong[0]]}, got {got[wrong[0]]}")
    return problems, len(expected)


def rows_read(cluster, job):
    """What the job has read, by its last epoch: it outlives restarts."""
    described = cluster.command("-o", "json", "describe", job, check=False)
    if described.returncode != 0:  # The coordinator may not be there yet.
        return 0
    return sum(int(node.get("rows_in", 0)) for node in json.loads(described.stdout)["job"]["nodes"]
               if node["uid"] == "input")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--failpoints", type=int, default=0,
                        help="how many failpoints to crash at, first; each is another step")
    parser.add_argument("--rate", type=int, default=2000, help="rows a second")
    parser.add_argument("--all-chance", type=float, default=0.1,
                        help="how often everything is killed instead of one worker")
    parser.add_argument("--leave-chance", type=float, default=0.2,
                        help="how often a worker gets SIGTERM instead, and must hand over and exit 0")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="millrace-faults-") as folder, \
            Kafka("faults") as kafka:
        name = f"faults-{int(time.time() * 1000)}"
        topics = {t: f"{name}-{t}" for t in ("in", "rows", "counts")}
        for topic in topics.values():
            kafka.create_topic(topic, 4)
        with Cluster(folder, workers=2, cores=1) as cluster:
            job = cluster.submit(ROOT / "benchmarks/jobs/faults.yaml",
                                 {"brokers": kafka.address, "input": topics["in"],
                                  "rows": topics["rows"], "counts": topics["counts"],
                                  "name": name}, "--parallelism", "2")
            producer = Producer(kafka, topics["in"], arguments.rate)
            producer.start()
            try:
                names = failpoints()
                random.Random(arguments.seed).shuffle(names)  # The kills stay those of the seed.
                missed = []
                for step in range(arguments.failpoints):
                    name = names[step % len(names)]
                    # Of the start, the first time; of what comes with every epoch, a later one.
                    often = not re.match(r"leader\.|restore\.|metadata\.|kafka\.init|.*restored", name)
                    if not crash_at(cluster, name, chance.randint(1, 3) if often else 1):
                        missed.append(name)
                    print(f"crash {step + 1} at {name}", flush=True)
                for kill in range(arguments.kills):
                    time.sleep(chance.uniform(0.2, 2.0))
                    if chance.random() < arguments.all_chance:
                        cluster.kill_coordinator()
                        for index in range(2):
                            cluster.kill_worker(index)
                        cluster.start_coordinator()
                        for index in range(2):
                            cluster.start_worker(index)
                    else:
                        index = chance.randrange(2)
                        if chance.random() < arguments.leave_chance:
                            cluster.end_worker(index)
                        else:
                            cluster.kill_worker(index)
                        cluster.start_worker(index)
                    if (kill + 1) % 10 == 0:
                        print(f"{kill + 1} kills, {producer.rows} rows", flush=True)
            finally:
                producer.stopping.set()
                producer.join()
            deadline = time.monotonic() + 180
            while rows_read(cluster, job) < producer.rows:
                if time.monotonic() > deadline:
                    print(cluster.command("describe", job, check=False).stdout)
                    print(cluster.command("logs", job, check=False).stdout[-4000:])
                    print("FAILED: the job did not catch up in time")
                    for log in sorted(pathlib.Path(folder).glob("*.log")):
                        print(log.name, log.read_text()[-2000:])
                    break
                time.sleep(0.5)
            stopped = cluster.command("stop", job, "--drain", check=False)
            if stopped.returncode != 0:
                print(stopped.stderr)
            described = cluster.command("describe", job, check=False).stdout
            problems, windows = check(kafka.read_committed(topics["rows"]),
                                      kafka.read_committed(topics["counts"]), producer.rows)
        print(described)
        print(f"{arguments.kills} kills, {arguments.failpoints - len(missed)} crashes at failpoints, "
              f"{producer.rows} rows, {windows} windows")
        if missed:
            print(f"not reached: {' '.join(sorted(missed))}")
        for problem in problems:
            print(f"VIOLATION: {problem}")
        if problems:
            sys.exit(1)
        print("no row lost, none duplicated, every window right")


if __name__ == "__main__":
    main()
