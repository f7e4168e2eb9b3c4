"""Dead letters in a topic: written with the headers of Kafka Connect in the epoch of the results,
listed and replayed by `millrace dlq`. MILLRACE_TEST_KAFKA names the broker."""

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

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))
from cluster import BUILD, Kafka  # noqa: E402

MILLRACE = str(BUILD / "cli" / "millrace")
OK, FAILED, USAGE, NOT_FOUND, CONFLICT, UNAVAILABLE = 0, 1, 2, 3, 4, 6

JOB = """
SET 'pipeline.dead-letters' = 'letters';
SET 'pipeline.late-rows' = 'letters';
SET 'execution.checkpointing.interval' = '100 ms';
CREATE TABLE clicks (id BIGINT, n INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'kafka', 'topic' = '{name}-in', 'properties.bootstrap.servers' = '{brokers}',
      'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = '{end}', 'format' = 'json');
CREATE TABLE letters (uid STRING, source STRING, `partition` INT, `offset` BIGINT, `time` TIMESTAMP(3),
                      code STRING, error STRING, key BYTES, raw BYTES, columns STRING)
WITH ('connector' = 'kafka', 'topic' = '{name}-letters', 'format' = 'dead-letter',
      'properties.bootstrap.servers' = '{brokers}');
CREATE TABLE tenths (id BIGINT, tenth INT)
WITH ('connector' = 'kafka', 'topic' = '{name}-out', 'format' = 'json',
      'properties.bootstrap.servers' = '{brokers}');
CREATE TABLE inverses (starttime TIMESTAMP(3), n BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO tenths SELECT id, 10 / n FROM clicks;
INSERT INTO inverses SELECT window_start, 1 / (count(*) - 1)
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '1' SECOND))
GROUP BY window_start, window_end;
"""


def click(number, n, second=0):
    return json.dumps({"id": number, "n": n, "ts": f"2026-01-01 00:00:{second:02d}.000"})


