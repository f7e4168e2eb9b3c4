"""Lookup joins with Redis: hashes and texts, TLS, passwords, bad values, connections that are lost.

MILLRACE_TEST_REDIS=port of a server, _TLS and _CA the same with TLS (dev/services).
"""

import base64
import json
import os
import pathlib
import socket
import subprocess
import tempfile
import threading
import time
import unittest

BUILD = pathlib.Path(os.environ["MILLRACE_BUILD"])
MILLRACE = str(BUILD / "cli" / "millrace")
PORT = os.environ.get("MILLRACE_TEST_REDIS")
ROWS = 50_000
DATABASE = 3

JOB = """
SET 'pipeline.dead-letters' = 'letters';
CREATE TABLE orders (id BIGINT, region STRING, shop INT, p AS PROCTIME()) WITH (
    'connector' = 'file', 'path' = '{orders}', 'format' = 'json', 'split-size' = '100 kb');
CREATE TABLE shop (region STRING, number INT, name STRING, rating DECIMAL(6, 2), opened DATE)
WITH ('connector' = 'redis', 'hostname' = '127.0.0.1', 'port' = '{port}', 'database' = '{database}',
    'key' = '{kind}:{{region}}:{{number}}' {options});
CREATE TABLE seen (id BIGINT, name STRING, rating DECIMAL(6, 2), opened DATE)
WITH ('connector' = 'file', 'path' = '{out}', 'format' = 'json');
CREATE TABLE letters (code STRING, error STRING, raw BYTES) WITH ('connector' = 'file', 'path' = '{out}-letters', 'format' = 'json');
INSERT INTO seen SELECT o.id, s.name, s.rating, s.opened
FROM orders o LEFT JOIN shop FOR SYSTEM_TIME AS OF o.p AS s
ON o.region = s.region AND s.number = o.shop;
"""
REGIONS = ["north", "sou:th", "\u00e6 {r}", "nowhere", None]


def redis(*words, data=None, port=None):
    """What redis-cli prints; with `data`, lines of commands."""
    done = subprocess.run(["redis-cli", "-p", port or PORT, "-n", str(DATABASE), *words], input=data,
                          capture_output=True, text=True)
    return done.stdout.strip()


def key_of(i):
    return REGIONS[i % 5], i // 5 % 220


