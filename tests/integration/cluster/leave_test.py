"""Workers that are asked to end: SIGTERM hands the tasks over after a last epoch and exits with 0."""

import pathlib
import signal
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))
from cluster import Cluster  # noqa: E402
from numbers_job import NumbersTest  # noqa: E402


class LeaveTest(NumbersTest):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="millrace-leave-")))
        self.cluster = self.enterContext(Cluster(self.folder / "cluster", workers=2, cores=1))
        self.submit_numbers(self.folder, interval="60s")

    def test_a_worker_hands_its_tasks_over(self):
        self.await_epoch_after(0)
        before = self.epoch()
        self.cluster.end_worker(0)
        # The interval is a minute: this epoch was taken because the worker left.
        self.assertGreater(self.epoch(), before)
        self.await_that(lambda: "RUNNING" in self.describe(), "the job does not go on")
        self.assertIn("Restarts: 0", self.describe())
        self.drain_and_check()

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
