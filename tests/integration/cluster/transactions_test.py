"""Exactly once on a real broker when transactions end otherwise than they should: they expire, their
owner sleeps, everything is away for longer than they live. The names of the cases are those of the
list in the design of exactly-once delivery. MILLRACE_TEST_KAFKA names the broker."""

import pathlib
import signal
import tempfile
import time
import unittest

from faults_job import FaultsTest
from cluster import Kafka

TIMEOUT_MS = 2000  # Of a transaction.


class TransactionsTest(FaultsTest):
    @classmethod
    def setUpClass(cls):
        cls.kafka = cls.enterClassContext(Kafka("test"))

    def setUp(self):
        folder = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="millrace-transactions-")))
        name = f"transactions-{time.time_ns()}"
        self.start_job(folder, name, {topic: f"{name}-{topic}" for topic in ("in", "rows", "counts")},
                       1000, {"transaction_timeout_ms": TIMEOUT_MS})

    def has_open_transaction(self):
        return any(self.kafka.ends(self.topics[topic])
                   != self.kafka.ends(self.topics[topic], "read_uncommitted")
                   for topic in ("rows", "counts"))

    def losses(self):
        return self.cluster.command("logs", self.job).stdout.count("lost worker")

    def put_to_sleep(self, index):
        """Until the coordinator has given the worker up and others do its work."""
        losses = self.losses()
        self.cluster.workers[index].send_signal(signal.SIGSTOP)
        self.await_that(lambda: self.losses() > losses, "the sleeper is not missed")
        self.await_progress("nobody takes over")

    def restart_with(self, failpoints):
        """One worker, which stops at a failpoint; all tasks are placed there."""
        for index in range(2):
            self.cluster.kill_worker(index)
        self.cluster.start_worker(0, failpoints=failpoints)

    def restart(self):
        self.cluster.kill_worker(0)
        for index in range(2):
            self.cluster.start_worker(index)

    def check(self):
        """Everything that was written is there once, and nothing is left open."""
        self.drain_and_check()
        self.await_that(lambda: not self.has_open_transaction(), "a transaction hangs", 30)

    def test_eo_04_a_transaction_expires_before_its_commit(self):
        # All rows and the marker are produced; the end of the transaction never comes.
        self.restart_with("kafka.commit.before_commit=hang@4")
        self.await_that(self.has_open_transaction, "no transaction is open")
        self.await_that(lambda: not self.has_open_transaction(), "it does not expire")
        before = self.committed()
        self.restart()
        self.await_that(lambda: self.committed() > before, "nothing is committed any more")
        self.check()

    def test_eo_04_the_owner_wakes_up_after_its_transaction_has_expired(self):
        asleep = time.monotonic()
        self.put_to_sleep(0)  # It still thinks that it owns its slots.
        self.await_that(lambda: time.monotonic() - asleep > 2 * TIMEOUT_MS / 1000, "time stands")
        self.cluster.workers[0].send_signal(signal.SIGCONT)
        self.cluster.wait_for_workers(2)  # It has noticed, and is there again.
        self.check()

    def test_eo_05_everything_is_away_for_longer_than_a_transaction(self):
        # The epoch is recorded; nobody is told to commit it.
        self.cluster.kill_coordinator()
        self.cluster.start_coordinator(failpoints="checkpoint.before_completed=crash@3")
        self.assertEqual(self.cluster.coordinators[0].wait(30), -signal.SIGKILL)
        for index in range(2):
            self.cluster.kill_worker(index)
        away = time.monotonic()
        self.await_that(lambda: time.monotonic() - away > 2 * TIMEOUT_MS / 1000
                        and not self.has_open_transaction(), "time stands")
        self.cluster.start_coordinator()
        for index in range(2):
            self.cluster.start_worker(index)
        self.check()

    def test_eo_06_a_worker_sleeps_in_the_middle_of_a_commit(self):
        self.restart_with("kafka.commit.before_commit=hang@3")
        self.await_that(self.has_open_transaction, "no transaction is open")
        self.cluster.start_worker(1)
        self.put_to_sleep(0)
        self.cluster.workers[0].send_signal(signal.SIGCONT)
        self.check()


if __name__ == "__main__":
    unittest.main(verbosity=2)
