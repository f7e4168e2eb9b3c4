"""Lookup joins with tables of PostgreSQL: the rows, the caches, and connections that are lost.

MILLRACE_TEST_POSTGRES=port of a server (dev/services).
"""

import functools
import json
import os
import pathlib
import subprocess
import tempfile
import threading
import time
import unittest

import postgres_server
from postgres_server import PORT

BUILD = pathlib.Path(os.environ["MILLRACE_BUILD"])
MILLRACE = str(BUILD / "cli" / "millrace")
DATABASE = f"millrace_lookup_{os.getpid()}"
psql = functools.partial(postgres_server.psql, database=DATABASE)
ROWS = 100_000

JOB = """
CREATE TABLE orders (id BIGINT, region STRING, shop INT, p AS PROCTIME()) WITH (
    'connector' = 'file', 'path' = '{orders}', 'format' = 'json', 'split-size' = '100 kb');
CREATE TABLE shop (region STRING, number INT, name STRING, rating DECIMAL(6, 2), opened DATE,
    PRIMARY KEY (region, number) NOT ENFORCED)
WITH ('connector' = 'postgres', 'hostname' = '127.0.0.1', 'port' = '{port}',
    'username' = 'postgres', 'database-name' = '{database}', 'table-name' = 'shop' {options});
CREATE TABLE seen (id BIGINT, name STRING, rating DECIMAL(6, 2), opened DATE)
WITH ('connector' = 'file', 'path' = '{out}', 'format' = 'json');
INSERT INTO seen SELECT o.id, s.name, s.rating, s.opened
FROM orders o LEFT JOIN shop FOR SYSTEM_TIME AS OF o.p AS s
ON o.region = s.region AND s.number = o.shop AND s.rating > 1;
"""


@postgres_server.needs_server
class LookupTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = pathlib.Path(temporary.name)
        postgres_server.make_database(cls, DATABASE)
        # A name that is NULL, one with quotes, a rating that the condition refuses.
        psql("CREATE TABLE shop (region varchar(10), number smallint, name text, rating numeric(6, 2),"
             " opened date, closed boolean, PRIMARY KEY (region, number));"
             "INSERT INTO shop SELECT r, n, CASE n WHEN 3 THEN NULL WHEN 4 THEN 'a \\\"{,' ELSE "
             "r || n END, n / 4.0, date '2024-01-01' + n FROM generate_series(1, 200) n, "
             "(VALUES ('north'), ('so''uth'), ('{,}')) AS regions(r)")
        cls.orders = cls.folder / "orders.json"
        regions = ["north", "so'uth", "{,}", "nowhere", None]
        with cls.orders.open("w") as file:
            for i in range(ROWS):
                file.write(json.dumps({"id": i, "region": regions[i % 5], "shop": i // 5 % 220}) + "\n")
        cls.expected = {}
        names = {(region, int(number)): [name or None, rating, opened]
                 for region, number, name, rating, opened in (
                     line.split("|") for line in psql(
                         "SELECT region, number, name, rating, opened FROM shop").splitlines())}
        for i in range(ROWS):
            name, rating, opened = names.get((regions[i % 5], i // 5 % 220), [None, None, None])
            if rating is None or float(rating) <= 1:
                name, rating, opened = None, None, None
            cls.expected[i] = (name, None if rating is None else float(rating), opened)
        assert len({value for value in cls.expected.values()}) > 300

    def run_job(self, name, options="", beside=None):
        out = self.folder / name
        job = self.folder / f"{name}.sql"
        job.write_text(JOB.format(orders=self.orders, port=PORT, database=DATABASE, out=out,
                                  options=options))
        stop = threading.Event()
        thread = threading.Thread(target=beside, args=(stop,)) if beside else None
        if thread:
            thread.start()
        try:
            done = subprocess.run([MILLRACE, "run", str(job), "--work-dir",
                                   str(self.folder / f"{name}-work")],
                                  capture_output=True, text=True, timeout=120)
        finally:
            stop.set()
            if thread:
                thread.join()
        return done, out

    def check(self, name, options="", beside=None):
        done, out = self.run_job(name, options, beside)
        self.assertEqual(done.returncode, 0, done.stderr)
        rows = {}
        for part in out.rglob("part-*"):
            for line in part.read_text().splitlines():
                row = json.loads(line)
                self.assertNotIn(row["id"], rows)
                rows[row["id"]] = (row["name"], row["rating"], row["opened"])
        self.assertEqual(rows, self.expected)

    def test_every_batch_asks(self):
        self.check("none")

    def test_a_partial_cache(self):
        self.check("partial", ", 'lookup.cache' = 'PARTIAL', 'lookup.partial-cache.max-rows' = '300'")

    def test_the_whole_table(self):
        self.check("full", ", 'lookup.cache' = 'FULL', "
                           "'lookup.full-cache.periodic-reload.interval' = '100 ms'")

    def test_connections_that_are_lost(self):
        lost = []

        def cut(stop):
            while not stop.is_set():
                lost.extend(psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
                                 f"datname = '{DATABASE}' AND pid <> pg_backend_pid()").split())
                stop.wait(0.02)

        self.check("lost", ", 'lookup.max-retries' = '1000'", cut)
        self.assertTrue(lost)

    def test_what_does_not_fit(self):
        for name, change, message in [
                ("column", ("opened DATE,", "opened DATE, stars INT,"),
                 "there is no column 'stars'"),
                ("type", ("opened DATE,", "opened DATE, closed BIGINT,"), "cannot be read as BIGINT"),
                ("table", ("'table-name' = 'shop'", "'table-name' = 'shops'"),
                 "there is no such table"),
                ("size", ("'table-name' = 'shop'", "'table-name' = 'shop', 'lookup.cache' = 'FULL', "
                          "'lookup.full-cache.max-rows' = '10'"), "has more than 10 rows")]:
            with self.subTest(name):
                text = JOB.format(orders=self.orders, port=PORT, database=DATABASE,
                                  out=self.folder / f"bad-{name}", options="")
                self.assertIn(change[0], text)
                job = self.folder / f"bad-{name}.sql"
                job.write_text(text.replace(*change))
                with subprocess.Popen([MILLRACE, "run", str(job), "--work-dir",
                                       str(self.folder / f"bad-{name}-work")],
                                      stderr=subprocess.PIPE, text=True) as process:
                    deadline = time.monotonic() + 60
                    for line in process.stderr:
                        if message in line or time.monotonic() > deadline:
                            break
                    process.kill()
                    self.assertIn(message, line)


if __name__ == "__main__":
    unittest.main()
