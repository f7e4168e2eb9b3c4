"""New versions of a job that runs: every change of its script is compared with the real checkpoint,
refused where state would be misread, and then really made.

Both versions write to `log` which version saw a bid: so the cut between them is known to the row,
and the tables can be computed by hand from the bids before it and after it.
"""

import collections
import datetime
import json
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))
from cluster import BUILD, Cluster  # noqa: E402

EVENTS = 20000
TABLES = """
SET 'execution.checkpointing.interval' = '100 ms';
${settings}
CREATE TABLE nexmark (
    event_type INT,
    auction ROW<id BIGINT, seller BIGINT, category BIGINT, `dateTime` TIMESTAMP(3)>,
    bid ROW<auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, `dateTime` TIMESTAMP(3)>,
    ts AS CASE WHEN event_type = 1 THEN auction.`dateTime` ELSE bid.`dateTime` END,
    WATERMARK FOR ts AS ts - INTERVAL '${delay}' SECOND
) WITH ('connector' = 'nexmark', 'number-of-events' = '${events}', 'rate' = '1000', 'splits' = '1',
        'seed' = '${seed}'${pace});
CREATE VIEW bid AS SELECT bid.auction, bid.bidder, bid.price, bid.channel, ts
FROM nexmark WHERE event_type = 2;
CREATE VIEW auction AS SELECT auction.id, auction.seller, auction.category, ts
FROM nexmark WHERE event_type = 1;
CREATE TABLE log (version VARCHAR, auction BIGINT, price BIGINT)
WITH ('connector' = 'file', 'path' = '${folder}/log', 'format' = 'json');
INSERT INTO log SELECT '${version}', auction, price FROM bid;
CREATE TABLE result (a BIGINT, b BIGINT)
WITH ('connector' = 'file', 'path' = '${folder}/${out}', 'format' = 'json');
"""


def script(query, version, folder, **changes):
    values = {"settings": "", "delay": "4", "events": EVENTS, "seed": "1", "pace": "",
              "folder": folder, "out": "result", "version": version, **changes}
    text = TABLES + query
    for name, value in values.items():
        text = text.replace("${" + name + "}", str(value))
    return text


def grouped(key, value, rows, keep=lambda bid: True):
    """The table of one aggregate per key."""
    groups = collections.defaultdict(list)
    for bid in filter(keep, rows):
        groups[key(bid)].append(bid)
    return collections.Counter((k, value(bids)) for k, bids in groups.items())


AUCTION = lambda bid: bid["auction"]  # noqa: E731
BIDDER = lambda bid: bid["bidder"]  # noqa: E731
SUM = lambda bids: sum(bid["price"] for bid in bids)  # noqa: E731
SECONDS = 1000


