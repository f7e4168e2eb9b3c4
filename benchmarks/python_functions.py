"""Rows per second through functions in Python: none, one called per row, one called per batch.

    dev/bench python_functions [--rows N]

One task reads numbered rows of the built-in generator and drops them behind the function; the rate is that
of the whole command, less the time that it takes with a single row.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile
import time

import cluster

MODULE = """
def plus(a, b):
    return a + b

def v_plus(a, b):
    import pyarrow.compute as pc
    return pc.add(a, b)
"""
JOB = """
CREATE TABLE events (event_type INT, bid ROW<auction BIGINT, price BIGINT>)
WITH ('connector' = 'nexmark', 'number-of-events' = '{rows}', 'seed' = '1');
CREATE TABLE nowhere (a BIGINT) WITH ('connector' = 'blackhole');
CREATE FUNCTION scalar (BIGINT, BIGINT) RETURNS BIGINT AS 'functions.plus' LANGUAGE PYTHON;
CREATE FUNCTION vectorized (BIGINT, BIGINT) RETURNS BIGINT AS 'functions.v_plus' LANGUAGE PYTHON
WITH ('mode' = 'vectorized', 'batch-rows' = '{batch}');
INSERT INTO nowhere SELECT {expression} FROM events WHERE event_type = 2;
"""
EXPRESSIONS = {"none": "bid.auction + bid.price", "scalar": "scalar(bid.auction, bid.price)",
               "vectorized": "vectorized(bid.auction, bid.price)"}
BIDS = 46 / 50  # Of the events.


def seconds(folder, expression, rows, batch):
    job = folder / "job.sql"
    job.write_text(JOB.format(rows=rows, batch=batch, expression=expression))
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as work:
        subprocess.run([str(cluster.BUILD / "cli/millrace"), "run", str(job), "--work-dir", work,
                        "--parallelism", "1", "--python-interpreter", sys.executable,
                        "--python-path", f"{folder}:{cluster.ROOT / '.dev' / 'arrow'}"],
                       check=True, capture_output=True)
    return time.monotonic() - begin


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--batch-rows", type=int, default=1024)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "functions.py").write_text(MODULE)
        for name, expression in EXPRESSIONS.items():
            start = seconds(folder, expression, 1, arguments.batch_rows)
            whole = seconds(folder, expression, arguments.rows, arguments.batch_rows)
            rate = arguments.rows * BIDS / max(whole - start, 1e-3)
            print(f"{name:10}  {rate / 1000:8.0f} thousand rows/s   ({whole:.2f} s, {start:.2f} s to start)",
                  flush=True)


if __name__ == "__main__":
    main()