class DeadLettersTest(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.kafka = cls.enterClassContext(Kafka("test"))

    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="millrace-letters-")))
        self.name = f"letters-{time.time_ns()}"
        for topic in ("in", "out", "letters", "again"):
            self.kafka.create_topic(f"{self.name}-{topic}", 3)
        self.letters = f"kafka:{self.kafka.address}/{self.name}-letters"
        self.again = f"kafka:{self.kafka.address}/{self.name}-again"

    def produce(self, topic, lines, partition=0, headers=()):
        """Lines are key|value."""
        flags = [flag for header in headers for flag in ("-H", header)]
        subprocess.run(["kcat", "-b", self.kafka.address, "-P", "-t", f"{self.name}-{topic}", "-p",
                        str(partition), "-K", "|", "-X", "message.max.bytes=1048000", *flags],
                       input=b"".join(line + b"\n" for line in lines), check=True)

    def read(self, topic, form="%k|%s|%h"):
        return self.kafka.read_committed(f"{self.name}-{topic}", form)

    def millrace(self, *arguments, failpoints=None):
        environment = {**os.environ, **({"MILLRACE_FAILPOINTS": failpoints} if failpoints else {})}
        return subprocess.run([MILLRACE, *arguments], capture_output=True, text=True, timeout=60,
                              env=environment)

    def listed(self, *arguments):
        done = self.millrace("dlq", "list", "--from", self.letters, "-o", "json", *arguments)
        self.assertEqual(done.returncode, OK, done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def run_job(self, failpoints=None):
        job = self.folder / "job.sql"
        job.write_text(JOB.format(name=self.name, brokers=self.kafka.address, end="latest-offset"))
        done = self.millrace("run", str(job), "--work-dir", str(self.folder / "work"),
                             failpoints=failpoints)
        self.assertEqual(done.returncode, -signal.SIGKILL if failpoints else OK, done.stderr)

    def test_letters_are_there_once_though_the_job_is_killed(self):
        bad = [f"k{i}|bad {i}".encode() for i in range(500)]
        self.produce("in", [b"|" + click(i, 5).encode() for i in range(500)] + bad)
        for failpoint in ("kafka.commit.after_produce=crash@1", "kafka.commit.after_commit=crash@1"):
            self.run_job(failpoint)
        self.run_job()
        self.assertEqual(collections.Counter(self.read("letters", "%k|%s")),
                         collections.Counter(line.decode() for line in bad))
        self.assertEqual(sorted(json.loads(line)["id"] for line in self.read("out", "%s")),
                         list(range(500)))

    def test_letters_have_the_record_and_the_headers_of_connect(self):
        self.produce("in", [b"k0|" + click(0, 5).encode(), b"k1|not json",
                            b"k2|" + click(2, 0).encode(), b"k3|" + click(3, 2).encode(),
                            b"k4|" + click(4, 5, second=7).encode()], partition=1)
        self.run_job()
        self.assertEqual(len(self.read("out")), 3)
        # Both queries read the clicks; each letter is of one of them.
        letters = {(row["code"], row.get("source_offset")): row for row in self.listed()}
        broken = letters["MR3101", 1]
        self.assertEqual((broken["source"], broken["source_partition"], broken["uid"]),
                         (f"{self.name}-in", 1, "clicks"))
        self.assertEqual((broken["key"], broken["value"]), ("k1", "not json"))
        self.assertEqual(broken["stage"], "VALUE_CONVERTER")
        self.assertTrue(broken["replayable"])
        # An expression behind the decoder: the same, for the record is still known.
        zero = letters["MR4002", 2]
        self.assertEqual((zero["key"], zero["value"]), ("k2", click(2, 0)))
        self.assertEqual((zero["source"], zero["source_partition"]), (f"{self.name}-in", 1))
        self.assertIn("zero", zero["error"])
        self.assertEqual(zero["stage"], "TRANSFORMATION")
        # Behind an exchange: the row, and what it has.
        lone = letters["MR4002", None]
        self.assertEqual(lone["columns"], ", ".join(json.loads(lone["value"])))
        self.assertFalse(lone["replayable"])
        self.assertNotIn("source", lone)
        headers = [line for line in self.read("letters") if line.startswith("k1|")][0]
        for text in ("__connect.errors.topic=" + self.name + "-in",
                     "__connect.errors.partition=1", "__connect.errors.offset=1",
                     "__connect.errors.connector.name=", "__connect.errors.task.id=",
                     "__connect.errors.stage=VALUE_CONVERTER",
                     "__connect.errors.class.name=clicks",
                     "__connect.errors.exception.class.name=MR3101",
                     "__connect.errors.exception.message=", "__millrace.errors.time=2"):
            self.assertIn(text, headers)
        self.check_listing(broken["job"])

    def test_a_record_as_large_as_a_record_may_be_does_not_end_the_job(self):
        self.produce("in", [b"k|" + b"x" * 999_600, b"k|" + b"y" * 900_000,
                            b"k|" + click(1, 5).encode()])
        self.run_job()
        letters = {row["source_offset"]: row for row in self.listed("--code", "MR3101")}
        self.assertEqual((letters[0]["value"], letters[0]["value_bytes"]), (None, "999600"))
        self.assertFalse(letters[0]["replayable"])
        self.assertEqual(letters[1]["value"], "y" * 900_000)
        done = self.replay("--code", "MR3101")
        self.assertEqual(json.loads(done.stdout),
                         {"code": "MR3101", "replayed": 1, "without_record": 1}, done.stderr)
        self.assertEqual(self.read("again", "%S"), ["900000"])

    def check_listing(self, job):
        def count(*arguments):
            return len(self.listed(*arguments))

        everything = count()
        self.assertEqual(count("--code", "MR3101"), 1)
        self.assertEqual(count("--code", "MR3101", "--code", "MR4002"), everything)
        self.assertEqual(count("--job", job), everything)
        self.assertEqual(count("--job", "another"), 0)
        self.assertEqual(count("--uid", "clicks"), 1)
        self.assertEqual(count("--since", "1h"), everything)
        self.assertEqual(count("--since", "2999-01-01"), 0)
        self.assertEqual(count("--limit", "1"), 1)
        first = self.listed()[0]
        self.assertEqual(self.listed("--offsets", f"{first['partition']}:{first['offset']}"),
                         [first])
        self.produce("letters", [b"x|no letter"])
        done = self.millrace("dlq", "list", "--from", self.letters)
        self.assertEqual(done.returncode, OK, done.stderr)
        self.assertIn("MR3101", done.stdout)
        self.assertIn(f"{self.name}-in/1/1", done.stdout)
        self.assertIn("1 of", done.stderr)
        self.assertIn("no letters", done.stderr)
        done = self.millrace("dlq", "list", "--from", self.letters, "--summary")
        self.assertRegex(done.stdout, rf"MR3101 +clicks +{self.name}-in +1 ")
        summary = self.millrace("dlq", "list", "--from", self.letters, "--summary", "-o", "json")
        self.assertEqual(sum(json.loads(line)["count"] for line in summary.stdout.splitlines()),
                         everything)

    def write_letters(self, count, code="MR3101", first=0):
        """As a job would write them; some have no record to replay."""
        for partition in range(3):
            rows = [f"k{i}|record {i}".encode() for i in range(first, first + count)
                    if i % 3 == partition]
            self.produce("letters", rows, partition,
                         ["__connect.errors.topic=orders", f"__connect.errors.partition={partition}",
                          "__connect.errors.offset=1", f"__connect.errors.exception.class.name={code}"])

    def replay(self, *arguments, **more):
        return self.millrace("dlq", "replay", "--from", self.letters, "--to", self.again, "-o",
                             "json", *arguments, **more)

    def assert_once(self, numbers):
        found = collections.Counter(line.split("|")[1] for line in self.read("again"))
        self.assertEqual(found, collections.Counter(f"record {i}" for i in numbers))

    def test_a_replay_that_is_killed_goes_on_and_neither_loses_nor_doubles(self):
        self.write_letters(3500)
        crash = -signal.SIGKILL
        # In the middle: with an open transaction, and behind one whose end nobody heard of.
        for failpoint in ("kafka.replay.before_commit=crash@2", "kafka.replay.after_commit=crash@1",
                          "kafka.replay.before_commit=crash@1"):
            self.assertEqual(self.replay(failpoints=failpoint).returncode, crash)
        done = self.replay()
        self.assertEqual(done.returncode, OK, done.stderr)
        self.assert_once(range(3500))
        self.assertIn("were replayed before", done.stderr)
        # Again: nothing is left; then what came since, and no more.
        done = self.replay()
        self.assertEqual((done.returncode, done.stdout), (OK, ""), done.stderr)
        self.write_letters(10, first=3500)
        self.assertEqual(json.loads(self.replay().stdout),
                         {"code": "MR3101", "replayed": 10, "without_record": 0})
        self.assert_once(range(3510))

    def test_a_replay_that_is_killed_at_any_moment(self):
        self.write_letters(6000)
        for wait in (0.05, 0.4, 0.8, 1.2, 1.6):
            process = subprocess.Popen([MILLRACE, "dlq", "replay", "--from", self.letters, "--to",
                                        self.again], stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL)
            try:
                process.wait(wait)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.assertEqual(self.replay().returncode, OK)
        self.assert_once(range(6000))

    def test_of_two_replays_of_one_name_the_later_goes_on(self):
        self.write_letters(2000)
        arguments = [MILLRACE, "dlq", "replay", "--from", self.letters, "--to", self.again]
        with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                              text=True, env={**os.environ, "MILLRACE_FAILPOINTS":
                                              "kafka.replay.before_commit=hang@2"}) as first:
            deadline = time.monotonic() + 30
            while not self.read("again"):  # It hangs with its second transaction open.
                self.assertLess(time.monotonic(), deadline)
            self.assertEqual(self.replay().returncode, OK)
            first.kill()
        self.assert_once(range(2000))

    def test_letters_are_chosen_and_counted_by_code(self):
        self.write_letters(6)
        self.write_letters(6, code="MR4002", first=6)
        self.produce("letters", [b"|{}"], 0, ["__connect.errors.exception.class.name=MR4005",
                                              "__millrace.errors.columns=a"])
        done = self.replay("--dry-run")
        self.assertEqual([json.loads(line) for line in done.stdout.splitlines()],
                         [{"code": "MR3101", "replayed": 6, "without_record": 0},
                          {"code": "MR4002", "replayed": 6, "without_record": 0},
                          {"code": "MR4005", "replayed": 0, "without_record": 1}])
        self.assertEqual(self.read("again"), [])
        self.assertEqual(self.replay("--code", "MR4002").returncode, OK)
        self.assert_once(range(6, 12))
        done = self.replay("--offsets", "1:0,2:1")
        self.assertEqual(json.loads(done.stdout)["replayed"], 2, done.stderr)
        self.assert_once([*range(6, 12), 1, 5])
        self.assertIn("__millrace.replay=orders/1/1", "".join(self.read("again")))
        # A name is of one selection.
        self.assertEqual(self.replay("--name", f"{self.name}-mine", "--code", "MR4002").returncode, OK)
        done = self.replay("--name", f"{self.name}-mine", "--code", "MR3101")
        self.assertEqual(done.returncode, CONFLICT)
        self.assertIn("another selection", done.stderr)

    def test_records_go_back_to_their_partition_or_to_that_of_their_key(self):
        self.produce("letters", [b"k|a"], 0, ["__connect.errors.topic=" + self.name + "-again",
                                              "__connect.errors.partition=2",
                                              "__connect.errors.offset=5"])
        self.assertEqual(self.replay().returncode, OK)
        self.assertEqual(self.read("again", "%p %k %s"), ["2 k a"])

    def test_mistakes_are_told_by_code_and_hint(self):
        for arguments, code, text in (
                (["list", "--from", "orders"], USAGE, "kafka:BROKERS/TOPIC"),
                (["list"], USAGE, "--from"),
                (["list", "--from", self.letters, "--since", "soon"], USAGE, "--since"),
                (["list", "--from", self.letters, "--offsets", "1"], USAGE, "PARTITION:OFFSET"),
                (["list", "--from", self.letters, "--property", "plugin.library.paths=x"], USAGE,
                 "loads code"),
                (["list", "--from", self.letters + "-none"], NOT_FOUND, "does not exist"),
                (["list", "--from", "kafka:127.0.0.1:1/x"], UNAVAILABLE, "127.0.0.1:1"),
                (["replay", "--from", self.letters, "--to", self.letters], USAGE, "same topic"),
                (["replay", "--from", self.letters, "--to", self.again, "--since", "1h"], USAGE,
                 "UTC"),
                (["replay", "--from", self.letters, "--to", self.again + "-none"], NOT_FOUND,
                 "does not exist")):
            done = self.millrace("dlq", *arguments)
            self.assertEqual(done.returncode, code, (arguments, done.stderr))
            self.assertIn(text, done.stderr, arguments)


if __name__ == "__main__":
    unittest.main(verbosity=2)
