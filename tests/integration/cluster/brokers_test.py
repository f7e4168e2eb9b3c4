"""Brokers that come and go under a job that reads and writes exactly once: three of them, two of
which must have a record. MILLRACE_TEST_SCALE=N goes round N times."""

import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))
import faults  # noqa: E402
from cluster import Cluster  # noqa: E402
from kafka_brokers import KafkaBrokers  # noqa: E402
from numbers_job import JobTest  # noqa: E402

ROUNDS = int(os.environ.get("MILLRACE_TEST_SCALE", "1"))
STALL_MAX_S = 60
PARTITIONS = 4


class BrokersTest(JobTest):
    def setUp(self):
        folder = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="millrace-brokers-")))
        self.kafka = self.enterContext(KafkaBrokers(folder / "kafka"))
        for topic in ("in", "rows", "counts"):
            self.kafka.create_topic(topic, PARTITIONS)
        self.cluster = self.enterContext(Cluster(folder / "cluster", workers=2, cores=1))
        self.job = self.cluster.submit(
            ROOT / "benchmarks/jobs/faults.yaml",
            {"brokers": self.kafka.address, "input": "in", "rows": "rows", "counts": "counts",
             "name": "brokers"}, "--parallelism", "2")
        self.producer = faults.Producer(self.kafka, "in", 500)
        self.producer.start()
        self.addCleanup(self.end_producer)
        self.await_that(lambda: self.committed() > 0, "nothing is committed", 60)

    def end_producer(self):
        self.producer.stopping.set()
        self.producer.join()

    def committed(self):
        try:
            return sum(self.kafka.ends("rows").values())
        except subprocess.CalledProcessError:
            return 0  # The broker that was asked is gone.

    def await_progress(self):
        before = self.committed()
        return self.await_that(lambda: self.committed() > before, "the job stands still",
                               STALL_MAX_S)

    def test_eo_11_brokers_bounce(self):
        longest = 0
        for bounce in range(ROUNDS * self.kafka.count):
            index = bounce % self.kafka.count
            self.assertIn(index + 1, self.kafka.leaders().values(), "it leads nothing")
            (self.kafka.kill if bounce % 2 == 0 else self.kafka.stop)(index)
            began = time.monotonic()
            # The others lead what it led, and coordinate its transactions.
            self.await_that(lambda: index + 1 not in self.kafka.leaders().values(),
                            "a partition keeps its leader", STALL_MAX_S)
            self.await_progress()
            longest = max(longest, time.monotonic() - began)
            self.kafka.start(index)
            self.kafka.wait_until_whole()
            self.kafka.elect_preferred()
            self.await_that(lambda: index + 1 in self.kafka.leaders().values(),
                            "it leads nothing again", STALL_MAX_S)
            self.await_progress()
        print(f"nothing was committed for {longest:.1f} s at the longest", flush=True)
        self.end_producer()
        self.await_that(lambda: faults.rows_read(self.cluster, self.job) >= self.producer.rows,
                        "rows are missing", 120)
        stopped = self.cluster.command("stop", self.job, "--drain", check=False)
        self.assertEqual(stopped.returncode, 0, stopped.stderr)
        problems, windows = faults.check(self.kafka.read_committed("rows"),
                                         self.kafka.read_committed("counts"), self.producer.rows)
        self.assertEqual(problems, [])
        self.assertGreater(windows, 0)
        self.assertEqual(self.kafka.ends("rows"), self.kafka.ends("rows", "read_uncommitted"),
                         "a transaction hangs")


if __name__ == "__main__":
    unittest.main(verbosity=2)
