"""The `millrace` command as people and scripts use it: exit codes, stdout, stderr.

Real processes on loopback; standard library only. MILLRACE_BUILD names the build folder.
"""

import collections
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))
from cluster import BUILD, Cluster  # noqa: E402

MILLRACE = str(BUILD / "cli" / "millrace")
OK, FAILED, USAGE, NOT_FOUND, CONFLICT, TIMEOUT, UNAVAILABLE, JOB_FAILED, INTERRUPTED = (
    0, 1, 2, 3, 4, 5, 6, 7, 130)

# The same columns under other ids.
UNION = """
name: union
nodes:
  - uid: a
    source: {connector: datagen, options: {number-of-rows: "4", fields.k.min: "1",
                                           fields.k.max: "3"}}
    schema: [k BIGINT]
  - uid: b
    source: {connector: datagen, options: {number-of-rows: "5", fields.k.min: "1",
                                           fields.k.max: "3"}}
    schema: [x STRING, y BIGINT, k BIGINT]
  - {uid: p, inputs: [b], project: [k]}
  - {uid: counts, inputs: [a, p], group_aggregate: {keys: [k], aggregates: [count(*) AS n]}}
  - {uid: out, inputs: [counts], sink: {connector: print}}
"""

COUNTS = """
name: counts
nodes:
  - uid: bids
    source: {connector: file, format: csv, options: {path: "${input}"}}
    schema: [item BIGINT NOT NULL, ts TIMESTAMP(3) NOT NULL]
  - uid: time
    inputs: [bids]
    watermark: {time: ts, out_of_orderness: 2s}
  - uid: windows
    inputs: [time]
    window_aggregate:
      window: {kind: tumble, time: ts, size: 10s}
      keys: [item]
      aggregates: [count(*) AS num]
  - uid: result
    inputs: [windows]
    sink: {connector: file, format: json, options: {path: "${output}"}}
"""

# Goes on for ever.
NUMBERS = """
name: ${name:-numbers}
nodes:
  - uid: numbers
    source:
      connector: datagen
      options: {rows-per-second: "1000", fields.n.kind: sequence, fields.n.start: "0", splits: "1"}
    schema: [n BIGINT]
  - uid: files
    inputs: [numbers]
    sink: {connector: file, format: json, options: {path: "${output}"}}
settings: {checkpoint_interval_ms: 200}
"""


def millrace(*arguments, check=None, text=None, timeout=60, environment=None, folder=None):
    """Runs the command; `check` is the exit code that it must have."""
    done = subprocess.run([MILLRACE, *map(str, arguments)], input=text, capture_output=True,
                          text=True, timeout=timeout, cwd=folder,
                          env={**os.environ, **(environment or {})})
    if check is not None and done.returncode != check:
        raise AssertionError(f"exit code {done.returncode}, not {check}: millrace "
                             f"{' '.join(map(str, arguments))}\n{done.stdout}{done.stderr}")
    return done


def rows(folder):
    found = []
    for path in sorted(pathlib.Path(folder).glob("part-*")):
        found += [json.loads(line) for line in path.read_text().splitlines()]
    return found


class CommandTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="millrace-cli-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def file(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path


SCORES = """
name: scores
models:
  - name: network
    inputs: X FLOAT[6]
    outputs: variable FLOAT
    local: {format: onnx, path: "${model}"}
nodes:
  - uid: rows
    source: {connector: file, format: csv, options: {path: "${input}"}}
    schema: [a DOUBLE, b DOUBLE, c DOUBLE, d DOUBLE, e DOUBLE, f DOUBLE]
  - uid: score
    inputs: [rows]
    inference: {model: network, features: [a, b, c, d, e, f], outputs: variable AS score}
  - uid: files
    inputs: [score]
    sink: {connector: file, format: json, options: {path: "${output}"}}
"""


class InferenceTest(CommandTest):
    models = ROOT / "tests/unit/inference/models"
    library = ROOT / ".dev/onnxruntime/libonnxruntime.so.1"

    def test_the_example_scores_as_the_library_that_trained_the_model(self):
        done = millrace("run", ROOT / "examples/fraud_scoring.yaml", "--work-dir",
                        self.folder / "work", "--parallelism", "2", folder=ROOT, check=OK)
        lines = [json.loads(line.split("> ", 1)[1]) for line in done.stdout.splitlines()]
        scores = {row["id"]: row["fraud_score"] for row in lines if "id" in row}
        expected = [json.loads(line) for line in
                    (ROOT / "examples/fraud/expected.jsonl").read_text().splitlines()]
        self.assertEqual(sorted(scores), [row["id"] for row in expected])
        for row in expected:
            self.assertAlmostEqual(scores[row["id"]], row["fraud_score"],
                                   delta=1e-6 * row["fraud_score"])
        self.assertEqual([row["error"] for row in lines if "code" in row], ["amount is NULL"])

    def run_scores(self, library, check):
        job = self.file("scores.yaml", SCORES)
        rows = [line.split(";")[0] for line in
                (self.models / "scaled_network.csv").read_text().splitlines()]
        source = self.file("rows.csv", "\n".join(rows) + "\n")
        return millrace("run", job, "--set", f"input={source}", "--set",
                        f"output={self.folder / 'out'}", "--set",
                        f"model={self.models / 'scaled_network.onnx'}", "--work-dir",
                        self.folder / "work", check=check,
                        environment={"MILLRACE_ONNXRUNTIME": str(library)})

    def test_onnx_runtime_that_is_not_there_is_a_clear_error(self):
        done = self.run_scores("/nowhere/libonnxruntime.so", JOB_FAILED)
        self.assertIn("MR5101", done.stderr)
        self.assertIn("MILLRACE_ONNXRUNTIME", done.stderr)

    @unittest.skipUnless(library.exists(), "dev/setup fetches ONNX Runtime")
    def test_onnx_runtime_is_used_when_it_is_there(self):
        self.run_scores(self.library, OK)
        expected = sorted(float(line.split(";")[2]) for line in
                          (self.models / "scaled_network.csv").read_text().splitlines())
        found = sorted(row["score"] for row in rows(self.folder / "out"))
        self.assertEqual(len(found), 200)
        for got, wanted in zip(found, expected):
            self.assertAlmostEqual(got, wanted, delta=1e-6)

    def test_a_model_of_another_digest_is_refused_before_anything_starts(self):
        text = (ROOT / "examples/fraud_scoring.yaml").read_text()
        broken = self.file("job.yaml", re.sub("sha256: [0-9a-f]+", "sha256: " + 64 * "0", text))
        done = millrace("validate", broken, folder=ROOT, check=FAILED)
        self.assertIn("MR1505", done.stderr + done.stdout)


