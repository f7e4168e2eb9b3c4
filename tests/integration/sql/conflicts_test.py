"""ON CONFLICT: rows of several keys of a query for one key of a table of PostgreSQL, against DuckDB
over the same events, with one task, with two, and under `kill -9` with another parallelism.

Which of the rows in conflict is the last depends on who came when; that it is one of them, and that
every key has one, does not. Where the key of the table has that of the query in it, there are no
conflicts, and rows that move from key to key must leave nothing behind.

MILLRACE_TEST_POSTGRES=port of a server (dev/services).
"""

import functools
import os
import pathlib
import random
import subprocess
import tempfile
import unittest

import duckdb

import postgres_server
from killed_runs import run_and_kill
from postgres_server import PORT

BUILD = pathlib.Path(os.environ["MILLRACE_BUILD"])
MILLRACE = str(BUILD / "cli" / "millrace")
DATABASE = f"millrace_conflicts_{os.getpid()}"
psql = functools.partial(postgres_server.psql, database=DATABASE)
EVENTS = 20000
KILLS = 3

TABLES = """
CREATE TABLE nexmark (
    event_type INT, bid ROW<auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR>
) WITH ('connector' = 'file', 'path' = '{events}', 'format' = 'json');
CREATE VIEW bid AS SELECT bid.auction, bid.bidder, bid.price, bid.channel FROM nexmark WHERE event_type = 2;
CREATE TABLE target ({columns}, PRIMARY KEY ({key}) NOT ENFORCED) WITH ('connector' = 'postgres',
    'hostname' = '127.0.0.1', 'port' = '{port}', 'username' = 'postgres',
    'database-name' = '{database}', 'table-name' = 'target');
"""


@postgres_server.needs_server
class ConflictsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = pathlib.Path(temporary.name)
        postgres_server.make_database(cls, DATABASE)
        cls.events = cls.folder / "events.json"
        subprocess.run([MILLRACE, "generate", "nexmark", "--events", str(EVENTS), "--seed", "1",
                        "--rate", "1000", "--to", f"file:{cls.events}"],
                       check=True, capture_output=True)
        cls.duckdb = duckdb.connect(":memory:")
        cls.addClassCleanup(cls.duckdb.close)
        cls.duckdb.execute(
            f"CREATE TABLE bid AS SELECT unnest(bid) FROM read_json('{cls.events}', columns = "
            "{event_type: 'INT', bid: 'STRUCT(auction BIGINT, bidder BIGINT, price BIGINT, "
            "channel VARCHAR)'}) WHERE bid IS NOT NULL")

    def run_job(self, name, columns, key, insert, kills=0, parallelism=1):
        psql(f"DROP TABLE IF EXISTS target; CREATE TABLE target ({columns}, PRIMARY KEY ({key}))")
        folder = self.folder / name
        folder.mkdir()
        script = folder / "job.sql"
        script.write_text("SET 'execution.checkpointing.interval' = '20 ms';\n" + TABLES.format(
            events=self.events, columns=columns, key=key, port=PORT, database=DATABASE) +
                          f"INSERT INTO target {insert};\n")
        command = [MILLRACE, "run", str(script), "--work-dir", str(folder / "work")]
        run_and_kill(command, kills, random.Random(name))
        return subprocess.run([*command, "--parallelism", str(parallelism)], capture_output=True,
                              text=True, timeout=120)

    def rows(self):
        return sorted(tuple(line.split("|")) for line in psql("SELECT * FROM target").splitlines())

    def expected(self, query):
        return sorted(tuple(str(value) for value in row)
                      for row in self.duckdb.execute(query).fetchall())

    def each_way(self, name, columns, key, insert, check):
        for way, options in {"one": {}, "two": {"parallelism": 2},
                             "killed": {"kills": KILLS, "parallelism": 2}}.items():
            with self.subTest(way):
                done = self.run_job(f"{name}-{way}", columns, key, insert, **options)
                self.assertEqual(done.returncode, 0, done.stderr)
                check()

    def one_of_each(self, answer):
        rows = self.rows()
        self.assertEqual(sorted({row[1] for row in rows}), sorted({row[1] for row in answer}))
        self.assertEqual(len(rows), len({row[1] for row in rows}))
        self.assertLessEqual(set(rows), set(answer))

    # The key of the table is what the groups compute: every bid moves its group to another key.
    def test_deduplicate(self):
        query = "SELECT bidder, count(*) AS n FROM bid GROUP BY bidder"
        answer = self.expected(query)
        self.each_way("deduplicate", "bidder BIGINT, n BIGINT", "n",
                      query + " ON CONFLICT DO DEDUPLICATE", lambda: self.one_of_each(answer))

    def test_nothing(self):
        query = "SELECT bidder, max(price) % 50 AS n FROM bid WHERE price < 5000 GROUP BY bidder"
        answer = self.expected(query)
        self.each_way("nothing", "bidder BIGINT, n BIGINT", "n",
                      query + " ON CONFLICT DO NOTHING", lambda: self.one_of_each(answer))

    def test_no_conflicts(self):
        query = "SELECT bidder, max(price) AS best, count(*) AS n FROM bid GROUP BY bidder"
        answer = self.expected(query)
        self.each_way("only", "bidder BIGINT, best BIGINT, n BIGINT", "bidder, best",
                      query + " ON CONFLICT DO ERROR",
                      lambda: self.assertEqual(self.rows(), answer))

    def test_an_error_ends_the_job_before_it_is_seen(self):
        done = self.run_job("error", "bidder BIGINT, n BIGINT", "n",
                            "SELECT bidder, count(*) FROM bid GROUP BY bidder ON CONFLICT DO ERROR")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("MR5401: two rows have one key of the sink, and ON CONFLICT says DO ERROR: "
                      "(bidder=", done.stderr)
        self.assertEqual(self.rows(), [])


if __name__ == "__main__":
    unittest.main()
