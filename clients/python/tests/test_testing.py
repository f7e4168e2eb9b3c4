"""Jobs without a cluster: millrace.testing."""

import datetime
import os
import pathlib
from decimal import Decimal

import pytest
from millrace import Job, tumble
from millrace.testing import TestDriver, DriverError

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get("MILLRACE_BUILD", ROOT / "build"))
PROGRAM = str(BUILD / "cli" / "millrace")

HOT = """
CREATE TABLE bid (auction BIGINT, price DECIMAL(10, 2), ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '4' SECOND)
WITH ('connector' = 'kafka', 'topic' = 'bids', 'properties.bootstrap.servers' = 'nowhere:1',
  'format' = 'json');
CREATE TABLE hot (window_start TIMESTAMP(3), auction BIGINT, num BIGINT, top DECIMAL(10, 2))
WITH ('connector' = 'kafka', 'topic' = 'hot', 'properties.bootstrap.servers' = 'nowhere:1',
  'format' = 'json');
INSERT INTO hot
SELECT window_start, auction, count(*), max(price)
FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '10' SECOND))
GROUP BY window_start, window_end, auction;
"""
TOTALS = """
CREATE TABLE sale (item STRING, amount BIGINT) WITH ('connector' = 'datagen');
SELECT item, sum(amount) AS total FROM sale GROUP BY item;
"""
CUSTOMERS = """
CREATE TABLE customer (id BIGINT, city STRING, PRIMARY KEY (id) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'c', 'properties.bootstrap.servers' = 'nowhere:1',
  'key.format' = 'json', 'value.format' = 'json');
SELECT city, count(*) AS num FROM customer GROUP BY city;
"""


def driver(**arguments):
    return TestDriver(program=PROGRAM, **arguments)


def second(n):
    return datetime.datetime(2026, 1, 1, 0, 0, n)


def bid(auction, price, at):
    return {"auction": auction, "price": price, "ts": second(at)}


def test_windows_close_when_the_watermark_passes():
    with driver(sql=HOT) as t:
        assert (t.sources, t.sinks) == (["bid.scan"], ["hot.sink"]) or t.sinks
        t.feed("bid", [bid(1, Decimal("2.50"), 1), bid(1, Decimal("7.00"), 2), bid(2, 1, 9)])
        assert t.output("hot") == []
        t.advance_watermark("bid", "2026-01-01 00:00:10")
        rows = sorted(t.output("hot"), key=lambda row: row["auction"])
        assert rows == [
            {"window_start": second(0), "auction": 1, "num": 2, "top": Decimal("7.00")},
            {"window_start": second(0), "auction": 2, "num": 1, "top": Decimal("1.00")}]
        assert t.output("hot") == [], "each row once"


def test_rows_move_the_watermark_as_the_job_says():
    with driver(sql=HOT) as t:
        t.feed("bid", [bid(1, 1, 5)])
        t.feed("bid", [bid(1, 1, 13)])
        assert t.output("hot") == [], "four seconds behind"
        t.feed("bid", [bid(1, 1, 14)])
        assert [row["num"] for row in t.output("hot")] == [1]
        t.feed("bid", [bid(1, 1, 9)])
        t.advance_watermark("bid", second(40))
        assert [row["num"] for row in t.output("hot")] == [2], "the late row counts nowhere"


def test_the_end_closes_all_windows():
    with driver(sql=HOT) as t:
        t.feed("bid", [bid(1, 1, 5), bid(1, 1, 55)])
        assert t.end()
        assert [row["window_start"] for row in t.output("hot")] == [second(0), second(50)]
        with pytest.raises(DriverError, match="has ended"):
            t.feed("bid", [bid(1, 1, 5)])


@pytest.mark.parametrize("parallelism", [1, 3])
def test_state_survives_a_restart(parallelism):
    with driver(sql=HOT, parallelism=parallelism) as t:
        t.feed("bid", [bid(n, 1, 1) for n in range(10)])
        t.restart()
        t.feed("bid", [bid(n, 1, 2) for n in range(10)])
        t.restart()
        t.advance_watermark("bid", second(10))
        assert sorted((row["auction"], row["num"]) for row in t.output("hot")) == [
            (n, 2) for n in range(10)]


