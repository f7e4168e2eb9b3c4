"""Jobs that are held up on purpose: `millrace why` names the cause."""

import pathlib
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))
from cluster import Cluster, Service  # noqa: E402
from numbers_job import JobTest  # noqa: E402

JOB = """
name: numbers
settings: {checkpoint_interval: 200ms}
nodes:
  - uid: numbers
    source:
      connector: datagen
      options: {fields.n.kind: sequence, fields.n.start: 0, rows-per-second: 1000, splits: 1}
    schema: [n BIGINT NOT NULL]
  - uid: table
    inputs: [numbers]
    sink:
      connector: postgres
      options: {hostname: 127.0.0.1, port: "${port}", username: postgres, database-name: "${database}",
                table-name: numbers, sink.create-table: "true"}
"""


class WhyTest(JobTest):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="millrace-why-")))
        self.postgres = self.enterContext(Service("postgres", "why"))
        self.database = f"why_{time.time_ns()}"
        self.psql("postgres", f"CREATE DATABASE {self.database}")
        self.addCleanup(self.psql, "postgres", f"DROP DATABASE {self.database} WITH (FORCE)")
        self.cluster = self.enterContext(Cluster(
            self.folder / "cluster", workers=1, cores=2))
        job = self.folder / "job.yaml"
        job.write_text(JOB)
        self.job = self.cluster.submit(
            job, {"port": self.postgres.address, "database": self.database}, "--parallelism", "1")

    def psql_command(self, database):
        return ["psql", "-h", "127.0.0.1", "-p", self.postgres.address, "-U", "postgres", "-qAt",
                "-d", database]

    def psql(self, database, statement):
        return subprocess.run([*self.psql_command(database), "-c", statement], check=True,
                              capture_output=True, text=True).stdout.strip()

    def why(self):
        return self.cluster.command("why", self.job).stdout

    def test_a_target_that_is_locked_is_named(self):
        self.await_that(lambda: "RUNNING" in self.why(), "the job does not run")
        self.await_epoch_after(1)
        self.assertIn("nothing holds it up", self.why())
        with subprocess.Popen(self.psql_command(self.database), stdin=subprocess.PIPE,
                              text=True) as locker:
            locker.stdin.write("BEGIN; LOCK TABLE numbers IN ACCESS EXCLUSIVE MODE;\n")
            locker.stdin.flush()
            self.await_that(lambda: "has been committing to its target for" in self.why(),
                            "the commit is not named")
            self.assertIn("task numbers/0 on w-", self.why())
            self.assertIn("are not all visible yet", self.why())
            locker.stdin.write("COMMIT;\n")
            locker.stdin.close()
            self.assertEqual(locker.wait(20), 0)
        self.await_that(lambda: "nothing holds it up" in self.why(), "the job does not go on")

    def test_a_job_without_workers_says_so(self):
        self.await_that(lambda: "RUNNING" in self.why(), "the job does not run")
        self.cluster.kill_worker(0)
        self.await_that(lambda: "no worker is registered; start one" in self.why(),
                        "the missing worker is not named")
        self.cluster.start_worker(0)
        self.await_that(lambda: "nothing holds it up" in self.why(), "the job does not go on")


if __name__ == "__main__":
    unittest.main(verbosity=2)
