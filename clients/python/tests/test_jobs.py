"""The life of jobs through the client, against a real coordinator and worker."""

import grpc
import jobs
import pytest
from millrace import (Client, ConflictError, DeadlineError, InvalidJobError,
                      JobState, MillraceError, NotFoundError, Sql, UnavailableError)


def has_epoch(number):
    return lambda job: job.state == JobState.JOB_STATE_RUNNING and job.last_epoch >= number


def test_a_bounded_job_finishes_and_its_rows_are_counted(client):
    job_id = client.submit(jobs.BOUNDED, {"rows": "5000"})
    job = client.wait(job_id, timeout=30)
    assert job.state == JobState.JOB_STATE_FINISHED
    assert job.last_error == ""
    assert {node.uid: node.rows_in for node in job.nodes}["nowhere"] == 5000
    assert client.get(job_id).state == JobState.JOB_STATE_FINISHED
    assert job_id in [known.job_id for known in client.list()]


def test_a_graph_message_is_a_job(client):
    assert client.validate(jobs.graph()) == []
    job_id = client.submit(jobs.graph())
    assert client.wait(job_id, timeout=30).state == JobState.JOB_STATE_FINISHED
    stored = client.graph(job_id)
    assert stored.nodes[1].filter.predicate.WhichOneof("kind") == "call", "typed, no text"
    assert stored.max_parallelism == 256


def test_a_sql_script_is_a_job(client):
    script = Sql("""
CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '${rows}');
CREATE TABLE nowhere (total BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO nowhere SELECT sum(n) FROM numbers WHERE n IS NOT NULL;
""")
    assert client.validate(script, {"rows": "100"}) == []
    job = client.wait(client.submit(script, {"rows": "100"}), timeout=30)
    assert job.state == JobState.JOB_STATE_FINISHED
    assert [node.rows_in for node in job.nodes if node.uid == "nowhere.group-aggregate"] == [100]
    problems = client.validate(Sql("SELECT a FROM nothing"))
    assert [(problem.code, problem.line, problem.column) for problem in problems] == [
        ("MR1212", 1, 15)]


def test_validation_reports_all_problems_at_once_with_codes(client):
    problems = client.validate("""
name: three-problems
nodes:
  - uid: numbers
    source: {connector: datagn}
    schema: [n BIGINT]
  - uid: keep
    inputs: [numbers]
    filter: {predicate: m > 1}
  - uid: nowhere
    inputs: [kept]
    sink: {connector: blackhole}
""")
    found = {problem.code: problem for problem in problems if not problem.warning}
    assert {"MR1301", "MR1203", "MR1106"} <= set(found)
    assert found["MR1301"].uid == "numbers"
    assert "did you mean 'datagen'?" in found["MR1301"].message
    assert found["MR1203"].line == 9 and found["MR1203"].column > 0


def test_a_warning_alone_does_not_hinder_a_job(client):
    graph = jobs.graph()
    graph.nodes.add(uid="unread").CopyFrom(graph.nodes[1])
    graph.nodes[-1].uid = "unread"
    graph.edges.add(**{"from": "numbers", "to": "unread"})
    problems = client.validate(graph)
    assert [problem.code for problem in problems] == ["MR1109"]
    assert problems[0].warning
    assert client.wait(client.submit(graph), timeout=30).state == JobState.JOB_STATE_FINISHED


def test_explain_shows_the_plan_or_raises_the_problems(client):
    text = client.explain(jobs.BOUNDED)
    assert "numbers" in text and "blackhole" in text
    with pytest.raises(InvalidJobError) as caught:
        client.explain("name: x\nnodes: []\n")
    assert "MR1115" in [problem.code for problem in caught.value.problems]


