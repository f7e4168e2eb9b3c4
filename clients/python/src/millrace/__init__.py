"""Client of the Millrace stream processor: submit jobs, watch them, stop them.

    from millrace import Client

    with Client("127.0.0.1:7070") as client:
        job_id = client.submit(open("job.yaml").read())
        print(client.wait(job_id).state)

The messages are those of proto/millrace/v1: `graph_pb2`, `checkpoint_pb2` and `job_service_pb2` in
`millrace.v1`. A graph may be built as `JobGraph` message instead of YAML,
or be a SQL script: `client.submit(Sql("SELECT …"))`.
"""

from millrace.client import Client, Security, Sql
from millrace.errors import (AccessDeniedError, ConflictError, DeadlineError, InvalidJobError,
                             MillraceError, NotFoundError, Problem, UnavailableError)
from millrace.v1.graph_pb2 import JobGraph
from millrace.v1.job_service_pb2 import Job, JobState

__version__ = "0.1.0"
__all__ = [
    "AccessDeniedError", "Client", "ConflictError", "DeadlineError", "InvalidJobError", "Job",
    "JobGraph", "JobState", "MillraceError", "NotFoundError", "Problem", "Security",
    "Sql", "UnavailableError",
]
