"""What the outside gets wrong, and what a user sees of it. Real processes, no server."""

import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))
from cluster import BUILD  # noqa: E402

MILLRACE = str(BUILD / "cli" / "millrace")
JOB_FAILED = 7

ORDERS = """
name: orders
nodes:
  - uid: orders
    source: {connector: file, format: json, options: {path: "${input}"}}
    schema: [id BIGINT NOT NULL, customer STRING, at TIMESTAMP(3) NOT NULL]
  - uid: time
    inputs: [orders]
    watermark: {time: at, out_of_orderness: 2s}
  - uid: per-minute
    inputs: [time]
    window_aggregate:
      window: {kind: tumble, time: at, size: 1min}
      keys: [customer]
      aggregates: [count(*) AS n]
  - uid: result
    inputs: [per-minute]
    sink: {connector: file, format: json, options: {path: "${output}/result"}}
  - uid: late
    inputs: [per-minute.late]
    sink: {connector: file, format: json, options: {path: "${output}/late"}}
  - uid: dead
    inputs: [orders.dead_letter, per-minute.dead_letter]
    sink: {connector: file, format: json, options: {path: "${output}/dead"}}
"""

COPY = """
name: copy
settings: {checkpoint_interval: 10min, restart_attempts_max: 1}
nodes:
  - uid: numbers
    source:
      connector: datagen
      options: {number-of-rows: "4000000", fields.n.kind: sequence, fields.n.start: "0", splits: "1"}
    schema: [n BIGINT]
  - uid: files
    inputs: [numbers]
    sink: {connector: file, format: json, options: {path: "${output}"}}
"""

HOURS = """
name: bids
settings: {checkpoint_interval: 100ms}
nodes:
  - uid: events
    source: {connector: nexmark, options: {events-per-second: "5000"}}
    schema: ["auction BIGINT FROM 'bid.auction'", "dateTime TIMESTAMP(3) FROM 'bid.dateTime'"]
  - uid: time
    inputs: [events]
    watermark: {time: dateTime, out_of_orderness: 4s}
  - uid: per-hour
    inputs: [time]
    window_aggregate:
      window: {kind: tumble, time: dateTime, size: 1h}
      keys: [auction]
      aggregates: [count(*) AS n]
  - uid: result
    inputs: [per-hour]
    sink: {connector: blackhole}
"""


def rows(folder):
    found = []
    for path in sorted(pathlib.Path(folder).glob("part-*")):
        found += [json.loads(line) for line in path.read_text().splitlines()]
    return found