def test_a_submit_with_the_same_request_id_starts_one_job(client):
    first = client.submit(jobs.BOUNDED, {"name": "once"}, request_id="submit-once")
    again = client.submit(jobs.BOUNDED, {"name": "once"}, request_id="submit-once")
    assert first == again
    assert [job.name for job in client.list()].count("once") == 1
    with pytest.raises(ConflictError):
        client.submit(jobs.BOUNDED, {"name": "other"}, request_id="submit-once")
    assert client.wait(first, timeout=30).state == JobState.JOB_STATE_FINISHED
    assert client.submit(jobs.BOUNDED, {"name": "once"}, request_id="submit-once") == first


def broken(what):
    graph = jobs.graph()
    if what == "operator":  # A body that this version does not know is dropped by its parser.
        graph.nodes[1].ClearField("filter")
    elif what == "cycle":
        graph.nodes.add(uid="again").CopyFrom(graph.nodes[1])
        graph.nodes[-1].uid = "again"
        graph.edges.add(**{"from": "keep", "to": "again"})
        graph.edges.add(**{"from": "again", "to": "keep"})
    elif what == "uid":
        graph.nodes.add().CopyFrom(graph.nodes[1])
        graph.edges.add(**{"from": "numbers", "to": "keep", "to_input": 0})
    elif what == "format":
        graph.format = 99
    elif what == "feature":
        graph.required_features.append("time_travel")
    elif what == "connector":
        graph.nodes[0].source.connector = "carrier-pigeon"
    elif what == "op_version":
        graph.nodes[1].op_version = 77
    return graph


@pytest.mark.parametrize("what,code", [
    ("operator", "MR1105"), ("cycle", "MR1107"), ("uid", "MR1104"), ("format", "MR1101"),
    ("feature", "MR1102"), ("connector", "MR1301"), ("op_version", "MR1116")])
def test_a_broken_graph_is_refused_with_its_code(client, what, code):
    before = len(client.list())
    with pytest.raises(InvalidJobError) as caught:
        client.submit(broken(what))
    assert caught.value.status == grpc.StatusCode.INVALID_ARGUMENT
    assert code in [problem.code for problem in caught.value.problems]
    assert all(problem.message for problem in caught.value.problems)
    assert len(client.list()) == before


def test_an_unknown_field_of_a_node_is_refused(client):
    """An operator of a newer version: its field number is unknown here."""
    graph = jobs.graph()
    graph.nodes[1].ClearField("filter")
    graph.nodes[1].MergeFromString(b"\xa2\x06\x00")  # Field 100, empty message.
    with pytest.raises(InvalidJobError) as caught:
        client.submit(graph)
    assert {"MR1105", "MR1002"} & {problem.code for problem in caught.value.problems}


def test_an_unknown_job_is_not_found(client):
    for call in (client.get, client.wait, client.cancel, client.stop, client.logs):
        with pytest.raises(NotFoundError, match="no-such-job"):
            call("no-such-job")


def test_cancel_ends_a_job_at_once(client, tmp_path):
    job_id = client.submit(jobs.ENDLESS, {"path": str(tmp_path / "out"), "name": "to-cancel"})
    client.wait(job_id, timeout=30, until=has_epoch(1))
    client.cancel(job_id)
    assert client.wait(job_id, timeout=30).state == JobState.JOB_STATE_CANCELLED
    client.cancel(job_id)  # Once more is no error.
    with pytest.raises(ConflictError):
        client.stop(job_id)


def test_wait_gives_up_at_its_timeout_and_the_job_goes_on(client, tmp_path):
    job_id = client.submit(jobs.ENDLESS, {"path": str(tmp_path / "out"), "name": "to-wait-for"})
    with pytest.raises(DeadlineError):
        client.wait(job_id, timeout=0.5)
    assert client.wait(job_id, timeout=30, until=has_epoch(1)).state == JobState.JOB_STATE_RUNNING
    client.cancel(job_id)


