"""A model that is replaced while rows flow: every row says which version made it, and its score must
be that version's; a switch is for all or for none, whoever is killed. Real processes."""

import json
import pathlib
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))
from cluster import Cluster  # noqa: E402

JOB = """
name: scores
settings: {checkpoint_interval: 200ms}
models:
  - name: constant
    version: "1"
    inputs: x FLOAT
    outputs: y DOUBLE
    local: {format: linear-json, path: "${folder}/1.json"}
nodes:
  - uid: events
    source: {connector: nexmark, options: {rate: "2000", events-per-second: "2000"}}
    schema: [event_type INT]
  - uid: score
    inputs: [events]
    inference: {model: constant, features: [event_type], outputs: y, version_name: version}
  - uid: out
    inputs: [score]
    sink: {connector: file, format: json, options: {path: "${folder}/out"}}
"""


class UpdateModelTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="millrace-models-")))
        self.cluster = self.enterContext(Cluster(self.folder / "cluster", workers=2, cores=1))
        for version in (1, 2, 3):
            (self.folder / f"{version}.json").write_text(json.dumps(
                {"coefficients": [[0]], "intercepts": [version], "link": "identity"}))
        job = self.folder / "job.yaml"
        job.write_text(JOB)
        self.job = self.cluster.submit(job, {"folder": self.folder}, "--parallelism", "2")

    def rows(self):
        """(version, score) of every committed row, by part."""
        found = []
        for path in sorted((self.folder / "out").glob("part-*")):
            found += [json.loads(line) for line in path.read_text().splitlines()]
        return [(row["version"], row["y"]) for row in found]

    def await_rows(self, reached):
        deadline = time.monotonic() + 60
        while not reached(self.rows()):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)

    def update(self, version, path=None):
        return self.cluster.command("update-model", self.job, "constant", "--version", str(version),
                                    "--path", str(path or self.folder / f"{version}.json"),
                                    check=False)

    def grows(self, version):
        """More rows of that version than now; none of an older one comes any more."""
        before = self.rows()
        count = sum(v == str(version) for v, _ in before)
        self.await_rows(lambda rows: sum(v == str(version) for v, _ in rows) > count + 500)

    def test_every_row_is_of_one_version_and_a_crash_changes_nothing(self):
        self.await_rows(lambda rows: len(rows) > 500)
        done = self.update(2)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.grows(2)
        old = sum(v == "1" for v, _ in self.rows())
        self.cluster.kill_worker(0)  # Restores from an epoch behind the switch.
        self.cluster.start_worker(0)
        self.grows(2)
        self.assertEqual(sum(v == "1" for v, _ in self.rows()), old)

        # No file: the old version stays, also after a crash.
        done = self.update(3, self.folder / "nowhere.json")
        self.assertNotEqual(done.returncode, 0)
        (self.folder / "broken.json").write_text('{"coefficients": [[1, 2]]}')
        done = self.update(3, self.folder / "broken.json")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("the old model stays", done.stderr)
        self.grows(2)
        self.cluster.kill_worker(1)
        self.cluster.start_worker(1)
        self.grows(2)
        done = self.update(3)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.grows(3)
        for version, score in self.rows():
            self.assertEqual(float(version), score)
        self.assertEqual({v for v, _ in self.rows()}, {"1", "2", "3"})


if __name__ == "__main__":
    unittest.main(verbosity=2)
