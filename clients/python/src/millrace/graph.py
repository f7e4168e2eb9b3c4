"""Job graphs in Python: the same message that SQL scripts and YAML files become.

    from millrace import Job, tumble

    job = Job("totals")
    (job.source("orders", "kafka", {"item": "BIGINT", "price": "DECIMAL(10, 2)", "ts": "TIMESTAMP(3)"},
                {"topic": "orders", "properties.bootstrap.servers": "localhost:9092"}, format="json")
        .watermark("ts", delay="4s")
        .filter("price > 10")
        .window_aggregate(tumble("ts", "1min"), ["item"], ["sum(price) AS total"])
        .sink("totals", "kafka", {"topic": "totals", …}, format="json"))
    client.submit(job)

Expressions are SQL. What can be known without the coordinator is checked at once (ValueError,
TypeError); columns, expressions and options are checked by `client.validate` and `client.submit`, all
problems together.
"""

from __future__ import annotations

import dataclasses
import datetime
import re
from typing import Dict, List, Mapping, Optional, Sequence, Tuple, Union

from millrace.v1 import graph_pb2

FORMAT = 1
Duration = Union[str, datetime.timedelta]

_UID = re.compile(r"[a-z0-9._-]{1,128}")
_DURATION = re.compile(r"(\d+)\s*(ms|s|min|h|d)")
_DURATION_MS = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_TYPE = re.compile(r"([A-Z]+)(?:\s*\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\))?")
_ALIAS = re.compile(r"(?s)(.*\S)\s+AS\s+([A-Za-z_]\w*)\s*", re.I)
_SORT = re.compile(r"\s*(\w+)(?:\s+(ASC|DESC))?(?:\s+NULLS\s+(FIRST|LAST))?\s*", re.I)
_NAME = re.compile(r"[A-Za-z_]\w*")

_Type = graph_pb2.Type
_KINDS = {
    "BOOLEAN": _Type.KIND_BOOL, "BOOL": _Type.KIND_BOOL,
    "INT": _Type.KIND_INT32, "INTEGER": _Type.KIND_INT32,
    "BIGINT": _Type.KIND_INT64,
    "DOUBLE": _Type.KIND_FLOAT64,
    "STRING": _Type.KIND_STRING, "VARCHAR": _Type.KIND_STRING,
    "BYTES": _Type.KIND_BYTES,
    "DATE": _Type.KIND_DATE,
    "TIMESTAMP": _Type.KIND_TIMESTAMP,
    "INTERVAL": _Type.KIND_INTERVAL,
    "DECIMAL": _Type.KIND_DECIMAL,
}


