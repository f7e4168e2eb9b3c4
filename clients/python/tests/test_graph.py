"""Graphs built in Python are the messages that YAML and SQL become, and run."""

import datetime
import json
import pathlib

import pytest
from millrace import Column, Job, JobState, hop, session, tumble
from millrace.graph import parse_type
from millrace.v1 import graph_pb2

SCHEMA = {"item": "BIGINT", "price": "DECIMAL(10, 2)", "ts": Column("TIMESTAMP(3)", not_null=True)}


def orders(job, uid="orders", **options):
    return job.source(uid, "file", SCHEMA, {"path": "orders.json", **options}, format="json")


def test_a_graph_is_the_message():
    job = Job("totals", parallelism=2, checkpoint_interval="500ms")
    (orders(job).watermark("ts", delay=datetime.timedelta(seconds=4), uid="time")
     .filter("price > 10")
     .window_aggregate(hop("ts", "2s", "1min"), ["item"], ["count(*) AS num", "sum(price) AS total"],
                       uid="windows")
     .window_top_n(3, ["total DESC", "item"], rank="place")
     .sink("out", "blackhole"))
    graph = job.to_proto()
    assert [node.uid for node in graph.nodes] == ["orders", "time", "filter", "windows",
                                                  "window-top-n", "out"]
    assert (graph.format, graph.name, graph.parallelism) == (1, "totals", 2)
    assert graph.settings.checkpoint_interval_ms == 500
    assert graph.nodes[0].schema.fields[1].type == graph_pb2.Type(
        kind=graph_pb2.Type.KIND_DECIMAL, precision=10, scale=2)
    assert graph.nodes[1].watermark.out_of_orderness_ms == 4000
    window = graph.nodes[3].window_aggregate
    assert (window.window.size_ms, window.window.slide_ms) == (60_000, 2000)
    assert [(one.name, one.sql) for one in window.aggregates] == [
        ("num", "count(*)"), ("total", "sum(price)")]
    top = graph.nodes[4].window_top_n
    assert [(list(key.field.names), key.descending) for key in top.order] == [
        (["total"], True), (["item"], False)]
    assert [(getattr(edge, "from"), edge.to) for edge in graph.edges] == [
        ("orders", "time"), ("time", "filter"), ("filter", "windows"),
        ("windows", "window-top-n"), ("window-top-n", "out")]
    graph.name = "changed"
    assert job.name == "totals", "the message is a copy"


def test_it_runs(client, tmp_path):
    lines = [{"item": n % 3, "price": f"{n}.50", "ts": f"2026-01-01 00:00:{n:02d}"}
             for n in range(60)]
    (tmp_path / "orders.json").write_text("\n".join(map(json.dumps, lines)))
    job = Job("built")
    stream = orders(job, path=str(tmp_path / "orders.json")).watermark("ts")
    (stream.window_aggregate(tumble("ts", "1min"), ["item"], ["count(*) AS num", "max(price) AS top"])
     .project("item", "num", twice="num * 2").sink("out", "file", {"path": str(tmp_path / "out")},
                                                   format="json"))
    stream.dead_letters().sink("letters", "blackhole")
    assert client.validate(job) == []
    assert client.wait(client.submit(job), timeout=30).state == JobState.JOB_STATE_FINISHED
    rows = [json.loads(line) for path in pathlib.Path(tmp_path / "out").glob("part-*")
            for line in path.read_text().splitlines()]
    assert sorted(rows, key=lambda row: row["item"]) == [
        {"item": item, "num": 20, "twice": 40} for item in range(3)]


def test_every_kind_of_node_is_valid(client):
    job = Job("all")
    left, right = orders(job).watermark("ts"), orders(job, "refunds").watermark("ts")
    left.union(right).group_aggregate(["item"], ["count(*) AS n"], ttl="1h").top_n(
        5, ["n DESC NULLS LAST"], rank="place").sink("top", "print")
    left.join(right, ["item"], times=("ts", "ts"), upper="5s", prefixes=("", "r_")).sink(
        "near", "blackhole")
    left.join(right, [("item", "item")], kind="left", condition="price > 1",
              prefixes=("", "r_")).sink("all", "print")
    right.window_aggregate(session("ts", "10s"), [], ["count(*) AS n"], uid="sessions").sink(
        "out", "blackhole")
    left.processing_time("seen").project("item", "seen").sink("stamped", "blackhole")
    assert [problem for problem in client.validate(job) if not problem.warning] == []
    windows = orders(Job("late")).watermark("ts").window_aggregate(
        tumble("ts", "1min"), [], ["count(*) AS n"])
    windows.late().sink("late", "blackhole")
    job = windows.sink("out", "blackhole")
    assert [problem for problem in client.validate(job) if not problem.warning] == []


@pytest.mark.parametrize("make, error, message", [
    (lambda job: job.source("Bad Uid", "file", SCHEMA), ValueError, "is no uid"),
    (lambda job: (orders(job), orders(job)), ValueError, "has a node 'orders' already"),
    (lambda job: job.source("s", "file", {}), ValueError, "needs columns"),
    (lambda job: job.source("s", "file", {"a": "NUMBER"}), ValueError, "is no type; known are"),
    (lambda job: job.source("s", "file", {"a": "DECIMAL"}), ValueError, "needs its digits"),
    (lambda job: job.source("s", "file", SCHEMA, {"split-size": 3}), TypeError, "is a text"),
    (lambda job: orders(job).filter(""), ValueError, "expected a SQL expression"),
    (lambda job: orders(job).project("price * 2"), ValueError, "needs a name"),
    (lambda job: orders(job).watermark("ts", delay="soon"), ValueError, "is no duration"),
    (lambda job: orders(job).window_aggregate("1min"), TypeError, "needs a window"),
    (lambda job: orders(job).group_aggregate("item"), TypeError, "expected a list of columns"),
    (lambda job: orders(job).group_aggregate([], ["count(*)"]), ValueError, "count(*) AS name"),
    (lambda job: orders(job).top_n(0, ["price"]), ValueError, "at least 1"),
    (lambda job: orders(job).top_n(1, "price"), ValueError, "list of columns"),
    (lambda job: orders(job).join(orders(Job("other"), "o"), ["item"]), ValueError,
     "belongs to job 'other'"),
    (lambda job: orders(job).join(orders(job, "o"), ["item"], kind="outer"), ValueError,
     "no kind of join"),
    (lambda job: (orders(job), job.to_proto()), ValueError, "writes nowhere"),
])
def test_misuse_is_told_at_once(make, error, message):
    with pytest.raises(error) as raised:
        make(Job("misused"))
    assert message in str(raised.value)


def test_types():
    assert parse_type("timestamp(6)").precision == 6
    assert parse_type(" DECIMAL( 38 , 0 ) ").precision == 38
    with pytest.raises(ValueError):
        parse_type("BIGINT(3)")
