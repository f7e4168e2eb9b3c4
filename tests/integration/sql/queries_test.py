"""The public Nexmark queries (q0, q2, …), and others, in Flink's dialect, against DuckDB over the
same events.

Each query runs with one task per node, with two, and under `kill -9`, each time with another
parallelism; the changes that it writes must add up to the table that DuckDB computes, by the same
SQL or by what NAME.duckdb says. Of the queries, q6 is refused: its OVER would read the changes of
a ROW_NUMBER, and reads inserts only. Of q12, whose windows are those of the clock, the totals are
compared.
"""

import collections
import concurrent.futures
import datetime
import decimal
import json
import os
import pathlib
import random
import re
import subprocess
import tempfile
import unittest
import urllib.parse

import duckdb

from killed_runs import run_and_kill

BUILD = pathlib.Path(os.environ["MILLRACE_BUILD"])
MILLRACE = str(BUILD / "cli" / "millrace")
FOLDER = pathlib.Path(__file__).parent / "queries"
EVENTS = int(os.environ.get("MILLRACE_NEXMARK_EVENTS", "20000"))
SEED = int(os.environ.get("MILLRACE_NEXMARK_SEED", "1"))
KILLS = 3
# Columns that are certain where rows tie: which of two bids of one price comes first is not.
CERTAIN = {"q19": (0, 2, 7)}
# Windows by the clock: only the sums of a column by another one are certain. Key and value.
SUMS = {"q12": (0, 1)}

MACROS = """
CREATE MACRO date_format(t, f) AS strftime(t, replace(replace(replace(replace(replace(
    f, 'yyyy', '%Y'), 'MM', '%m'), 'dd', '%d'), 'HH', '%H'), 'mm', '%M'));
CREATE MACRO count_char(t, c) AS length(t) - length(replace(t, c, ''));
CREATE MACRO split_index(t, separator, i) AS split_part(t, separator, i + 1);
CREATE MACRO extracted(t, p, g) AS
    CASE WHEN regexp_matches(t, p) THEN regexp_extract(t, p, g) END;
"""
HOPS = """(SELECT t.*, w AS window_start, w + INTERVAL {size} SECOND AS window_end FROM {table} t,
    unnest(generate_series(
        time_bucket(INTERVAL {slide} SECOND, "dateTime") - INTERVAL {back} SECOND,
        time_bucket(INTERVAL {slide} SECOND, "dateTime"), INTERVAL {slide} SECOND)) AS s(w))"""
CUMULATED = """(SELECT t.*, time_bucket(INTERVAL {size} SECOND, "dateTime") AS window_start,
    w AS window_end FROM {table} t, unnest(generate_series(
        time_bucket(INTERVAL {step} SECOND, "dateTime") + INTERVAL {step} SECOND,
        time_bucket(INTERVAL {size} SECOND, "dateTime") + INTERVAL {size} SECOND,
        INTERVAL {step} SECOND)) AS s(w))"""
SESSIONS = """(SELECT *, min("dateTime") OVER same AS window_start,
    max("dateTime") OVER same + INTERVAL {gap} SECOND AS window_end FROM (
        SELECT *, sum(begins) OVER (PARTITION BY {key} ORDER BY "dateTime"
            RANGE UNBOUNDED PRECEDING) AS session FROM (
                SELECT *, CASE WHEN "dateTime" - lag("dateTime") OVER (
                    PARTITION BY {key} ORDER BY "dateTime") <= INTERVAL {gap} SECOND
                    THEN 0 ELSE 1 END AS begins FROM {table}))
    WINDOW same AS (PARTITION BY {key}, session))"""


def to_duckdb(query):
    """The same query in DuckDB's words: windows as series of starts, AVG of integers truncated."""
    query = query.replace("`", '"')
    time = r'DESCRIPTOR\("dateTime"\)'
    length = r"INTERVAL '(\d+)' SECOND"

    def hops(match):
        table, slide, size = match[1], int(match[2]), int(match[3])
        return HOPS.format(table=table, slide=slide, size=size, back=size - slide)

    query = re.sub(rf"TABLE\(HOP\(TABLE (\w+), {time}, {length}, {length}\)\)", hops, query)
    query = re.sub(rf"TABLE\(TUMBLE\(TABLE (\w+), {time}, {length}\)\)",
                   lambda m: HOPS.format(table=m[1], slide=m[2], size=m[2], back=0), query)
    query = re.sub(rf"TABLE\(CUMULATE\(TABLE (\w+), {time}, {length}, {length}\)\)",
                   lambda m: CUMULATED.format(table=m[1], step=m[2], size=m[3]), query)
    query = re.sub(rf"TABLE\(SESSION\(TABLE (\w+) PARTITION BY (\w+), {time}, {length}\)\)",
                   lambda m: SESSIONS.format(table=m[1], key=m[2], gap=m[3]), query)
    query = re.sub(r"avg\(([\w.]+)\)", r"CAST(sum(\1) // count(\1) AS BIGINT)", query,
                   flags=re.IGNORECASE)
    query = query.replace("REGEXP_EXTRACT(", "extracted(")
    return query


