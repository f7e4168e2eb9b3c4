#!/usr/bin/env python3
"""Kills workers at random while a job follows the changes of a PostgreSQL table, and checks that in the
end every table and topic says what a query in the source database says.

    dev/bench cdc_faults [--kills 30] [--seed 1] [--writers 3] [--rows 2000]

Writers insert, update, delete, change keys, roll back, leave long values unchanged, and truncate once.
The job (jobs/cdc_faults.yaml) keeps a copy of the table and totals per customer, in PostgreSQL and in
Kafka. Prints the seed that repeats the writes and the kills (their moments depend on the machine).
"""

import argparse
import collections
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import threading
import time

from cluster import ROOT, Cluster, Kafka

COLUMNS = "id, customer, amount, ratio, note, at"
TOTALS = ("SELECT customer, count(*) AS orders, sum(amount)::bigint AS total, min(amount) AS least, "
          "max(amount) AS most, count(DISTINCT amount) AS amounts FROM orders GROUP BY customer")


class Postgres:
    """A server of dev/services, of its own name, or the one that MILLRACE_TEST_POSTGRES names."""

    def __init__(self, name):
        self.name = name
        self.port = os.environ.get("MILLRACE_TEST_POSTGRES")
        self.own = self.port is None

    def __enter__(self):
        if self.own:
            services = str(ROOT / "dev" / "services")
            subprocess.run([services, "up", "postgres", "--name", self.name], check=True)
            text = subprocess.run([services, "env", "postgres", "--name", self.name], check=True,
                                  capture_output=True, text=True).stdout
            self.port = re.search(r"MILLRACE_TEST_POSTGRES=(\d+)", text).group(1)
        return self

    def __exit__(self, *unused):
        if self.own:
            subprocess.run([str(ROOT / "dev" / "services"), "down", "postgres", "--name",
                            self.name], check=True)

    def command(self, database):
        return ["psql", "-X", "-q", "-h", "127.0.0.1", "-p", self.port, "-U", "postgres", "-d",
                database, "-v", "ON_ERROR_STOP=1", "-A", "-t"]

    def run(self, sql, database="postgres"):
        done = subprocess.run([*self.command(database), "-c", sql], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{sql}: {done.stderr}")
        return done.stdout.strip()


class Writer(threading.Thread):
    """Changes rows of its own ids until told to stop."""

    def __init__(self, postgres, database, number, seed, rate):
        super().__init__()
        self.chance = random.Random(f"{seed}/{number}")
        self.postgres, self.database, self.number, self.rate = postgres, database, number, rate
        self.stopping = threading.Event()
        self.statements, self.error = 0, None

    def note(self):
        # Long ones are stored apart, and not sent again while they stay.
        size = self.chance.choice([10, 10, 10, 9000])
        return "".join(self.chance.choices("abcdefghijklmnopqrstuvwxyz0123456789\\'\t\n", k=size))

    def id(self):
        return self.chance.randrange(400) * 10 + self.number

    def statement(self):
        quote = "'" + self.note().replace("'", "''") + "'"
        kind = self.chance.random()
        customer = f"c{self.chance.randrange(20)}"
        amount = self.chance.randrange(-1000, 1000)
        if kind < 0.35:
            return (f"INSERT INTO orders VALUES ({self.id()}, '{customer}', {amount}, "
                    f"{self.chance.random()}, {quote}, now()) ON CONFLICT (id) DO UPDATE SET "
                    f"amount = EXCLUDED.amount, note = EXCLUDED.note;")
        if kind < 0.7:
            return f"UPDATE orders SET amount = {amount} WHERE id = {self.id()};"
        if kind < 0.78:
            return f"UPDATE orders SET customer = '{customer}' WHERE id = {self.id()};"
        if kind < 0.86:
            return (f"UPDATE orders SET id = {self.id()} WHERE id = {self.id()} AND NOT EXISTS "
                    f"(SELECT 1 FROM orders o WHERE o.id IN ({self.id()}));")
        if kind < 0.88:
            return f"UPDATE orders SET customer = NULL WHERE id = {self.id()};"
        return f"DELETE FROM orders WHERE id = {self.id()};"

    def run(self):
        command = [word for word in self.postgres.command(self.database)
                   if word != "ON_ERROR_STOP=1" and word != "-v"]
        psql = subprocess.Popen(command, stdin=subprocess.PIPE, text=True,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not self.stopping.is_set():
            size = self.chance.choice([1, 1, 1, 5, 40])
            end = "ROLLBACK;" if self.chance.random() < 0.1 else "COMMIT;"
            psql.stdin.write("BEGIN;\n" + "\n".join(self.statement() for _ in range(size)) +
                             f"\n{end}\n")
            psql.stdin.flush()
            self.statements += size
            self.stopping.wait(size / self.rate)
        psql.stdin.close()
        if psql.wait(120) not in (0, 3):
            self.error = "a writer failed"


def difference(postgres, database, left, right):
    """Rows that only one of two queries has."""
    sql = (f"SELECT count(*) FROM (({left} EXCEPT ALL {right}) UNION ALL ({right} EXCEPT ALL {left})) "
           f"AS d")
    return int(postgres.run(sql, database))


def totals_of_topic(kafka, topic):
    """What is left after all changes, in the order of each partition."""
    done = subprocess.run(["kcat", "-b", kafka.address, "-C", "-t", topic, "-o", "beginning", "-e",
                           "-q", "-X", "isolation.level=read_committed", "-f", "%p %s\n"],
                          check=True, capture_output=True, text=True)
    table, problems = {}, []
    for line in done.stdout.splitlines():
        row = json.loads(line.split(" ", 1)[1])
        op = row.pop("op")
        values = tuple(row.values())
        if op in ("-U", "-D"):
            if table.pop(row["customer"], None) != values:
                problems.append(f"taken back but not there: {row}")
        else:
            if row["customer"] in table:
                problems.append(f"there twice: {row}")
            table[row["customer"]] = values
    return table, problems


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--writers", type=int, default=3)
    parser.add_argument("--rows", type=int, default=2000, help="rows before the job starts")
    parser.add_argument("--rate", type=float, default=150, help="statements a second per writer")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="millrace-cdc-") as folder, \
            Kafka("faults") as kafka, Postgres("faults") as postgres:
        name = f"cdc-{time.time_ns()}"
        database, slot = name.replace("-", "_"), name.replace("-", "_")
        postgres.run(f"CREATE DATABASE {database}")
        postgres.run("CREATE TABLE orders (id bigint PRIMARY KEY, customer text, amount bigint, ratio "
                     "double precision, note text, at timestamp);"
                     "ALTER TABLE orders ALTER note SET STORAGE EXTERNAL;"
                     "CREATE TABLE totals (customer text, orders bigint, total bigint, least "
                     "bigint, most bigint, amounts bigint);"
                     "CREATE UNIQUE INDEX ON totals (customer) NULLS NOT DISTINCT;"
                     f"INSERT INTO orders SELECT n * 10 + n % 3, 'c' || n % 20, n, n / 7.0, "
                     f"repeat(md5(n::text), 1 + n % 300), now() FROM generate_series(0, "
                     f"{arguments.rows} - 1) AS n", database)
        kafka.create_topic(name, 2)
        writers = [Writer(postgres, database, number, arguments.seed, arguments.rate)
                   for number in range(arguments.writers)]
        letters = pathlib.Path(folder) / "letters"
        with Cluster(folder, workers=2, cores=1) as cluster:
            for writer in writers:
                writer.start()
            try:
                job = cluster.submit(ROOT / "benchmarks/jobs/cdc_faults.yaml", {
                    "name": name, "port": postgres.port, "database": database, "slot": slot,
                    "topic": name, "brokers": kafka.address, "letters": letters},
                    "--parallelism", "2")
                for kill in range(arguments.kills):
                    time.sleep(chance.uniform(0.1, 1.5))
                    index = chance.randrange(2)
                    if chance.random() < 0.2:
                        # One that has just begun dies of the signal, as any program would.
                        cluster.wait_for_port(cluster.worker_http_ports[index])
                        cluster.end_worker(index)
                    else:
                        cluster.kill_worker(index)
                    cluster.start_worker(index)
                    if kill == arguments.kills // 2:
                        postgres.run("TRUNCATE orders", database)
                    if (kill + 1) % 10 == 0:
                        print(f"{kill + 1} kills, {sum(w.statements for w in writers)} statements",
                              flush=True)
            finally:
                for writer in writers:
                    writer.stopping.set()
                for writer in writers:
                    writer.join()
            problems = [writer.error for writer in writers if writer.error]
            pairs = {"copy": (f"SELECT {COLUMNS} FROM orders", f"SELECT {COLUMNS} FROM orders_copy"),
                     "totals": (TOTALS, "SELECT * FROM totals")}
            deadline = time.monotonic() + 120
            while True:
                try:
                    left = {table: difference(postgres, database, *pair)
                            for table, pair in pairs.items()}
                except RuntimeError as error:
                    left = {"all": str(error)}
                if not any(left.values()) or time.monotonic() > deadline:
                    break
                time.sleep(0.5)
            problems += [f"{table}: {count} rows differ" for table, count in left.items() if count]
            stopped = cluster.command("stop", job, check=False)
            if stopped.returncode != 0:
                problems.append(stopped.stderr)
            print(cluster.command("describe", job, check=False).stdout)
            if problems:
                print(cluster.command("logs", job, check=False).stdout[-6000:])
        table, wrong = totals_of_topic(kafka, name)
        problems += wrong[:5]
        rows = [json.loads(line) for line in postgres.run(
            f"SELECT json_build_array(customer, orders, total, least, most, amounts) FROM ({TOTALS}) AS t",
            database).splitlines()]
        if sorted(map(str, table.values())) != sorted(str(tuple(row)) for row in rows):
            problems.append(f"topic: {len(table)} groups, expected {len(rows)}")
        count = int(postgres.run("SELECT count(*) FROM orders", database))
        dead = sum(len(part.read_text().splitlines()) for part in letters.glob("part-*"))
        if dead:
            problems.append(f"{dead} dead letters")
        postgres.run(f"SELECT pg_drop_replication_slot('{slot}')", database)
        statements = sum(writer.statements for writer in writers)
        print(f"{arguments.kills} kills, {statements} statements, {count} rows and {len(rows)} groups "
              f"in the end")
        for problem in problems:
            print(f"VIOLATION: {problem}")
        if problems:
            sys.exit(1)
        postgres.run(f"DROP DATABASE {database} WITH (FORCE)")
        print("every table and topic says what the source says")


if __name__ == "__main__":
    main()