class RunTest(CommandTest):
    def setUp(self):
        super().setUp()
        self.job = self.file("counts.yaml", COUNTS)
        self.output = self.folder / "out"
        lines = [f"{item},2026-01-01 00:00:{second:02d}.000" for second in range(60)
                 for item in range(second % 7)]
        self.input = self.file("input.csv", "\n".join(lines) + "\n")
        self.expected = collections.Counter()
        for line in lines:
            item, at = line.split(",")
            self.expected[(int(item), int(at[17:19]) // 10)] += 1

    def run_counts(self, *more, check=OK, work_dir="work", job=None):
        return millrace("run", job or self.job, "--set", f"input={self.input}", "--set",
                        f"output={self.output}", "--work-dir", self.folder / work_dir, *more,
                        check=check)

    def counted(self):
        return {(row["item"], int(row["window_start"][17:19]) // 10): row["num"]
                for row in rows(self.output)}

    def test_a_bounded_job_ends_with_its_result_committed(self):
        done = self.run_counts()
        self.assertEqual(self.counted(), dict(self.expected))
        self.assertEqual(len(rows(self.output)), len(self.expected), "every window once")
        self.assertEqual(done.stdout, "", "progress is on standard error")
        self.assertIn("FINISHED", done.stderr)

    def test_any_parallelism_gives_the_same_result(self):
        self.run_counts("--parallelism", "3")
        self.assertEqual(self.counted(), dict(self.expected))

    def test_branches_meet_by_the_places_of_their_columns(self):
        job = self.file("union.yaml", UNION)
        done = millrace("run", job, "--work-dir", self.folder / "work", "--parallelism", "2",
                        check=OK)
        total = 0
        for line in done.stdout.splitlines():
            kind, values = line.split("> ", 1)[1].split("[")
            total += int(values.rstrip("]").split(",")[1]) * (1 if kind.startswith("+") else -1)
        self.assertEqual(total, 9)

    def test_a_folder_whose_job_has_ended_ends_at_once(self):
        self.run_counts()
        before = rows(self.output)
        done = self.run_counts()
        self.assertEqual(rows(self.output), before)
        self.assertIn("has ended; to run it again", done.stderr)

    def test_another_job_on_the_folder_is_refused(self):
        self.run_counts()
        other = self.file("other.yaml", COUNTS.replace("size: 10s", "size: 20s"))
        done = self.run_counts(job=other, check=CONFLICT)
        self.assertIn("another job", done.stderr)
        self.assertIn("--work-dir", done.stderr)

    def test_other_variables_on_the_folder_are_another_job(self):
        self.run_counts()
        self.output = self.folder / "elsewhere"
        done = self.run_counts(check=CONFLICT)
        self.assertIn("another job", done.stderr)

    def test_the_folder_is_free_again_after_a_job_that_was_not_valid(self):
        bad = self.file("bad.yaml", COUNTS.replace("item]", "itm]"))
        self.run_counts(job=bad, check=FAILED)
        self.run_counts()
        self.assertEqual(self.counted(), dict(self.expected))

    def test_a_job_from_standard_input(self):
        millrace("run", "-", "--set", f"input={self.input}", "--set", f"output={self.output}",
                 "--work-dir", self.folder / "work", text=COUNTS, check=OK)
        self.assertEqual(self.counted(), dict(self.expected))

    def test_the_default_folder_is_named_after_the_job_file(self):
        millrace("run", self.job, "--set", f"input={self.input}", "--set",
                 f"output={self.output}", folder=self.folder, check=OK)
        self.assertTrue((self.folder / ".millrace" / "counts").is_dir())

    def test_a_job_file_that_does_not_exist(self):
        done = millrace("run", self.folder / "nothing.yaml", check=USAGE)
        self.assertIn("nothing.yaml", done.stderr)

    def test_a_job_whose_input_does_not_exist_fails(self):
        self.input = self.folder / "nothing.csv"
        done = self.run_counts(check=JOB_FAILED)
        self.assertIn("nothing.csv", done.stderr)
        self.assertIn("FAILED", done.stderr)
        again = self.run_counts(check=JOB_FAILED)
        self.assertIn("nothing.csv", again.stderr)
        self.assertIn("--work-dir", again.stderr)

    def test_a_job_that_fails_says_why(self):
        # The sink's folder cannot be made: a file is in its way.
        self.output = self.file("in-the-way", "x") / "out"
        done = self.run_counts(check=JOB_FAILED)
        self.assertIn("in-the-way", done.stderr)

    def test_bad_rows_do_not_stop_a_job(self):
        text = self.input.read_text()
        self.input.write_text("what,is this\n" + text + "1,yesterday\n\n")
        self.run_counts()
        self.assertEqual(self.counted(), dict(self.expected))

    def test_an_interrupted_job_goes_on_where_it_was(self):
        job = self.file("numbers.yaml", NUMBERS)
        arguments = [MILLRACE, "run", str(job), "--set", f"output={self.output}", "--work-dir",
                     str(self.folder / "work")]
        for sign in (signal.SIGINT, signal.SIGKILL, signal.SIGTERM):
            first = not self.output.exists()
            before = len(rows(self.output)) if self.output.exists() else 0
            # Each start with another parallelism.
            parallelism = {signal.SIGINT: 1, signal.SIGKILL: 2, signal.SIGTERM: 3}[sign]
            with subprocess.Popen([*arguments, "--parallelism", str(parallelism)], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True) as process:
                deadline = time.monotonic() + 30
                while not self.output.exists() or len(rows(self.output)) <= before:
                    self.assertLess(time.monotonic(), deadline, "nothing is committed")
                    self.assertIsNone(process.poll())
                    time.sleep(0.05)
                process.send_signal(sign)
                _, error = process.communicate(timeout=30)
            said = f"runs with parallelism {parallelism}, before {parallelism - 1}"
            self.assertEqual(said in error, not first, error)
            if sign != signal.SIGKILL:
                self.assertEqual(process.returncode, INTERRUPTED, error)
        numbers = sorted(row["n"] for row in rows(self.output))
        self.assertEqual(numbers, list(range(len(numbers))), "every row once")

    def test_a_changed_job_goes_on_with_the_state_of_the_folder(self):
        job = self.file("numbers.yaml", NUMBERS)
        arguments = ["run", job, "--set", f"output={self.output}", "--work-dir",
                     self.folder / "work"]

        def run_for_a_while(*more):
            before = len(rows(self.output)) if self.output.exists() else 0
            with subprocess.Popen([MILLRACE, *map(str, arguments), *more], stderr=subprocess.PIPE,
                                  text=True) as process:
                deadline = time.monotonic() + 30
                while not self.output.exists() or len(rows(self.output)) <= before + 100:
                    self.assertLess(time.monotonic(), deadline, "nothing is committed")
                    self.assertIsNone(process.poll())
                    time.sleep(0.05)
                process.send_signal(signal.SIGINT)
                return process.communicate(timeout=30)[1]

        run_for_a_while()
        cut = len(rows(self.output))
        job.write_text(NUMBERS.replace("inputs: [numbers]", "inputs: [even]").replace(
            "settings:", "  - {uid: even, inputs: [numbers], filter: {predicate: n % 2 = 0}}\n"
            "settings:"))
        self.assertIn("--upgrade goes on with its state", millrace(*arguments, check=CONFLICT).stderr)
        said = run_for_a_while("--upgrade")
        self.assertRegex(said, r"numbers +kept")
        run_for_a_while()  # The folder has the new version now.
        numbers = sorted(row["n"] for row in rows(self.output))
        self.assertEqual(numbers[:cut], list(range(cut)))
        # What came between the last look and the interrupt was read by the old version.
        evens = [n for n in numbers if n % 2 == 0]
        odd = [n for n in numbers if n % 2 == 1]
        self.assertEqual(odd, list(range(1, 2 * len(odd), 2)))
        self.assertEqual(evens, list(range(0, 2 * len(evens), 2)))
        self.assertGreater(len(evens), len(odd) + 100)

    def test_two_processes_do_not_share_a_folder(self):
        job = self.file("numbers.yaml", NUMBERS)
        arguments = ["run", str(job), "--set", f"output={self.output}", "--work-dir",
                     str(self.folder / "work")]
        with subprocess.Popen([MILLRACE, *arguments], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as first:
            try:
                deadline = time.monotonic() + 30
                while not self.output.exists() or not rows(self.output):
                    self.assertLess(time.monotonic(), deadline, "nothing is committed")
                    time.sleep(0.05)
                done = millrace(*arguments, timeout=20)
                self.assertEqual(done.returncode, CONFLICT, done.stderr)
                self.assertIsNone(first.poll(), "the first one goes on")
            finally:
                first.send_signal(signal.SIGINT)
                first.wait(30)


QUERY = """
CREATE TABLE words (word STRING, n BIGINT) WITH ('connector' = 'file', 'path' = '${input}', 'format' = 'csv');
SELECT word, count(*) AS num, sum(n) AS total FROM words GROUP BY word;
"""
# Changes rows for ever.
ENDLESS_QUERY = """
SET 'execution.checkpointing.interval' = '100 ms';
CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '100',
  'fields.n.min' = '1', 'fields.n.max' = '3');
SELECT n, count(*) AS num FROM numbers GROUP BY n;
"""


class QueryTest(CommandTest):
    """A SELECT alone at the end of a script."""

    def setUp(self):
        super().setUp()
        self.input = self.file("words.csv", "a,1\nb,2\na,3\n\"\x1b[31mred\",4\n")
        self.query = self.file("query.sql", QUERY)

    def run_query(self, *more, check=OK, **options):
        return millrace("run", self.query, "--set", f"input={self.input}", "--parallelism", "1",
                        *more, check=check, folder=self.folder, **options)

    def test_arrays_are_arrays_of_json(self):
        self.query = self.file("arrays.sql", QUERY.split("SELECT")[0]
                               + "SELECT ARRAY[n, NULL] AS a, ARRAY[word] AS b FROM words;")
        rows = [json.loads(line) for line in
                self.run_query("-o", "json").stdout.splitlines()]
        self.assertIn({"op": "+I", "a": [1, None], "b": ["a"]}, rows)

    def on_terminal(self, *arguments, environment=None, until=None):
        """What the command shows on a terminal, and its exit code; interrupted once `until` is
        there."""
        leader, follower = pty.openpty()
        self.addCleanup(os.close, leader)
        process = subprocess.Popen([MILLRACE, *map(str, arguments)], stdout=follower,
                                   stderr=subprocess.PIPE, cwd=self.folder,
                                   env={**os.environ, "TERM": "xterm", "NO_COLOR": "",
                                        **(environment or {})})
        os.close(follower)
        shown, interrupted = b"", False
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            ready, _, _ = select.select([leader], [], [], 0.2)
            try:
                if ready and not (piece := os.read(leader, 65536)):
                    break
                shown += piece if ready else b""
            except OSError:  # Nobody writes any more.
                break
            if until is not None and not interrupted and until in shown:
                interrupted = True
                process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        return shown.decode(), process.returncode

    def test_changes_are_lines_of_json(self):
        done = self.run_query()
        changes = [json.loads(line) for line in done.stdout.splitlines()]
        left = []
        for change in changes:
            op = change.pop("op")
            left.append(change) if op in ("+I", "+U") else left.remove(change)
        self.assertEqual({row["word"]: (row["num"], row["total"]) for row in left},
                         {"a": (2, 4), "b": (1, 2), "\x1b[31mred": (1, 4)})
        self.assertIn("FINISHED", done.stderr)

    def test_a_table_is_what_is_left(self):
        done = self.run_query("-o", "table")
        lines = done.stdout.splitlines()
        self.assertEqual(lines[0].split(), ["word", "num", "total"])
        self.assertEqual(sorted(line.split()[0] for line in lines[1:]),
                         ["\\x1b[31mred", "a", "b"], "nothing that a terminal would obey")
        self.assertEqual([line.split()[1:] for line in lines if line.startswith("a ")],
                         [["2", "4"]])

    def test_yaml_is_a_list(self):
        lines = self.run_query("-o", "yaml").stdout.splitlines()
        self.assertTrue(all(line.startswith('- {"op":"') for line in lines), lines)

    def test_a_table_keeps_so_many_rows(self):
        lines = self.run_query("-o", "table", "--rows", "1").stdout.splitlines()
        self.assertIn("(2 earlier rows)", lines)
        self.assertEqual(len(lines), 3)

    def test_a_query_leaves_no_folder_and_can_be_run_again(self):
        first = self.run_query().stdout
        self.assertTrue(first)
        self.assertEqual(self.run_query().stdout, first)
        self.assertEqual(list((self.folder / ".millrace").iterdir()), [])

    def test_a_query_with_a_folder_goes_on_there(self):
        self.assertTrue(self.run_query("--work-dir", "work").stdout)
        done = self.run_query("--work-dir", "work")
        self.assertEqual(done.stdout, "")
        self.assertIn("has ended", done.stderr)

    def test_a_terminal_shows_a_table_that_changes_in_place(self):
        query = self.file("endless.sql", ENDLESS_QUERY)
        shown, code = self.on_terminal("run", query, "--parallelism", "1", until=b"\x1b[4A")
        self.assertEqual(code, INTERRUPTED)
        self.assertIn("\x1b[4A\r\x1b[J", shown, "over the head and three rows")
        last = shown.rsplit("\x1b[J", 1)[1].split("\r\n")
        self.assertEqual(last[0].split(), ["n", "num"])
        self.assertEqual(sorted(line.split()[0] for line in last[1:4]), ["1", "2", "3"])

    def test_a_terminal_that_cannot_move_gets_lines(self):
        query = self.file("endless.sql", ENDLESS_QUERY)
        shown, code = self.on_terminal("run", query, "--parallelism", "1",
                                       environment={"TERM": "dumb"}, until=b"+U")
        self.assertEqual(code, INTERRUPTED)
        self.assertNotIn("\x1b", shown)
        self.assertIn('{"op":"+I","n":', shown)

    def test_rows_that_never_change_are_appended(self):
        self.query = self.file("list.sql", QUERY.split("SELECT")[0] + "SELECT word, n FROM words;")
        shown, code = self.on_terminal("run", self.query, "--set", f"input={self.input}",
                                       "--parallelism", "1")
        self.assertEqual(code, OK)
        self.assertNotIn("\x1b", shown)
        lines = [line.split() for line in shown.split("\r\n") if line]
        self.assertEqual(lines[:3], [["word", "n"], ["a", "1"], ["b", "2"]])

    def test_a_problem_of_a_query_is_told_and_leaves_nothing(self):
        self.query = self.file("bad.sql", "SELECT a FROM nothing;")
        done = self.run_query(check=FAILED)
        self.assertIn("MR1212", done.stderr)
        self.assertFalse((self.folder / ".millrace").exists())

    def test_a_reader_that_goes_away_ends_it(self):
        query = self.file("endless.sql", ENDLESS_QUERY)
        process = subprocess.Popen([MILLRACE, "run", str(query)], stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, cwd=self.folder)
        self.assertTrue(process.stdout.readline())
        process.stdout.close()
        self.assertNotEqual(process.wait(30), 0)


TOTALS = """
CREATE TABLE sale (item STRING, amount BIGINT) WITH ('connector' = 'datagen');
SELECT item, sum(amount) AS total FROM sale GROUP BY item;
"""


class TestDriverTest(CommandTest):
    """The protocol of `millrace test-driver`; what it does is tested by the Python package."""

    def ask(self, *requests, job=TOTALS, check=OK):
        text = "".join(request if isinstance(request, str) else json.dumps(request) + "\n"
                       for request in requests)
        done = millrace("test-driver", self.file("job.sql", job), text=text, check=check)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def test_a_response_per_request(self):
        feed = {"feed": {"source": "sale", "rows": ['{"item": "a", "amount": 1}']}}
        started, fed, shown, again = self.ask(feed, {"output": "select"}, {"output": "select"})
        self.assertEqual(started, {"sources": ["sale"], "sinks": ["select.print"]})
        self.assertEqual(fed, {})
        self.assertEqual(shown["rows"], [{"op": "+I", "values": ["YQ==", "MQ=="]}])
        self.assertNotIn("rows", again)

    def test_what_is_no_request_is_refused_and_the_next_one_answered(self):
        responses = self.ask("{\n", "\n", "[1]\n", '{"unknown": 1}\n', '{"feed": 3}\n',
                             {"feed": {"source": "nowhere"}},
                             {"feed": {"source": "sale", "rows": ["1", "{}", "no"]}},
                             {"advance_watermark": {"source": "sale", "to": "2026-01-01 00:00:00"}},
                             {"advance_time": {"ms": "18446744073709551615"}}, {"restart": {}})
        for response in responses[1:-1]:
            self.assertIn("error", response)
        self.assertIn("it has sale", responses[6]["error"])
        self.assertIn("no watermark", responses[8]["error"])
        self.assertEqual(responses[-1], {})

    def test_a_job_that_is_not_valid(self):
        (started,) = self.ask(job="SELECT a FROM nothing;", check=FAILED)
        self.assertEqual([one["code"] for one in started["diagnostics"]], ["MR1212"])
        millrace("test-driver", "-", check=USAGE)
        millrace("test-driver", self.file("job.sql", TOTALS), "--start", "now", check=USAGE)

    def test_it_leaves_nothing_behind(self):
        environment = {"TMPDIR": str(self.folder)}
        done = millrace("test-driver", self.file("job.sql", TOTALS), text='{"restart": {}}\n',
                        environment=environment, check=OK)
        self.assertEqual(done.stderr, "")
        self.assertEqual([path.name for path in self.folder.iterdir()], ["job.sql"])


class CompletionTest(CommandTest):
    def complete(self, *words):
        script = self.file("complete.bash", millrace("completion", "bash", check=OK).stdout)
        done = subprocess.run(
            ["bash", "-c", 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
             '_millrace; printf "%s\\n" "${COMPREPLY[@]}"', "-", str(script), MILLRACE, *words],
            capture_output=True, text=True, check=True, env={**os.environ, **{
                "MILLRACE_COORDINATOR": CLUSTER.address}})
        return done.stdout.split()

    def test_bash_completes_commands_and_flags(self):
        self.assertIn("tail", self.complete("ta"))
        self.assertEqual(self.complete("get", "j"), ["jobs"])
        self.assertIn("--follow", self.complete("tail", "--f"))
        self.assertIn("--parallelism", self.complete("--coordinator", "x", "run", "--par"))
        self.assertEqual(self.complete("get", "jobs", "-o", "y"), ["yaml"])

    def test_bash_completes_names_of_jobs(self):
        job = millrace("--coordinator", CLUSTER.address, "submit",
                       self.file("numbers.yaml", NUMBERS), "--set", "name=completed", "--set",
                       f"output={self.folder / 'o'}", check=OK).stdout.strip()
        self.addCleanup(millrace, "--coordinator", CLUSTER.address, "cancel", job)
        self.assertIn(job, self.complete("describe", "comp"))

    def test_the_other_shells(self):
        self.assertIn("bashcompinit", millrace("completion", "zsh", check=OK).stdout)
        fish = millrace("completion", "fish", check=OK).stdout
        self.assertIn("complete -c millrace -n '__millrace_at get' -a jobs", fish)
        millrace("completion", "tcsh", check=USAGE)


class CheckTest(CommandTest):
    BAD = """name: bad
nodes:
  - uid: numbers
    source: {connector: datagen, options: {number-of-rows: many}}
    schema: [n BIGINT]
  - uid: keep
    inputs: [numbers]
    filter: {predicate: m > 1}
  - uid: nowhere
    inputs: [kept]
    sink: {connector: blackhole}
"""

    def test_a_valid_job(self):
        job = self.file("numbers.yaml", NUMBERS)
        done = millrace("validate", job, "--set", "output=x", check=OK)
        self.assertEqual(done.stdout, f"{job}: valid\n")

    def test_all_problems_at_once_with_file_and_line(self):
        job = self.file("bad.yaml", self.BAD)
        for command in ("validate", "explain", "run", "submit"):
            done = millrace(command, job, *(("--work-dir", self.folder / "w")
                                            if command == "run" else ()),
                            environment={"MILLRACE_COORDINATOR": CLUSTER.address}, check=FAILED)
            self.assertIn(f"{job}:4:", done.stderr, command)
            self.assertIn(f"{job}:8:", done.stderr, command)
            self.assertIn(f"{job}:10:", done.stderr, command)
            for code in ("MR1302", "MR1203", "MR1106"):
                self.assertEqual(done.stderr.count(code), 1, (command, done.stderr))
            self.assertEqual(done.stdout, "", command)

    def test_the_line_of_a_problem_with_a_caret(self):
        job = self.file("bad.sql", "-- Größe\nSELECT\n\t'ä' || nam FROM (VALUES ('x')) AS t(name);\n")
        done = millrace("validate", job, check=FAILED)
        self.assertIn("\n  |  \t'ä' || nam FROM (VALUES ('x')) AS t(name);\n"
                      "  |  \t       ^\n", done.stderr)

    def test_a_variable_that_is_not_set(self):
        job = self.file("numbers.yaml", NUMBERS)
        done = millrace("validate", job, check=FAILED)
        self.assertIn("MR1005", done.stderr)
        self.assertIn("output", done.stderr)

    def test_not_yaml(self):
        done = millrace("validate", "-", text="a: [", check=FAILED)
        self.assertIn("MR1001", done.stderr)

    def test_problems_as_json(self):
        done = millrace("validate", "-", "-o", "json", text=self.BAD, check=FAILED)
        problems = json.loads(done.stdout)["diagnostics"]
        self.assertLessEqual({"MR1302", "MR1203", "MR1106"},
                             {problem["code"] for problem in problems})
        done = millrace("validate", "-", "-o", "json", "--set", "output=x", text=NUMBERS, check=OK)
        self.assertIs(json.loads(done.stdout)["valid"], True)

    def test_explain_shows_the_plan(self):
        done = millrace("explain", self.file("counts.yaml", COUNTS), "--set", "input=i", "--set",
                        "output=o", check=OK)
        for word in ("windows", "tumble", "hash(item)", "state"):
            self.assertIn(word, done.stdout)

    def test_explain_as_json_is_the_compiled_graph(self):
        done = millrace("explain", "-", "--set", "output=x", "-o", "json", text=NUMBERS, check=OK)
        graph = json.loads(done.stdout)
        self.assertEqual([node["uid"] for node in graph["nodes"]], ["numbers", "files"])

    def test_the_examples_are_valid(self):
        for job in sorted((ROOT / "examples").glob("*.yaml")):
            with self.subTest(job.name):
                settings = [flag for name in ("input", "output", "brokers", "host", "user", "database")
                            for flag in ("--set", f"{name}=x")]
                millrace("validate", job, *settings, check=OK)


class GenerateTest(CommandTest):
    def generate(self, *arguments):
        return millrace("generate", "nexmark", *arguments, "--to", "-", check=OK).stdout

    def test_the_same_arguments_give_the_same_bytes(self):
        first = self.generate("--events", 500, "--seed", 7)
        self.assertEqual(first, self.generate("--events", 500, "--seed", 7))
        self.assertNotEqual(first, self.generate("--events", 500, "--seed", 8))
        events = [json.loads(line) for line in first.splitlines()]
        self.assertEqual(len(events), 500)
        kinds = collections.Counter(event["event_type"] for event in events)
        self.assertEqual(kinds, {0: 10, 1: 30, 2: 460})

    def test_pieces_concatenate_to_the_whole(self):
        whole = self.generate("--events", 1000)
        pieces = [self.generate("--events", count, "--first", first)
                  for first, count in ((0, 1), (1, 499), (500, 0), (500, 500))]
        self.assertEqual("".join(pieces), whole)

    def test_a_file_has_what_standard_output_has(self):
        path = self.folder / "events.json"
        done = millrace("generate", "nexmark", "--events", 300, "--to", f"file:{path}", check=OK)
        self.assertEqual(done.stdout, "")
        self.assertEqual(path.read_text(), self.generate("--events", 300))

    def test_the_source_makes_the_same_events(self):
        job = """
name: events
nodes:
  - uid: events
    source: {connector: nexmark, options: {number-of-events: "300", seed: "3"}}
    schema: [event_type INT, price BIGINT FROM 'bid.price']
  - uid: files
    inputs: [events]
    sink: {connector: file, format: json, options: {path: "${output}"}}
"""
        millrace("run", "-", "--set", f"output={self.folder / 'out'}", "--work-dir",
                 self.folder / "work", text=job, check=OK)
        prices = sorted(row["price"] for row in rows(self.folder / "out") if row["event_type"] == 2)
        events = map(json.loads, self.generate("--events", 300, "--seed", 3).splitlines())
        self.assertEqual(prices, sorted(event["bid"]["price"] for event in events
                                        if event["event_type"] == 2))

    def test_bad_arguments(self):
        for arguments in (("--events", "-1"), ("--events", "many"), ("--events", 1, "--rate", 0),
                          ("--events", 1, "--partitions", 0), ("--events", 1, "--to", "ftp:x"),
                          ("--events", 1, "--to", "kafka:topic")):
            with self.subTest(arguments):
                more = () if "--to" in arguments else ("--to", "-")
                done = millrace("generate", "nexmark", *arguments, *more, check=USAGE)
                self.assertEqual(done.stdout, "")
                self.assertNotEqual(done.stderr, "")

    def test_a_file_that_cannot_be_written(self):
        done = millrace("generate", "nexmark", "--events", 1, "--to",
                        f"file:{self.folder}/no/such/folder/x")
        self.assertIn(done.returncode, (FAILED, NOT_FOUND), done.stderr)
        self.assertIn("no/such/folder", done.stderr)

    def test_a_reader_that_goes_away(self):
        with subprocess.Popen([MILLRACE, "generate", "nexmark", "--events", "100000000", "--to",
                               "-"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            process.stdout.readline()
            process.stdout.close()
            process.wait(20)  # Ends instead of writing to nobody.


class UsageTest(CommandTest):
    def test_usage_errors(self):
        job = self.file("numbers.yaml", NUMBERS)
        for arguments in ((), ("fly",), ("run",), ("run", job, "--fast"), ("get",),
                          ("get", "nothing"), ("submit",), ("savepoint", "job"),
                          ("run", job, "--set", "novalue"), ("run", job, "--set", "=x"),
                          ("validate", job, "--set", "novalue"),
                          ("run", job, "--checkpoint-interval", "soon"),
                          ("run", job, "--checkpoint-interval", "-1s"),
                          ("run", job, "--memory-mb", "0"), ("run", job, "--parallelism", "-1"),
                          ("get", "jobs", "-o", "xml"), ("wait", "job", "--timeout", "x"),
                          ("generate",), ("generate", "nexmark"), ("version", "extra")):
            with self.subTest(arguments):
                done = millrace(*arguments, check=USAGE)
                self.assertEqual(done.stdout, "")
                self.assertNotEqual(done.stderr, "")

    def test_help_is_no_error(self):
        done = millrace("--help", check=OK)
        for command in ("run", "submit", "savepoint", "generate", "version"):
            self.assertIn(command, done.stdout)
        self.assertIn("--work-dir", millrace("run", "--help", check=OK).stdout)

    def test_version(self):
        self.assertRegex(millrace("version", check=OK).stdout, r"^millrace \d+\.\d+\.\d+\n$")

    def test_output_that_does_not_arrive_is_an_error(self):
        for arguments in (["version"], ["--help"], ["explain", str(ROOT / "examples/sessions.yaml")]):
            with self.subTest(arguments), open("/dev/full", "w") as full:
                done = subprocess.run([MILLRACE, *arguments], stdout=full, stderr=subprocess.PIPE,
                                      text=True, check=False)
                self.assertEqual(done.returncode, FAILED, done.stderr)
                self.assertIn("cannot write to standard output: No space left", done.stderr)

    def test_no_colours_where_nobody_looks(self):
        for environment in ({}, {"NO_COLOR": "1"}):
            done = millrace("validate", "-", text=CheckTest.BAD, environment=environment)
            self.assertNotIn("\x1b", done.stdout + done.stderr)

    def test_an_unreachable_coordinator(self):
        for arguments in (("get", "jobs"), ("get", "workers"), ("describe", "job"),
                          ("cancel", "job"), ("wait", "job"), ("logs", "job")):
            with self.subTest(arguments):
                done = millrace("--coordinator", "127.0.0.1:1", *arguments, check=UNAVAILABLE)
                self.assertIn("127.0.0.1:1", done.stderr)
                self.assertEqual(done.stdout, "")


class RemoteTest(CommandTest):
    def millrace(self, *arguments, check=OK, **options):
        return millrace(*arguments, check=check,
                        environment={"MILLRACE_COORDINATOR": CLUSTER.address}, **options)

    def submit(self, name, *more):
        job = self.millrace("submit", self.file("numbers.yaml", NUMBERS), "--set", f"name={name}",
                            "--set", f"output={self.folder / name}", *more).stdout.strip()
        self.addCleanup(millrace, "cancel", job,
                        environment={"MILLRACE_COORDINATOR": CLUSTER.address})
        return job

    def await_epoch(self, job, number):
        deadline = time.monotonic() + 30
        while True:
            state = json.loads(self.millrace("describe", job, "-o", "json").stdout)["job"]
            if int(state.get("last_epoch", 0)) >= number:
                return state
            self.assertLess(time.monotonic(), deadline, state)
            time.sleep(0.05)

    def test_the_life_of_a_job(self):
        job = self.submit("life")
        self.await_epoch(job, 2)
        self.assertIn(job, self.millrace("get", "jobs").stdout)
        self.assertIn(job, self.millrace("get", "jobs", "-o", "name").stdout.splitlines())
        self.assertIn("LAST ERROR", self.millrace("get", "jobs", "-o", "wide").stdout)
        described = self.millrace("describe", job).stdout
        self.assertIn("RUNNING", described)
        self.assertIn("source datagen", described)
        self.assertIn("EPOCH", self.millrace("get", "checkpoints", job).stdout)
        done = self.millrace("wait", job, "--timeout", "1", check=TIMEOUT)
        self.assertEqual(done.stdout, "")
        self.assertEqual(self.millrace("stop", job).stdout, "")
        self.assertEqual(self.millrace("wait", job).stdout, "STOPPED\n")
        logs = self.millrace("logs", job).stdout
        self.assertIn("RUNNING -> STOPPING", logs)
        self.assertIn("deploying generation=1", logs)  # What the worker said of the job, too.
        self.assertEqual(len(self.millrace("logs", job, "--lines", "2").stdout.splitlines()), 2)
        numbers = sorted(row["n"] for row in rows(self.folder / "life"))
        self.assertEqual(numbers, list(range(len(numbers))))
        state = json.loads(self.millrace("describe", job, "-o", "json").stdout)["job"]
        # Rows behind the last barrier were seen, too, but are not committed.
        self.assertGreaterEqual(int(state["nodes"][1]["rows_in"]), len(numbers))

    def test_json_is_json(self):
        job = self.submit("json")
        self.await_epoch(job, 1)
        jobs = json.loads(self.millrace("get", "jobs", "-o", "json").stdout)["jobs"]
        self.assertIn(job, [one["job_id"] for one in jobs])
        (worker,) = json.loads(self.millrace("get", "workers", "-o", "json").stdout)["workers"]
        self.assertEqual(worker["cores"], 1)
        names = self.millrace("get", "workers", "-o", "name").stdout
        self.assertEqual(names, worker["worker_id"] + "\n")
        epochs = json.loads(self.millrace("get", "checkpoints", job, "-o", "json").stdout)
        self.assertTrue(epochs["checkpoints"])
        described = json.loads(self.millrace("describe", job, "-o", "json").stdout)
        self.assertEqual(described["job"]["state"], "JOB_STATE_RUNNING")
        lines = json.loads(self.millrace("logs", job, "-o", "json").stdout)["lines"]
        self.assertTrue(lines)
        stopped = json.loads(self.millrace("stop", job, "-o", "json").stdout)
        self.assertGreater(int(stopped["epoch"]), 0)
        waited = json.loads(self.millrace("wait", job, "-o", "json").stdout)
        self.assertEqual(waited["state"], "JOB_STATE_STOPPED")

    def test_yaml_says_the_same_as_json(self):
        job = self.submit("yaml")
        self.await_epoch(job, 1)
        for arguments in (("get", "workers"), ("get", "checkpoints", job)):
            with self.subTest(arguments):
                text = self.millrace(*arguments, "-o", "yaml").stdout
                self.assertRegex(text, r"\A(workers|checkpoints):\n- ")
        described = self.millrace("describe", job, "-o", "yaml").stdout
        self.assertIn(f"job:\n  job_id: {job}\n", described)
        self.assertIn("  state: JOB_STATE_RUNNING\n", described)
        self.assertRegex(described, r"\n  created_unix_us: \d+\n")
        self.assertIn('rows-per-second: "1000"', described)
        self.assertRegex(self.millrace("stop", job, "-o", "yaml").stdout, r"\Aepoch: \d+\n\Z")

    def test_tail_shows_a_sample_of_the_rows_of_a_node(self):
        job = self.submit("tailed")
        self.await_epoch(job, 1)
        done = self.millrace("tail", job, "numbers", "--lines", "5", "-o", "json")
        found = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual(len(found), 5)
        self.assertEqual({row["op"] for row in found}, {"+I"})
        numbers = [row["n"] for row in found]
        self.assertEqual(numbers, sorted(numbers))
        # What a sink is given; more rows than a second shows, so that some are left out.
        done = self.millrace("tail", job, "files", "--lines", "40", "--rows-per-second", "20")
        lines = done.stdout.splitlines()
        self.assertEqual(lines[0].strip(), "n")
        self.assertEqual(len(lines), 41)
        self.assertRegex(done.stderr, r"40 rows shown, \d+ left out")
        self.assertEqual(self.millrace("wait", job, "--timeout", "1", check=TIMEOUT).stdout, "")

    def test_tail_follows_until_the_end_of_the_job(self):
        job = self.submit("followed")
        self.await_epoch(job, 1)
        process = subprocess.Popen([MILLRACE, "tail", job, "numbers", "--follow", "-o", "json"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   env={**os.environ, "MILLRACE_COORDINATOR": CLUSTER.address})
        first = json.loads(process.stdout.readline())
        self.millrace("stop", job)
        rest, _ = process.communicate(timeout=30)
        self.assertEqual(process.returncode, OK)
        self.assertGreater(len(rest.splitlines()), 0)
        self.assertGreaterEqual(first["n"], 0)

    def test_tail_ends_with_an_interrupt(self):
        job = self.submit("interrupted")
        self.await_epoch(job, 1)
        process = subprocess.Popen([MILLRACE, "tail", job, "numbers", "-f"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env={**os.environ, "MILLRACE_COORDINATOR": CLUSTER.address})
        self.assertTrue(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        self.assertEqual(process.returncode, INTERRUPTED)

    def test_tail_of_what_is_not_there(self):
        job = self.submit("strict")
        self.await_epoch(job, 1)
        done = self.millrace("tail", job, "number", check=NOT_FOUND)
        self.assertIn("it has numbers, files", done.stderr)
        self.millrace("tail", "nobody", "numbers", check=NOT_FOUND)
        self.millrace("stop", job)
        self.millrace("tail", job, "numbers", check=CONFLICT)

    def test_a_restarted_job_goes_on_without_a_gap(self):
        job = self.submit("restarted")
        self.await_epoch(job, 2)
        done = self.millrace("restart", job, "-o", "json")
        epoch = int(json.loads(done.stdout)["epoch"])
        self.assertIn(f"from epoch {epoch} on", done.stderr)
        self.await_epoch(job, epoch + 2)
        self.millrace("restart", job, "--from-checkpoint")
        state = self.await_epoch(job, epoch + 4)
        self.assertEqual(state.get("restarts", 0), 0)
        self.assertEqual(state["attempt"], "3")
        self.millrace("stop", job)
        numbers = sorted(row["n"] for row in rows(self.folder / "restarted"))
        self.assertEqual(numbers, list(range(len(numbers))))
        done = self.millrace("restart", job, check=CONFLICT)
        self.assertIn("--savepoint", done.stderr)

    def test_an_ended_job_cannot_be_changed(self):
        job = self.submit("ended")
        self.await_epoch(job, 1)
        self.assertEqual(self.millrace("cancel", job).stdout, "")
        self.assertEqual(self.millrace("wait", job).stdout, "CANCELLED\n")
        self.millrace("stop", job, check=CONFLICT)
        self.millrace("savepoint", job, self.folder / "sp", check=CONFLICT)

    def test_a_job_goes_on_from_a_savepoint(self):
        job = self.submit("first")
        self.await_epoch(job, 1)
        made = self.millrace("savepoint", job, self.folder / "savepoints").stdout.strip()
        self.assertIn(str(self.folder / "savepoints"), made)
        stopped = self.millrace("stop", job, "--savepoint", self.folder / "last").stdout.strip()
        count = len(rows(self.folder / "first"))
        second = self.submit("second", "--savepoint", stopped)
        self.await_epoch(second, 3)
        self.millrace("stop", second)
        more = sorted(row["n"] for row in rows(self.folder / "second"))
        self.assertTrue(more)
        self.assertEqual(more, list(range(count, count + len(more))), "no gap, nothing twice")

    def test_a_savepoint_folder_may_be_relative(self):
        job = self.submit("relative")
        self.await_epoch(job, 1)
        made = self.millrace("savepoint", job, "here", folder=self.folder).stdout.strip()
        self.assertIn(str(self.folder / "here"), made)
        self.assertTrue((self.folder / "here").is_dir())
        second = self.submit("again", "--savepoint", made)
        self.await_epoch(second, 3)

    def test_a_savepoint_that_does_not_exist(self):
        done = self.millrace("submit", self.file("numbers.yaml", NUMBERS), "--set", "output=x",
                             "--savepoint", self.folder / "nothing", check=NOT_FOUND)
        self.assertIn("nothing", done.stderr)

    def test_an_unknown_job(self):
        for arguments in (("describe", "nobody"), ("wait", "nobody"), ("stop", "nobody"),
                          ("cancel", "nobody"), ("logs", "nobody"),
                          ("get", "checkpoints", "nobody"), ("savepoint", "nobody", "x")):
            with self.subTest(arguments):
                done = self.millrace(*arguments, check=NOT_FOUND)
                self.assertIn("nobody", done.stderr)
                self.assertEqual(done.stdout, "")

    def test_a_name_will_do_while_only_one_job_has_it(self):
        job = self.submit("by-name")
        self.assertIn(job, self.millrace("describe", "by-name").stdout)
        self.submit("by-name")
        self.millrace("describe", "by-name", check=CONFLICT)

    def test_the_same_request_id_submits_once(self):
        first = self.submit("once", "--request-id", "cli-once")
        self.assertEqual(first, self.submit("once", "--request-id", "cli-once"))

    def test_wait_tells_that_a_job_failed(self):
        job = self.millrace("submit", self.file("counts.yaml", COUNTS), "--set",
                            f"input={self.folder}/nothing.csv", "--set",
                            f"output={self.folder}/o").stdout.strip()
        done = self.millrace("wait", job, "--timeout", "60", check=JOB_FAILED)
        self.assertIn("nothing.csv", done.stderr)
        self.assertEqual(done.stdout, "FAILED\n")


def setUpModule():
    global CLUSTER, FOLDER
    FOLDER = tempfile.mkdtemp(prefix="millrace-cli-cluster-")
    CLUSTER = Cluster(FOLDER, memory_mb=128)
    CLUSTER.__enter__()
    deadline = time.monotonic() + 30
    while not json.loads(millrace("--coordinator", CLUSTER.address, "get", "workers", "-o", "json",
                                  check=OK).stdout).get("workers"):
        assert time.monotonic() < deadline, "no worker has registered"
        time.sleep(0.05)


def tearDownModule():
    CLUSTER.__exit__()
    shutil.rmtree(FOLDER, ignore_errors=True)


if __name__ == "__main__":
    unittest.main(verbosity=1)