def test_a_stopped_job_goes_on_from_its_savepoint(client, tmp_path):
    variables = {"path": str(tmp_path / "out"), "name": "to-stop"}
    first = client.submit(jobs.ENDLESS, variables)
    client.wait(first, timeout=30, until=has_epoch(2))
    path = client.stop(first, savepoint=str(tmp_path / "savepoints"))
    assert path.startswith(f"file://{tmp_path}/savepoints/")
    assert client.get(first).state == JobState.JOB_STATE_STOPPED
    before = jobs.rows(tmp_path / "out")
    assert before and sorted(before) == list(range(len(before)))

    second = client.submit(jobs.ENDLESS, {**variables, "path": str(tmp_path / "more")},
                           savepoint=path)
    job = client.wait(second, timeout=30, until=lambda job: bool(jobs.rows(tmp_path / "more")))
    assert job.state == JobState.JOB_STATE_RUNNING
    client.stop(second)
    after = jobs.rows(tmp_path / "more")
    assert sorted(after) == list(range(len(before), len(before) + len(after))), "nothing twice"


def test_a_savepoint_of_a_running_job_can_be_started_from(client, tmp_path):
    variables = {"path": str(tmp_path / "out"), "name": "to-save"}
    first = client.submit(jobs.ENDLESS, variables)
    client.wait(first, timeout=30, until=has_epoch(1))
    path = client.savepoint(first, str(tmp_path / "savepoints"))
    assert client.get(first).state == JobState.JOB_STATE_RUNNING
    client.cancel(first)
    client.wait(first, timeout=30)
    second = client.submit(jobs.ENDLESS, {**variables, "path": str(tmp_path / "more")},
                           savepoint=path)
    client.wait(second, timeout=30, until=lambda job: bool(jobs.rows(tmp_path / "more")))
    client.stop(second)
    saved, more = jobs.rows(tmp_path / "out"), jobs.rows(tmp_path / "more")
    assert min(more) > 0 and sorted(more) == list(range(min(more), min(more) + len(more)))
    assert min(more) in range(max(saved) + 2), "no gap"


def test_a_job_goes_on_with_another_parallelism(client, tmp_path):
    job_id = client.submit(jobs.ENDLESS, {"path": str(tmp_path / "out"), "name": "to-rescale"})
    client.wait(job_id, timeout=30, until=has_epoch(1))
    epoch = client.rescale(job_id, 3)
    job = client.get(job_id)
    assert (job.state, job.parallelism) == (JobState.JOB_STATE_RUNNING, 3) and epoch > 0
    with pytest.raises(MillraceError, match="max_parallelism"):
        client.rescale(job_id, 1000)
    client.wait(job_id, timeout=30, until=has_epoch(epoch + 1))
    client.stop(job_id, drain=True)
    rows = jobs.rows(tmp_path / "out")
    assert rows and sorted(rows) == list(range(len(rows)))


def test_a_savepoint_that_does_not_exist_is_refused(client, tmp_path):
    with pytest.raises(NotFoundError):
        client.submit(jobs.BOUNDED, savepoint=str(tmp_path / "nothing-here"))


def test_drain_ends_the_input_and_finishes_what_is_open(client, tmp_path):
    job_id = client.submit(jobs.ENDLESS, {"path": str(tmp_path / "out"), "name": "to-drain"})
    client.wait(job_id, timeout=30, until=has_epoch(1))
    client.stop(job_id, drain=True)
    rows = jobs.rows(tmp_path / "out")
    assert rows and sorted(rows) == list(range(len(rows)))


def test_logs_tell_the_life_of_a_job(client):
    job_id = client.submit(jobs.BOUNDED)
    client.wait(job_id, timeout=30)
    lines = client.logs(job_id)
    assert lines and all(line.text and line.unix_us > 0 for line in lines)
    assert len(client.logs(job_id, lines_max=1)) == 1
    assert client.logs(job_id, lines_max=1)[0].text == lines[-1].text


def test_workers_are_listed(client):
    (worker,) = client.workers()
    assert worker.cores == 1 and worker.data_address.startswith("127.0.0.1:")


def test_an_unreachable_coordinator_is_an_error_of_its_own():
    with Client("127.0.0.1:1", timeout=20) as client, pytest.raises(UnavailableError,
                                                                    match="127.0.0.1:1"):
        client.list()