@unittest.skipIf(PORT is None, "needs a server: MILLRACE_TEST_REDIS=port")
class RedisLookupTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = pathlib.Path(temporary.name)
        cls.shops = {}
        commands = ["FLUSHDB"]
        for region in REGIONS[:3]:
            for number in range(1, 201):
                fields = {"name": f"{region} {number}", "rating": f"{number / 4:.2f}",
                          "opened": f"2024-0{1 + number % 9}-15", "unused": "x"}
                if number % 7 == 3:
                    del fields["name"]
                if number % 11 == 3:
                    del fields["opened"]
                cls.shops[region, number] = fields
                words = " ".join(f'"{name}" "{value}"' for name, value in fields.items())
                commands.append(f'HSET "hash:{region}:{number}" {words}')
                text = json.dumps({**fields, "rating": float(fields["rating"])}).replace('"', '\\"')
                commands.append(f'SET "text:{region}:{number}" "{text}"'.replace("\\u", "\\\\u"))
        redis(data="\n".join(commands))
        assert redis("DBSIZE") == "1200", redis("DBSIZE")
        cls.orders = cls.folder / "orders.json"
        with cls.orders.open("w") as file:
            for i in range(ROWS):
                region, shop = key_of(i)
                file.write(json.dumps({"id": i, "region": region, "shop": shop}) + "\n")

    def expected(self, i):
        fields = self.shops.get(key_of(i))
        if fields is None:
            return None, None, None
        return fields.get("name"), float(fields["rating"]), fields.get("opened")

    def write(self, name, kind="hash", options="", change=("", ""), port=None):
        out = self.folder / name
        text = JOB.format(orders=self.orders, port=port or PORT, database=DATABASE, kind=kind,
                          out=out, options=options)
        self.assertIn(change[0], text)
        job = self.folder / f"{name}.sql"
        job.write_text(text.replace(*change))
        return [MILLRACE, "run", str(job), "--work-dir", str(self.folder / f"{name}-work")], out

    def check(self, name, kind="hash", options="", beside=None, bad=(), port=None):
        command, out = self.write(name, kind, options, port=port)
        stop = threading.Event()
        thread = threading.Thread(target=beside, args=(stop,)) if beside else None
        if thread:
            thread.start()
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        finally:
            stop.set()
            if thread:
                thread.join()
        self.assertEqual(done.returncode, 0, done.stderr)
        rows = {}
        for part in out.rglob("part-*"):
            for line in part.read_text().splitlines():
                row = json.loads(line)
                self.assertNotIn(row["id"], rows)
                rows[row["id"]] = (row["name"], row["rating"], row["opened"])
        self.assertEqual(rows, {i: self.expected(i) for i in range(ROWS) if key_of(i) not in bad})
        letters = {}
        for part in pathlib.Path(f"{out}-letters").rglob("part-*"):
            for line in part.read_text().splitlines():
                letter = json.loads(line)
                letters[json.loads(base64.b64decode(letter["raw"]))["id"]] = letter
        self.assertEqual(set(letters), set(range(ROWS)) - set(rows))
        for i, letter in letters.items():
            self.assertEqual(letter["code"], "MR4110")
            self.assertIn(bad[key_of(i)], letter["error"])

    def test_hashes(self):
        self.check("hashes")

    def test_texts(self):
        self.check("texts", "text", ", 'format' = 'json'")

    def test_a_partial_cache(self):
        self.check("partial", options=", 'lookup.cache' = 'PARTIAL', "
                                      "'lookup.partial-cache.max-rows' = '300'")

    def test_tls_and_a_user_who_may_only_look_up(self):
        ca = pathlib.Path(os.environ["MILLRACE_TEST_REDIS_CA"]).read_text()
        self.check("tls", options=f", 'tls' = 'true', 'tls.ca.pem' = '{ca}', "
                                  "'username' = 'millrace', 'password' = 'secret'",
                   port=os.environ["MILLRACE_TEST_REDIS_TLS"])

    def test_connections_that_are_lost(self):
        lost = 0

        def cut(stop):
            nonlocal lost
            while not stop.is_set():
                lost += int(redis("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes") or 0)
                stop.wait(0.02)

        self.check("lost", options=", 'lookup.max-retries' = '1000'", beside=cut)
        self.assertGreater(lost, 0)

    def test_a_server_that_is_restarted(self):
        with tempfile.TemporaryDirectory() as folder:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                own = str(free.getsockname()[1])
            restarts = 0

            def start():
                server = subprocess.Popen(
                    ["redis-server", "--bind", "127.0.0.1", "--port", own, "--dir", folder,
                     "--save", "3600 1"], stdout=subprocess.DEVNULL)
                deadline = time.monotonic() + 20
                while redis("PING", port=own) != "PONG":
                    self.assertLess(time.monotonic(), deadline)
                return server

            server = start()
            try:
                redis("REPLICAOF", "127.0.0.1", PORT, port=own)
                deadline = time.monotonic() + 20
                while redis("DBSIZE", port=own) != "1200":
                    self.assertLess(time.monotonic(), deadline)
                redis("REPLICAOF", "NO", "ONE", port=own)

                def restart(stop):
                    nonlocal server, restarts
                    while not stop.is_set():
                        redis("SHUTDOWN", "SAVE", port=own)
                        server.wait()
                        server = start()
                        restarts += 1
                        stop.wait(0.3)

                self.check("restart", options=", 'lookup.max-retries' = '1000'", beside=restart,
                           port=own)
                self.assertGreater(restarts, 0)
            finally:
                server.terminate()
                server.wait()

    def test_what_cannot_be_read_is_a_dead_letter(self):
        bad = {("north", 5): "no hash", ("north", 6): "rating", ("sou:th", 7): "opened"}
        redis("RENAME", "hash:north:5", "kept")
        redis("SET", "hash:north:5", "a text")
        redis("HSET", "hash:north:6", "rating", "much")
        redis("HSET", "hash:sou:th:7", "opened", "2024-13-01")
        try:
            self.check("bad", bad=bad)
        finally:
            redis("RENAME", "kept", "hash:north:5")
            redis("HSET", "hash:north:6", "rating", self.shops["north", 6]["rating"])
            redis("HSET", "hash:sou:th:7", "opened", self.shops["sou:th", 7]["opened"])

    def test_what_does_not_fit(self):
        for name, kind, options, message in [
                ("password", "hash", ", 'password' = 'wrong'",
                 "without any password configured"),
                ("user", "hash", ", 'username' = 'millrace', 'password' = 'wrong'",
                 "'username' and 'password'"),
                ("right", "hash", ", 'username' = 'nobody', 'password' = 'secret'", "WRONGPASS"),
                ("whole", "hash", ", 'lookup.cache' = 'FULL'", "cannot be read whole")]:
            with self.subTest(name):
                command, _ = self.write(f"bad-{name}", kind, options)
                with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
                    deadline = time.monotonic() + 60
                    for line in process.stderr:
                        if message in line or time.monotonic() > deadline:
                            break
                    process.kill()
                    self.assertIn(message, line)


if __name__ == "__main__":
    unittest.main()