def parse_type(text: str) -> graph_pb2.Type:
    """A type as SQL writes it: BIGINT, TIMESTAMP(3), DECIMAL(10, 2). Raises ValueError."""
    match = _TYPE.fullmatch(text.strip().upper())
    if not match or match[1] not in _KINDS:
        raise ValueError(f"{text!r} is no type; known are {', '.join(_KINDS)}")
    kind = _KINDS[match[1]]
    if kind == _Type.KIND_DECIMAL:
        if match[2] is None:
            raise ValueError("DECIMAL needs its digits, as DECIMAL(10, 2)")
        return _Type(kind=kind, precision=int(match[2]), scale=int(match[3] or 0))
    if match[3] is not None or (match[2] is not None and kind != _Type.KIND_TIMESTAMP):
        raise ValueError(f"{text!r}: {match[1]} takes no such digits")
    return _Type(kind=kind, precision=int(match[2] or 0))


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a source, where its name and type do not say all.

    `metadata`: what of the record it is ("topic", "partition", "offset", "timestamp", "key").
    `path`: where it lies within nested values ("bid.auction"). `computed`: an expression over the
    other columns. At most one of them."""

    type: str
    not_null: bool = False
    metadata: str = ""
    path: str = ""
    computed: str = ""


@dataclasses.dataclass(frozen=True)
class Window:
    """Windows of event time; made by tumble, hop, cumulate and session."""

    kind: "graph_pb2.Window.Kind"
    time: str
    size_ms: int
    slide_ms: int = 0


def tumble(time: str, size: Duration) -> Window:
    """Windows side by side, of one length."""
    return Window(graph_pb2.Window.KIND_TUMBLE, _column(time), _milliseconds(size))


def hop(time: str, slide: Duration, size: Duration) -> Window:
    """A window of length `size` begins every `slide`."""
    return Window(graph_pb2.Window.KIND_HOP, _column(time), _milliseconds(size),
                  _milliseconds(slide))


def cumulate(time: str, step: Duration, size: Duration) -> Window:
    """Windows with one beginning that end `step` after each other, up to `size`."""
    return Window(graph_pb2.Window.KIND_CUMULATE, _column(time), _milliseconds(size),
                  _milliseconds(step))


def session(time: str, gap: Duration) -> Window:
    """A window ends when no row has come for `gap`."""
    return Window(graph_pb2.Window.KIND_SESSION, _column(time), _milliseconds(gap))


class Job:
    """A job graph that is being built. Streams are the outputs of its nodes; a job ends in sinks.

    Uids name the state of nodes: give them (`uid=`) to nodes with state, so that a changed job goes on
    with it. Without one a node is called as its kind, a second one with `.2`."""

    def __init__(self, name: str, *, parallelism: int = 0, max_parallelism: int = 0,
                 checkpoint_interval: Optional[Duration] = None):
        """`parallelism`: tasks per node, 0 = the cluster's free cores. `max_parallelism`: the number
        of key groups, which never changes, 0 = 256."""
        if not name:
            raise ValueError("a job needs a name")
        self._graph = graph_pb2.JobGraph(format=FORMAT, name=name, parallelism=parallelism,
                                         max_parallelism=max_parallelism)
        if checkpoint_interval is not None:
            self._graph.settings.checkpoint_interval_ms = _milliseconds(checkpoint_interval)
        self._uids: Dict[str, None] = {}

    @property
    def name(self) -> str:
        return self._graph.name

    def source(self, uid: str, connector: str, schema: Mapping[str, Union[str, Column]],
               options: Optional[Mapping[str, str]] = None, *, format: str = "",
               key: Sequence[str] = (), parallelism: int = 0) -> "Stream":
        """The rows of a table outside. `key`: the primary key, of sources of changes."""
        if not schema:
            raise ValueError(f"source {uid!r} needs columns")
        node = self._add(uid, parallelism)
        node.source.connector = connector
        node.source.format = format
        node.source.options.update(_texts(options))
        for name, column in schema.items():
            node.schema.fields.append(_field(name, column))
        node.key.names.extend(key)
        return Stream(self, node.uid)

    def to_proto(self) -> graph_pb2.JobGraph:
        """The message, a copy. Raises ValueError for a job without sinks."""
        if not any(node.HasField("sink") for node in self._graph.nodes):
            raise ValueError(f"job {self.name!r} writes nowhere: end a stream with .sink(…)")
        graph = graph_pb2.JobGraph()
        graph.CopyFrom(self._graph)
        return graph

    def __repr__(self) -> str:
        return f"Job({self.name!r}, nodes={list(self._uids)})"

    def _add(self, uid: str, parallelism: int = 0) -> graph_pb2.Node:
        if not _UID.fullmatch(uid):
            raise ValueError(f"{uid!r} is no uid: 1 to 128 of a-z 0-9 . _ -")
        if uid in self._uids:
            raise ValueError(f"job {self.name!r} has a node {uid!r} already")
        self._uids[uid] = None
        return self._graph.nodes.add(uid=uid, parallelism=parallelism)

    def _name(self, kind: str, uid: Optional[str]) -> str:
        if uid is not None:
            return uid
        number = 1
        while (name := kind if number == 1 else f"{kind}.{number}") in self._uids:
            number += 1
        return name


class Stream:
    """The rows of one output of a node. Methods add a node that reads them, and return its rows.

    Threads: one at a time per job."""

    def __init__(self, job: Job, uid: str,
                 output: "graph_pb2.OutputPort" = graph_pb2.OUTPUT_PORT_MAIN,
                 also: Tuple["Stream", ...] = ()):
        self._job = job
        self._uid = uid
        self._output = output
        self._also = also

    @property
    def uid(self) -> str:
        return self._uid

    # ---- Row by row.

    def filter(self, predicate: str, *, uid: Optional[str] = None, parallelism: int = 0) -> "Stream":
        """Rows for which `predicate` is true."""
        node = self._then("filter", uid, parallelism)
        node.filter.predicate.sql = _sql(predicate)
        return self._of(node)

    def project(self, *columns: str, uid: Optional[str] = None, parallelism: int = 0,
                **named: str) -> "Stream":
        """Columns: "auction", "price * 2 AS twice", or twice="price * 2"."""
        if not columns and not named:
            raise ValueError("project needs columns")
        node = self._then("project", uid, parallelism)
        for column in columns:
            name, expression = _aliased(column)
            if not name and not _NAME.fullmatch(expression):
                raise ValueError(f"{column!r} needs a name: write {column!r} AS name")
            node.project.columns.add(name=name, expr=graph_pb2.Expr(sql=expression))
        for name, expression in named.items():
            node.project.columns.add(name=name, expr=graph_pb2.Expr(sql=_sql(expression)))
        return self._of(node)

    def watermark(self, time: str, *, delay: Duration = "0s", idle: Optional[Duration] = None,
                  uid: Optional[str] = None) -> "Stream":
        """`time` is the event time; rows may come up to `delay` out of order. A split without rows
        for `idle` no longer holds the others up. Belongs behind a source."""
        node = self._then("watermark", uid, 0)
        node.watermark.time.names.append(_column(time))
        node.watermark.out_of_orderness_ms = _milliseconds(delay)
        if idle is not None:
            node.watermark.idle_timeout_ms = _milliseconds(idle)
        return self._of(node)

    def processing_time(self, name: str, *, gives_watermark: bool = False,
                        uid: Optional[str] = None) -> "Stream":
        """A column `name` with the time at which a row passes; the event time from here on, if
        `gives_watermark`."""
        node = self._then("processing-time", uid, 0)
        node.processing_time.name = _column(name)
        node.processing_time.gives_watermark = gives_watermark
        return self._of(node)

    def union(self, *others: "Stream") -> "Stream":
        """The rows of all, which have the same columns."""
        for other in others:
            self._same_job(other)
        return Stream(self._job, self._uid, self._output, self._also + others)

    # ---- With state.

    def window_aggregate(self, window: Window, keys: Sequence[str] = (),
                         aggregates: Sequence[str] = (), *, uid: Optional[str] = None,
                         parallelism: int = 0) -> "Stream":
        """Aggregates, as "count(*) AS num", per window and key: window_start, window_end, keys,
        aggregates. Given once, when the watermark is past the window."""
        if not isinstance(window, Window):
            raise TypeError("window_aggregate needs a window: tumble, hop, cumulate or session")
        node = self._then("window-aggregate", uid, parallelism)
        body = node.window_aggregate
        body.window.kind = window.kind
        body.window.time.names.append(window.time)
        body.window.size_ms = window.size_ms
        body.window.slide_ms = window.slide_ms
        body.keys.names.extend(_columns(keys))
        body.aggregates.extend(_aggregates(aggregates))
        return self._of(node)

    def group_aggregate(self, keys: Sequence[str] = (), aggregates: Sequence[str] = (), *,
                        ttl: Optional[Duration] = None, uid: Optional[str] = None,
                        parallelism: int = 0) -> "Stream":
        """Aggregates per key of all rows so far; gives changes. `ttl`: a group is forgotten when no
        row has touched it for so long."""
        node = self._then("group-aggregate", uid, parallelism, ttl)
        node.group_aggregate.keys.names.extend(_columns(keys))
        node.group_aggregate.aggregates.extend(_aggregates(aggregates))
        return self._of(node)

    def window_top_n(self, limit: int, order: Sequence[str], *, window_end: str = "window_end",
                     partition: Sequence[str] = (), rank: str = "", with_ties: bool = False,
                     uid: Optional[str] = None, parallelism: int = 0) -> "Stream":
        """The first rows per window by `order` ("num DESC"); `rank` names a column with the place."""
        node = self._then("window-top-n", uid, parallelism)
        node.window_top_n.window_end.names.append(_column(window_end))
        _fill_top_n(node.window_top_n, limit, order, partition, rank, with_ties)
        return self._of(node)

    def top_n(self, limit: int, order: Sequence[str], *, partition: Sequence[str] = (),
              rank: str = "", with_ties: bool = False, ttl: Optional[Duration] = None,
              uid: Optional[str] = None, parallelism: int = 0) -> "Stream":
        """The first rows of all so far; gives changes."""
        node = self._then("top-n", uid, parallelism, ttl)
        _fill_top_n(node.top_n, limit, order, partition, rank, with_ties)
        return self._of(node)

    def normalize(self, key: Sequence[str] = (), *, uid: Optional[str] = None,
                  parallelism: int = 0) -> "Stream":
        """Exact changes of captured ones or of upserts; keeps the last row of every key."""
        node = self._then("normalize", uid, parallelism)
        node.normalize.key.names.extend(_columns(key))
        return self._of(node)

    def join(self, other: "Stream", on: Sequence[Union[str, Tuple[str, str]]], *,
             kind: str = "inner", condition: str = "", prefixes: Tuple[str, str] = ("", ""),
             times: Optional[Tuple[str, str]] = None, lower: Duration = "0s",
             upper: Duration = "0s", ttl: Optional[Duration] = None, uid: Optional[str] = None,
             parallelism: int = 0) -> "Stream":
        """Rows of this stream (left) with those of `other`. `on`: columns that are equal, by one name
        or as pairs. `kind`: inner, left, right, full, semi, anti. `times`: event times, of which the
        right one lies between left + lower and left + upper. `prefixes` stand before the names of the
        columns of a side."""
        kinds = {"inner": graph_pb2.Join.KIND_INNER, "left": graph_pb2.Join.KIND_LEFT,
                 "right": graph_pb2.Join.KIND_RIGHT, "full": graph_pb2.Join.KIND_FULL,
                 "semi": graph_pb2.Join.KIND_SEMI, "anti": graph_pb2.Join.KIND_ANTI}
        if kind not in kinds:
            raise ValueError(f"{kind!r} is no kind of join; known are {', '.join(kinds)}")
        self._same_job(other)
        node = self._then("join", uid, parallelism, ttl)
        self._connect(node.uid, other, to_input=1)
        body = node.join
        body.kind = kinds[kind]
        for pair in on:
            left, right = (pair, pair) if isinstance(pair, str) else pair
            body.left_keys.names.append(_column(left))
            body.right_keys.names.append(_column(right))
        if condition:
            body.condition.sql = condition
        body.left_prefix, body.right_prefix = prefixes
        if times is not None:
            body.left_time.names.append(_column(times[0]))
            body.right_time.names.append(_column(times[1]))
            body.lower_ms = _milliseconds(lower)
            body.upper_ms = _milliseconds(upper)
        return self._of(node)

    # ---- Other outputs, and the end.

    def late(self) -> "Stream":
        """Rows that came behind their window, of a node with windows."""
        return Stream(self._job, self._uid, graph_pb2.OUTPUT_PORT_LATE)

    def dead_letters(self) -> "Stream":
        """Records that the node could not read or process."""
        return Stream(self._job, self._uid, graph_pb2.OUTPUT_PORT_DEAD_LETTER)

    def sink(self, uid: str, connector: str, options: Optional[Mapping[str, str]] = None, *,
             format: str = "", key: Sequence[str] = (), exactly_once: Optional[bool] = None,
             parallelism: int = 0) -> Job:
        """Writes the rows. `key`: the columns by which a target with keys replaces and deletes.
        `exactly_once`: the strongest that the connector has, unless it is given. Returns the job."""
        node = self._then("sink", uid, parallelism)
        node.sink.connector = connector
        node.sink.format = format
        node.sink.options.update(_texts(options))
        node.key.names.extend(_columns(key))
        if exactly_once is not None:
            node.sink.guarantee = (graph_pb2.DELIVERY_GUARANTEE_EXACTLY_ONCE if exactly_once
                                   else graph_pb2.DELIVERY_GUARANTEE_AT_LEAST_ONCE)
        return self._job

    def _then(self, kind: str, uid: Optional[str], parallelism: int,
              ttl: Optional[Duration] = None) -> graph_pb2.Node:
        node = self._job._add(self._job._name(kind, uid), parallelism)
        if ttl is not None:
            node.state_ttl_ms = _milliseconds(ttl)
        self._connect(node.uid, self, to_input=0)
        return node

    def _connect(self, to: str, stream: "Stream", to_input: int) -> None:
        for one in (stream, *stream._also):
            self._job._graph.edges.add(**{"from": one._uid, "output": one._output, "to": to,
                                          "to_input": to_input})

    def _of(self, node: graph_pb2.Node) -> "Stream":
        return Stream(self._job, node.uid)

    def _same_job(self, other: "Stream") -> None:
        if not isinstance(other, Stream):
            raise TypeError(f"expected a Stream, not {type(other).__name__}")
        if other._job is not self._job:
            raise ValueError(f"{other._uid!r} belongs to job {other._job.name!r}, and {self._uid!r} "
                             f"to job {self._job.name!r}")


def _milliseconds(duration: Duration) -> int:
    if isinstance(duration, datetime.timedelta):
        return round(duration / datetime.timedelta(milliseconds=1))
    if not isinstance(duration, str):
        raise TypeError(f"a duration is a text (\"10s\") or a timedelta, not {duration!r}")
    match = _DURATION.fullmatch(duration.strip())
    if not match:
        raise ValueError(f"{duration!r} is no duration: write 500ms, 10s, 5min, 2h, 1d")
    return int(match[1]) * _DURATION_MS[match[2]]


def _texts(options: Optional[Mapping[str, str]]) -> Dict[str, str]:
    for name, value in (options or {}).items():
        if not isinstance(value, str):
            raise TypeError(f"option {name!r} is a text, not {value!r}")
    return dict(options or {})


def _sql(expression: str) -> str:
    if not isinstance(expression, str) or not expression.strip():
        raise ValueError(f"expected a SQL expression, not {expression!r}")
    return expression


def _column(name: str) -> str:
    if not isinstance(name, str) or not name:
        raise ValueError(f"expected the name of a column, not {name!r}")
    return name


def _columns(names: Sequence[str]) -> List[str]:
    if isinstance(names, str):
        raise TypeError(f"expected a list of columns, not a text: [{names!r}]")
    return [_column(name) for name in names]


def _aliased(text: str) -> Tuple[str, str]:
    match = _ALIAS.fullmatch(_sql(text))
    return (match[2], match[1]) if match else ("", text.strip())


def _aggregates(texts: Sequence[str]) -> List[graph_pb2.Aggregate]:
    if isinstance(texts, str):
        raise TypeError(f"expected a list of aggregates, not a text: [{texts!r}]")
    aggregates = []
    for text in texts:
        name, call = _aliased(text)
        if not name:
            raise ValueError(f"aggregate {text!r} needs a name: write {text} AS name")
        aggregates.append(graph_pb2.Aggregate(name=name, sql=call))
    return aggregates


def _fill_top_n(body: Union[graph_pb2.TopN, graph_pb2.WindowTopN], limit: int, order: Sequence[str],
                partition: Sequence[str], rank: str, with_ties: bool) -> None:
    if limit < 1:
        raise ValueError(f"limit is {limit}, and must be at least 1")
    if isinstance(order, str) or not order:
        raise ValueError("order is a list of columns, as [\"num DESC\"]")
    body.limit = limit
    body.partition.names.extend(_columns(partition))
    body.rank_name = rank
    body.with_ties = with_ties
    for text in order:
        match = _SORT.fullmatch(text)
        if not match:
            raise ValueError(f"{text!r} is no order: write column [ASC|DESC] [NULLS FIRST|LAST]")
        key = body.order.add(descending=(match[2] or "").upper() == "DESC")
        key.field.names.append(match[1])
        if match[3]:
            key.nulls_first = match[3].upper() == "FIRST"


def _field(name: str, column: Union[str, Column]) -> graph_pb2.Field:
    column = Column(column) if isinstance(column, str) else column
    if sum(map(bool, (column.metadata, column.path, column.computed))) > 1:
        raise ValueError(f"column {name!r} is of metadata, of a path or computed, not two of them")
    field = graph_pb2.Field(name=_column(name), type=parse_type(column.type),
                            not_null=column.not_null, metadata=column.metadata, path=column.path)
    if column.computed:
        field.computed.sql = column.computed
    return field
