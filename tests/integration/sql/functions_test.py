"""Functions and operators over random rows, against PostgreSQL: the same expression where both mean
the same, else what docs/functions.md says of the difference in PostgreSQL's words.

MILLRACE_TEST_POSTGRES=port of a server (dev/services); MILLRACE_FUNCTIONS_SEED=n repeats a seed.
"""

import csv
import datetime
import decimal
import io
import json
import math
import os
import pathlib
import random
import subprocess
import tempfile
import unittest

import postgres_server
from postgres_server import psql

BUILD = pathlib.Path(os.environ["MILLRACE_BUILD"])
MILLRACE = str(BUILD / "cli" / "millrace")
SEED = int(os.environ.get("MILLRACE_FUNCTIONS_SEED", "1"))
ROWS = 1000
FAR = 1e-12  # Relative, of doubles that come out of a library's functions.

COLUMNS = {
    "id": ("BIGINT", "bigint"), "a": ("INT", "int"), "n": ("BIGINT", "bigint"),
    "m": ("DECIMAL(12, 3)", "numeric(12, 3)"), "w": ("DECIMAL(30, 8)", "numeric(30, 8)"),
    "d": ("DOUBLE", "double precision"), "s": ("STRING", "text"), "u": ("STRING", "text"),
    "t": ("TIMESTAMP(3)", "timestamp"), "b": ("BOOLEAN", "boolean"),
}