def small_files_only():
    """A disk that takes no more: writes past 2 MB of one file fail."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))


class BadInputTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="millrace-bad-input-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def run_job(self, text, *settings, limit=None, timeout=60):
        job = self.folder / "job.yaml"
        job.write_text(text)
        flags = [flag for setting in settings for flag in ("--set", setting)]
        return subprocess.run([MILLRACE, "run", str(job), *flags, "--work-dir",
                               str(self.folder / "work"), "--parallelism", "1"],
                              capture_output=True, text=True, timeout=timeout,
                              cwd=self.folder, preexec_fn=limit, env={**os.environ})

    def run_orders(self, lines):
        (self.folder / "in.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
        done = self.run_job(ORDERS, f"input={self.folder}/in.jsonl", f"output={self.folder}/out")
        self.assertEqual(done.returncode, 0, done.stderr)
        return {name: rows(self.folder / "out" / name) for name in ("result", "late", "dead")}

    def test_unreadable_records_are_dead_letters_and_the_others_count(self):
        bad = [b'{"id":1,"customer":"a","at":"2026-01-01 00:00:0',          # Cut off.
               b'not json at all',
               b'{"id":"one","customer":"a","at":"2026-01-01 00:00:01.000"}',  # Wrong type.
               b'{"customer":"a","at":"2026-01-01 00:00:01.000"}',             # No id.
               b'{"id":1,"customer":"a"}',                                     # No time.
               b'{"id":1,"customer":"a","at":"yesterday"}',
               b'{"id":99999999999999999999,"customer":"a","at":"2026-01-01 00:00:01.000"}',
               b'{"id":1,"customer":"\xff\xfe","at":"2026-01-01 00:00:01.000"}']
        good = [b'{"id":%d,"customer":"a","at":"2026-01-01 00:00:0%d.000"}' % (i, i)
                for i in range(8)]
        out = self.run_orders([line for pair in zip(bad, good) for line in pair])
        self.assertEqual([(row["customer"], row["n"]) for row in out["result"]], [("a", 8)])
        self.assertEqual(out["late"], [])
        self.assertEqual(len(out["dead"]), len(bad), out["dead"])
        for row in out["dead"]:
            self.assertTrue(row["error"], row)
            self.assertTrue(row["raw"], row)

    def test_times_before_1970_and_far_ahead(self):
        out = self.run_orders([
            b'{"id":1,"customer":"old","at":"1969-12-31 23:59:30.000"}',
            b'{"id":2,"customer":"old","at":"1969-12-31 23:59:59.999"}',
            b'{"id":3,"customer":"new","at":"2026-01-01 00:00:01.000"}',
            b'{"id":4,"customer":"far","at":"2999-01-01 00:00:01.000"}',
            b'{"id":5,"customer":"late","at":"2026-01-01 00:00:01.000"}'])
        counted = {row["customer"]: (row["window_end"], row["n"]) for row in out["result"]}
        self.assertEqual(counted["old"], ("1970-01-01 00:00:00.000", 2))
        self.assertEqual(counted["far"], ("2999-01-01 00:01:00.000", 1))
        # One batch, one watermark: whether row 5 is late depends on where the batch ends, but it is
        # counted or late, never gone.
        self.assertEqual(sum(row["n"] for row in out["result"]) + len(out["late"]), 5)

    def test_an_empty_input_ends_well(self):
        out = self.run_orders([])
        self.assertEqual(out, {"result": [], "late": [], "dead": []})

    def test_a_full_disk_fails_the_job_by_name_and_shows_no_half_epoch(self):
        output = self.folder / "out"
        done = self.run_job(COPY, f"output={output}", limit=small_files_only)
        self.assertEqual(done.returncode, JOB_FAILED, done.stderr)
        self.assertIn("File too large", done.stderr)
        self.assertIn(str(self.folder), done.stderr)  # Which file.
        # The first epoch of an attempt may be small enough; half an epoch is never visible.
        visible = [row["n"] for row in rows(output)]
        self.assertEqual(visible, list(range(len(visible))))

    def test_a_damaged_segment_is_refused_by_name(self):
        text = self.folder / "job.yaml"
        text.write_text(HOURS)
        work = self.folder / "work"
        command = [MILLRACE, "run", str(text), "--work-dir", str(work), "--parallelism", "1"]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while not list(work.rglob("*.manifest.e5")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill()
        process.wait()
        segments = [path for path in work.rglob("checkpoints/**/*")
                    if path.is_file() and ".manifest." not in path.name]
        self.assertTrue(segments)
        for segment in segments:
            data = bytearray(segment.read_bytes())
            data[len(data) // 2] ^= 0x40
            segment.write_bytes(data)
        again = subprocess.run(command, capture_output=True, text=True, timeout=60)
        self.assertEqual(again.returncode, JOB_FAILED, again.stderr)
        self.assertIn("DATA_LOSS", again.stderr)
        self.assertTrue(any(segment.name in again.stderr for segment in segments), again.stderr)

    def test_an_unknown_operator_is_named(self):
        done = self.run_job("name: wrong\nnodes:\n  - uid: a\n    frobnicate: {}\n")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("job.yaml:4:5: error MR1002", done.stderr)
        self.assertIn("window_aggregate", done.stderr)  # What there is.

    def test_wrong_graphs_report_all_problems_at_once(self):
        done = self.run_job("""
name: wrong
nodes:
  - uid: a
    inputs: [c]
    filter: {predicate: x = 1}
  - uid: c
    inputs: [a]
    filter: {predicate: x = 1}
  - uid: d
    inputs: [nowhere]
    sink: {connector: blackhole}
  - uid: d
    inputs: [a]
    sink: {connector: blackhole}
""")
        self.assertEqual(done.returncode, 1, done.stderr)
        for word in ("cycle", "nowhere", "uid"):
            self.assertIn(word, done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