def test_changes_and_the_table_that_they_leave():
    with driver(sql=TOTALS) as t:
        t.feed("sale", [{"item": "a", "amount": 1}])
        t.feed("sale", [{"item": "a", "amount": 2}, {"item": "b", "amount": 5}])
        changes = t.changes("select")
        assert [change.op for change in changes].count("-U") == 1
        assert sorted(t.table(changes), key=lambda row: row["item"]) == [
            {"item": "a", "total": 3}, {"item": "b", "total": 5}]
        t.feed("sale", [{"item": "b", "amount": 1}])
        with pytest.raises(DriverError, match="is a change"):
            t.output("select")


def test_sources_of_changes():
    with driver(sql=CUSTOMERS) as t:
        t.feed("customer", [{"id": 1, "city": "Rom"}, {"id": 2, "city": "Rom"}])
        changes = t.changes("select")
        t.feed("customer", [{"op": "+U", "id": 1, "city": "Oslo"}, {"op": "-D", "id": 2}])
        changes += t.changes("select")
        assert t.table(changes) == [{"city": "Oslo", "num": 1}]
        with pytest.raises(DriverError, match="none of"):
            t.feed("customer", [{"op": "+X", "id": 1, "city": "Oslo"}])


def test_processing_time_is_the_drivers():
    with driver(sql="""
CREATE TABLE click (n BIGINT, at AS PROCTIME()) WITH ('connector' = 'datagen');
SELECT window_start, count(*) AS num
FROM TABLE(TUMBLE(TABLE click, DESCRIPTOR(at), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end;""", start="2026-05-01 12:00:00") as t:
        t.feed("click", [{"n": 1}, {"n": 2}])
        t.advance_time("30s")
        t.feed("click", [{"n": 3}])
        assert t.output("select") == []
        t.advance_time("30s")
        t.feed("click", [{"n": 4}])
        noon = datetime.datetime(2026, 5, 1, 12)
        assert t.output("select") == [{"window_start": noon, "num": 3}]
        t.advance_time("1min")
        assert t.output("select") == [
            {"window_start": noon + datetime.timedelta(minutes=1), "num": 1}]


def test_two_sources_are_joined():
    with driver(sql="""
CREATE TABLE a (id BIGINT, x STRING) WITH ('connector' = 'datagen');
CREATE TABLE b (id BIGINT, y STRING) WITH ('connector' = 'datagen');
SELECT a.id, x, y FROM a JOIN b ON a.id = b.id;""") as t:
        t.feed("a", [{"id": 1, "x": "left"}, {"id": 2, "x": "alone"}])
        assert t.output("select") == []
        t.feed("b", [{"id": 1, "y": "right"}])
        assert t.output("select") == [{"id": 1, "x": "left", "y": "right"}]


def test_a_job_built_in_python():
    job = Job("built")
    (job.source("in", "datagen", {"k": "STRING", "ts": "TIMESTAMP(3)"}).watermark("ts")
     .filter("k <> 'x'").window_aggregate(tumble("ts", "10s"), ["k"], ["count(*) AS n"])
     .project("k", "n").sink("out", "print"))
    with driver(job=job) as t:
        t.feed("in", [{"k": k, "ts": "2026-01-01 00:00:01"} for k in "aaxb"])
        t.advance_watermark("in", "2026-01-01 00:00:10")
        assert sorted((row["k"], row["n"]) for row in t.output("out")) == [("a", 2), ("b", 1)]


def test_two_runs_give_the_same():
    def run():
        with driver(sql=HOT, parallelism=3) as t:
            t.feed("bid", [bid(n % 7, n, n % 10) for n in range(100)])
            t.end()
            return t.output("hot")
    assert run() == run()


def test_mistakes_are_told():
    with pytest.raises(DriverError) as raised:
        driver(sql="SELECT a FROM nothing")
    assert raised.value.problems[0].code == "MR1212"
    with pytest.raises(ValueError):
        driver(sql="x", yaml="y")
    with driver(sql=HOT) as t:
        with pytest.raises(DriverError, match="it has bid"):
            t.feed("bids", [])
        with pytest.raises(DriverError, match="it has hot"):
            t.output("bid")
        with pytest.raises(DriverError, match="not a time"):
            t.advance_watermark("bid", "tomorrow")
        with pytest.raises(DriverError, match="price"):
            t.feed("bid", [{"auction": 1, "price": "cheap", "ts": second(1)}])
        with pytest.raises(TypeError):
            t.feed("bid", [1])
        t.feed("bid", [bid(1, 1, 1)])
        t.end()
        assert [row["num"] for row in t.output("hot")] == [1], "goes on after mistakes"
    with pytest.raises(DriverError, match="closed"):
        t.restart()