def windows(rows, seconds):
    groups = collections.Counter((bid["auction"], bid["ms"] // (seconds * SECONDS))
                                 for bid in rows)
    return collections.Counter((auction, count) for (auction, _), count in groups.items())


def top(rows, limit, descending=True):
    prices = collections.defaultdict(list)
    for bid in rows:
        prices[bid["auction"]].append(bid["price"])
    return collections.Counter((auction, price) for auction, of in prices.items()
                               for price in sorted(of, reverse=descending)[:limit])


def over(rows, preceding):
    """Sums of a frame of rows; bids of one auction in the order of time, then of arrival."""
    last = collections.defaultdict(list)
    table = collections.Counter()
    for bid in sorted(rows, key=lambda bid: bid["ms"]):
        frame = last[bid["auction"]]
        frame.append(bid["price"])
        del frame[:-(preceding + 1)]
        table[bid["auction"], sum(frame)] += 1
    return table


COUNT = "INSERT INTO result SELECT auction, count(*) FROM bid GROUP BY auction;"
WINDOW = ("INSERT INTO result SELECT auction, count(*) FROM TABLE(TUMBLE(TABLE bid, "
          "DESCRIPTOR(ts), INTERVAL '2' SECOND)) GROUP BY auction, window_start, window_end;")
TOP = ("INSERT INTO result SELECT auction, price FROM (SELECT *, ROW_NUMBER() OVER "
       "(PARTITION BY auction ORDER BY price DESC) AS n FROM bid) WHERE n <= 3;")
OVER = ("INSERT INTO result SELECT auction, sum(price) OVER (PARTITION BY auction ORDER BY ts "
        "ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) FROM bid;")
JOIN = ("INSERT INTO result SELECT b.auction, a.seller FROM bid b "
        "JOIN auction a ON b.auction = a.id;")
SIDE = ("CREATE TABLE side (a BIGINT, b BIGINT) WITH ('connector' = 'file', 'path' = "
        "'${folder}/side', 'format' = 'json'); "
        "INSERT INTO side SELECT bidder, count(*) FROM bid GROUP BY bidder;")


class UpgradeTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(
            tempfile.TemporaryDirectory(prefix="millrace-upgrade-")))
        cls.cluster = cls.enterClassContext(Cluster(cls.folder / "cluster", workers=1, cores=2))
        cls.bids, cls.auctions = cls.generate("1")

    @classmethod
    def generate(cls, seed):
        """Bids in their order, and auctions by id."""
        path = cls.folder / f"events-{seed}.json"
        subprocess.run([str(BUILD / "cli/millrace"), "generate", "nexmark", "--events", str(EVENTS),
                        "--seed", seed, "--rate", "1000", "--to", f"file:{path}"],
                       check=True, capture_output=True)
        bids, auctions = [], {}
        for line in path.read_text().splitlines():
            event = json.loads(line)
            if event["event_type"] == 2:
                bid = event["bid"]
                moment = datetime.datetime.fromisoformat(bid["dateTime"] + "+00:00")
                bid["ms"] = round(moment.timestamp() * 1000)
                bids.append(bid)
            elif event["event_type"] == 1:
                auctions[event["auction"]["id"]] = event["auction"]
        return bids, auctions

    # ---- running

    def start(self, query, **changes):
        self.name = self.id().rsplit(".", 1)[1]
        self.files = self.folder / self.name
        self.files.mkdir()
        old = self.write("old", query, pace=", 'events-per-second' = '4000'", **changes)
        self.job = self.cluster.submit(old, {})
        self.await_that(lambda: len(self.log()) > 200, "no rows are committed")

    def write(self, version, query, **changes):
        path = self.files / f"{version}.sql"
        path.write_text(f"SET 'pipeline.name' = '{self.name}';\n"
                        + script(query, version, self.files, **changes))
        return path

    def await_that(self, reached, message, patience=60):
        deadline = time.monotonic() + patience
        while not reached():
            self.assertLess(time.monotonic(), deadline, message + "\n" + self.cluster.command(
                "describe", self.job, check=False).stdout)
            time.sleep(0.05)

    def upgrade(self, path, *flags):
        return self.cluster.command("upgrade", self.job, str(path), *flags, check=False)

    def plan(self, path, *flags):
        """State of each node that is not kept, by its uid, as a dry run tells."""
        done = self.upgrade(path, "--dry-run", "-o", "json", *flags)
        self.assertTrue(done.stdout, done.stderr)
        plan = json.loads(done.stdout)
        self.assertEqual(done.returncode, 0 if plan.get("possible") else 1)
        self.reasons = {node.get("uid", ""): node.get("reason", "") for node in plan["nodes"]}
        states = {node["uid"]: node["verdict"].removeprefix("VERDICT_").lower()
                  for node in plan["nodes"]}
        return {uid: state for uid, state in states.items() if state != "kept"}

    def finish(self):
        done = self.cluster.command("wait", self.job, "--timeout", "60", check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        log = self.log()
        self.assertEqual(collections.Counter(row["version"] for row in log).keys(), {"old", "new"})
        rows = collections.Counter((row["auction"], row["price"]) for row in log)
        self.assertEqual(rows, collections.Counter((bid["auction"], bid["price"])
                                                   for bid in self.bids), "every bid once")
        cut = sum(row["version"] == "old" for row in log)
        return self.bids[:cut], self.bids[cut:]

    def log(self):
        return [json.loads(line) for part in (self.files / "log").glob("part-*")
                for line in part.read_text().splitlines()]

    def table(self, name="result"):
        rows = collections.Counter()
        for part in (self.files / name).glob("part-*"):
            for line in part.read_text().splitlines():
                row = json.loads(line)
                rows[row["a"], row["b"]] += 1 if row.get("op", "+I") in ("+I", "+U") else -1
        return rows

    # ---- the cases

    def check_kept(self, old, new, expected, plan=None, before=None, **changes):
        """The new version goes on with all that it finds; `expected` of the bids before the cut and
        after it."""
        self.start(old, **(before or {}))
        path = self.write("new", new, **{**(before or {}), **changes})
        self.assertEqual(self.plan(path), plan or {})
        done = self.upgrade(path)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.check_result(expected, changes.get("out", "result"))

    def check_result(self, expected, name="result"):
        """`expected` gives what all changes add up to; or what must be there and what more may be."""
        before, after = self.finish()
        want, have, more = expected(before, after), self.table(name), {}
        if isinstance(want, tuple):
            want, more = want
        want = collections.Counter(want)
        wrong = {row: have[row] - want[row] for row in {*want, *have}
                 if not 0 <= have[row] - want[row] <= more.get(row, 0)}
        self.assertEqual(wrong, {})
        self.assertTrue(have)

    def check_refused(self, old, new, refused, expected, after=None, **changes):
        """Nothing happens without consent to each node in `refused`; with it, the new version begins
        anew there."""
        self.start(old)
        path = self.write("new", new, **changes)
        found = self.plan(path)
        self.assertEqual({uid: state for uid, state in found.items() if state == "refused"},
                         dict.fromkeys(refused, "refused"))
        done = self.upgrade(path)
        self.assertNotEqual(done.returncode, 0)
        for uid, reason in refused.items():
            self.assertIn("MR1910", done.stderr)
            self.assertIn(reason, self.reasons[uid])
            self.assertIn(reason, done.stderr)
        flags = [flag for uid in refused for flag in ("--drop-state", uid)]
        self.assertEqual({uid: state for uid, state in self.plan(path, *flags).items()
                          if uid in refused}, after or dict.fromkeys(refused, "rebuilt"))
        done = self.upgrade(path, *flags)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.check_result(expected, changes.get("out", "result"))

    def test_rows_without_a_new_column_are_filled(self):
        self.start(JOIN)
        path = self.write("new", JOIN.replace("a.seller", "a.category"))
        self.assertEqual(self.plan(path), {"result.join": "refused"})
        fill = ("--fill-null", "result.join")
        self.assertEqual(self.plan(path, *fill), {"result.join": "migrated"})
        done = self.upgrade(path, *fill)
        self.assertEqual(done.returncode, 0, done.stderr)
        before, after = self.finish()
        rows = self.table()
        self.assertGreater(sum(rows.values()) - len(before), 0)
        self.assertEqual(totals(rows), totals(pairs(before + after, "seller")), "every pair once")
        filled = {row: count for row, count in rows.items() if row[1] is None}
        self.assertTrue(filled)
        allowed = pairs(before, "seller") + pairs(before + after, "category")
        self.assertEqual({row: count for row, count in rows.items()
                          if row not in filled and count > allowed[row]}, {})

    def test_a_version_that_cannot_run_is_taken_back(self):
        self.start(COUNT)
        (self.files / "in-the-way").write_text("")
        path = self.write("new", COUNT, out="in-the-way/result")
        done = self.upgrade(path)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("goes on with the version before", done.stderr)
        self.assertIn("in-the-way", done.stderr)
        self.assertIn("RUNNING", self.cluster.command("describe", self.job).stdout)
        done = self.upgrade(self.write("new", COUNT))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.check_result(counts)

    def test_a_script_that_is_wrong_changes_nothing(self):
        self.start(COUNT)
        done = self.upgrade(self.write("new", COUNT.replace("auction", "acution")))
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("acution", done.stderr)
        self.assertEqual(self.upgrade(self.write("new", COUNT)).returncode, 0)
        self.check_result(counts)

    def test_a_worker_is_killed_meanwhile(self):
        self.start(COUNT)
        path = self.write("new", COUNT)
        upgrade = subprocess.Popen(
            [str(BUILD / "cli/millrace"), "--coordinator", self.cluster.address, "upgrade",
             self.job, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.cluster.kill_worker(0)
        self.cluster.start_worker(0)
        said = upgrade.communicate(timeout=60)[1]
        self.assertEqual(upgrade.returncode, 0, said)
        self.check_result(counts)

    def test_a_savepoint_starts_a_new_version(self):
        self.start(COUNT)
        done = self.cluster.command("stop", self.job, "--savepoint", str(self.files / "saved"))
        savepoint = done.stdout.split()[-1]
        self.await_that(lambda: "STOPPED" in self.cluster.command("describe", self.job).stdout,
                        "the job does not stop")
        other = self.write("new", COUNT.replace("auction", "bidder"))
        with self.assertRaisesRegex(RuntimeError, "(?s)MR1910.*group by was.*--drop-state"):
            self.cluster.submit(other, {}, "--savepoint", savepoint)
        self.job = self.cluster.submit(other, {}, "--savepoint", savepoint, "--drop-state",
                                       "result.group-aggregate", "--drop-state", "result.sink")
        self.check_result(lambda before, after: grouped(AUCTION, len, before)
                          + grouped(BIDDER, len, after))


def kept(name, *arguments, **changes):
    setattr(UpgradeTest, f"test_kept_{name}",
            lambda self: self.check_kept(*arguments, **changes))


def refused(name, *arguments, **changes):
    setattr(UpgradeTest, f"test_refused_{name}",
            lambda self: self.check_refused(*arguments, **changes))


def counts(before, after):
    return grouped(AUCTION, len, before + after)


def expensive(bid):
    return bid["price"] > 500


def pairs(rows, column, key=AUCTION):
    """Bids with the auctions that they name, whenever these came."""
    auctions = UpgradeTest.auctions
    return collections.Counter((bid["auction"], auctions[key(bid)][column])
                               for bid in rows if key(bid) in auctions)


def totals(table):
    """Rows per auction."""
    rows = collections.Counter()
    for (auction, _), count in table.items():
        rows[auction] += count
    return rows


def doubled(before, after):
    """Old rows stand where nothing came any more; new ones take twice of them back."""
    first, last = grouped(AUCTION, len, before), grouped(AUCTION, len, before + after)
    touched = {bid["auction"] for bid in after}
    table = collections.Counter(first)
    for auction, count in first:
        if auction in touched:
            table[auction, count * 2] -= 1
    for auction, count in last:
        if auction in touched:
            table[auction, count * 2] += 1
    return table


kept("the_same_script", COUNT, COUNT, counts)
kept("another_filter", COUNT, COUNT.replace("FROM bid", "FROM bid WHERE price > 500"),
     lambda before, after: grouped(AUCTION, len, before + [*filter(expensive, after)]))
kept("another_alias", COUNT, "CREATE VIEW v AS SELECT auction AS x FROM bid; "
     "INSERT INTO result SELECT x, count(*) FROM v GROUP BY x;", counts)
kept("more_tasks", COUNT, COUNT, counts, settings="SET 'parallelism.default' = '2';")
kept("fewer_tasks", COUNT, COUNT, counts, before={"settings": "SET 'parallelism.default' = '3';"},
     settings="SET 'parallelism.default' = '1';")
kept("another_interval", COUNT, COUNT, counts,
     settings="SET 'execution.checkpointing.interval' = '50 ms';")
kept("another_delay", WINDOW, WINDOW, lambda before, after: windows(before + after, 2), delay="9")
kept("another_target", COUNT.replace("count(*)", "price").replace(" GROUP BY auction", ""),
     COUNT.replace("count(*)", "price").replace(" GROUP BY auction", ""),
     lambda before, after: collections.Counter((bid["auction"], bid["price"]) for bid in after),
     out="elsewhere")
kept("another_time_to_live", COUNT, COUNT, counts,
     before={"settings": "SET 'table.exec.state.ttl' = '1 h';"},
     settings="SET 'table.exec.state.ttl' = '2 h';")
kept("a_window", WINDOW, WINDOW, lambda before, after: windows(before + after, 2))
kept("a_window_of_fewer_rows", WINDOW,
     WINDOW.replace("TABLE bid", "TABLE v").replace("INSERT", "CREATE VIEW v AS SELECT * FROM bid "
                                                    "WHERE price > 500; INSERT", 1),
     lambda before, after: windows(before + [*filter(expensive, after)], 2))
kept("distinct", COUNT.replace("*", "DISTINCT bidder"), COUNT.replace("*", "DISTINCT bidder"),
     lambda before, after: grouped(AUCTION, lambda bids: len({bid["bidder"] for bid in bids}),
                                   before + after))
kept("a_ranking", TOP, TOP, lambda before, after: top(before + after, 3))
kept("a_frame", OVER, OVER, lambda before, after: over(before + after, 2))
kept("a_join", JOIN, JOIN, lambda before, after: pairs(before + after, "seller"))
kept("a_query_more", COUNT, COUNT + SIDE, counts, plan={"side.group-aggregate": "new"})
kept("a_column_less_in_a_join", JOIN.replace("b.auction, a", "b.auction + b.price * 0, a"),
     JOIN, lambda before, after: pairs(before + after, "seller"),
     plan={"result.join": "migrated"})

refused("another_key", COUNT, COUNT.replace("auction", "bidder"),
        {"result.group-aggregate": "group by was", "result.sink": "columns was"},
        lambda before, after: grouped(AUCTION, len, before) + grouped(BIDDER, len, after))
refused("another_expression_of_the_key",
        COUNT.replace("auction", "auction / 10"), COUNT.replace("auction", "auction / 20"),
        {"result.group-aggregate": "/ 10", "result.sink": "/ 10"},
        lambda before, after: grouped(lambda bid: bid["auction"] // 10, len, before)
        + grouped(lambda bid: bid["auction"] // 20, len, after))
refused("another_argument", COUNT.replace("count(*)", "sum(price)"),
        COUNT.replace("count(*)", "sum(price * 2)"),
        {"result.group-aggregate": "sum(", "result.sink": "sum("},
        lambda before, after: grouped(AUCTION, SUM, before)
        + grouped(AUCTION, lambda bids: 2 * SUM(bids), after))
refused("another_aggregate", COUNT, COUNT.replace("count(*)", "max(price)"),
        {"result.group-aggregate": "max(", "result.sink": "max("},
        lambda before, after: grouped(AUCTION, len, before)
        + grouped(AUCTION, lambda bids: max(bid["price"] for bid in bids), after))
refused("an_aggregate_more", COUNT, COUNT.replace("count(*)", "count(*) + sum(price)"),
        {"result.group-aggregate": "aggregates was count(*)", "result.sink": "columns was"},
        lambda before, after: grouped(AUCTION, len, before)
        + grouped(AUCTION, lambda bids: len(bids) + SUM(bids), after))
# The state is kept; what was written stands in a file that can only be added to.
refused("another_expression_behind", COUNT, COUNT.replace("count(*)", "count(*) * 2"),
        {"result.sink": "columns was"}, doubled)
# Windows that were open are given up.
refused("another_window", WINDOW, WINDOW.replace("'2'", "'3'"),
        {"result.window-aggregate": "tumble("},
        lambda before, after: (windows(after, 3), windows(before, 2)))
refused("a_window_instead", COUNT, WINDOW, {"result.group-aggregate": "no such node"},
        lambda before, after: grouped(AUCTION, len, before) + windows(after, 2),
        after={"result.group-aggregate": "dropped"})
refused("a_query_less", SIDE + COUNT, COUNT, {"side.group-aggregate": "no such node"}, counts,
        after={"side.group-aggregate": "dropped"})
refused("another_limit", TOP, TOP.replace("<= 3", "<= 2"), {"result.top-n": "limit was 3"},
        lambda before, after: top(before, 3) + top(after, 2))
refused("another_order", TOP, TOP.replace("DESC", "ASC"), {"result.top-n": "order by was"},
        lambda before, after: top(before, 3) + top(after, 3, descending=False))
refused("another_frame", OVER, OVER.replace("2 PRECEDING", "1 PRECEDING"),
        {"result.over-aggregate": "frame was"},
        lambda before, after: (over(after, 1), over(before, 2)))
refused("another_key_of_a_join", JOIN, JOIN.replace("b.auction = a.id", "b.bidder = a.id"),
        {"result.join": "left keys was"},
        lambda before, after: ({}, pairs(before, "seller") + pairs(after, "seller", BIDDER)))
refused("another_kind_of_join", JOIN, JOIN.replace("JOIN", "LEFT JOIN"),
        {"result.join": "kind was"},
        lambda before, after: ({}, pairs(before, "seller") + pairs(after, "seller")
                               + collections.Counter((bid["auction"], None) for bid in after)))
refused("a_column_more_in_a_join", JOIN, JOIN.replace("a.seller", "a.category"),
        {"result.join": "would have NULL there"},
        lambda before, after: ({}, pairs(before, "seller") + pairs(after, "category")))
refused("a_time_to_live", COUNT, COUNT, {"result.group-aggregate": "time to live"},
        lambda before, after: grouped(AUCTION, len, before) + grouped(AUCTION, len, after),
        settings="SET 'table.exec.state.ttl' = '1 h';")

if __name__ == "__main__":
    unittest.main(verbosity=2)
