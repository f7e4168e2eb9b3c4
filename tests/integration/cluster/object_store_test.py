"""Checkpoints in an S3-compatible store: jobs of real processes that are killed and restored from it."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))
from cluster import BUILD, Cluster, Service  # noqa: E402
from numbers_job import NumbersTest  # noqa: E402


class StoreTest:
    """For a JobTest: a place in a store."""

    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="millrace-s3-")))
        self.store = self.enterContext(Service("s3", "cluster-s3"))
        self.place = f"s3://millrace-cluster/{self.folder.name}"
        self.environment = {"AWS_ACCESS_KEY_ID": "test-key", "AWS_SECRET_ACCESS_KEY": "test-secret",
                            "AWS_ENDPOINT_URL_S3": self.store.address}
        # This store makes the bucket when somebody who may do everything writes into it.

    def start_cluster(self, workers=2, **more):
        self.cluster = self.enterContext(Cluster(
            self.folder / "cluster", workers=workers, environment=self.environment,
            coordinator_flags=("--checkpoint-storage", self.place), **more))

    def metric(self, port, name, **labels):
        page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
        total = 0
        for line in page.splitlines():
            if line.startswith(name + "{") and all(f'{k}="{v}"' in line for k, v in labels.items()):
                total += float(line.rsplit(" ", 1)[1])
        return total


class ObjectStoreTest(StoreTest, NumbersTest):
    def test_a_job_survives_kills_of_everything(self):
        self.start_cluster()
        self.submit_numbers(self.folder, interval="200ms")
        self.await_epoch_after(1)
        self.cluster.kill_worker(0)
        before = self.epoch()
        self.cluster.start_worker(0)
        self.await_epoch_after(before)
        for index in range(2):
            self.cluster.kill_worker(index)
        self.cluster.kill_coordinator()
        self.cluster.start_coordinator()
        for index in range(2):
            self.cluster.start_worker(index)
        self.cluster.wait_for_workers(2)
        # The job is on the workers that were there first: perhaps on one of them.
        self.await_that(lambda: sum(self.metric(port, "millrace_s3_requests_total", operation="put")
                                    for port in self.cluster.worker_http_ports) > 0,
                        "no worker writes into the store")
        self.await_that(lambda: self.metric(self.cluster.http_ports[0],
                                            "millrace_s3_sent_bytes_total", operation="put") > 0,
                        "the coordinator does not write into the store")
        self.drain_and_check()
        # Nothing of it is on a disk.
        self.assertEqual(list(self.folder.glob("cluster/*/checkpoints")), [])

    def test_a_worker_that_dies_between_the_steps_of_an_upload(self):
        for step in ("segment.before_sync", "segment.after_link", "segment.after_sync",
                     "segment.before_read"):
            with self.subTest(step):
                folder = self.folder / step
                folder.mkdir()
                self.cluster = self.enterContext(Cluster(
                    folder / "cluster", workers=1, environment=self.environment,
                    coordinator_flags=("--checkpoint-storage", f"{self.place}/{step}")))
                self.submit_numbers(folder, interval="200ms")
                self.await_epoch_after(1)
                self.cluster.kill_worker(0)
                self.cluster.start_worker(0, failpoints=f"{step}=crash@2")
                self.await_that(lambda: self.cluster.workers[0].poll() is not None,
                                "the worker was not crashed")
                before = self.epoch()
                self.cluster.start_worker(0)
                self.await_epoch_after(before)
                self.drain_and_check()

    def test_a_savepoint_in_the_store_starts_another_job(self):
        self.start_cluster()
        self.submit_numbers(self.folder, interval="200ms")
        self.await_epoch_after(1)
        first = self.output
        done = self.cluster.command("stop", self.job, "--savepoint", f"{self.place}/savepoints")
        savepoint = re.search(r"s3://\S+", done.stdout).group(0)
        self.await_that(lambda: "STOPPED" in self.describe(), "the job does not stop")
        rows = self.rows()
        job = self.folder / "job.yaml"
        self.job = self.cluster.submit(job, {"output": self.folder / "out2", "interval": "200ms"},
                                       "--parallelism", "2", "--savepoint", savepoint)
        self.output = self.folder / "out2"
        self.await_epoch_after(self.epoch())
        self.cluster.command("stop", self.job, "--drain")
        self.await_that(lambda: "STOPPED" in self.describe(), "the job does not stop")
        rows += self.rows()
        self.assertEqual(len(rows), len(set(rows)), "no row twice")
        for split in range(4):
            of_split = sorted(n for n in rows if n % 4 == split)
            self.assertEqual(of_split, list(range(split, split + 4 * len(of_split), 4)))
        self.assertTrue(first.exists())

    def test_a_store_that_is_away_holds_up_epochs_only(self):
        own = self.enterContext(Service("s3", f"cluster-s3-{os.getpid()}", private=True))
        self.environment["AWS_ENDPOINT_URL_S3"] = own.address
        self.start_cluster(workers=1)
        self.submit_numbers(self.folder, interval="200ms")
        self.await_epoch_after(1)
        own.command("kill")
        port = self.cluster.worker_http_ports[0]
        before = self.metric(port, "millrace_s3_retries_total")
        self.await_that(lambda: self.metric(port, "millrace_s3_retries_total") > before + 3,
                        "nothing is tried again")
        self.assertIn("RUNNING", self.describe())
        epoch = self.epoch()
        own.command("restart")
        self.await_epoch_after(epoch)
        self.assertIn("Restarts: 0", self.describe())
        self.drain_and_check()

    def test_what_is_wrong_is_said_at_the_start(self):
        for environment, place, message in (
                ({"AWS_ACCESS_KEY_ID": ""}, self.place, "set AWS_ACCESS_KEY_ID"),
                ({"AWS_SECRET_ACCESS_KEY": "wrong"}, self.place, "check AWS_ACCESS_KEY_ID"),
                ({}, "s3://millrace-cluster/x?regoin=y", "unknown option 'regoin'")):
            with self.subTest(message):
                cluster = Cluster(self.folder / "wrong", environment={**self.environment,
                                                                      **environment},
                                  coordinator_flags=("--checkpoint-storage", place))
                # So that nobody waits until it listens.
                cluster.start_coordinator(failpoints="job.before_spec=error")
                self.addCleanup(cluster.__exit__)
                self.assertEqual(cluster.coordinators[0].wait(20), 1)
                log = (self.folder / "wrong/coordinator0.log").read_text()
                self.assertIn(message, log)

    def get(self, place):
        """What the store has at a place below the bucket, with its query."""
        done = subprocess.run(
            ["curl", "--silent", "--show-error", "--fail", "--aws-sigv4", "aws:amz:us-east-1:s3",
             "--user", "test-key:test-secret", f"{self.store.address}/millrace-cluster{place}"],
            check=True, capture_output=True, text=True)
        return done.stdout

    def rows(self):
        """Of the files of the job, wherever they are."""
        if not str(self.output).startswith("s3://"):
            return super().rows()
        prefix = urllib.parse.quote(self.output.removeprefix("s3://millrace-cluster/") + "/", safe="")
        names = re.findall(r"<Key>([^<]*/part-[^<]*)</Key>",
                           self.get(f"?list-type=2&prefix={prefix}"))
        self.assertLess(len(names), 1000, "a page of the list has no more")
        return [json.loads(line)["n"] for name in names
                for line in self.get(f"/{name}").splitlines()]

    def test_files_appear_in_the_store_once_though_workers_die(self):
        """EO-14. Checkpoints are on a disk: only files go to the store."""
        for step in ("file.before_upload", "file.after_upload"):
            with self.subTest(step):
                folder = self.folder / step
                folder.mkdir()
                self.cluster = self.enterContext(Cluster(
                    folder / "cluster", workers=2, environment=self.environment))
                self.submit_numbers(folder, interval="500ms", output=f"{self.place}/{step}")
                for _ in range(2):
                    self.await_epoch_after(self.epoch())
                    for index in range(2):
                        self.cluster.kill_worker(index)
                    self.cluster.start_worker(0, failpoints=f"{step}=crash@3")
                    self.await_that(lambda: self.cluster.workers[0].poll() is not None,
                                    "the worker was not crashed")
                    for index in range(2):
                        self.cluster.start_worker(index)
                    self.await_epoch_after(self.epoch())
                self.drain_and_check()

    def test_run_keeps_its_checkpoints_there(self):
        job = self.folder / "bounded.yaml"
        job.write_text("""
name: bounded
settings: {checkpoint_interval: "100ms"}
nodes:
  - uid: numbers
    source: {connector: datagen, options: {fields.n.kind: sequence, fields.n.start: 0, number-of-rows: 20000, rows-per-second: 10000}}
    schema: [n BIGINT]
  - uid: out
    inputs: [numbers]
    sink: {connector: file, format: json, options: {path: "%s"}}
""" % (self.folder / "bounded-out"))
        done = subprocess.run([str(BUILD / "cli/millrace"), "run", str(job), "--work-dir",
                               str(self.folder / "work"), "--checkpoint-storage", self.place],
                              env={**os.environ, **self.environment}, capture_output=True,
                              text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        rows = [json.loads(line) for part in (self.folder / "bounded-out").glob("part-*")
                for line in part.read_text().splitlines()]
        self.assertEqual(len(rows), 20000)
        self.assertFalse((self.folder / "work/checkpoints").exists())


if __name__ == "__main__":
    unittest.main()
