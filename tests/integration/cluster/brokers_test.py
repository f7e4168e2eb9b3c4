"""Brokers that come and go under a job that reads and writes exactly once: three of them, two of
which must have a record. MILLRACE_TEST_SCALE=N goes round N times."""

import os
import pathlib
import subprocess
import tempfile
import time
import unittest

from faults_job import FaultsTest
from kafka_brokers import KafkaBrokers

ROUNDS = int(os.environ.get("MILLRACE_TEST_SCALE", "1"))


class BrokersTest(FaultsTest):
    def setUp(self):
        folder = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="millrace-brokers-")))
        self.kafka = self.enterContext(KafkaBrokers(folder / "kafka"))
        self.start_job(folder / "cluster", "brokers",
                       {topic: topic for topic in ("in", "rows", "counts")}, 500)

    def committed(self):
        try:
            return super().committed()
        except subprocess.CalledProcessError:
            return 0  # The broker that was asked is gone.

    def test_eo_11_brokers_bounce(self):
        longest = 0
        for bounce in range(ROUNDS * self.kafka.count):
            index = bounce % self.kafka.count
            self.assertIn(index + 1, self.kafka.leaders().values(), "it leads nothing")
            (self.kafka.kill if bounce % 2 == 0 else self.kafka.stop)(index)
            began = time.monotonic()
            # The others lead what it led, and coordinate its transactions.
            self.await_that(lambda: index + 1 not in self.kafka.leaders().values(),
                            "a partition keeps its leader")
            self.await_progress("the job stands still")
            longest = max(longest, time.monotonic() - began)
            self.kafka.start(index)
            self.kafka.wait_until_whole()
            self.kafka.elect_preferred()
            self.await_that(lambda: index + 1 in self.kafka.leaders().values(),
                            "it leads nothing again")
            self.await_progress("the job stands still")
        print(f"nothing was committed for {longest:.1f} s at the longest", flush=True)
        self.drain_and_check()
        self.assertEqual(self.kafka.ends("rows"), self.kafka.ends("rows", "read_uncommitted"),
                         "a transaction hangs")


if __name__ == "__main__":
    unittest.main(verbosity=2)
