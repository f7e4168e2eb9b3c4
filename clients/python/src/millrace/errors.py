"""What a call raises: the status of the call and the problems that the coordinator found."""

from __future__ import annotations

import dataclasses
from typing import Sequence, Tuple

import grpc
from google.rpc import status_pb2

from millrace.v1 import graph_pb2

# Trailing metadata in which gRPC carries google.rpc.Status.
_DETAILS_KEY = "grpc-status-details-bin"


@dataclasses.dataclass(frozen=True)
class Problem:
    """One problem of a job. Fields that are not known are empty or 0."""

    code: str  # Stable, "MR1203"; docs/errors.md lists them.
    message: str
    hint: str = ""  # What to do.
    uid: str = ""  # Node of the graph.
    path: str = ""  # Place in the graph, "nodes[2].filter.predicate".
    line: int = 0  # Place in the text, 1-based.
    column: int = 0
    warning: bool = False  # The job runs nevertheless.

    def __str__(self) -> str:
        place = f"{self.line}:{self.column}: " if self.line else ""
        node = f" (node {self.uid})" if self.uid else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{place}{self.code} {self.message}{node}{hint}".strip()

    @classmethod
    def of(cls, diagnostic: graph_pb2.Diagnostic) -> "Problem":
        return cls(code=diagnostic.code, message=diagnostic.message, hint=diagnostic.hint,
                   uid=diagnostic.uid, path=diagnostic.path, line=diagnostic.line,
                   column=diagnostic.column,
                   warning=diagnostic.severity == graph_pb2.Diagnostic.SEVERITY_WARNING)


class MillraceError(Exception):
    """A call failed. `status` is gRPC's code, `problems` may be empty."""

    def __init__(self, status: grpc.StatusCode, message: str, problems: Sequence[Problem] = ()):
        self.status = status
        self.message = message
        self.problems: Tuple[Problem, ...] = tuple(problems)
        super().__init__("\n  ".join([message, *map(str, self.problems)]))


class InvalidJobError(MillraceError):
    """The job, or another argument, is wrong: trying again will not help."""


class NotFoundError(MillraceError):
    """There is no such job, or no such savepoint."""


class ConflictError(MillraceError):
    """The job is not in a state that allows this, or a request id was used for something else."""


class DeadlineError(MillraceError):
    """The time limit of the call has passed. What was asked for may have happened."""


class AccessDeniedError(MillraceError):
    """The coordinator does not know who calls, or the caller may not do this."""


class UnavailableError(MillraceError):
    """The coordinator cannot be reached, or is stopping. Safe to try again with the same
    request_id."""


_ERRORS = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidJobError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: ConflictError,
    grpc.StatusCode.FAILED_PRECONDITION: ConflictError,
    grpc.StatusCode.ABORTED: ConflictError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineError,
    grpc.StatusCode.UNAUTHENTICATED: AccessDeniedError,
    grpc.StatusCode.PERMISSION_DENIED: AccessDeniedError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
}


def problems_of(error: grpc.RpcError) -> Tuple[Problem, ...]:
    """The problems in the details of a failed call."""
    for key, value in error.trailing_metadata() or ():
        if key != _DETAILS_KEY:
            continue
        problems = []
        for detail in status_pb2.Status.FromString(value).details:
            diagnostic = graph_pb2.Diagnostic()
            if detail.Unpack(diagnostic):
                problems.append(Problem.of(diagnostic))
        return tuple(problems)
    return ()


def from_rpc(error: grpc.RpcError, address: str) -> MillraceError:
    """The exception for a failed call to the coordinator at `address`."""
    status = error.code()
    message = error.details() or status.name
    if status == grpc.StatusCode.UNAVAILABLE:
        message = f"cannot reach the coordinator at {address}: {message}"
    return _ERRORS.get(status, MillraceError)(status, message, problems_of(error))
