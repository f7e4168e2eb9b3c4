"""Savepoints that earlier versions made: this one must go on from them. RS-04 of docs/reliability.md.

Each archive here is named after the version and the day, and has what `job.sql` had written until
then (`out`) and its state (`savepoint`). What the rest of the run adds must make the tables that a
run without a break makes. MILLRACE_KEEP_SAVEPOINT=NAME makes another one, with the programs of
MILLRACE_BUILD: for every change of a format of state.
"""

import collections
import json
import os
import pathlib
import sys
import tarfile
import tempfile
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "benchmarks"))
from cluster import Cluster  # noqa: E402

JOB = HERE / "job.sql"
EVENTS_BEFORE = 1000  # Of 2000, about.
NO_RATE = 1_000_000


def tables(*folders):
    """By name, the rows that the changes in all files make together."""
    made = collections.defaultdict(collections.Counter)
    for folder in folders:
        for part in folder.glob("*/part-*"):
            for line in part.read_text().splitlines():
                row = json.loads(line)
                sign = 1 if row.pop("op", "+I") in ("+I", "+U") else -1
                made[part.parent.name][json.dumps(row)] += sign
    return {name: +rows for name, rows in made.items()}


class KeptSavepointsTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="millrace-savepoints-")))
        self.cluster = self.enterContext(Cluster(self.folder / "cluster", workers=1, cores=2))

    def submit(self, output, rate, *flags):
        return self.cluster.submit(JOB, {"output": output, "rate": rate}, *flags)

    def finish(self, job):
        waited = self.cluster.command("wait", job, "--timeout", "60", check=False)
        self.assertEqual(waited.returncode, 0, waited.stderr + waited.stdout)

    def test_each_goes_on(self):
        self.finish(self.submit(self.folder / "whole", NO_RATE))
        expected = tables(self.folder / "whole")
        self.assertEqual(len(expected), 8)
        archives = sorted(HERE.glob("*.tar.xz"))
        self.assertGreater(len(archives), 0)
        for archive in archives:
            version = self.folder / archive.name.removesuffix(".tar.xz")
            with tarfile.open(archive) as files:
                files.extractall(version, filter="data")
            for parallelism in ("1", "3"):
                with self.subTest(version=version.name, parallelism=parallelism):
                    rest = self.folder / f"rest-{version.name}-{parallelism}"
                    savepoint = next((version / "savepoint").iterdir())
                    self.finish(self.submit(rest, NO_RATE, "--savepoint", savepoint,
                                            "--parallelism", parallelism))
                    before = tables(version / "out")
                    self.assertTrue(all(before[name] != expected[name] for name in before),
                                    "the savepoint is of the middle")
                    made = tables(version / "out", rest)
                    for name, rows in expected.items():
                        self.assertEqual(made.get(name), rows, name)


def keep(name):
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        with Cluster(folder / "cluster", workers=1, cores=2) as cluster:
            job = cluster.submit(JOB, {"output": folder / "out", "rate": 500}, "--parallelism", "2")
            deadline = time.monotonic() + 60
            while True:
                said = json.loads(cluster.command("-o", "json", "describe", job).stdout)
                out = sum(int(node.get("rows_out", 0)) for node in said["job"]["nodes"]
                          if node["uid"] == "nexmark")
                if out >= EVENTS_BEFORE:
                    break
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{out} events")
                time.sleep(0.02)
            cluster.command("stop", job, "--savepoint", folder / "savepoint")
        with tarfile.open(HERE / f"{name}.tar.xz", "w:xz") as archive:
            for part in ("savepoint", "out"):
                archive.add(folder / part, part)


if __name__ == "__main__":
    if "MILLRACE_KEEP_SAVEPOINT" in os.environ:
        keep(os.environ["MILLRACE_KEEP_SAVEPOINT"])
    else:
        unittest.main(verbosity=2)
