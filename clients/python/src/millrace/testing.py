"""Tests of jobs without a cluster: rows in, time on, rows out.

    from millrace.testing import TestDriver

    with TestDriver(sql=open("hot_items.sql").read()) as t:
        t.feed("bid", [{"auction": 1, "price": 10, "ts": "2026-01-01 00:00:01"}])
        t.advance_watermark("bid", "2026-01-01 00:00:20")
        assert t.output("hot") == [{"auction": 1, "num": 1, …}]

It starts the program `millrace test-driver`, which runs the job as a worker does, but in one thread,
by a clock that stands still: when a call returns, everything that follows from it has been processed,
and the same calls give the same rows. The sources and sinks of the job are the test's; its connectors
are not used.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
from typing import Any, Dict, Iterable, List, Mapping, Optional, Union

from millrace.errors import Problem
from millrace.graph import Duration, Job, _milliseconds
from millrace.query import Change, value_reader
from millrace.v1 import graph_pb2

from google.protobuf import json_format

Time = Union[str, datetime.datetime]


class DriverError(Exception):
    """A call was refused, or the job has failed. `problems`: of a job that is not valid."""

    def __init__(self, message: str, problems: Iterable[Problem] = ()):
        self.problems = list(problems)
        super().__init__("\n".join([message, *map(str, self.problems)]))


class TestDriver:
    """A job under test. Names of sources and sinks are those of tables, or uids of nodes.

    Threads: one at a time.
    Errors:  DriverError; ValueError and TypeError for rows that are none."""

    __test__ = False  # pytest: this is no test.

    def __init__(self, *, sql: Optional[str] = None, yaml: Optional[str] = None,
                 job: Optional[Union[Job, graph_pb2.JobGraph]] = None,
                 variables: Optional[Mapping[str, str]] = None, parallelism: int = 1,
                 start: Time = "2026-01-01 00:00:00", program: Optional[str] = None):
        """One of `sql`, `yaml` and `job`. `variables` replace ${name}. `start`: what the clock of the
        job shows first. `program`: the command `millrace`; default: MILLRACE_PROGRAM, else the one in
        PATH."""
        if sum(given is not None for given in (sql, yaml, job)) != 1:
            raise ValueError("give one of sql, yaml and job")
        if job is not None:
            graph = job.to_proto() if isinstance(job, Job) else job
            yaml = json_format.MessageToJson(graph, preserving_proto_field_name=True)
        program = program or os.environ.get("MILLRACE_PROGRAM") or shutil.which("millrace")
        if program is None:
            raise DriverError("the program millrace is not in PATH: give program=, or set "
                                  "MILLRACE_PROGRAM")
        self._folder = tempfile.TemporaryDirectory(prefix="millrace-test-")
        file = pathlib.Path(self._folder.name) / ("job.sql" if sql is not None else "job.yaml")
        file.write_text(sql if sql is not None else yaml or "")
        command = [program, "test-driver", str(file), "--parallelism", str(parallelism),
                   "--start", _time(start)]
        for name, value in (variables or {}).items():
            command += ["--set", f"{name}={value}"]
        self._errors = tempfile.TemporaryFile()
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=self._errors)
        try:
            started = self._read()
        except BaseException:
            self.close()
            raise
        self.sources: List[str] = started.get("sources", [])
        self.sinks: List[str] = started.get("sinks", [])
        self.warnings = _problems(started)

    def feed(self, source: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Rows for a source, by the names of its columns; those that are left out are NULL. A source
        of changes takes the kind of a row from its member "op": "+I", "-U", "+U", "-D"."""
        texts = [json.dumps(row, default=_json, ensure_ascii=False) for row in map(_row, rows)]
        self._ask({"feed": {"source": source, "rows": texts}})

    def advance_watermark(self, source: str, to: Time) -> None:
        """No row before `to` comes any more: windows close. Rows move the watermark, too, as the job
        says. It never goes back."""
        self._ask({"advance_watermark": {"source": source, "to": _time(to)}})

    def advance_time(self, by: Duration) -> None:
        """The clock goes on, and what is due happens in its order: processing time, state TTL."""
        self._ask({"advance_time": {"ms": str(_milliseconds(by))}})

    def end(self, source: str = "") -> bool:
        """The input of a source ends, or of all: the watermark goes to the end of time. True: the
        job has finished with it."""
        return bool(self._ask({"end": source}).get("finished"))

    def restart(self) -> None:
        """The job takes a checkpoint, and new tasks go on from it, as after an upgrade: what is kept
        is state."""
        self._ask({"restart": {}})

    def changes(self, sink: str) -> List[Change]:
        """What came to a sink since the last call of changes() or output() for it."""
        response = self._ask({"output": sink})
        fields = response.get("columns", {}).get("schema", {}).get("fields", [])
        readers = [value_reader(json_format.ParseDict(field["type"], graph_pb2.Type()))
                   for field in fields]
        found = []
        for row in response.get("rows", []):
            nulls = frozenset(row.get("nulls", []))
            values = [base64.b64decode(value) for value in row["values"]]
            found.append(Change(row["op"], {
                field["name"]: None if i in nulls else readers[i](values[i])
                for i, field in enumerate(fields)}))
        return found

    def output(self, sink: str) -> List[Dict[str, Any]]:
        """The rows that came to a sink since the last call. Raises DriverError where some of them
        change others: use changes() or table()."""
        changes = self.changes(sink)
        for change in changes:
            if change.op != "+I":
                raise DriverError(f"{sink}: {change.op} {dict(change.row)} is a change: use "
                                      "changes() or table()")
        return [dict(change.row) for change in changes]

    @staticmethod
    def table(changes: Iterable[Change]) -> List[Dict[str, Any]]:
        """The rows that are left of exact changes, in the order in which they came."""
        rows: List[Dict[str, Any]] = []
        for change in changes:
            if change.op in ("-U", "-D"):
                rows.remove(dict(change.row))
            else:
                rows.append(dict(change.row))
        return rows

    def close(self) -> None:
        """Ends the program. May be repeated."""
        process = self._process
        if process.stdin is not None and not process.stdin.closed:
            try:
                process.stdin.close()
            except BrokenPipeError:
                pass
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
        self._errors.close()
        self._folder.cleanup()

    def __enter__(self) -> "TestDriver":
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def _ask(self, request: Mapping[str, Any]) -> Dict[str, Any]:
        assert self._process.stdin is not None
        if self._process.stdin.closed:
            raise DriverError("the driver is closed")
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise DriverError(f"the program has ended: {self._said()}") from None
        return self._read()

    def _read(self) -> Dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            raise DriverError(f"the program has ended: {self._said()}")
        response: Dict[str, Any] = json.loads(line)
        if response.get("error"):
            raise DriverError(response["error"], _problems(response))
        return response

    def _said(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace").strip() or "it said nothing"


def _problems(response: Mapping[str, Any]) -> List[Problem]:
    return [Problem.of(json_format.ParseDict(one, graph_pb2.Diagnostic()))
            for one in response.get("diagnostics", [])]


def _time(time: Time) -> str:
    if isinstance(time, datetime.datetime):
        if time.tzinfo is not None:
            time = time.astimezone(datetime.timezone.utc).replace(tzinfo=None)
        return time.isoformat(" ")
    return time


def _row(row: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(row, Mapping):
        raise TypeError(f"a row is a mapping of column to value, not {row!r}")
    return row


def _json(value: Any) -> Any:
    if isinstance(value, datetime.datetime):
        return _time(value)
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value // datetime.timedelta(microseconds=1)
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode()
    raise TypeError(f"{value!r} is no value of a column")
