"""Another parallelism for a job that runs: it goes on from a last epoch."""

import pathlib
import re
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))
from cluster import Cluster  # noqa: E402
from numbers_job import CountsTest, NumbersTest  # noqa: E402

class RescaleTest(NumbersTest):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="millrace-rescale-")))
        self.cluster = self.enterContext(Cluster(self.folder / "cluster", workers=2, cores=1))
        self.submit_numbers(self.folder, interval="60s")

    def rescale(self, parallelism):
        return self.cluster.command("rescale", self.job, "--parallelism", str(parallelism)).stderr

    def test_more_tasks_and_fewer(self):
        former = 2
        for parallelism in (5, 3, 1, 4):
            self.await_epoch_after(0)
            before = self.epoch()
            said = self.rescale(parallelism)
            found = re.match(rf"runs with parallelism {parallelism}, before {former}, "
                             r"from epoch (\d+) on", said)
            self.assertIsNotNone(found, said)
            # The interval is a minute: this epoch was taken for it.
            self.assertGreater(int(found.group(1)), before)
            self.assertIn(f"Parallelism: {parallelism} ", self.describe())
            former = parallelism
        self.assertIn("RUNNING", self.describe())
        self.assertIn("Restarts: 0", self.describe())
        self.drain_and_check()

    def test_a_worker_is_killed_meanwhile(self):
        self.await_epoch_after(0)
        self.rescale(3)
        self.cluster.kill_worker(0)
        self.cluster.start_worker(0)
        self.rescale(2)
        self.await_that(lambda: "RUNNING" in self.describe(), "the job does not go on")
        self.assertIn("Parallelism: 2 ", self.describe())
        self.drain_and_check()

    def test_what_cannot_be_is_refused(self):
        done = self.cluster.command("rescale", self.job, "--parallelism", "1000", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("not between 1 and max_parallelism, which is 256", done.stderr)
        done = self.cluster.command("rescale", "nobody", "--parallelism", "2", check=False)
        self.assertIn("nobody", done.stderr)


class RescaleWithStateTest(CountsTest):
    """State is restored beside the running tasks."""

    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="millrace-rescale-")))
        self.cluster = self.enterContext(Cluster(self.folder / "cluster", workers=2, cores=1))
        self.submit_counts(self.folder)

    def rescale(self, parallelism):
        self.cluster.command("rescale", self.job, "--parallelism", str(parallelism))
        self.await_epoch_after(self.epoch())

    def logs(self):
        return self.cluster.command("logs", self.job).stdout

    def test_what_is_prepared_is_used(self):
        for parallelism in (3, 5, 1, 2):
            self.rescale(parallelism)
        logs = self.logs()
        self.assertEqual(logs.count("the state is prepared up to epoch"), 4, logs)
        self.assertEqual(logs.count("rows waited for"), 4, logs)
        for log in (self.folder / "cluster").glob("worker*.log"):
            self.assertIn("deploying", log.read_text())
            self.assertNotIn("prepared state is not used", log.read_text())
        self.assertIn("Restarts: 0", self.describe())
        self.drain_and_check()

    def test_a_worker_crashes_while_it_prepares(self):
        for step in ("prepare.before_restore", "prepare.after_restore"):
            self.cluster.end_worker(1)
            self.cluster.start_worker(1, failpoints=f"{step}=crash")
            self.cluster.wait_for_workers(2)
            self.rescale(3)
            self.assertNotEqual(self.cluster.workers[1].wait(10), 0)
            self.cluster.start_worker(1)
            self.cluster.wait_for_workers(2)
            self.rescale(2)
        self.assertIn("goes on without prepared state", self.logs())
        self.drain_and_check()


if __name__ == "__main__":
    unittest.main(verbosity=2)
