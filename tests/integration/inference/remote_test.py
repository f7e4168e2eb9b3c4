"""Jobs that ask models at servers: Kafka -> inference -> Kafka, exactly once, while server and
workers come and go. MILLRACE_TEST_KAFKA names the broker."""

import base64
import collections
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from model_servers import FailingServer, MlServer, grpc  # noqa: E402  (sets the path of cluster)
from cluster import Cluster, Kafka, free_port  # noqa: E402

JOB = pathlib.Path(__file__).parent / "job.yaml"
BASE_S = 1_767_225_600  # 2026-01-01 00:00:00
PARTITIONS = 4
REFUSED = 13  # The value of `a` that a failing server refuses.


def time_text(ms):
    whole = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(BASE_S + ms // 1000))
    return f"{whole}.{ms % 1000:03d}"


def input_row(seq):
    return {"seq": seq, "a": seq % 1000 / 4, "b": seq % 7, "ts": time_text(seq)}


def score_of(row):
    return 2 * row["a"] + 3 * row["b"]


class RemoteTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = cls.enterClassContext(Kafka("test"))
        cls.folder = pathlib.Path(cls.enterClassContext(
            tempfile.TemporaryDirectory(prefix="millrace-inference-")))
        cls.cluster = cls.enterClassContext(Cluster(cls.folder / "cluster", workers=2, cores=1))

    def setUp(self):
        self.name = f"inference-{time.time_ns()}"

    def produce(self, rows):
        for kind in ("in", "rows", "dead", "windows"):
            self.kafka.create_topic(f"{self.name}-{kind}", PARTITIONS)
        for partition in range(PARTITIONS):  # In the order of time, so that no row is late.
            lines = "".join(json.dumps(input_row(seq)) + "\n"
                            for seq in range(partition, rows, PARTITIONS))
            subprocess.run(["kcat", "-b", self.kafka.address, "-P", "-t", self.name + "-in", "-p",
                            str(partition)], input=lines, text=True, check=True)

    def submit(self, endpoint, **more):
        return self.cluster.submit(JOB, {"name": self.name, "endpoint": endpoint,
                                         "brokers": self.kafka.address, **more},
                                   "--parallelism", "2")

    def read(self, kind):
        rows = [json.loads(line) for line in self.kafka.read_committed(f"{self.name}-{kind}")]
        for row in rows:
            if "raw" in row:  # Bytes.
                row["raw"] = base64.b64decode(row["raw"]).decode()
        return rows

    def read_at_end(self, kind, count):
        """All rows, at least `count` unless some are lost. Kafka answers a commit when its decision
        is durable; the markers that make rows visible to this reader follow a moment later."""
        deadline = time.monotonic() + 30
        while len(rows := self.read(kind)) < count and time.monotonic() < deadline:
            time.sleep(0.1)
        return rows

    def await_rows(self, count):
        deadline = time.monotonic() + 60
        while (got := self.kafka.record_count(f"{self.name}-rows", PARTITIONS)) < count:
            self.assertLess(time.monotonic(), deadline, f"only {got} rows came out")

    def metric(self, name):
        total = 0.0
        for port in self.cluster.worker_http_ports:
            text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
            total += sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
                         if line.startswith(name + "{"))
        return total

    def await_metrics(self, *names):
        """Until each has been above 0. They go with the job: watch from its begin, not at its end."""
        missing, deadline = set(names), time.monotonic() + 60
        while missing:
            self.assertLess(time.monotonic(), deadline, f"never above 0: {missing}")
            missing = {name for name in missing if self.metric(name) == 0}

    def check(self, job, rows, is_refused=lambda row: False):
        done = self.cluster.command("wait", job, "--timeout", "150", check=False)
        self.assertEqual(done.stdout.strip().splitlines()[-1], "FINISHED", done.stderr)
        expected = [input_row(seq) for seq in range(rows)]
        good = {row["seq"]: row for row in expected if not is_refused(row)}
        got = self.read_at_end("rows", len(good))
        times = collections.Counter(row["seq"] for row in got)
        self.assertEqual([seq for seq in good if times[seq] == 0], [], "rows were lost")
        self.assertEqual([seq for seq, n in times.items() if n > 1], [], "rows came twice")
        for row in got:
            self.assertEqual(row["score"], score_of(good[row["seq"]]), row)
            self.assertEqual(row["version"], "7")
        windows = collections.defaultdict(lambda: [0, 0.0])
        for row in good.values():
            window = windows[(time_text(row["seq"] // 1000 * 1000 + 1000), row["b"])]
            window[0] += 1
            window[1] += score_of(row)
        read = self.read_at_end("windows", len(windows))
        self.assertEqual({(w["window_end"], w["b"]): [w["n"], w["total"]] for w in read},
                         dict(windows))
        self.assertEqual(len(read), len(windows))
        dead = self.read_at_end("dead", rows - len(good))
        self.assertEqual(len(dead), rows - len(good))
        return dead

    def test_mlserver_and_a_worker_are_killed_and_no_row_is_lost_or_doubled(self):
        rows = 20_000
        self.produce(rows)
        with MlServer(self.folder / "mlserver", seconds=0.05) as server:
            job = self.submit(server.endpoint)
            self.await_rows(2_000)
            server.kill()
            time_before = time.monotonic()
            server.start()  # Some seconds.
            print(f"MLServer was away for {time.monotonic() - time_before:.1f} s")
            self.await_rows(5_000)
            self.cluster.kill_worker(0)
            self.cluster.start_worker(0)
            self.await_rows(10_000)
            self.check(job, rows)

    def test_a_server_that_fails_in_every_way_costs_no_row_but_those_it_refuses(self):
        chance, lock = random.Random(4), threading.Lock()

        def behave(rows, context):
            with lock:
                draw = chance.random()
            if draw < 0.2:
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many requests")
            if draw < 0.3:
                context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
            if draw < 0.34:
                context.abort(grpc.StatusCode.INTERNAL, "something broke")
            if draw < 0.35:
                time.sleep(1)
            if any(a == REFUSED for a, b in rows):
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "13 is not allowed")

        rows = 8_000
        self.produce(rows)
        with FailingServer(behave) as server:
            job = self.submit(server.endpoint, unordered="true")
            self.await_metrics("millrace_model_slow_downs_total", "millrace_model_requests_total",
                               "millrace_circuit_breaker_state")
            dead = self.check(job, rows, lambda row: row["a"] == REFUSED)
        self.assertEqual(len(dead), rows // 1000)
        for letter in dead:
            self.assertEqual(letter["code"], "MR4106")
            self.assertIn("INVALID_ARGUMENT: 13 is not allowed", letter["error"])
            self.assertEqual(json.loads(letter["raw"])["a"], REFUSED)

    def test_a_server_that_hangs_makes_dead_letters_after_the_timeout(self):
        release = threading.Event()

        def behave(rows, context):
            if any(a == REFUSED for a, b in rows):
                release.wait(30)

        rows = 1_000
        self.produce(rows)
        with FailingServer(behave) as server:
            job = self.submit(server.endpoint, timeout="1s")
            done = self.cluster.command("wait", job, "--timeout", "60", check=False)
            release.set()
            self.assertEqual(done.stdout.strip().splitlines()[-1], "FINISHED", done.stderr)
        got, dead = self.read("rows"), self.read("dead")
        self.assertEqual(len(got) + len(dead), rows)
        self.assertIn(input_row(52)["seq"], [json.loads(d["raw"])["seq"] for d in dead])
        self.assertEqual({d["code"] for d in dead}, {"MR4107"})

    def test_a_model_that_the_server_has_not_fails_the_job_by_name(self):
        self.produce(1)
        with FailingServer(lambda rows, context: None) as server:
            job = self.submit(server.endpoint, model="other")
            done = self.cluster.command("wait", job, "--timeout", "60", check=False)
            self.assertEqual(done.returncode, 7, done.stderr)
            self.assertIn("Model other not found", done.stderr)
            self.assertIn(server.endpoint, done.stderr)

    def test_a_server_that_is_not_there_yet_is_waited_for(self):
        rows = 500
        self.produce(rows)
        with MlServer(self.folder / "late", seconds=0) as server:
            server.kill()
            job = self.submit(server.endpoint)
            server.start()
            self.check(job, rows)


if __name__ == "__main__":
    unittest.main(verbosity=2)
