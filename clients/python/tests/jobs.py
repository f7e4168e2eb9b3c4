"""Jobs of the tests."""

import json
import pathlib

from millrace.v1 import graph_pb2

# Ends by itself.
BOUNDED = """
name: ${name:-bounded}
nodes:
  - uid: numbers
    source:
      connector: datagen
      options: {number-of-rows: "${rows:-1000}", fields.n.kind: sequence, fields.n.start: "1",
                fields.n.end: "${rows:-1000}"}
    schema: [n BIGINT]
  - uid: nowhere
    inputs: [numbers]
    sink: {connector: blackhole}
"""

# Goes on for ever, slowly; its committed output is in a folder.
ENDLESS = """
name: ${name:-endless}
nodes:
  - uid: numbers
    source:
      connector: datagen
      options: {rows-per-second: "${pace:-1000}", splits: "1", fields.n.kind: sequence,
                fields.n.start: "0", fields.n.end: "1000000000"}
    schema: [n BIGINT]
  - uid: files
    inputs: [numbers]
    sink: {connector: file, format: json, options: {path: "${path}"}}
settings: {checkpoint_interval_ms: 200}
"""


def column(name):
    return graph_pb2.Field(name=name, type=graph_pb2.Type(kind=graph_pb2.Type.KIND_INT64))


def graph():
    """A small valid graph as a message."""
    job = graph_pb2.JobGraph(format=1, name="of-messages")
    source = job.nodes.add(uid="numbers", source=graph_pb2.Source(
        connector="datagen", options={"number-of-rows": "500"}))
    source.schema.fields.append(column("n"))
    keep = job.nodes.add(uid="keep")
    keep.filter.predicate.sql = "n > 0"
    job.nodes.add(uid="nowhere", sink=graph_pb2.Sink(connector="blackhole"))
    job.edges.add(**{"from": "numbers", "to": "keep"})
    job.edges.add(**{"from": "keep", "to": "nowhere"})
    return job


def rows(folder):
    """What is committed in the folder of a file sink."""
    numbers = []
    for path in sorted(pathlib.Path(folder).glob("part-*")):
        numbers += [json.loads(line)["n"] for line in path.read_text().splitlines()]
    return numbers
