"""The rows of a query, as they come."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import decimal
import json
import time
from typing import (TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Mapping, Optional, Tuple)

import grpc

from millrace import errors
from millrace.v1 import graph_pb2, job_service_pb2

if TYPE_CHECKING:
    import pyarrow

# So long a result waits for a coordinator that is away.
RECONNECT_SECONDS = 60.0

_Type = graph_pb2.Type


def _timestamp(text: bytes) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text.decode())


_VALUES: Dict[int, Callable[[bytes], Any]] = {
    _Type.KIND_BOOL: lambda text: text == b"true",
    _Type.KIND_INT32: int,
    _Type.KIND_INT64: int,
    _Type.KIND_FLOAT64: float,
    _Type.KIND_STRING: bytes.decode,
    _Type.KIND_BYTES: bytes,
    _Type.KIND_DATE: lambda text: datetime.date.fromisoformat(text.decode()),
    _Type.KIND_TIMESTAMP: _timestamp,
    _Type.KIND_INTERVAL: lambda text: datetime.timedelta(microseconds=int(text)),
    _Type.KIND_DECIMAL: lambda text: decimal.Decimal(text.decode()),
}


def value_reader(kind: graph_pb2.Type) -> Callable[[bytes], Any]:
    """Makes values of a type from the text that rows have. Arrays are JSON there, and become lists."""
    if kind.kind != _Type.KIND_ARRAY:
        return _VALUES[kind.kind]
    read = _element_reader(kind.element)
    return lambda text: [read(value)
                         for value in json.loads(text, parse_int=str, parse_float=str)]


def _element_reader(kind: graph_pb2.Type) -> Callable[[Any], Any]:
    """Of what JSON has, with numbers as text, so that no digit is lost."""
    convert: Callable[[Any], Any]
    if kind.kind == _Type.KIND_ROW:
        fields = [(field.name, _element_reader(field.type)) for field in kind.fields]
        convert = lambda row: {name: read(row[name]) for name, read in fields}  # noqa: E731
    elif kind.kind == _Type.KIND_BOOL:
        convert = bool
    elif kind.kind == _Type.KIND_BYTES:
        convert = base64.b64decode
    else:
        convert = lambda text: _VALUES[kind.kind](text.encode())  # noqa: E731
    return lambda value: None if value is None else convert(value)


def _arrow_type(kind: graph_pb2.Type) -> "pyarrow.DataType":
    import pyarrow

    if kind.kind == _Type.KIND_ARRAY:
        return pyarrow.list_(_arrow_type(kind.element))
    if kind.kind == _Type.KIND_ROW:
        return pyarrow.struct([pyarrow.field(field.name, _arrow_type(field.type))
                               for field in kind.fields])
    if kind.kind == _Type.KIND_DECIMAL:
        return pyarrow.decimal128(kind.precision, kind.scale)
    return {
        _Type.KIND_BOOL: pyarrow.bool_(), _Type.KIND_INT32: pyarrow.int32(),
        _Type.KIND_INT64: pyarrow.int64(), _Type.KIND_FLOAT64: pyarrow.float64(),
        _Type.KIND_STRING: pyarrow.string(), _Type.KIND_BYTES: pyarrow.binary(),
        _Type.KIND_DATE: pyarrow.date32(), _Type.KIND_TIMESTAMP: pyarrow.timestamp("us"),
        _Type.KIND_INTERVAL: pyarrow.duration("us"),
    }[kind.kind]


@dataclasses.dataclass(frozen=True)
class Change:
    """A row, and what it says of the rows before it: `op` is +I, -U (the row as it was), +U or -D."""

    op: str
    row: Mapping[str, Any]


class QueryResult:
    """The rows of a query while it runs: an iterator of Change, or of pyarrow.RecordBatch by
    batches(). It ends with bounded input, or with close(), which cancels the query. Rows come once,
    when their checkpoint is complete; a query waits for a slow reader.

    Threads: one reader. close() from any thread.
    Errors:  as of Client; MillraceError when the query fails."""

    def __init__(self, job_id: str, open_stream: Callable[[], Any], cancel: Callable[[], None],
                 address: str):
        """Made by Client.sql."""
        self.job_id = job_id
        # Of a sample: rows that were emitted and are not among those given.
        self.rows_left_out = 0
        self._open_stream = open_stream
        self._cancel = cancel
        self._address = address
        self._stream: Optional[Any] = None
        self._columns: Optional[job_service_pb2.TailNodeResponse] = None
        self._ended = False
        self._closed = False
        # How far the rows of each slot have been seen: epoch and rows of it.
        self._seen: Dict[int, Tuple[int, int]] = {}

    @property
    def columns(self) -> List[str]:
        """Names, in order."""
        return [field.name for field in self._head().schema.fields]

    @property
    def key(self) -> List[str]:
        """The columns that identify a row; empty: none do."""
        return list(self._head().key)

    @property
    def append_only(self) -> bool:
        """Rows are never changed: every op is +I."""
        return self._head().changelog_mode == graph_pb2.CHANGELOG_MODE_APPEND

    def __iter__(self) -> Iterator[Change]:
        fields = [(field.name, value_reader(field.type)) for field in self._head().schema.fields]
        for rows in self._messages():
            for row in rows:
                nulls = frozenset(row.nulls)
                yield Change(row.op, {
                    name: None if i in nulls else convert(row.values[i])
                    for i, (name, convert) in enumerate(fields)})

    def rows(self) -> Iterator[Mapping[str, Any]]:
        """The rows alone, of a query that only inserts. Raises ValueError for others."""
        if not self.append_only:
            raise ValueError("the query changes its rows: iterate over the result, and look at `op`")
        for change in self:
            yield change.row

    def batches(self) -> Iterator["pyarrow.RecordBatch"]:
        """The rows as batches of Arrow, as they come; a column `op` stands first where the query
        changes its rows. Needs pyarrow."""
        import pyarrow

        schema = self.arrow_schema()
        with_op = not self.append_only
        readers = [value_reader(field.type) for field in self._head().schema.fields]
        for rows in self._messages():
            arrays = [pyarrow.array([row.op for row in rows])] if with_op else []
            for i, convert in enumerate(readers):
                arrays.append(pyarrow.array(
                    [None if i in row.nulls else convert(row.values[i]) for row in rows],
                    type=schema.field(i + (1 if with_op else 0)).type))
            yield pyarrow.RecordBatch.from_arrays(arrays, schema=schema)

    def arrow_schema(self) -> "pyarrow.Schema":
        """Of batches()."""
        import pyarrow

        fields = [] if self.append_only else [pyarrow.field("op", pyarrow.string())]
        for field in self._head().schema.fields:
            fields.append(pyarrow.field(field.name, _arrow_type(field.type)))
        return pyarrow.schema(fields)

    def close(self) -> None:
        """Cancels the query if it still runs. May be repeated."""
        if self._closed:
            return
        self._closed = True
        if self._stream is not None:
            self._stream.cancel()
        if not self._ended:
            try:
                self._cancel()
            except errors.ConflictError:
                pass  # It has ended by itself.

    def __enter__(self) -> "QueryResult":
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def _head(self) -> job_service_pb2.TailNodeResponse:
        if self._columns is None:
            self._stream = self._open_stream()
            self._columns = self._next()
            if self._columns is None:
                raise errors.MillraceError(grpc.StatusCode.INTERNAL,
                                           "the query has ended before its columns came")
        return self._columns

    # A coordinator that comes back goes on where it was: rows are told apart by their places.
    def _next(self) -> Optional[job_service_pb2.TailNodeResponse]:
        lost_since: Optional[float] = None
        while True:
            try:
                return next(self._stream, None)
            except grpc.RpcError as error:
                if self._closed and error.code() == grpc.StatusCode.CANCELLED:
                    return None
                lost_since = lost_since or time.monotonic()
                if (error.code() != grpc.StatusCode.UNAVAILABLE or self._columns is None
                        or time.monotonic() - lost_since > RECONNECT_SECONDS):
                    raise errors.from_rpc(error, self._address) from error
                time.sleep(0.2)
                self._stream = self._open_stream()

    def _messages(self) -> Iterator[List[job_service_pb2.TailedRow]]:
        self._head()
        while not self._closed:
            response = self._next()
            if response is None:
                self._ended = not self._closed
                return
            rows = self._unseen(response.rows)
            if rows:
                yield rows

    # After a failure of a worker an epoch may come again.
    def _unseen(self, rows: job_service_pb2.TailedRows) -> List[job_service_pb2.TailedRow]:
        self.rows_left_out += rows.rows_left_out
        if rows.epoch == 0:  # A sample.
            return list(rows.rows)
        epoch, seen = self._seen.get(rows.slot, (0, 0))
        if rows.epoch < epoch:
            return []
        skip = max(0, seen - rows.first_row) if rows.epoch == epoch else 0
        end = rows.first_row + len(rows.rows)
        self._seen[rows.slot] = (rows.epoch, max(end, seen if rows.epoch == epoch else 0))
        return list(rows.rows)[skip:]
