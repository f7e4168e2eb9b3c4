"""Several coordinators on one etcd: the leader is killed, stopped and cut off; tasks go on."""

import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))
from cluster import Cluster, Service  # noqa: E402
from numbers_job import NumbersTest  # noqa: E402

LEASE_MS = 3000


class LeaderTest(NumbersTest):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="millrace-leader-")))
        # It is killed.
        self.etcd = self.enterContext(Service("etcd", self.folder.name, private=True))
        self.cluster = self.enterContext(Cluster(
            self.folder / "cluster", workers=2, cores=1, coordinators=2, coordinator_flags=[
                "--metadata-store", f"etcd://{self.etcd.address}/test", "--leader-lease-ms",
                str(LEASE_MS), "--checkpoint-storage", f"file://{self.folder}/checkpoints"]))
        self.submit_numbers(self.folder, interval="200ms")
        self.await_epoch_after(0)

    def finish(self):
        """Drains the job; nothing may be lost or doubled, and no task may have restarted."""
        self.assertIn("Restarts: 0", self.describe())
        self.assertGreater(len(self.drain_and_check()), 1000)

    def leader(self):
        found = []
        for index in range(2):
            page = subprocess.run(
                ["curl", "-sf", f"http://127.0.0.1:{self.cluster.http_ports[index]}/metrics"],
                capture_output=True, text=True).stdout
            if re.search(r"^millrace_coordinator_term ([1-9]\d*)$", page, re.M):
                found.append(index)
        self.assertEqual(len(found), 1, "not exactly one leader")
        return found[0]

    def test_a_killed_leader_is_replaced_and_tasks_go_on(self):
        for _ in range(3):
            before, index = self.epoch(), self.leader()
            self.cluster.kill_coordinator(index)
            took = self.await_epoch_after(before)
            print(f"next checkpoint {took:.2f} s after the leader was killed", flush=True)
            self.assertLess(took, 12)
            self.cluster.start_coordinator(index)
        self.finish()

    def test_a_leader_that_ends_is_replaced_at_once(self):
        before, index = self.epoch(), self.leader()
        self.cluster.coordinators[index].send_signal(signal.SIGTERM)
        self.assertEqual(self.cluster.coordinators[index].wait(20), 0)
        took = self.await_epoch_after(before)
        print(f"next checkpoint {took:.2f} s after the leader was asked to end", flush=True)
        self.finish()

    def test_a_leader_that_was_stopped_ends_when_it_wakes_up(self):
        before, index = self.epoch(), self.leader()
        old = self.cluster.coordinators[index]
        old.send_signal(signal.SIGSTOP)
        took = self.await_epoch_after(before)
        print(f"next checkpoint {took:.2f} s after the leader was stopped", flush=True)
        old.send_signal(signal.SIGCONT)
        self.assertEqual(old.wait(10), 1)
        self.assertIn("leads no more", (self.folder / f"cluster/coordinator{index}.log").read_text())
        self.cluster.start_coordinator(index)
        self.finish()

    def rows_read(self):
        total = 0
        for port in self.cluster.worker_http_ports:
            page = subprocess.run(["curl", "-sf", f"http://127.0.0.1:{port}/metrics"], check=True,
                                  capture_output=True, text=True).stdout
            found = re.findall(r"^millrace_source_records_total\{[^}]*\} (\S+)$", page, re.M)
            total += sum(float(value) for value in found)
        return total

    def test_without_the_metadata_store_data_flows_and_checkpoints_wait(self):
        index = self.leader()
        self.etcd.command("kill")
        self.assertEqual(self.cluster.coordinators[index].wait(20), 1, "no lease, no leader")
        before = self.rows_read()
        self.await_that(lambda: self.rows_read() > before + 1000, "data does not flow")
        self.etcd.command("restart")
        start = time.monotonic()
        self.cluster.start_coordinator(index)
        self.await_that(lambda: self.epoch() > 0, "nobody leads")
        self.await_epoch_after(self.epoch())
        print(f"next checkpoint {time.monotonic() - start:.2f} s after etcd is back", flush=True)
        self.finish()


if __name__ == "__main__":
    unittest.main(verbosity=2)
