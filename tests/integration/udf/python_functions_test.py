"""Functions in Python in scripts of SQL, from end to end: results, rows that cannot stand their
function, processes that are killed."""

import base64
import collections
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
import cluster  # noqa: E402

MILLRACE = str(pathlib.Path(os.environ["MILLRACE_BUILD"]) / "cli" / "millrace")
SECONDS = 90
PYTHON = ["--python-path", f"{HERE}:{ROOT / '.dev' / 'arrow'}", "--python-interpreter",
          sys.executable]

TABLES = """
SET 'pipeline.dead-letters' = 'letters';
CREATE TABLE payments (id BIGINT, amount DOUBLE, country STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'file', 'path' = '{folder}/payments.json', 'format' = 'json');
CREATE TABLE letters (uid STRING, code STRING, error STRING, raw BYTES)
WITH ('connector' = 'file', 'path' = '{folder}/letters', 'format' = 'json');
CREATE TABLE result ({columns}) WITH ('connector' = 'file', 'path' = '{folder}/result', 'format' = 'json');
CREATE FUNCTION score (DOUBLE, STRING) RETURNS DOUBLE AS 'functions.score' LANGUAGE PYTHON;
CREATE FUNCTION is_even (BIGINT) RETURNS BOOLEAN AS 'functions.is_even' LANGUAGE PYTHON;
CREATE FUNCTION v_double (BIGINT) RETURNS BIGINT AS 'functions.v_double' LANGUAGE PYTHON WITH ('mode' = 'vectorized');
CREATE FUNCTION stumble (n BIGINT) RETURNS BIGINT AS 'functions.stumble' LANGUAGE PYTHON WITH ('timeout' = '1 s', 'attempts' = '2');
CREATE FUNCTION gate (n BIGINT, folder STRING) RETURNS BIGINT AS 'functions.gate' LANGUAGE PYTHON WITH ('timeout' = '5 min');
"""


