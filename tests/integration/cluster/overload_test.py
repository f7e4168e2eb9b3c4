"""More than a job can take: a slow target, a hot key, a backlog, graphs whose branches wait for one
another. Nothing is lost, memory and disk stay bounded, and all of it goes on by itself. The names of
the cases are those of the list of faults in docs/reliability.md.

MILLRACE_TEST_KAFKA names the broker. MILLRACE_TEST_SCALE=10 makes everything ten times as large,
MILLRACE_TEST_SEED=S runs one graph, MILLRACE_TEST_GRAPHS=N runs so many.
"""

import collections
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))
from cluster import BUILD, Cluster, Kafka, peak_rss_mb  # noqa: E402
from numbers_job import JobTest  # noqa: E402

MILLRACE = str(BUILD / "cli/millrace")
SCALE = int(os.environ.get("MILLRACE_TEST_SCALE", "1"))


def lines_in(folder):
    for part in pathlib.Path(folder).glob("part-*"):
        yield from map(json.loads, part.read_text().splitlines())


class SlowSinkTest(unittest.TestCase):
    JOB = """
name: slow
settings: {checkpoint_interval: 100ms}
nodes:
  - uid: numbers
    source:
      connector: datagen
      options: {fields.n.kind: sequence, fields.n.start: "0", fields.pad.length: "200", splits: "1",
                rows-per-second: "500000", number-of-rows: "${rows}"}
    schema: [n BIGINT NOT NULL, pad STRING]
  - {uid: out, inputs: [numbers], sink: {connector: print, options: {style: json}}}
"""

    def test_ov_01_a_target_that_takes_hardly_anything(self):
        rows = 2_000_000 * SCALE
        folder = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="millrace-slow-")))
        job = folder / "job.yaml"
        job.write_text(self.JOB)
        process = subprocess.Popen(
            [MILLRACE, "run", str(job), "--work-dir", str(folder / "work"), "--parallelism", "1",
             "--set", f"rows={rows}"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

        def on_disk():
            total = 0
            for path in (folder / "work").rglob("*"):
                try:
                    total += path.stat().st_size
                except FileNotFoundError:
                    pass  # Swept meanwhile.
            return total

        # A row a moment: what waits for the target stops growing long before the source has ended.
        first, still, before = [], 0, -1
        deadline = time.monotonic() + 60
        while still < 20:
            self.assertLess(time.monotonic(), deadline,
                            f"the source goes on: {on_disk() >> 20} MB wait for the target")
            first.append(process.stdout.readline())
            now = on_disk()
            still = still + 1 if now == before and now > 1 << 20 else 0
            before = now
            time.sleep(0.1)  # The pace of the target.
        self.assertLess(before, rows * 200 / 2, "it stands because the source has ended")
        rss = peak_rss_mb(process.pid)
        # And then it takes everything: each row once, in order.
        count = 0
        for line in [*first, *process.stdout]:
            row = json.loads(line)
            self.assertEqual(row["n"], count)
            count += 1
        self.assertEqual(count, rows)
        self.assertEqual(process.wait(), 0)
        self.assertLess(rss, 400)


class BacklogTest(JobTest):
    JOB = """
name: ${name}
settings: {checkpoint_interval: 300ms, restart_attempts_max: 100}
nodes:
  - uid: in
    source:
      connector: kafka
      format: json
      options: {topic: "${name}-in", properties.bootstrap.servers: "${brokers}",
                scan.startup.mode: earliest-offset}
    schema: [n BIGINT NOT NULL, k BIGINT NOT NULL, at TIMESTAMP(3) NOT NULL]
  - uid: time
    inputs: [in]
    watermark: {time: at, out_of_orderness: 5s}
  - uid: counts
    inputs: [time]
    window_aggregate:
      window: {kind: tumble, time: at, size: 1s}
      keys: [k]
      aggregates: [count(*) AS n, sum(n) AS total]
  - {uid: out, inputs: [counts], sink: {connector: file, format: json, options: {path: "${out}"}}}
"""

    @classmethod
    def setUpClass(cls):
        cls.kafka = cls.enterClassContext(Kafka("test"))

    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory(prefix="millrace-overload-")))
        self.name = f"overload-{time.time_ns()}"
        self.kafka.create_topic(f"{self.name}-in", 4)
        self.out = self.folder / "out"
        job = self.folder / "job.yaml"
        job.write_text(self.JOB)
        self.cluster = self.enterContext(Cluster(self.folder / "cluster", workers=2, cores=1,
                                                 memory_mb=64))
        self.job = self.cluster.submit(job, {"name": self.name, "brokers": self.kafka.address,
                                             "out": self.out}, "--parallelism", "2")
        self.expected = collections.defaultdict(lambda: [0, 0])
        self.produced = 0

    def produce(self, count, key_of):
        """2000 rows per second of event time."""
        lines = []
        for n in range(self.produced, self.produced + count):
            second = n // 2000
            at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(1_767_225_600 + second))
            k = key_of(n)
            lines.append(f'{{"n": {n}, "k": {k}, "at": "{at}.{n % 2000 // 2:03d}"}}\n')
            end = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(1_767_225_601 + second))
            group = self.expected[end + ".000", k]
            group[0] += 1
            group[1] += n
        self.produced += count
        subprocess.run(["kcat", "-b", self.kafka.address, "-P", "-t", f"{self.name}-in", "-X",
                        "enable.idempotence=true"], input="".join(lines), text=True, check=True)

    def rows_read(self):
        described = self.cluster.command("-o", "json", "describe", self.job, check=False)
        if described.returncode != 0:
            return 0
        return sum(int(node.get("rows_in", 0)) for node
                   in json.loads(described.stdout)["job"]["nodes"] if node["uid"] == "in")

    def check(self):
        self.await_that(lambda: self.rows_read() >= self.produced, "rows are missing", 120)
        stopped = self.cluster.command("stop", self.job, "--drain", check=False)
        self.assertEqual(stopped.returncode, 0, stopped.stderr)
        self.await_that(lambda: "STOPPED" in self.describe(), "the job does not stop", 60)
        rows = list(lines_in(self.out))
        self.assertEqual(len({(row["window_end"], row["k"]) for row in rows}), len(rows))
        got = {(row["window_end"], row["k"]): [row["n"], row["total"]] for row in rows}
        wrong = [key for key in got.keys() | self.expected.keys()
                 if got.get(key) != self.expected.get(key)]
        self.assertEqual(wrong, [])

    def test_ov_02_nine_rows_of_ten_have_one_key(self):
        chance = random.Random(2)
        for _ in range(3):
            epoch = self.epoch()
            self.produce(40_000 * SCALE, lambda n: 0 if chance.random() < 0.9
                         else chance.randrange(1, 1000))
            self.await_epoch_after(epoch)
        self.check()

    def test_ov_05_a_backlog_after_an_outage(self):
        self.produce(20_000, lambda n: n % 100)
        self.await_that(lambda: self.rows_read() >= self.produced, "rows are missing", 60)
        for index in range(2):
            self.cluster.kill_worker(index)
        self.produce(300_000 * SCALE, lambda n: n % 100)
        for index in range(2):
            self.cluster.start_worker(index)
        # Not only the backlog: rows go on coming meanwhile.
        for _ in range(3):
            self.produce(10_000, lambda n: n % 100)
        self.check()
        for worker in self.cluster.workers:
            self.assertLess(peak_rss_mb(worker.pid), 300)


