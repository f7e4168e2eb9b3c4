"""Workers that are asked to end: SIGTERM hands the tasks over after a last epoch and exits with 0."""

import json
import pathlib
import re
import signal
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))
from cluster import Cluster  # noqa: E402

JOB = """
name: numbers
settings: {checkpoint_interval: 60s}
nodes:
  - uid: numbers
    source:
      connector: datagen
      options: {fields.n.kind: sequence, fields.n.start: 0, rows-per-second: 2000, splits: 4}
    schema: [n BIGINT]
  - uid: out
    inputs: [numbers]
    sink: {connector: file, format: json, options: {path: "${output}"}}
"""


class LeaveTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="millrace-leave-")))
        self.output = self.folder / "out"
        self.cluster = self.enterContext(Cluster(self.folder / "cluster", workers=2, cores=1))
        job = self.folder / "job.yaml"
        job.write_text(JOB)
        self.job = self.cluster.submit(job, {"output": self.output}, "--parallelism", "2")
        self.await_that(lambda: "RUNNING" in self.describe(), "the job does not run")

    def await_that(self, reached, message):
        deadline = time.monotonic() + 30
        while not reached():
            self.assertLess(time.monotonic(), deadline, message + "\n" + self.describe())
            time.sleep(0.05)

    def describe(self):
        return self.cluster.command("describe", self.job).stdout

    def rows(self):
        return [json.loads(line)["n"] for part in self.output.glob("part-*")
                for line in part.read_text().splitlines()]

    def epoch(self):
        return int(re.search(r"epoch (\d+)", self.describe()).group(1))

    def test_a_worker_hands_its_tasks_over(self):
        self.await_that(lambda: re.search(r"epoch \d+", self.describe()), "no epoch")
        before = self.epoch()
        self.cluster.end_worker(0)
        # The interval is a minute: this epoch was taken because the worker left.
        self.assertGreater(self.epoch(), before)
        self.await_that(lambda: "RUNNING" in self.describe(), "the job does not go on")
        self.assertIn("Restarts: 0", self.describe())
        self.cluster.command("stop", self.job, "--drain")
        self.await_that(lambda: "STOPPED" in self.describe(), "the job does not stop")
        rows = sorted(self.rows())
        self.assertEqual(len(rows), len(set(rows)), "no row twice")
        for split in range(4):  # Each is as far as it came.
            of_split = [n for n in rows if n % 4 == split]
            self.assertEqual(of_split, list(range(split, split + 4 * len(of_split), 4)))

    def test_a_job_without_workers_waits_and_goes_on(self):
        self.cluster.end_worker(0)
        self.cluster.end_worker(1)
        self.await_that(lambda: "RESTARTING" in self.describe(), "the job does not wait")
        rows = len(self.rows())
        self.assertGreater(rows, 0, "what was read is committed")
        self.cluster.start_worker(0)
        self.await_that(lambda: "RUNNING" in self.describe(), "the job does not go on")
        self.assertIn("Restarts: 0", self.describe())

    def test_a_second_signal_ends_at_once(self):
        self.cluster.kill_coordinator()  # So that nobody lets it go.
        worker = self.cluster.workers[0]
        worker.send_signal(signal.SIGTERM)
        begin = time.monotonic()
        while worker.poll() is None and time.monotonic() - begin < 2:
            worker.send_signal(signal.SIGTERM)
            time.sleep(0.05)
        self.assertEqual(worker.wait(1), 0)

    def test_without_a_coordinator_it_does_not_wait_for_ever(self):
        self.cluster.kill_coordinator()
        self.cluster.end_worker(0, patience=20)
        log = (self.folder / "cluster/worker0.log").read_text()
        self.assertIn("without handing its tasks over", log)


if __name__ == "__main__":
    unittest.main(verbosity=2)
