"""Checkpoints in a store, and copies of them on the disks of workers, whole or spoilt: real processes."""

import pathlib
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))
from cluster import Cluster, StoreProxy  # noqa: E402
from numbers_job import CountsTest  # noqa: E402
from object_store_test import StoreTest  # noqa: E402


class LocalCopiesTest(StoreTest, CountsTest):
    """RC-10: who is left restores what it wrote from its own disk, if that is what it wrote."""

    def restart_beside_a_kill(self, name, spoil):
        """The segments that the worker that is left has written, and those that it then fetched."""
        proxy = self.enterContext(StoreProxy(self.store.address))
        folder = self.folder / name
        self.environment["AWS_ENDPOINT_URL_S3"] = proxy.address
        self.cluster = self.enterContext(Cluster(
            folder / "cluster", workers=2, environment=self.environment,
            coordinator_flags=("--checkpoint-storage", f"{self.place}/{name}")))
        # The other one goes to the store by another way.
        self.cluster.end_worker(1)
        self.cluster.environment["AWS_ENDPOINT_URL_S3"] = self.store.address
        self.cluster.start_worker(1)
        self.cluster.wait_for_workers(2)
        self.submit_counts(folder)
        self.await_epoch_after(self.epoch() + 2)
        self.assertTrue(proxy.names("PUT"), "no state is on the first worker")
        self.assertEqual(proxy.names("GET"), set(), "it merges what it has itself")
        self.assertIn("Restarts: 0", self.describe())
        spoil(list((folder / "cluster/worker0/copies").iterdir()))
        self.cluster.kill_worker(1)
        self.await_that(lambda: "Restarts: 1" in self.describe(), "the job does not restart")
        self.await_epoch_after(self.epoch())
        self.drain_and_check()
        return proxy.names("PUT"), proxy.names("GET")

    def count(self, name, **labels):
        return self.metric(self.cluster.worker_http_ports[0], name, **labels)

    def test_intact_copies_are_used(self):
        written, fetched = self.restart_beside_a_kill("intact", lambda copies: None)
        self.assertTrue(fetched, "the state of the other worker comes from the store")
        self.assertEqual(written & fetched, set())
        self.assertGreater(self.count("millrace_segment_reads_total", **{"from": "local"}), 0)
        # A merge may read a segment again.
        self.assertGreaterEqual(
            self.count("millrace_segment_reads_total", **{"from": "storage"}), len(fetched))
        self.assertEqual(self.count("millrace_local_copies_refused_total"), 0)

    def test_others_are_refused(self):
        def damage(copies):
            for copy in copies:
                content = bytearray(copy.read_bytes())
                content[len(content) // 2] ^= 1
                copy.write_bytes(content)

        def exchange(copies):
            contents = [copy.read_bytes() for copy in copies]
            for copy, content in zip(copies, contents[1:] + contents[:1]):
                copy.write_bytes(content)

        def remove(copies):
            for copy in copies:
                copy.unlink()

        for spoil, reason in ((damage, "damaged"), (exchange, "damaged"), (remove, "missing")):
            with self.subTest(spoil.__name__):
                written, fetched = self.restart_beside_a_kill(spoil.__name__, spoil)
                self.assertTrue(written & fetched, "what was spoilt comes from the store")
                self.assertGreater(
                    self.count("millrace_local_copies_refused_total", reason=reason), 0)


if __name__ == "__main__":
    unittest.main()