class GraphsTest(unittest.TestCase):
    """Graphs in which rows come together again over ways of different length."""

    def graph(self, chance):
        """A script that puts numbers into a file, and how often each must be there."""
        rows = chance.choice([50, 500, 3000])
        pad = chance.choice([0, 100, 20_000_000 // rows])
        views = [("s", collections.Counter(range(rows)))]
        # Equal views would be one node: `n > -i` tells them apart.
        script = [f"CREATE TABLE s (n BIGINT, pad STRING) WITH ('connector' = 'datagen', "
                  f"'fields.n.kind' = 'sequence', 'fields.n.start' = '0', 'number-of-rows' = "
                  f"'{rows}', 'fields.pad.length' = '{pad}', 'splits' = "
                  f"'{chance.randrange(1, 5)}');"]
        for i in range(chance.randrange(3, 8)):
            (left, of_left), (right, of_right) = chance.choice(views), chance.choice(views)
            kind = chance.choice(["filter", "union", "join", "join"])
            if kind == "union" and left == right:
                kind = "join"  # MR1112
            if kind == "join" and max(of_left.values(), default=0) * max(of_right.values(),
                                                                         default=0) > 4:
                kind = "filter"
            if kind == "union" and (of_left + of_right).total() > 4 * rows:
                kind = "filter"
            if kind == "filter":
                divisor = chance.randrange(2, 5)
                query = f"SELECT n, pad FROM {left} WHERE n % {divisor} <> 0 AND n > -{i + 1}"
                result = collections.Counter({n: c for n, c in of_left.items() if n % divisor})
            elif kind == "union":
                query = (f"SELECT n, pad FROM {left} WHERE n > -{i + 1} UNION ALL "
                         f"SELECT n, pad FROM {right} WHERE n > -{i + 1}")
                result = of_left + of_right
            else:
                query = (f"SELECT a.n, b.pad FROM {left} AS a JOIN {right} AS b ON a.n = b.n "
                         f"WHERE a.n > -{i + 1}")
                result = collections.Counter({n: c * of_right[n] for n, c in of_left.items()
                                              if of_right[n]})
            script.append(f"CREATE VIEW v{i} AS {query};")
            views.append((f"v{i}", result))
        # The last views together, so that little is left out.
        script.append("CREATE TABLE o (n BIGINT, length BIGINT) WITH ('connector' = 'file', "
                      "'format' = 'json', 'path' = '${out}');")
        chosen = views[-3:]
        script.append("INSERT INTO o " + " UNION ALL ".join(
            f"SELECT n, CHAR_LENGTH(pad) FROM {name}" for name, _ in chosen) + ";")
        return "\n".join(script), sum((result for _, result in chosen), collections.Counter())

    def test_ov_06_no_graph_waits_for_itself(self):
        if "MILLRACE_TEST_SEED" in os.environ:
            seeds = [int(os.environ["MILLRACE_TEST_SEED"])]
        else:
            seeds = range(int(os.environ.get("MILLRACE_TEST_GRAPHS", "8")))
        for seed in seeds:
            with self.subTest(seed=seed), tempfile.TemporaryDirectory(
                    prefix="millrace-graph-") as folder:
                folder = pathlib.Path(folder)
                chance = random.Random(seed)
                script, expected = self.graph(chance)
                (folder / "job.sql").write_text(script)
                done = subprocess.run(
                    [MILLRACE, "run", str(folder / "job.sql"), "--set", f"out={folder}/out",
                     "--work-dir", str(folder / "work"), "--parallelism",
                     str(chance.randrange(1, 5)), "--memory-mb", "16", "--checkpoint-interval",
                     "200ms"], capture_output=True, text=True, timeout=120)
                self.assertEqual(done.returncode, 0, done.stderr + script)
                got = collections.Counter(row["n"] for row in lines_in(folder / "out"))
                self.assertEqual(got, +expected, script)


if __name__ == "__main__":
    unittest.main(verbosity=2)