def text(value):
    if isinstance(value, list):
        return tuple(map(text, value))
    if isinstance(value, datetime.datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S.") + f"{value.microsecond // 1000:03d}"
    return decimal.Decimal(repr(value)) if isinstance(value, float) else value


class QueriesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.temporary.cleanup)
        cls.folder = pathlib.Path(cls.temporary.name)
        cls.events = cls.folder / "events.json"
        subprocess.run([MILLRACE, "generate", "nexmark", "--events", str(EVENTS), "--seed",
                        str(SEED), "--rate", "1000", "--to", f"file:{cls.events}"],
                       check=True, capture_output=True)
        cls.tables = (FOLDER / "tables.sql").read_text()
        cls.database = duckdb.connect(":memory:")
        cls.addClassCleanup(cls.database.close)
        cls.database.execute(MACROS)
        for kind, columns in {
                "person": "id BIGINT, name VARCHAR, emailAddress VARCHAR, creditCard VARCHAR, "
                          "city VARCHAR, state VARCHAR, dateTime TIMESTAMP, extra VARCHAR",
                "auction": "id BIGINT, itemName VARCHAR, description VARCHAR, initialBid BIGINT, "
                           "reserve BIGINT, dateTime TIMESTAMP, expires TIMESTAMP, seller BIGINT, "
                           "category BIGINT, extra VARCHAR",
                "bid": "auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, "
                       "url VARCHAR, dateTime TIMESTAMP, extra VARCHAR"}.items():
            cls.database.execute(
                f"CREATE TABLE {kind} AS SELECT unnest({kind}) FROM read_json('{cls.events}', "
                f"columns = {{event_type: 'INT', {kind}: 'STRUCT({columns})'}}) "
                f"WHERE {kind} IS NOT NULL")
        cls.side_input = cls.folder / "side_input.csv"
        cls.side_input.write_text("".join(f"{key},value {key * 31 % 997}\n" for key in range(10000)))
        cls.database.execute(f"CREATE TABLE side_input AS SELECT * FROM read_csv("
                             f"'{cls.side_input}', columns = {{key: 'BIGINT', value: 'VARCHAR'}})")

    def expected(self, name):
        in_its_words = FOLDER / f"{name}.duckdb"
        if in_its_words.exists():
            query = in_its_words.read_text()
        else:
            script = (FOLDER / f"{name}.sql").read_text()
            query = script[script.index(f"INSERT INTO {name}") + len(f"INSERT INTO {name}"):]
            query = to_duckdb(query.strip().rstrip(";"))
        cursor = self.database.execute(query)
        return collections.Counter(tuple(map(text, row)) for row in cursor.fetchall())

    @staticmethod
    def certain(name, rows):
        if name in SUMS:
            key, value = SUMS[name]
            sums = collections.Counter()
            for row, count in rows.items():
                sums[row[key]] += row[value] * count
            return sums
        if name not in CERTAIN:
            return rows
        columns = collections.Counter()
        for row, count in rows.items():
            columns[tuple(row[i] for i in CERTAIN[name])] += count
        return columns

    def job(self, name, folder, settings):
        folder.mkdir()
        out = folder / "out"
        script = folder / f"{name}.sql"
        script.write_text(
            settings + self.tables.replace(
                "${source}",
                f"'connector' = 'file', 'path' = '{self.events}', 'format' = 'json'")
            + (FOLDER / f"{name}.sql").read_text().replace(
                "${sink}", f"'connector' = 'file', 'path' = '{out}', 'format' = 'json'").replace(
                "${side_input}", str(self.side_input)))
        return out, [MILLRACE, "run", str(script), "--work-dir", str(folder / "work")]

    def result(self, out):
        """The rows that all changes make together."""
        rows = collections.Counter()
        for part in out.rglob("part-*"):
            partition = [urllib.parse.unquote(folder).split("=", 1)
                         for folder in part.relative_to(out).parts[:-1]]
            for line in part.read_text().splitlines():
                row = json.loads(line, parse_float=decimal.Decimal) | dict(partition)
                op = row.pop("op", "+I")
                rows[tuple(map(text, row.values()))] += 1 if op in ("+I", "+U") else -1
        self.assertTrue(all(count >= 0 for count in rows.values()))
        return +rows

    def finish(self, command):
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)

    def check(self, name):
        expected = self.certain(name, self.expected(name))
        self.assertGreater(sum(expected.values()), 0, "the query must have rows")
        jobs = [self.job(name, self.folder / f"{name}-{parallelism}",
                         f"SET 'parallelism.default' = '{parallelism}';\n")
                for parallelism in (1, 2)]
        with concurrent.futures.ThreadPoolExecutor() as threads:
            list(threads.map(self.finish, [command for _, command in jobs]))
        for parallelism, (out, _) in enumerate(jobs, start=1):
            with self.subTest(parallelism=parallelism):
                self.assertEqual(self.certain(name, self.result(out)), expected)
        with self.subTest("killed"):
            chance = random.Random(f"{SEED} {name}")
            out, command = self.job(name, self.folder / f"{name}-killed",
                                    "SET 'execution.checkpointing.interval' = '20 ms';\n")
            type(self).kills += run_and_kill(command, KILLS, chance)
            self.finish([*command, "--parallelism", "2"])
            self.assertEqual(self.certain(name, self.result(out)), expected)

    kills = 0

    @classmethod
    def tearDownClass(cls):
        print(f"{cls.kills} runs were killed", flush=True)
        assert cls.kills > 0, "no run was killed: the input is too small for this machine"


def add(name):
    setattr(QueriesTest, f"test_{name}", lambda self: self.check(name))


for path in FOLDER.glob("*.sql"):
    if path.stem != "tables":
        add(path.stem)

if __name__ == "__main__":
    unittest.main()