# Ours; PostgreSQL's where its text or meaning is another.
NUMBERS = [
    "n + a", "n - a * 2", "a * CAST(a AS BIGINT)", "n / NULLIF(a, 0)", "MOD(n, NULLIF(a, 0))",
    "-n", "ABS(n)", ("SIGN(n)", "sign(n)::int"), "m + w", "m - w", ("m * w", "round(m * w, 6)"),
    "m * 1.5", "m + n",
    "n * 0.908", ("m / 8", "(m / 8)::numeric(20, 6)"), "MOD(m, 1.7)", "-m", "ABS(m)",
    ("SIGN(m)", "sign(m)::int"), "ROUND(m)", "ROUND(m, 1)", "ROUND(m, -1)", "CEIL(m)", "FLOOR(m)",
    ("TRUNCATE(m)", "trunc(m)"), ("TRUNCATE(m, 1)", "trunc(m, 1)"), "ROUND(w, 4)",
    ("CAST(m AS BIGINT)", "trunc(m)::bigint"), "CAST(m AS DECIMAL(20, 1))",
    ("CAST(m AS STRING)", "m::text"), ("CAST(n AS STRING)", "n::text"),
    "CAST(n AS DECIMAL(25, 2))", ("CAST(d AS DECIMAL(20, 3))", "d::numeric::numeric(20, 3)"),
    "CAST(m AS DOUBLE PRECISION)", "d * n", "d + m", "d / 3", "POWER(d, 2)", "SQRT(ABS(d))",
    "LN(ABS(d) + 1)", ("LOG10(ABS(d) + 1)", "log(ABS(d) + 1)"), "EXP(d / 1000)", "SIN(d)",
    "COS(d)", "ATAN(d)", "DEGREES(d)", "RADIANS(d)", "COT(d / 1000 + 2000)",
    ("HEX(n)", "upper(to_hex(n))"),
    ("BIN(n)", "CASE n WHEN 0 THEN '0' ELSE ltrim(n::bit(64)::text, '0') END"), "CEIL(d)", "FLOOR(d)",
    ("BITAND(n, 255)", "n & 255"), "n | 1", "n # 5", "n << 3", "n >> 2",
    ("GREATEST(m, n)", "CASE WHEN m IS NOT NULL AND n IS NOT NULL THEN GREATEST(m, n) END"),
    ("LEAST(a, n)", "CASE WHEN a IS NOT NULL AND n IS NOT NULL THEN LEAST(a, n) END"),
    "COALESCE(m, n, 0)", "NULLIF(n, 1)", "CASE WHEN m > 0 THEN n WHEN b THEN 1.25 END",
    "CASE a WHEN 1 THEN 'one' WHEN 2 THEN 'two' ELSE s END",
]
TRUTHS = [
    "m > n", "m = 1.500", "m <> n", "w <= m", "d >= m", "a IN (1, 2, n)", "m IN (1, 2.5, n)",
    "n NOT IN (0, 1)", "m BETWEEN -10 AND 10.5", "b AND n > 0", "b OR n > 0", "NOT b", "b IS TRUE",
    "b IS NOT TRUE", "b IS UNKNOWN", "s IS DISTINCT FROM u", "n IS NOT DISTINCT FROM a",
    "s IS NULL", "s = u", ("s < u", 's < u COLLATE "C"'), ("s >= 'm'", 's >= \'m\' COLLATE "C"'),
    "s LIKE 'a%'", "s LIKE '%b_c%'", "s NOT LIKE '%a%'", "s ILIKE '%AB%'",
    "s LIKE '%!%%' ESCAPE '!'", "s SIMILAR TO '%(b|c)%'", "s ~ '^[a-c]+'",
    ("STARTS_WITH(s, 'a')", "starts_with(s, 'a')"), "t > TIMESTAMP '2024-02-29 12:00:00'",
    "t BETWEEN TIMESTAMP '2020-01-01 00:00:00' AND TIMESTAMP '2024-12-31 00:00:00'",
    "CAST(t AS DATE) = DATE '2024-02-29'",
]
TEXTS = [
    ("UPPER(s)", 'upper(s COLLATE "und-x-icu")'), ("LOWER(s)", 'lower(s COLLATE "und-x-icu")'),
    "CHAR_LENGTH(s)", "OCTET_LENGTH(s)", "REVERSE(s)",
    "SUBSTRING(s, 2, 3)", "SUBSTRING(s FROM 2)", "LEFT(s, 2)", "RIGHT(s, 2)",
    "REPLACE(s, 'a', 'xy')", "LPAD(s, 6, '*')", "RPAD(s, 6, '+-')", "LTRIM(s)", "RTRIM(s)",
    "TRIM(s)", "TRIM(BOTH 'a' FROM s)", "TRIM(LEADING 'ab' FROM s)", "BTRIM(s, 'c')",
    "POSITION('b' IN s)", "s || u", "s || '-' || CAST(n AS VARCHAR)", "REPEAT(s, 3)",
    "INITCAP(REPLACE(REPLACE(s, 'é', ''), '日', ''))",
    "MD5(s)", ("SHA256(s)", "encode(sha256(convert_to(s, 'UTF8')), 'hex')"), "ASCII(s)",
    ("SPLIT_INDEX(s, 'b', 1)",
     "CASE WHEN s <> '' AND length(s) - length(replace(s, 'b', '')) >= 1 "
     "THEN split_part(s, 'b', 2) END"),
    "CONCAT_WS(',', s, u, 'z')",
    ("REGEXP_REPLACE(s, '[ab]+', '<>')", "regexp_replace(s, '[ab]+', '<>', 'g')"),
    ("REGEXP_EXTRACT(s, '([a-b]+)(c?)', 1)", "(regexp_match(s, '([a-b]+)(c?)'))[1]"),
    "COALESCE(s, u, 'none')", "NULLIF(s, u)", ("INSTR(s, 'b')", "strpos(s, 'b')"),
    "STRPOS(s, u)", ("LOCATE('a', s)", "strpos(s, 'a')"),
    ("LOCATE('a', s, 3)",
     "CASE WHEN strpos(substr(s, 3), 'a') = 0 THEN 0 ELSE strpos(substr(s, 3), 'a') + 2 END"),
    ("OVERLAY(s PLACING 'xyz' FROM 2)",
     "CASE WHEN length(s) < 2 THEN s ELSE overlay(s placing 'xyz' from 2) END"),
    ("OVERLAY(s PLACING u FROM 3 FOR 1)",
     "CASE WHEN length(s) < 3 AND u IS NOT NULL THEN s ELSE overlay(s placing u from 3 for 1) END"),
    "TRANSLATE(s, 'abé', 'xy')", ("ELT(a, s, u)", "CASE a WHEN 1 THEN s WHEN 2 THEN u END"),
    ("HEX(s)", "upper(encode(convert_to(s, 'UTF8'), 'hex'))"),
    ("TO_BASE64(s)", "encode(convert_to(s, 'UTF8'), 'base64')"),
    ("FROM_BASE64(TO_BASE64(s))", "s"), ("URL_DECODE(URL_ENCODE(s))", "s"),
    ("SHA224(s)", "encode(sha224(convert_to(s, 'UTF8')), 'hex')"),
    ("SHA384(s)", "encode(sha384(convert_to(s, 'UTF8')), 'hex')"),
    ("SHA2(s, 512)", "encode(sha512(convert_to(s, 'UTF8')), 'hex')"),
    "REGEXP_COUNT(s, '[ab]')", "REGEXP_COUNT(s, 'a*')", "REGEXP_INSTR(s, 'b|c')",
    "REGEXP_SUBSTR(s, '[a-b]+c?')",
]
TIMES = [
    *[f"EXTRACT({unit} FROM t)" for unit in
      ("YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "DOY", "ISODOW", "HOUR", "MINUTE")],
    *[f"EXTRACT({unit} FROM t)" for unit in ("DECADE", "CENTURY", "MILLENNIUM", "ISOYEAR")],
    *[(f"TIMESTAMPADD({unit}, MOD(a, 100), t)", f"t + MOD(a, 100) * INTERVAL '{length}'") for unit, length in
      [("SECOND", "1 second"), ("MINUTE", "1 minute"), ("HOUR", "1 hour"), ("DAY", "1 day"),
       ("WEEK", "7 days"), ("MONTH", "1 month"), ("QUARTER", "3 months"), ("YEAR", "1 year")]],
    *[(f"TIMESTAMPDIFF({unit}, TIMESTAMP '2020-01-15 06:00:00', t)",
       f"trunc(EXTRACT(EPOCH FROM t - TIMESTAMP '2020-01-15 06:00:00') / {length})")
      for unit, length in [("SECOND", 1), ("MINUTE", 60), ("HOUR", 3600), ("DAY", 86400),
                           ("WEEK", 604800)]],
    *[(f"TIMESTAMPDIFF({unit}, TIMESTAMP '2020-01-15 06:00:00', t)",
       "trunc((EXTRACT(YEAR FROM age(t, TIMESTAMP '2020-01-15 06:00:00')) * 12 + "
       f"EXTRACT(MONTH FROM age(t, TIMESTAMP '2020-01-15 06:00:00'))) / {months})")
      for unit, months in [("MONTH", 1), ("QUARTER", 3), ("YEAR", 12)]],
    ("FROM_UNIXTIME(n / 1000)",
     "to_char(to_timestamp(n / 1000) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')"),
    ("UNIX_TIMESTAMP(CAST(t AS STRING))", "floor(EXTRACT(EPOCH FROM t))"),
    ("CAST(TO_DATE(DATE_FORMAT(t, 'dd.MM.yyyy'), 'dd.MM.yyyy') AS STRING)", "t::date::text"),
    ("EXTRACT(SECOND FROM t)", "floor(EXTRACT(SECOND FROM t))"),
    ("EXTRACT(DOW FROM t)", "EXTRACT(DOW FROM t) + 1"),
    ("EXTRACT(EPOCH FROM t)", "floor(EXTRACT(EPOCH FROM t))"),
    *[f"DATE_TRUNC('{unit}', t)" for unit in
      ("second", "minute", "hour", "day", "week", "month", "quarter", "year")],
    "t + INTERVAL '90' MINUTE", "t - INTERVAL '2 days 3 hours'", "t + 2 * INTERVAL '1' DAY",
    ("DATE_FORMAT(t, 'yyyy-MM-dd HH:mm:ss')", "to_char(t, 'YYYY-MM-DD HH24:MI:SS')"),
    ("CAST(CAST(t AS DATE) AS STRING)", "t::date::text"),
    ("CAST(t AS DATE) - DATE '2020-01-01'", "t::date - DATE '2020-01-01'"),
    ("YEAR(t) * 100 + MONTH(t)", "EXTRACT(YEAR FROM t) * 100 + EXTRACT(MONTH FROM t)"),
]
EXPRESSIONS = [(one, one) if isinstance(one, str) else one
               for one in NUMBERS + TRUTHS + TEXTS + TIMES]


def random_rows(chance):
    def value(name):
        if name != "id" and chance.random() < 0.1:
            return None
        if name == "a":
            return chance.choice([0, 1, 2, -1, -7, 1000, chance.randint(-9999, 9999)])
        if name == "n":
            return chance.choice([0, 1, -1, 255, chance.randint(-10**12, 10**12)])
        if name == "m":
            return decimal.Decimal(chance.choice(
                [0, 500, -500, 1500, 2500, -1, chance.randint(-10**9, 10**9)])).scaleb(-3)
        if name == "w":
            return decimal.Decimal(chance.randint(-10**18, 10**18)).scaleb(-8)
        if name == "d":
            return chance.choice([0.0, 0.5, -2.25, chance.randint(-10**6, 10**6) / 1000])
        if name in "su":
            return "".join(chance.choice("aabbcc ABz%é日") for _ in range(chance.randint(0, 7)))
        if name == "t":
            return datetime.datetime(2024, 2, 29, 12) + datetime.timedelta(
                milliseconds=chance.randint(-2 * 10**11, 2 * 10**11))
        return chance.random() < 0.5

    return [{"id": i} | {name: value(name) for name in COLUMNS if name != "id"}
            for i in range(ROWS)]


def as_json(row):
    """One line; decimals as numbers with all their digits."""
    def text(value):
        if isinstance(value, decimal.Decimal):
            return format(value, "f")
        if isinstance(value, datetime.datetime):
            return json.dumps(value.strftime("%Y-%m-%d %H:%M:%S.") +
                              f"{value.microsecond // 1000:03d}")
        return json.dumps(value)
    return "{" + ", ".join(f'"{name}": {text(value)}' for name, value in row.items()) + "}"


def as_csv(value):
    if value is None:
        return "\\N"
    return format(value, "f") if isinstance(value, decimal.Decimal) else value


def same(ours, theirs):
    """`ours` out of JSON, `theirs` PostgreSQL's text; None is NULL."""
    if ours is None or theirs is None:
        return ours is None and theirs is None
    if isinstance(ours, bool):
        return theirs == ("t" if ours else "f")
    if isinstance(ours, (int, decimal.Decimal)):
        number = decimal.Decimal(theirs)
        return ours == number or math.isclose(float(ours), float(number), rel_tol=FAR) and (
            "e" in theirs or number.as_tuple().exponent < -10)
    if ours == theirs:
        return True
    try:  # A timestamp; PostgreSQL leaves out the fraction where it is zero.
        form = "%Y-%m-%d %H:%M:%S"
        at = [datetime.datetime.strptime(text, form + (".%f" if "." in text else ""))
              for text in (ours, theirs)]
        return at[0] == at[1]
    except ValueError:
        return False


@postgres_server.needs_server
class FunctionsTest(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)

    def ours(self, rows):
        (self.folder / "rows.json").write_text("".join(as_json(row) + "\n" for row in rows))
        columns = ", ".join(f"{name} {type_[0]}" for name, type_ in COLUMNS.items())
        values = ",\n  ".join(f"{ours} AS e{i}" for i, (ours, _) in enumerate(EXPRESSIONS))
        script = self.folder / "job.sql"
        script.write_text(
            f"CREATE TABLE input ({columns}) WITH ('connector' = 'file', "
            f"'path' = '{self.folder}/rows.json', 'format' = 'json');\n"
            f"CREATE VIEW results AS SELECT id,\n  {values}\nFROM input;\n"
            f"CREATE TABLE results_file (PLACEHOLDER) WITH ('connector' = 'file', "
            f"'path' = '{self.folder}/out', 'format' = 'json');\n"
            "INSERT INTO results_file SELECT * FROM results;\n")
        # The columns of the target are those of the query.
        text = script.read_text()
        plan = subprocess.run(
            [MILLRACE, "explain", str(self.plan_of(text))], capture_output=True, text=True,
            check=False)
        self.assertEqual(plan.returncode, 0, plan.stderr)
        line = next(line for line in plan.stdout.splitlines()
                    if line.startswith("  columns: id BIGINT") and " e0 " in line)
        script.write_text(text.replace("PLACEHOLDER", line.removeprefix("  columns: ")))
        done = subprocess.run([MILLRACE, "run", str(script), "--work-dir",
                               str(self.folder / "work")], capture_output=True, text=True,
                              timeout=120, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        result = {}
        for part in (self.folder / "out").glob("part-*"):
            for text in part.read_text().splitlines():
                row = json.loads(text, parse_float=decimal.Decimal)
                number = row.pop("id")
                result[number] = list(row.values())
        return result

    def plan_of(self, text):
        alone = self.folder / "alone.sql"
        alone.write_text(text[:text.index("CREATE TABLE results_file")] + "SELECT * FROM results;\n")
        return alone

    def theirs(self, rows):
        columns = ", ".join(f"{name} {type_[1]}" for name, type_ in COLUMNS.items())
        data = io.StringIO()
        for row in rows:
            data.write("\t".join(str(as_csv(value)).replace("True", "t").replace("False", "f")
                                 for value in row.values()) + "\n")
        values = ", ".join(theirs for _, theirs in EXPRESSIONS)
        text = psql(
            "SET client_min_messages = warning; SET TIME ZONE 'UTC'; SET extra_float_digits = 1;\n"
            f"CREATE TEMP TABLE input ({columns});\n"
            "COPY input FROM stdin;\n" + data.getvalue() + "\\.\n"
            f"COPY (SELECT id, {values} FROM input) TO STDOUT WITH (FORMAT csv, NULL '\\N', "
            "FORCE_QUOTE *);\n")
        return {int(row[0]): [None if value == "\\N" else value for value in row[1:]]
                for row in csv.reader(io.StringIO(text))}

    def test_every_expression_means_the_same(self):
        rows = random_rows(random.Random(SEED))
        ours, theirs = self.ours(rows), self.theirs(rows)
        self.assertEqual(ours.keys(), theirs.keys(), "rows are missing: dead letters?")
        values = 0
        different = {}  # The first row of each expression.
        for i, (text, other) in enumerate(EXPRESSIONS):
            for row in rows:
                mine, wanted = ours[row["id"]][i], theirs[row["id"]][i]
                values += mine is not None
                if not same(mine, wanted):
                    different.setdefault(text, f"{text}: ours {mine!r}, PostgreSQL {wanted!r} "
                                               f"({other}), of {row}")
        self.assertFalse(different, "\n" + "\n".join(different.values()))
        self.assertGreater(values, len(rows) * len(EXPRESSIONS) / 2)
        print(f"{len(EXPRESSIONS)} expressions, {len(rows)} rows, {values} values")


if __name__ == "__main__":
    unittest.main()
