"""Rows of queries and of nodes, as they come."""

import datetime
import decimal
import itertools

import jobs
import pytest
from millrace import (Change, Client, ConflictError, InvalidJobError, JobState, MillraceError,
                      NotFoundError)

TYPES = """
CREATE TABLE one (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '1');
SELECT CAST(9007199254740993 AS BIGINT) AS big, CAST(1.10 AS DECIMAL(5, 2)) AS money, 'ü"' AS text,
  TIMESTAMP '2026-01-31 12:00:00.123456' AS at, DATE '2026-01-31' AS day, 0.5e0 AS ratio,
  TRUE AS yes, CAST(NULL AS INT) AS nothing
FROM one;
"""
ARRAYS = """
CREATE TABLE one (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '1');
SELECT ARRAY[CAST(9007199254740993 AS BIGINT), CAST(NULL AS BIGINT)] AS numbers,
  ARRAY[CAST(1.10 AS DECIMAL(5, 2))] AS money, ARRAY['ü"'] AS texts, ARRAY[TRUE, FALSE] AS truths,
  ARRAY[TIMESTAMP '2026-01-31 12:00:00.5'] AS times, ARRAY[0.5e0] AS ratios
FROM one;
"""
COUNTS = """
CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '${rows:-1000}',
  'fields.n.min' = '1', 'fields.n.max' = '5');
SELECT n, count(*) AS num FROM numbers GROUP BY n;
"""
SEQUENCE = """
CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '${pace:-1000}',
  'splits' = '1', 'fields.n.kind' = 'sequence', 'fields.n.start' = '0', 'fields.n.end' = '1000000000');
SELECT n FROM numbers;
"""


def test_values_have_their_types(client):
    with client.sql(TYPES) as result:
        (row,) = result.rows()
    assert row == {
        "big": 9007199254740993, "money": decimal.Decimal("1.10"), "text": 'ü"',
        "at": datetime.datetime(2026, 1, 31, 12, 0, 0, 123456), "day": datetime.date(2026, 1, 31),
        "ratio": 0.5, "yes": True, "nothing": None}


def test_arrays_are_lists(client):
    expected = {
        "numbers": [9007199254740993, None], "money": [decimal.Decimal("1.10")],
        "texts": ['ü"'], "truths": [True, False],
        "times": [datetime.datetime(2026, 1, 31, 12, 0, 0, 500000)], "ratios": [0.5]}
    with client.sql(ARRAYS) as result:
        (row,) = result.rows()
    assert row == expected
    pyarrow = pytest.importorskip("pyarrow")
    with client.sql(ARRAYS) as result:
        (batch,) = result.batches()
    assert batch.schema.field("money").type == pyarrow.list_(pyarrow.decimal128(5, 2))
    assert batch.to_pylist() == [expected]


def test_changes_add_up(client):
    with client.sql(COUNTS, {"rows": "20000"}) as result:
        assert result.columns == ["n", "num"]
        assert result.key == ["n"]
        assert not result.append_only
        rows = []
        for change in result:
            assert isinstance(change, Change)
            if change.op in ("+I", "+U"):
                rows.append(change.row)
            else:
                rows.remove(change.row)
    assert sorted(row["n"] for row in rows) == [1, 2, 3, 4, 5]
    assert sum(row["num"] for row in rows) == 20000
    assert client.wait(result.job_id, timeout=30).state == JobState.JOB_STATE_FINISHED


def test_batches_of_arrow(client):
    pyarrow = pytest.importorskip("pyarrow")
    with client.sql(TYPES) as result:
        (batch,) = result.batches()
    assert batch.schema.field("big").type == pyarrow.int64()
    assert batch.schema.field("money").type == pyarrow.decimal128(5, 2)
    assert batch.schema.field("at").type == pyarrow.timestamp("us")
    assert batch.to_pylist()[0]["big"] == 9007199254740993
    with client.sql(COUNTS) as result:
        table = pyarrow.Table.from_batches(result.batches())
    assert table.column_names == ["op", "n", "num"]
    ops = table.column("op").to_pylist()
    assert ops.count("+I") + ops.count("+U") - ops.count("-U") - ops.count("-D") == 5


