"""The client of a coordinator: one method per call of millrace.v1.JobService."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import time
import uuid
from typing import Any, Callable, List, Mapping, Optional, Sequence, Tuple, TypeVar, Union

import grpc

from millrace import errors
from millrace.errors import Problem
from millrace.graph import Job
from millrace.query import QueryResult
from millrace.v1 import graph_pb2, job_service_pb2, job_service_pb2_grpc

DEFAULT_ADDRESS = "127.0.0.1:7070"
MESSAGE_BYTES_MAX = 256 << 20
# wait() reconnects for so long when the coordinator goes away: jobs outlive its restarts.
RECONNECT_SECONDS = 60.0

# Safe for every method: changes carry a request id.
_SERVICE_CONFIG = {"methodConfig": [{
    "name": [{"service": "millrace.v1.JobService"}],
    "retryPolicy": {"maxAttempts": 4, "initialBackoff": "0.1s", "maxBackoff": "1s",
                    "backoffMultiplier": 3, "retryableStatusCodes": ["UNAVAILABLE"]},
}]}

class Sql(str):
    """A job written as a script of SQL statements; a plain str is one in YAML."""


JobLike = Union[str, Sql, Job, graph_pb2.JobGraph]
_T = TypeVar("_T")

_ENDED = frozenset({
    job_service_pb2.JOB_STATE_FINISHED,
    job_service_pb2.JOB_STATE_STOPPED,
    job_service_pb2.JOB_STATE_CANCELLED,
    job_service_pb2.JOB_STATE_FAILED,
})


@dataclasses.dataclass(frozen=True)
class Security:
    """Whom a client trusts and how it shows who it is; files are PEM, read when the client is made.

    `tls`: also without a file, by the CAs of the system. `ca_file`: the CA of the coordinator.
    `certificate_file`, `key_file`: for coordinators that ask for one. `server_name`: what the
    coordinator's certificate is for, where it is not the host of the address. `token`, or
    `token_file`, which is read for every call: only over TLS."""

    tls: bool = False
    ca_file: Optional[str] = None
    certificate_file: Optional[str] = None
    key_file: Optional[str] = None
    server_name: Optional[str] = None
    token: Optional[str] = None
    token_file: Optional[str] = None

    @staticmethod
    def from_environment() -> "Security":
        """MILLRACE_TLS, _TLS_CA, _TLS_CERT, _TLS_KEY, _TLS_SERVER_NAME, _TOKEN, _TOKEN_FILE."""
        def value(name: str) -> Optional[str]:
            return os.environ.get(f"MILLRACE_{name}") or None
        return Security(tls=(value("TLS") or "").lower() in ("1", "true", "on", "yes"),
                        ca_file=value("TLS_CA"), certificate_file=value("TLS_CERT"),
                        key_file=value("TLS_KEY"), server_name=value("TLS_SERVER_NAME"),
                        token=value("TOKEN"), token_file=value("TOKEN_FILE"))

    def open_channel(self, address: str, options: Sequence[Tuple[str, Any]]) -> grpc.Channel:
        """Raises ValueError for a token without TLS, OSError for files that cannot be read."""
        if not (self.tls or self.ca_file or self.certificate_file):
            if self.token or self.token_file:
                raise ValueError("a token is only sent over TLS: give ca_file or tls")
            return grpc.insecure_channel(address, options=options)
        credentials = grpc.ssl_channel_credentials(
            _read(self.ca_file), _read(self.key_file), _read(self.certificate_file))
        if self.token or self.token_file:
            credentials = grpc.composite_channel_credentials(
                credentials, grpc.metadata_call_credentials(self._add_token))
        if self.server_name:
            options = [*options, ("grpc.ssl_target_name_override", self.server_name)]
        return grpc.secure_channel(address, credentials, options=options)

    def _add_token(self, context: object, callback: grpc.AuthMetadataPluginCallback) -> None:
        try:
            token = self.token or (_read(self.token_file) or b"").decode().strip()
            callback((("authorization", f"Bearer {token}"),), None)
        except OSError as error:
            callback((), error)


def _read(file: Optional[str]) -> Optional[bytes]:
    return pathlib.Path(file).read_bytes() if file else None


class Client:
    """A connection to one coordinator.

    Threads: all methods may be called from any thread.
    Errors:  every method raises a subclass of millrace.MillraceError when its call fails.
    Changes: a change (submit, stop, cancel, savepoint) carries a `request_id`. The same id again
             returns the first answer and changes nothing, so a change whose outcome is unknown may
             be sent again. Without one, every call gets a new id. A call that finds the
             coordinator away is tried four times within two seconds or so.
    Jobs:    `job` is a job id, or a name that only one live job has.
    """

    def __init__(self, address: Optional[str] = None, *, timeout: float = 60.0,
                 security: Optional[Security] = None):
        """`address`: HOST:PORT; default MILLRACE_COORDINATOR, else 127.0.0.1:7070. Connects with the
        first call. `timeout`: seconds for calls that do not wait for a checkpoint or an end.
        `security`: TLS and who this is; default: what the variables of the `millrace` command say."""
        self.address = address or os.environ.get("MILLRACE_COORDINATOR") or DEFAULT_ADDRESS
        self._timeout = timeout
        security = security or Security.from_environment()
        self._channel = security.open_channel(self.address, options=[
            ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
            ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
            # A restarted coordinator is found again soon.
            ("grpc.max_reconnect_backoff_ms", 2000),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
        ])
        self._stub = job_service_pb2_grpc.JobServiceStub(self._channel)

    def close(self) -> None:
        """Ends the connection; the client cannot be used afterwards."""
        self._channel.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    # ---- Before a job runs.

    def validate(self, job: JobLike, variables: Optional[Mapping[str, str]] = None
                 ) -> List[Problem]:
        """All problems of `job` at once, warnings too; empty for a job without any. Starts
        nothing and raises nothing for an invalid job."""
        response = self._call(self._stub.ValidateJob, job_service_pb2.ValidateJobRequest(
            job=_source(job, variables)))
        return [Problem.of(diagnostic) for diagnostic in response.diagnostics]

    def explain(self, job: JobLike, variables: Optional[Mapping[str, str]] = None) -> str:
        """The plan of `job` as text. Raises InvalidJobError with all problems if it has some."""
        response = self._call(self._stub.ExplainJob, job_service_pb2.ExplainJobRequest(
            job=_source(job, variables)))
        problems = [Problem.of(diagnostic) for diagnostic in response.diagnostics]
        if any(not problem.warning for problem in problems):
            raise errors.InvalidJobError(grpc.StatusCode.INVALID_ARGUMENT, "the job is not valid",
                                         problems)
        return response.text

    def submit(self, job: JobLike, variables: Optional[Mapping[str, str]] = None, *,
               parallelism: int = 0, request_id: Optional[str] = None, savepoint: str = "",
               checkpoint_interval_ms: int = 0) -> str:
        """Starts a job and returns its id as soon as the coordinator has stored it.

        `job` is YAML text, Sql, a Job or a JobGraph; `variables` replace ${name} in texts.
        `parallelism` and `checkpoint_interval_ms`: 0 = what the job says. `savepoint`: folder to
        start from. Raises InvalidJobError with all problems; nothing was started then."""
        response = self._call(self._stub.SubmitJob, job_service_pb2.SubmitJobRequest(
            request_id=_request_id(request_id), job=_source(job, variables),
            parallelism=parallelism, savepoint=savepoint,
            checkpoint_interval_ms=checkpoint_interval_ms))
        return response.job_id

    def sql(self, script: str, variables: Optional[Mapping[str, str]] = None, *,
            parallelism: int = 0, checkpoint_interval_ms: int = 250) -> QueryResult:
        """Runs the SELECT in `script`, which may have statements before it, and gives its rows as they
        come: each once, when its checkpoint is complete. Close the result, or use it in a `with`: that
        cancels the query. Raises InvalidJobError with all problems, ValueError for a script without
        exactly one SELECT alone."""
        source = _source(Sql(script), variables)
        response = self._call(self._stub.ExplainJob, job_service_pb2.ExplainJobRequest(job=source))
        problems = [Problem.of(diagnostic) for diagnostic in response.diagnostics]
        if any(not problem.warning for problem in problems):
            raise errors.InvalidJobError(grpc.StatusCode.INVALID_ARGUMENT, "the query is not valid",
                                         problems)
        graph = response.compiled
        sinks = [node for node in graph.nodes
                 if node.sink.connector == "print" and f"{node.uid}.".startswith("select.print.")]
        if len(sinks) != 1:
            raise ValueError(f"the script has {len(sinks)} SELECTs that stand alone, and needs one")
        sinks[0].sink.connector = "collect"
        sinks[0].parallelism = 1  # One reader, one order.
        for edge in graph.edges:
            if edge.to == sinks[0].uid:
                edge.single.SetInParent()
        job_id = self.submit(graph, parallelism=parallelism,
                             checkpoint_interval_ms=checkpoint_interval_ms)
        request = job_service_pb2.TailNodeRequest(job=job_id, uid=sinks[0].uid)
        return QueryResult(job_id, lambda: self._stub.TailNode(request),
                           lambda: self.cancel(job_id), self.address)

    # ---- Looking.

    def get(self, job: str) -> job_service_pb2.Job:
        """State and counters of a job. Raises NotFoundError."""
        return self._call(self._stub.GetJob, job_service_pb2.GetJobRequest(job=job)).job

    def graph(self, job: str) -> graph_pb2.JobGraph:
        """The graph that the coordinator stores: checked and typed."""
        return self._call(self._stub.GetJob, job_service_pb2.GetJobRequest(job=job)).graph

    def list(self) -> List[job_service_pb2.Job]:
        """All jobs, also those that have ended, in the order of their submits."""
        return [*self._call(self._stub.ListJobs, job_service_pb2.ListJobsRequest()).jobs]

    def workers(self) -> List[job_service_pb2.Worker]:
        """The workers that are connected now."""
        return [*self._call(self._stub.ListWorkers, job_service_pb2.ListWorkersRequest()).workers]

    def logs(self, job: str, lines_max: int = 200) -> List[job_service_pb2.JobLogLine]:
        """The last log lines of a job, oldest first."""
        return [*self._call(self._stub.GetLogs, job_service_pb2.GetLogsRequest(
            job=job, lines_max=lines_max)).lines]

    def tail(self, job: str, uid: str, *, rows_per_second: int = 0) -> QueryResult:
        """Rows that node `uid` of a job emits from now on: a sample of at most `rows_per_second` rows
        (0: 100), which never holds the job up. Closing the result does not end the job."""
        request = job_service_pb2.TailNodeRequest(job=job, uid=uid,
                                                  rows_per_second_max=rows_per_second)
        return QueryResult(job, lambda: self._stub.TailNode(request), lambda: None, self.address)

    def wait(self, job: str, timeout: Optional[float] = None, *,
             until: Optional[Callable[[job_service_pb2.Job], bool]] = None
             ) -> job_service_pb2.Job:
        """Waits until a job has ended and returns it in its last state: FINISHED, STOPPED,
        CANCELLED or FAILED (`last_error` says why). With `until`, returns as soon as that is true
        of the job, too. Goes on through restarts of the coordinator that take less than a minute.
        `timeout` in seconds; DeadlineError when it has passed, the job goes on then."""
        deadline = None if timeout is None else time.monotonic() + timeout
        lost_since: Optional[float] = None
        met = False
        while True:
            left = None if deadline is None else max(deadline - time.monotonic(), 0.001)
            try:
                stream = self._stub.WatchJob(job_service_pb2.WatchJobRequest(job=job),
                                             timeout=left)
                for response in stream:
                    met, lost_since = True, None
                    if response.job.state in _ENDED or (until and until(response.job)):
                        stream.cancel()
                        return response.job
                raise errors.MillraceError(grpc.StatusCode.INTERNAL,
                                           f"the watch of job {job} ended before the job")
            except grpc.RpcError as error:
                now = time.monotonic()
                lost_since = lost_since or now
                if (error.code() != grpc.StatusCode.UNAVAILABLE or not met
                        or now - lost_since > RECONNECT_SECONDS):
                    raise errors.from_rpc(error, self.address) from error
                time.sleep(0.2)

    # ---- Changing.

    def stop(self, job: str, *, drain: bool = False, savepoint: str = "",
             request_id: Optional[str] = None, timeout: float = 900.0) -> str:
        """Ends a job after a last checkpoint; returns when that is done.

        `drain`: the sources end first, so that all windows close. `savepoint`: a folder that gets a
        copy of the last checkpoint; its path is returned, else an empty text."""
        return self._call(self._stub.StopJob, job_service_pb2.StopJobRequest(
            request_id=_request_id(request_id), job=job, drain=drain,
            savepoint_directory=savepoint), timeout).savepoint

    def cancel(self, job: str, *, request_id: Optional[str] = None) -> None:
        """Ends a job at once, without a checkpoint."""
        self._call(self._stub.CancelJob, job_service_pb2.CancelJobRequest(
            request_id=_request_id(request_id), job=job))

    def savepoint(self, job: str, directory: str, *, request_id: Optional[str] = None,
                  timeout: float = 900.0) -> str:
        """Writes a savepoint of a running job below `directory` and returns its path."""
        return self._call(self._stub.CreateSavepoint, job_service_pb2.CreateSavepointRequest(
            request_id=_request_id(request_id), job=job, directory=directory), timeout).savepoint

    def restart(self, job: str, *, from_checkpoint: bool = False,
                request_id: Optional[str] = None, timeout: float = 900.0) -> int:
        """Lets a job go on with new tasks, from a last checkpoint, or, `from_checkpoint`, from the
        newest complete one. Returns when it runs again, with the epoch that it went on from."""
        return self._call(self._stub.RestartJob, job_service_pb2.RestartJobRequest(
            request_id=_request_id(request_id), job=job, from_checkpoint=from_checkpoint),
            timeout).epoch

    def rescale(self, job: str, parallelism: int, *, request_id: Optional[str] = None,
                timeout: float = 900.0) -> int:
        """Lets a job go on with `parallelism` tasks per node that has none of its own, from a last
        checkpoint. Returns when it runs again, with the epoch that it went on from."""
        return self._call(self._stub.RescaleJob, job_service_pb2.RescaleJobRequest(
            request_id=_request_id(request_id), job=job, parallelism=parallelism), timeout).epoch

    def upgrade(self, job: str, source: JobLike, variables: Optional[Mapping[str, str]] = None, *,
                drop_state: Sequence[str] = (), fill_null: Sequence[str] = (),
                dry_run: bool = False, request_id: Optional[str] = None,
                timeout: float = 900.0) -> job_service_pb2.UpgradeJobResponse:
        """Lets a job go on with a new version of its text or graph, from a last checkpoint. Returns
        when the new version has completed an epoch, with what became of the state of each node.
        `drop_state`: uids of nodes that give their state up; `fill_null`: of nodes whose kept rows
        get NULL in new columns. `dry_run` only compares: see `possible` of the result. Raises
        InvalidJobError where the new version is wrong, and ConflictError with a problem for each
        node whose state forbids it; nothing was changed then. Another error: it could not run, and
        the job has gone back to the version before."""
        return self._call(self._stub.UpgradeJob, job_service_pb2.UpgradeJobRequest(
            request_id=_request_id(request_id), job=job, source=_source(source, variables),
            consent=job_service_pb2.StateConsent(drop_state=drop_state, fill_null=fill_null),
            dry_run=dry_run), timeout)

    def _call(self, method: Callable[..., _T], request: object,
              timeout: Optional[float] = None) -> _T:
        try:
            return method(request, timeout=timeout or self._timeout)
        except grpc.RpcError as error:
            raise errors.from_rpc(error, self.address) from error


def _request_id(request_id: Optional[str]) -> str:
    return request_id or f"python-{uuid.uuid4().hex}"


def _source(job: JobLike, variables: Optional[Mapping[str, str]]) -> job_service_pb2.JobSource:
    if isinstance(job, Job):
        job = job.to_proto()
    if isinstance(job, graph_pb2.JobGraph):
        return job_service_pb2.JobSource(graph=job, variables=variables or {})
    if isinstance(job, Sql):
        return job_service_pb2.JobSource(sql=job, variables=variables or {})
    return job_service_pb2.JobSource(yaml=job, variables=variables or {})
