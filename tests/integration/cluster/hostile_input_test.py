"""Input that is late, idle, foreign, made anew, or bad while nobody takes bad records: on a real broker
every record ends as a result, as a late row or as a letter. The names of the cases are those of the
list of faults in docs/reliability.md. MILLRACE_TEST_KAFKA names the broker."""

import collections
import json
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))
from cluster import BUILD, Cluster, Kafka  # noqa: E402
from numbers_job import JobTest  # noqa: E402

PARTITIONS = 2
WINDOW_S = 10

COUNTS = """
name: ${name}
settings: {checkpoint_interval: 200ms, restart_attempts_max: 1000}
nodes:
  - uid: in
    source:
      connector: kafka
      format: json
      options:
        topic: ${name}-in
        properties.bootstrap.servers: ${brokers}
        properties.group.id: ${name}
        scan.startup.mode: earliest-offset
        scan.topic-partition-discovery.interval: 1s
    schema: [n BIGINT NOT NULL, at TIMESTAMP(3) NOT NULL]
  - uid: time
    inputs: [in]
    watermark: {time: at, out_of_orderness: 0s, idle_timeout: 1s}
  - uid: counts
    inputs: [time]
    window_aggregate:
      window: {kind: tumble, time: at, size: 10s}
      aggregates: [count(*) AS n, sum(n) AS total]
  - uid: out
    inputs: [counts]
    sink: {connector: kafka, format: json,
           options: {topic: "${name}-out", properties.bootstrap.servers: "${brokers}"}}
  - uid: late
    inputs: [counts.late]
    sink: {connector: kafka, format: json,
           options: {topic: "${name}-late", properties.bootstrap.servers: "${brokers}"}}
  - uid: letters
    inputs: [in.dead_letter]
    sink: {connector: kafka, format: dead-letter,
           options: {topic: "${name}-letters", properties.bootstrap.servers: "${letters}"}}
"""


def text(second):
    whole = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(1_767_225_600 + int(second)))
    return f"{whole}.{round(second * 1000) % 1000:03d}"


