"""A job whose right result anybody can tell: numbers, in four splits, into files. For tests that
disturb the cluster while it runs."""

import collections
import json
import re
import time
import unittest

JOB = """
name: numbers
settings: {checkpoint_interval: "${interval}"}
nodes:
  - uid: numbers
    source:
      connector: datagen
      options: {fields.n.kind: sequence, fields.n.start: 0, rows-per-second: 2000, splits: 4}
    schema: [n BIGINT]
  - uid: out
    inputs: [numbers]
    sink: {connector: file, format: json, options: {path: "${output}"}}
"""

# The numbers of a group are all of one split, and come in order.
COUNTS = """
SET 'pipeline.name' = 'counts';
SET 'execution.checkpointing.interval' = '200 ms';
CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'fields.n.kind' = 'sequence',
  'fields.n.start' = '0', 'rows-per-second' = '3000', 'splits' = '4');
CREATE TABLE counts (k BIGINT, c BIGINT, last BIGINT)
  WITH ('connector' = 'file', 'path' = '{output}', 'format' = 'json');
INSERT INTO counts SELECT MOD(n, 100), COUNT(*), MAX(n) FROM numbers GROUP BY MOD(n, 100);
"""


class JobTest(unittest.TestCase):
    """Watches the job `self.job` of `self.cluster`."""

    def await_that(self, reached, message, patience=30):
        """Seconds that it took."""
        begin = time.monotonic()
        while not reached():
            self.assertLess(time.monotonic() - begin, patience, message + "\n" + self.describe())
            time.sleep(0.05)
        return time.monotonic() - begin

    def describe(self):
        return self.cluster.command("describe", self.job, check=False).stdout

    def epoch(self):
        """Of the last checkpoint; 0 = none yet."""
        found = re.search(r"epoch (\d+)", self.describe())
        return int(found.group(1)) if found else 0

    def await_epoch_after(self, epoch):
        return self.await_that(lambda: self.epoch() > epoch, "no checkpoint is completed")


class NumbersTest(JobTest):
    def submit_numbers(self, folder, interval, output=None):
        """Starts the job with two tasks, and waits until it runs."""
        self.output = output or folder / "out"
        job = folder / "job.yaml"
        job.write_text(JOB)
        self.job = self.cluster.submit(job, {"output": self.output, "interval": interval},
                                       "--parallelism", "2")
        self.await_that(lambda: "RUNNING" in self.describe(), "the job does not run")

    def rows(self):
        return [json.loads(line)["n"] for part in self.output.glob("part-*")
                for line in part.read_text().splitlines()]

    def drain_and_check(self):
        """Nothing may be lost or doubled. All rows, sorted."""
        self.cluster.command("stop", self.job, "--drain")
        self.await_that(lambda: "STOPPED" in self.describe(), "the job does not stop")
        rows = sorted(self.rows())
        self.assertEqual(len(rows), len(set(rows)), "no row twice")
        for split in range(4):  # Each is as far as it came.
            of_split = [n for n in rows if n % 4 == split]
            self.assertEqual(of_split, list(range(split, split + 4 * len(of_split), 4)))
        return rows


class CountsTest(JobTest):
    """A job with state."""

    def submit_counts(self, folder):
        """Starts the job with two tasks, and waits until it has a checkpoint with state."""
        self.output = folder / "out"
        job = folder / "job.sql"
        job.write_text(COUNTS.format(output=self.output))
        self.job = self.cluster.submit(job, {}, "--parallelism", "2")
        self.await_epoch_after(1)

    def drain_and_check(self):
        """No group has missed or repeated a number, nor written a count twice."""
        self.cluster.command("stop", self.job, "--drain")
        self.await_that(lambda: "STOPPED" in self.describe(), "the job does not stop")
        written = collections.Counter()
        for part in self.output.glob("part-*"):
            for line in part.read_text().splitlines():
                row = json.loads(line)
                if row["op"] in ("+I", "+U"):
                    self.assertEqual(row["c"], (row["last"] - row["k"]) // 100 + 1, row)
                    written[row["k"], row["c"]] += 1
        self.assertEqual(len({group for group, count in written}), 100)
        self.assertEqual(max(written.values()), 1)
