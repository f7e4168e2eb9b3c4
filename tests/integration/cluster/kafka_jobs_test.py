"""Kafka jobs on a real broker: what a user sees when the broker or topic is not as expected, and
savepoints at another parallelism. MILLRACE_TEST_KAFKA names the broker."""

import collections
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import unittest
from random import Random

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))
from cluster import BUILD, Cluster, Kafka, free_port  # noqa: E402

JOB = """
name: ${name}
settings: {checkpoint_interval: 200ms, restart_attempts_max: 2}
nodes:
  - uid: in
    source:
      connector: kafka
      format: json
      options:
        topic: ${in}
        properties.bootstrap.servers: ${brokers}
        scan.startup.mode: earliest-offset
        scan.bounded.mode: ${bounded:-latest-offset}
    schema: [k BIGINT NOT NULL, at TIMESTAMP(3) NOT NULL]
  - uid: time
    inputs: [in]
    watermark: {time: at, out_of_orderness: 0s}
  - uid: counts
    inputs: [time]
    window_aggregate:
      window: {kind: tumble, time: at, size: 10s}
      keys: [k]
      aggregates: [count(*) AS n]
  - uid: out
    inputs: [counts]
    sink:
      connector: kafka
      format: json
      guarantee: exactly-once
      options: {topic: "${out}", properties.bootstrap.servers: "${brokers}"}
"""


class KafkaJobsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = cls.enterClassContext(Kafka("test"))
        cls.folder = pathlib.Path(cls.enterClassContext(
            tempfile.TemporaryDirectory(prefix="millrace-kafka-jobs-")))
        cls.job = cls.folder / "job.yaml"
        cls.job.write_text(JOB)
        cls.cluster = cls.enterClassContext(Cluster(cls.folder / "cluster", workers=2, cores=2))

    def setUp(self):
        self.name = re.sub(r"[^a-z]+", "-", self.id().split(".")[-1]) + f"-{time.time_ns()}"

    def settings(self, **more):
        return {"name": self.name, "brokers": self.kafka.address, "in": self.name + "-in",
                "out": self.name + "-out", **more}

    def make_topics(self):
        for topic in ("in", "out"):
            self.kafka.create_topic(f"{self.name}-{topic}", 4)

    def produce(self, seconds):
        """Ten rows for each second of event time, on all partitions."""
        lines = "".join(json.dumps({"k": i, "at": time.strftime(
            "%Y-%m-%d %H:%M:%S.000", time.gmtime(1_767_225_600 + second))}) + "\n"
            for second in seconds for i in range(10))
        for partition in range(4):
            subprocess.run(["kcat", "-b", self.kafka.address, "-P", "-t", self.name + "-in", "-p",
                            str(partition)], input=lines, text=True, check=True)

    def await_rows(self, count):
        deadline = time.monotonic() + 60
        while len(self.kafka.read_committed(self.name + "-out")) < count:
            self.assertLess(time.monotonic(), deadline, "the windows were not committed")

    def ended(self, job):
        return self.cluster.command("wait", job, "--timeout", "90", check=False)

    def test_a_topic_that_does_not_exist_is_named(self):
        self.kafka.create_topic(self.name + "-out", 4)
        job = self.cluster.submit(self.job, self.settings())
        done = self.ended(job)
        self.assertEqual(done.returncode, 7, done.stderr)
        self.assertIn(self.name + "-in", done.stderr)
        self.assertRegex(done.stderr, "(?i)unknown topic|does not exist")

    def test_a_broker_that_cannot_be_reached_is_named(self):
        nowhere = f"127.0.0.1:{free_port()}"
        job = self.cluster.submit(self.job, self.settings(brokers=nowhere))
        done = self.ended(job)
        self.assertEqual(done.returncode, 7, done.stderr)
        self.assertIn(nowhere, done.stderr)

    def test_an_empty_topic_ends_well(self):
        self.make_topics()
        job = self.cluster.submit(self.job, self.settings())
        self.assertEqual(self.ended(job).stdout.strip().splitlines()[-1], "FINISHED")
        self.assertEqual(self.kafka.read_committed(self.name + "-out"), [])

    def test_topics_of_upserts_say_what_a_dictionary_says(self):
        self.make_topics()
        random = Random(7)
        orders, lines = {}, []
        for _ in range(5_000):
            order = random.randrange(300)
            if random.random() < 0.2:  # Also of orders that are not there.
                orders.pop(order, None)
                value = ""
            else:
                orders[order] = {"id": order, "customer": f"c{random.randrange(20)}",
                                 "amount": random.randrange(-50, 100)}
                value = json.dumps(orders[order])
            lines.append(json.dumps({"id": order}) + "|" + value + "\n")
        subprocess.run(["kcat", "-b", self.kafka.address, "-P", "-Z", "-K", "|", "-t",
                        self.name + "-in"], input="".join(lines), text=True, check=True)
        job = self.cluster.submit(
            ROOT / "examples/upsert_topics.yaml",
            {"brokers": self.kafka.address, "input_topic": self.name + "-in",
             "output_topic": self.name + "-out", "bounded_mode": "latest-offset"},
            "--parallelism", "2")
        self.assertEqual(self.ended(job).stdout.strip().splitlines()[-1], "FINISHED")
        expected = collections.defaultdict(lambda: [0, 0])
        for order in orders.values():
            expected[order["customer"]][0] += 1
            expected[order["customer"]][1] += order["amount"]
        read = subprocess.run(
            ["kcat", "-b", self.kafka.address, "-C", "-t", self.name + "-out", "-o", "beginning",
             "-e", "-q", "-Z", "-f", "%k|%s\n", "-X", "isolation.level=read_committed"],
            check=True, capture_output=True, text=True).stdout
        totals = {}
        for line in read.splitlines():
            customer, value = line.split("|", 1)
            if value == "NULL":
                del totals[customer]  # Only what is there is deleted.
            else:
                row = json.loads(value)
                totals[customer] = [row["orders"], row["total"]]
        self.assertEqual(totals, dict(expected))

    def test_a_savepoint_goes_on_at_another_parallelism(self):
        self.make_topics()
        self.produce(range(0, 15))
        first = self.cluster.submit(self.job, self.settings(bounded="unbounded"),
                                    "--parallelism", "3")
        self.await_rows(10)
        savepoint = self.folder / "savepoint"
        made = self.cluster.command("stop", first, "--savepoint", str(savepoint)).stdout.strip()
        self.assertIn("STOPPED", self.ended(first).stdout)
        self.produce(range(15, 40))
        second = self.cluster.submit(self.job, self.settings(name=self.name + "-b",
                                                               bounded="unbounded"), "--savepoint",
                                     made, "--parallelism", "1")
        self.await_rows(30)
        self.cluster.command("stop", second, "--drain")  # Closes the last window.
        done = self.ended(second)
        self.assertEqual(done.returncode, 0, done.stderr)
        got = collections.Counter()
        for line in self.kafka.read_committed(self.name + "-out"):
            row = json.loads(line)
            self.assertNotIn((row["window_end"], row["k"]), got)
            got[(row["window_end"], row["k"])] += row["n"]
        ends = [f"2026-01-01 00:00:{second}0.000" for second in (1, 2, 3, 4)]
        self.assertEqual(got, {(end, k): 40 for end in ends for k in range(10)})


if __name__ == "__main__":
    unittest.main(verbosity=2)