class HostileInputTest(JobTest):
    @classmethod
    def setUpClass(cls):
        cls.kafka = cls.enterClassContext(Kafka("test"))

    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="millrace-hostile-")))
        self.name = f"hostile-{time.time_ns()}"
        for topic in ("in", "out", "late"):
            self.kafka.create_topic(f"{self.name}-{topic}", PARTITIONS)
        self.produced = {}

    def start(self, letters=None):
        letters = letters or self.kafka
        letters.create_topic(f"{self.name}-letters", PARTITIONS)
        job = self.folder / "job.yaml"
        job.write_text(COUNTS)
        self.cluster = self.enterContext(Cluster(self.folder / "cluster", workers=1, cores=2))
        self.job = self.cluster.submit(job, {"name": self.name, "brokers": self.kafka.address,
                                             "letters": letters.address}, "--parallelism", "2")

    def produce(self, seconds, partition=0):
        """A row at each of these seconds; the numbers go on."""
        rows = {len(self.produced) + i: second for i, second in enumerate(seconds)}
        self.produced.update(rows)
        self.write([json.dumps({"n": n, "at": text(second)}) for n, second in rows.items()],
                   partition)

    def write(self, lines, partition=0):
        subprocess.run(["kcat", "-b", self.kafka.address, "-P", "-t", f"{self.name}-in", "-p",
                        str(partition), "-X", "enable.idempotence=true"],
                       input="".join(line + "\n" for line in lines), text=True, check=True)

    def read(self, topic, kafka=None):
        return [json.loads(line)
                for line in (kafka or self.kafka).read_committed(f"{self.name}-{topic}")]

    def await_windows(self, count, patience=30):
        return self.await_that(lambda: len(self.read("out")) >= count,
                               "the windows are not committed", patience)

    def drain(self):
        stopped = self.cluster.command("stop", self.job, "--drain", check=False)
        self.assertEqual(stopped.returncode, 0, stopped.stderr)
        self.await_that(lambda: "STOPPED" in self.describe(), "the job does not stop", 60)

    def check_that_every_row_is_in_a_window_or_late(self):
        """Windows against an independent count of the rows that are not late."""
        self.drain()
        late = [row["n"] for row in self.read("late")]
        self.assertEqual(len(late), len(set(late)), "no late row twice")
        expected = collections.defaultdict(lambda: [0, 0])
        for n, second in self.produced.items():
            if n not in late:
                window = expected[text(second // WINDOW_S * WINDOW_S + WINDOW_S)]
                window[0] += 1
                window[1] += n
        windows = self.read("out")
        self.assertEqual(len({row["window_end"] for row in windows}), len(windows))
        self.assertEqual({row["window_end"]: [row["n"], row["total"]] for row in windows},
                         dict(expected))
        return set(late)

    def test_in_05_late_rows_and_idle_partitions(self):
        self.start()
        # Partition 1 is silent: after its timeout it holds nobody up.
        self.produce([0, 9.999, 10, 20])
        self.assertLess(self.await_windows(2), 30)
        # It comes back behind the watermark, which is at 20: what belongs to a closed window is
        # late, at the boundary, too; the window from 20 on is open.
        behind = len(self.produced)
        self.produce([5, 9.999, 10, 19.999, 20, 25], partition=1)
        self.await_that(lambda: len(self.read("late")) == 4, "late rows are missing")
        # Partitions that are far apart: the slower one leads.
        self.produce([60 + i / 10 for i in range(400)], partition=0)
        self.produce([30 + i / 10 for i in range(400)], partition=1)
        late = self.check_that_every_row_is_in_a_window_or_late()
        self.assertGreaterEqual(late, set(range(behind, behind + 4)))
        self.assertFalse(late & {behind + 4, behind + 5})
        counted = self.cluster.command("-o", "json", "describe", self.job).stdout
        counted = [int(node.get("rows_late", 0)) for node in json.loads(counted)["job"]["nodes"]
                   if node["uid"] == "counts"]
        self.assertEqual(counted, [len(late)])

    def test_in_11_somebody_else_uses_the_group(self):
        self.start()
        self.produce(range(0, 100))
        self.await_windows(9)
        # It joins, takes all partitions, and commits offsets of its own.
        foreigner = subprocess.Popen(
            ["kcat", "-b", self.kafka.address, "-u", "-G", self.name, "-X",
             "auto.offset.reset=earliest",
             "-X", "auto.commit.interval.ms=50", f"{self.name}-in"], stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True)
        try:
            # It goes on where the job has published that it stands: with new rows.
            self.produce(range(100, 300), partition=1)
            reading = threading.Thread(target=foreigner.stdout.readline, daemon=True)
            reading.start()
            reading.join(60)
            self.assertFalse(reading.is_alive(), "the other consumer gets nothing")
            self.produce(range(300, 400))
            self.await_windows(20)
            # And the job is restored while the group stands elsewhere.
            self.cluster.kill_worker(0)
            self.cluster.start_worker(0)
            self.produce(range(400, 500))
        finally:
            foreigner.terminate()
            foreigner.communicate()
        self.await_windows(45, patience=60)
        self.check_that_every_row_is_in_a_window_or_late()

    def test_in_02_nobody_takes_the_letters(self):
        """The letters go to a broker of their own, which is killed."""
        letters = self.enterContext(Kafka(self.folder.name, private=True))
        self.start(letters)
        bad = 0

        def produce_both(seconds):
            nonlocal bad
            self.produce(seconds)
            self.write([f"bad {bad + i}" for i in range(20)], partition=1)
            bad += 20

        produce_both(range(0, 50))
        self.await_windows(4)
        letters.command("kill")
        for begin in range(50, 150, 50):
            produce_both(range(begin, begin + 50))
        # Held back or not, nothing may be dropped meanwhile.
        epoch = self.epoch()
        self.await_that(lambda: self.epoch() > epoch, "no checkpoint without letters", 60)
        letters.command("restart")
        produce_both(range(150, 200))
        self.await_that(lambda: len(letters.read_committed(f"{self.name}-letters")) >= bad,
                        "letters are missing", 120)
        self.check_that_every_row_is_in_a_window_or_late()
        self.assertEqual(
            collections.Counter(letters.read_committed(f"{self.name}-letters")),
            collections.Counter(f"bad {i}" for i in range(bad)))


class TopicMadeAnewTest(unittest.TestCase):
    JOB = """
name: copy
settings: {checkpoint_interval: 200ms}
nodes:
  - uid: in
    source:
      connector: kafka
      format: json
      options: {topic: "${topic}", properties.bootstrap.servers: "${brokers}",
                scan.startup.mode: earliest-offset}
    schema: [n BIGINT NOT NULL]
  - {uid: out, inputs: [in], sink: {connector: file, format: json, options: {path: "${out}"}}}
"""

    def test_in_07_a_topic_is_made_anew_between_two_runs(self):
        """Its new records lie where the old ones were: to go on there would lose them in silence."""
        kafka = self.enterContext(Kafka("test"))
        folder = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="millrace-anew-")))
        topic = f"anew-{time.time_ns()}"
        job = folder / "job.yaml"
        job.write_text(self.JOB)
        command = [str(BUILD / "cli/millrace"), "run", str(job), "--work-dir", str(folder / "work"),
                   "--set", f"topic={topic}", "--set", f"brokers={kafka.address}", "--set",
                   f"out={folder}/out", "--parallelism", "1"]

        def produce(numbers):
            subprocess.run(["kcat", "-b", kafka.address, "-P", "-t", topic, "-p", "0"], check=True,
                           input="".join(f'{{"n": {n}}}\n' for n in numbers), text=True)

        def rows():
            return sorted(json.loads(line)["n"] for part in (folder / "out").glob("part-*")
                          for line in part.read_text().splitlines())

        kafka.create_topic(topic, 1)
        produce(range(100))
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + 60
            while len(rows()) < 100:
                self.assertLess(time.monotonic(), deadline, "rows are missing")
                time.sleep(0.05)
            process.terminate()
        kafka.delete_topic(topic)
        kafka.create_topic(topic, 1)
        produce(range(1000, 1300))  # More than there were.
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 7, done.stderr)
        self.assertIn("created anew", done.stderr)
        self.assertIn(topic, done.stderr)
        self.assertEqual(rows(), list(range(100)))


if __name__ == "__main__":
    unittest.main(verbosity=2)
