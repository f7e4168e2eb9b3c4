"""A broker that is killed and comes back while a job reads from it: the job goes on by itself."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))
from cluster import Cluster, Kafka  # noqa: E402
from numbers_job import JobTest  # noqa: E402

JOB = """
name: numbers
settings: {checkpoint_interval: 300ms}
nodes:
  - uid: numbers
    source:
      connector: kafka
      format: json
      options:
        topic: numbers
        properties.bootstrap.servers: ${brokers}
        scan.startup.mode: earliest-offset
        fetch: native
    schema: [n BIGINT]
  - uid: out
    inputs: [numbers]
    sink: {connector: file, format: json, options: {path: "${output}"}}
"""

PARTITIONS = 4
BATCH = 40_000  # Numbers.


class KafkaRestartTest(JobTest):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="millrace-kafka-restart-")))
        # It is killed.
        self.kafka = self.enterContext(Kafka(self.folder.name, private=True))
        self.kafka.create_topic("numbers", PARTITIONS)
        self.cluster = self.enterContext(Cluster(self.folder / "cluster", workers=1, cores=1))
        self.produced = 0

    def produce(self):
        for partition in range(PARTITIONS):
            lines = "".join(f'{{"n": {n}}}\n' for n in range(self.produced, self.produced + BATCH)
                            if n % PARTITIONS == partition)
            subprocess.run(["kcat", "-b", self.kafka.address, "-P", "-t", "numbers", "-p",
                            str(partition), "-X", "enable.idempotence=true"],
                           input=lines, text=True, check=True)
        self.produced += BATCH

    def rows(self, output):
        return [json.loads(line)["n"] for part in output.glob("part-*")
                for line in part.read_text().splitlines()]

    def test_the_job_goes_on_when_its_broker_is_back(self):
        output = self.folder / "out"
        job = self.folder / "job.yaml"
        job.write_text(JOB)
        self.produce()
        self.job = self.cluster.submit(job, {"output": output, "brokers": self.kafka.address})
        for _ in range(2):
            self.await_that(lambda: len(self.rows(output)) == self.produced, "rows are missing",
                            patience=60)
            self.produce()
            self.kafka.command("kill")
            self.kafka.command("restart")
        self.await_that(lambda: len(self.rows(output)) >= self.produced, "rows are missing",
                        patience=60)
        self.assertIn("Restarts: 0", self.describe())
        self.cluster.command("stop", self.job, "--drain")
        self.await_that(lambda: "STOPPED" in self.describe(), "the job does not stop")
        self.assertEqual(sorted(self.rows(output)), list(range(self.produced)))


if __name__ == "__main__":
    unittest.main(verbosity=2)