def is_alive(pid):
    """Zombies do not count."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


class PythonFunctionsTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.payments = [
            {"id": i, "amount": None if i % 10 == 9 else i / 4, "country": "CH" if i % 3 else "DE",
             "ts": f"2026-01-01 00:00:{i // 500:02d}.000"} for i in range(5000)]
        (self.folder / "payments.json").write_text(
            "".join(json.dumps(row) + "\n" for row in self.payments))

    def command(self, columns, query, *flags, python=PYTHON, before="", work="work"):
        job = self.folder / "job.sql"
        job.write_text((TABLES + before + "INSERT INTO result " + query + ";\n").format(
            folder=self.folder, columns=columns))
        return [MILLRACE, "-v", "run", str(job), "--work-dir", str(self.folder / work),
                "--checkpoint-interval", "200ms", *python, *flags]

    def run_job(self, *job, **how):
        return subprocess.run(self.command(*job, **how), capture_output=True, text=True,
                              timeout=SECONDS)

    def rows(self, name):
        return [json.loads(line) for part in sorted((self.folder / name).glob("part-*"))
                for line in part.read_text().splitlines()]

    def wait_for(self, condition, what):
        deadline = time.monotonic() + SECONDS
        while not (found := condition()):
            self.assertLess(time.monotonic(), deadline, f"timeout: {what}")
            time.sleep(0.02)
        return found

    def test_projected_filtered_grouped_and_joined(self):
        done = self.run_job(
            "id BIGINT, s DOUBLE, d BIGINT",
            "SELECT id, score(amount, country) + 1, v_double(id + 1) FROM payments "
            "WHERE is_even(id) AND score(amount, country) > 100", "--parallelism", "2")
        self.assertEqual(done.returncode, 0, done.stderr)
        expected = []
        for row in self.payments:
            if row["amount"] is None or row["id"] % 2:
                continue
            score = row["amount"] * (2 if row["country"] == "CH" else 1) + 0.5
            if score > 100:
                expected.append({"id": row["id"], "s": score + 1, "d": 2 * (row["id"] + 1)})
        self.assertEqual(sorted(self.rows("result"), key=lambda row: row["id"]), expected)

    def test_before_windows(self):
        done = self.run_job(
            "start TIMESTAMP(3), even BOOLEAN, n BIGINT, total BIGINT",
            "SELECT window_start, even, count(*), sum(v_double(id)) FROM TABLE(TUMBLE(TABLE marked, "
            "DESCRIPTOR(ts), INTERVAL '5' SECOND)) GROUP BY window_start, window_end, even",
            "--parallelism", "2",
            before="CREATE VIEW marked AS SELECT id, ts, is_even(id) AS even FROM payments;\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        expected = [
            {"start": f"2026-01-01 00:00:0{start}.000", "even": even, "n": 1250,
             "total": 2 * sum(n for n in range(start * 500, start * 500 + 2500)
                              if (n % 2 == 0) == even)}
            for start in (0, 5) for even in (False, True)]
        self.assertEqual(sorted(self.rows("result"), key=lambda row: (row["start"], row["even"])),
                         expected)

    def test_in_joins(self):
        done = self.run_job(
            "id BIGINT, other BIGINT",
            "SELECT p.id, v_double(q.id) FROM payments p JOIN payments q ON v_double(p.id) = q.id "
            "AND p.ts <= q.ts AND q.ts <= p.ts + INTERVAL '1' MINUTE AND is_even(p.id + q.id * 3)",
            "--parallelism", "2")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(sorted(self.rows("result"), key=lambda row: row["id"]),
                         [{"id": n, "other": 4 * n} for n in range(0, 2500, 2)])

    def test_changes(self):
        done = self.run_job(
            "kind STRING, twice BIGINT",
            "SELECT kind, v_double(n) FROM (SELECT is_even(id) AS even, country AS kind, count(*) "
            "AS n FROM payments GROUP BY is_even(id), country) WHERE is_even(n)",
            "--parallelism", "2")
        self.assertEqual(done.returncode, 0, done.stderr)
        left = collections.Counter()
        for row in self.rows("result"):
            left[row["kind"], row["twice"]] += 1 if row["op"][0] == "+" else -1
        groups = collections.Counter((row["id"] % 2, row["country"]) for row in self.payments)
        expected = collections.Counter(
            (country, 2 * n) for (_, country), n in groups.items() if n % 2 == 0)
        self.assertEqual(+left, expected)
        self.assertEqual(-left, collections.Counter())

    def test_bad_rows_are_letters_and_no_other_row_is_lost(self):
        done = self.run_job("id BIGINT", "SELECT stumble(id) FROM payments", "--parallelism", "1")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(sorted(row["id"] for row in self.rows("result")),
                         [n for n in range(5000) if n not in (100, 200, 300, 400)])
        letters = {json.loads(base64.b64decode(row["raw"]))["id"]: row
                   for row in self.rows("letters")}
        self.assertEqual(len(self.rows("letters")), 4)
        self.assertEqual({number: row["code"] for number, row in letters.items()},
                         {100: "MR4201", 200: "MR4202", 300: "MR4203", 400: "MR4201"})
        self.assertRegex(letters[100]["error"],
                         r"^stumble: KeyError: 'a hundred' \(functions.py:\d+, in stumble\)$")
        self.assertIn("signal 11 (Segmentation fault), 2 times", letters[200]["error"])
        self.assertEqual(letters[300]["error"], "no result within 1000 ms, 2 times")
        self.assertIn("'four hundred' is no BIGINT", letters[400]["error"])
        # The crash says where it was.
        self.assertIn("python: Fatal Python error: Segmentation fault", done.stderr)
        self.assertRegex(done.stderr, r"functions.py., line \d+ in stumble")

    def start(self, *job):
        process = subprocess.Popen(self.command(*job), stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def gate_pid(self):
        waiting = self.folder / "waiting"
        pid = int(self.wait_for(lambda: waiting.exists() and waiting.read_text(), "the gate"))
        waiting.unlink()
        return pid

    GATE = ("id BIGINT", "SELECT gate(id, '{folder}') FROM payments", "--parallelism", "1")

    def test_a_killed_python_process_loses_nothing(self):
        process = self.start(*self.GATE)
        pid = self.gate_pid()
        os.kill(pid, signal.SIGKILL)
        again = self.gate_pid()  # Another one asks the row again.
        self.assertNotEqual(pid, again)
        (self.folder / "go").touch()
        self.assertEqual(process.wait(SECONDS), 0, process.stderr.read())
        self.assertEqual(sorted(row["id"] for row in self.rows("result")), list(range(5000)))
        self.assertEqual(self.rows("letters"), [])

    def test_a_killed_worker_leaves_no_python_process_and_loses_nothing(self):
        process = self.start(*self.GATE)
        pid = self.gate_pid()
        self.assertTrue(is_alive(pid))
        process.kill()
        process.wait(SECONDS)
        self.wait_for(lambda: not is_alive(pid), "the Python process is gone")
        (self.folder / "go").touch()
        done = self.run_job(*self.GATE)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(sorted(row["id"] for row in self.rows("result")), list(range(5000)))

    def test_says_what_is_missing(self):
        beside = PYTHON[2:]  # Without a folder: that of the script, where there is no module.
        for flags, message in (
                (beside, "there is no module 'functions' in " + str(self.folder)),
                ([*PYTHON[:2], "--python-interpreter", "no-python"],
                 "there is no Python interpreter 'no-python' on this worker")):
            with self.subTest(message):
                done = self.run_job("id BIGINT", "SELECT stumble(id) FROM payments",
                                    work=f"work{len(flags)}", python=flags)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(message, done.stderr)

    def test_a_worker_of_a_cluster_runs_functions_only_where_it_is_told(self):
        self.command("id BIGINT", "SELECT v_double(id) FROM payments WHERE id < 100")
        for flags, state, message in (
                ([], "FAILED", "this worker does not run functions in Python"),
                (PYTHON, "FINISHED", "")):
            with self.subTest(state), cluster.Cluster(
                    self.folder / f"cluster{len(flags)}", worker_flags=flags) as one:
                job = one.submit(self.folder / "job.sql", {})
                done = one.command("wait", job, "--timeout", str(SECONDS), check=False)
                self.assertEqual(done.returncode, 0 if state == "FINISHED" else 7, done.stderr)
                self.assertIn(message, one.command("describe", job).stdout)
        self.assertEqual(sorted(row["id"] for row in self.rows("result")), list(range(0, 200, 2)))


if __name__ == "__main__":
    unittest.main()
