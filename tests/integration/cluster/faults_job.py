"""The job of benchmarks/faults.py, for tests that disturb what it writes to."""

import pathlib
import sys
import time

from numbers_job import JobTest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))
import faults  # noqa: E402
from cluster import Cluster  # noqa: E402

PARTITIONS = 4


class FaultsTest(JobTest):
    """Rows are copied and counted from topic to topic of `self.kafka`; a `read_committed` reader
    looks."""

    def start_job(self, folder, name, topics, rows_per_second, parameters=None):
        """Makes `topics`, the names of "in", "rows" and "counts"; returns when the job commits."""
        self.topics = topics
        for topic in topics.values():
            self.kafka.create_topic(topic, PARTITIONS)
        self.cluster = self.enterContext(Cluster(folder, workers=2, cores=1))
        self.job = self.cluster.submit(
            ROOT / "benchmarks/jobs/faults.yaml",
            {"brokers": self.kafka.address, "input": topics["in"], "rows": topics["rows"],
             "counts": topics["counts"], "name": name, **(parameters or {})},
            "--parallelism", "2")
        self.producer = faults.Producer(self.kafka, topics["in"], rows_per_second)
        self.producer.start()
        self.addCleanup(self.end_producer)
        self.await_that(lambda: self.committed() > 0, "nothing is committed")

    def end_producer(self):
        self.producer.stopping.set()
        self.producer.join()

    def await_that(self, reached, message, patience=60):
        """Seconds that it took; the job must not have failed."""
        begin = time.monotonic()
        while not reached():
            said = self.describe()
            self.assertNotIn("FAILED", said)
            self.assertLess(time.monotonic() - begin, patience, message + "\n" + said)
            time.sleep(0.05)
        return time.monotonic() - begin

    def committed(self):
        """Grows with what a `read_committed` reader may see."""
        return sum(self.kafka.ends(self.topics["rows"]).values())

    def await_progress(self, message):
        before = self.committed()
        self.await_that(lambda: self.committed() > before, message)

    def drain_and_check(self):
        """Everything that was written is there once."""
        self.end_producer()
        self.await_that(lambda: faults.rows_read(self.cluster, self.job) >= self.producer.rows,
                        "rows are missing", 120)
        stopped = self.cluster.command("stop", self.job, "--drain", check=False)
        self.assertEqual(stopped.returncode, 0, stopped.stderr)
        problems, windows = faults.check(self.kafka.read_committed(self.topics["rows"]),
                                         self.kafka.read_committed(self.topics["counts"]),
                                         self.producer.rows)
        self.assertEqual(problems, [])
        self.assertGreater(windows, 0)
