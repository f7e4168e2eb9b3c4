"""Client of the Millrace stream processor: submit jobs, watch them, stop them.

    from millrace import Client

    with Client("127.0.0.1:7070") as client:
        job_id = client.submit(open("job.yaml").read())
        print(client.wait(job_id).state)

The messages are those of proto/millrace/v1: `graph_pb2`, `checkpoint_pb2` and `job_service_pb2` in
`millrace.v1`. Jobs are YAML texts, SQL scripts (`Sql("INSERT …")`), built in Python (`Job`, see
millrace.graph), or `JobGraph` messages. `client.sql("SELECT …")` gives the rows of a query;
`millrace.testing` tests jobs without a cluster.
"""

from millrace.client import Client, Security, Sql
from millrace.errors import (AccessDeniedError, ConflictError, DeadlineError, InvalidJobError,
                             MillraceError, NotFoundError, Problem, UnavailableError)
from millrace.graph import Column, Job, Stream, Window, cumulate, hop, session, tumble
from millrace.query import Change, QueryResult
from millrace.v1.graph_pb2 import JobGraph
from millrace.v1.job_service_pb2 import Job as JobInfo
from millrace.v1.job_service_pb2 import JobState

__version__ = "0.1.0"
__all__ = [
    "AccessDeniedError", "Change", "Client", "Column", "ConflictError", "DeadlineError",
    "InvalidJobError", "Job", "JobGraph", "JobInfo", "JobState", "MillraceError", "NotFoundError",
    "Problem", "QueryResult", "Security", "Sql", "Stream", "UnavailableError", "Window", "cumulate",
    "hop", "session", "tumble",
]