def test_close_cancels_the_query(client):
    with client.sql(SEQUENCE) as result:
        first = list(itertools.islice(result.rows(), 1500))
    assert [row["n"] for row in first] == list(range(1500)), "in order, no gap, nothing twice"
    assert client.wait(result.job_id, timeout=30).state == JobState.JOB_STATE_CANCELLED
    result.close()


def test_a_query_waits_for_its_reader(client):
    with client.sql(SEQUENCE, {"pace": "300000"}) as result:
        rows = result.rows()
        assert next(rows) == {"n": 0}
        # Nothing is lost by a pause of epochs.
        client.wait(result.job_id, timeout=60, until=lambda job: job.last_epoch >= 2)
        assert [row["n"] for row in itertools.islice(rows, 200_000)] == list(range(1, 200_001))


def test_readers_that_stand_still_hold_nobody_else_up(client, tmp_path):
    # More than the worker has threads for io.
    results = [client.sql(SEQUENCE, {"pace": "100000"}) for _ in range(6)]
    try:
        for result in results:
            assert result.columns == ["n"]
        job = client.submit(jobs.ENDLESS, {"path": str(tmp_path), "name": "beside"})
        client.wait(job, timeout=60, until=lambda job: job.last_epoch >= 5)
        client.stop(job)
    finally:
        for result in results:
            result.close()


def test_a_failed_query_says_why(client, tmp_path):
    script = ("CREATE TABLE t (a BIGINT) WITH ('connector' = 'file', 'format' = 'csv', "
              f"'path' = '{tmp_path}/nothing.csv'); SELECT a FROM t;")
    with client.sql(script) as result:
        with pytest.raises(ConflictError) as raised:
            list(result)
    assert "nothing.csv" in str(raised.value)


def test_what_is_no_query_is_refused(client):
    with pytest.raises(InvalidJobError) as raised:
        client.sql("SELECT a FROM nothing")
    assert raised.value.problems[0].code == "MR1212"
    with pytest.raises(ValueError, match="0 SELECTs"):
        client.sql(COUNTS.split("SELECT")[0]
                   + "CREATE TABLE o (n BIGINT) WITH ('connector' = 'blackhole');"
                   "INSERT INTO o SELECT n FROM numbers;")
    with client.sql(COUNTS) as result:
        with pytest.raises(ValueError, match="changes its rows"):
            next(result.rows())


@pytest.mark.parametrize("who", ["worker", "coordinator"])
def test_a_query_outlives_a_kill(own_cluster, who):
    with Client(own_cluster.address) as client, client.sql(SEQUENCE) as result:
        rows = result.rows()
        got = [next(rows)["n"] for _ in range(500)]
        if who == "worker":
            own_cluster.kill_worker(0)
            own_cluster.start_worker(0)
        else:
            own_cluster.kill_coordinator()
            own_cluster.start_coordinator()
        got += [next(rows)["n"] for _ in range(4000)]
    assert got == list(range(4500)), "no gap, nothing twice"


def test_tail_is_a_sample(client, tmp_path):
    job = client.submit(jobs.ENDLESS, {"path": str(tmp_path), "name": "tailed", "pace": "5000"})
    try:
        with client.tail(job, "numbers", rows_per_second=100) as result:
            rows = list(itertools.islice(result.rows(), 250))
        assert result.rows_left_out > 0
        numbers = [row["n"] for row in rows]
        assert numbers == sorted(set(numbers))
        assert client.get(job).state == JobState.JOB_STATE_RUNNING
        with pytest.raises(NotFoundError, match="numbers, files"):
            client.tail(job, "nobody").columns
    finally:
        client.cancel(job)
    with pytest.raises(MillraceError):
        client.tail(job, "numbers").columns


def test_restart_goes_on_from_a_last_checkpoint(client, tmp_path):
    job = client.submit(jobs.ENDLESS, {"path": str(tmp_path), "name": "restarted"})
    client.wait(job, timeout=30, until=lambda job: job.last_epoch >= 2)
    epoch = client.restart(job)
    assert epoch > 0
    client.wait(job, timeout=30, until=lambda job: job.last_epoch > epoch + 1)
    client.stop(job)
    numbers = sorted(jobs.rows(tmp_path))
    assert numbers == list(range(len(numbers)))
