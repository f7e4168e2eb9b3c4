#!/usr/bin/env python3
"""Kills workers at random while a job follows the changes of a PostgreSQL table, and checks that in the
end every table and topic says what a query in the source database says.

    dev/bench cdc_faults [--by debezium] [--kills 30] [--seed 1] [--writers 3] [--rows 2000]

By Millrace's own connector, or by Debezium on Kafka Connect, which is killed as well. Writers insert,
update, delete, change keys, roll back, leave long values unchanged, and truncate once.
The job (jobs/cdc_faults.yaml) keeps a copy of the table and totals per customer, in PostgreSQL and in
Kafka. Prints the seed that repeats the writes and the kills (their moments depend on the machine).
"""

import argparse
import contextlib
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

from cluster import ROOT, Cluster, Kafka, Service

COLUMNS = "id, customer, amount, ratio, note, at"
TOTALS = ("SELECT customer, count(*) AS orders, sum(amount)::bigint AS total, min(amount) AS least, "
          "max(amount) AS most, count(DISTINCT amount) AS amounts FROM orders GROUP BY customer")


class Postgres(Service):
    """A server with logical replication; `address` is its port on 127.0.0.1."""

    def __init__(self, name):
        super().__init__("postgres", name)

    def psql(self, database):
        return ["psql", "-X", "-q", "-h", "127.0.0.1", "-p", self.address, "-U", "postgres", "-d",
                database, "-v", "ON_ERROR_STOP=1", "-A", "-t"]

    def run(self, sql, database="postgres"):
        done = subprocess.run([*self.psql(database), "-c", sql], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{sql}: {done.stderr}")
        return done.stdout.strip()


class Connect(Service):
    """A worker of Kafka Connect with Debezium; `address` is its URL."""

    def __init__(self, name):
        super().__init__("connect", name)

    def request(self, method, path, body=None):
        request = urllib.request.Request(self.address + path, method=method,
                                         headers={"Content-Type": "application/json"},
                                         data=None if body is None else json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=90) as answer:
            return json.loads(answer.read() or "null")

    def follow(self, name, postgres, database):
        """Lets a connector write the changes of `orders` to topic NAME.public.orders."""
        self.request("PUT", f"/connectors/{name}/config", {
            "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
            "plugin.name": "pgoutput", "database.hostname": "127.0.0.1",
            "database.port": postgres.address, "database.user": "postgres",
            "database.password": "", "database.dbname": database, "topic.prefix": name,
            "slot.name": database, "publication.name": database,
            "publication.autocreate.mode": "filtered", "table.include.list": "public.orders",
            "snapshot.mode": "initial", "skipped.operations": "none",
            "errors.max.retries": "-1", "retriable.restart.connector.wait.ms": "500",
            "topic.creation.default.replication.factor": "1",
            "topic.creation.default.partitions": "1"})

    def crash(self, name):
        """Killed, and started again. Not before connector NAME has stored an offset behind its
        snapshot: Debezium begins one that has not ended anew, and that tells nothing of rows deleted
        meanwhile."""
        deadline = time.monotonic() + 60
        while not any("snapshot" not in one["offset"] for one in
                      self.request("GET", f"/connectors/{name}/offsets")["offsets"]):
            if time.monotonic() > deadline:
                raise TimeoutError("Connect stores no offset behind the snapshot")
            time.sleep(0.1)
        self.command("kill")
        self.command("restart")


class Writer(threading.Thread):
    """Changes rows of its own ids until told to stop."""

    def __init__(self, postgres, database, number, seed, rate, stores_moved_notes):
        super().__init__()
        # A row under a new key has its note stored again, and so in the change.
        self.note_of_moved = ", note = note || ''" if stores_moved_notes else ""
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
            return (f"UPDATE orders SET id = {self.id()}{self.note_of_moved} WHERE id = {self.id()} "
                    f"AND NOT EXISTS "
                    f"(SELECT 1 FROM orders o WHERE o.id IN ({self.id()}));")
        if kind < 0.88:
            return f"UPDATE orders SET customer = NULL WHERE id = {self.id()};"
        return f"DELETE FROM orders WHERE id = {self.id()};"

    def run(self):
        command = [word for word in self.postgres.psql(self.database)
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


def drop_slot(postgres, database, slot):
    """When its reader has gone, which may take a moment."""
    deadline = time.monotonic() + 30
    while postgres.run(f"SELECT active FROM pg_replication_slots WHERE slot_name = '{slot}'",
                       database) == "t" and time.monotonic() < deadline:
        time.sleep(0.2)
    postgres.run(f"SELECT pg_drop_replication_slot('{slot}')", database)


def difference(postgres, database, left, right):
    """Rows that only one of two queries has."""
    sql = (f"SELECT count(*) FROM (({left} EXCEPT ALL {right}) UNION ALL ({right} EXCEPT ALL {left})) "
           f"AS d")
    return int(postgres.run(sql, database))


def totals_of_topic(kafka, topic):
    """What is left after all changes, in the order of each partition."""
    table, problems = {}, []
    for line in kafka.read_committed(topic, "%p %s"):
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
    parser.add_argument("--by", choices=["postgres-cdc", "debezium"], default="postgres-cdc")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--writers", type=int, default=3)
    parser.add_argument("--rows", type=int, default=2000, help="rows before the job starts")
    parser.add_argument("--rate", type=float, default=150, help="statements a second per writer")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="millrace-cdc-") as folder, \
            Kafka("faults") as kafka, Postgres("faults") as postgres, \
            contextlib.ExitStack() as stack:
        connect = stack.enter_context(Connect("faults")) if arguments.by == "debezium" else None
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
        if connect:
            kafka.create_topic(f"{name}.public.orders", 1)  # A truncate has its place among the rows.
            connect.follow(name, postgres, database)
        job_file = pathlib.Path(folder) / "job.yaml"
        jobs = ROOT / "benchmarks" / "jobs"
        job_file.write_text((jobs / "cdc_faults.yaml").read_text() +
                            (jobs / f"cdc_source_{arguments.by}.yaml").read_text())
        # Debezium does not tell the long value of a row under its new key (docs/operations.md).
        writers = [Writer(postgres, database, number, arguments.seed, arguments.rate,
                          stores_moved_notes=connect is not None)
                   for number in range(arguments.writers)]
        letters = pathlib.Path(folder) / "letters"
        connect_crashes = 0
        with Cluster(folder, workers=2, cores=1) as cluster:
            for writer in writers:
                writer.start()
            try:
                job = cluster.submit(job_file, {
                    "name": name, "port": postgres.address, "database": database, "slot": slot,
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
                    if connect and kill % 5 == 1:
                        connect_crashes += 1
                        connect.crash(name)
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
        if connect:
            connect.request("DELETE", f"/connectors/{name}")
        drop_slot(postgres, database, slot)
        statements = sum(writer.statements for writer in writers)
        print(f"{arguments.kills} kills, {connect_crashes} of Connect, {statements} statements, "
              f"{count} rows and {len(rows)} groups in the end")
        for problem in problems:
            print(f"VIOLATION: {problem}")
        if problems:
            sys.exit(1)
        postgres.run(f"DROP DATABASE {database} WITH (FORCE)")
        print("every table and topic says what the source says")


if __name__ == "__main__":
    main()
