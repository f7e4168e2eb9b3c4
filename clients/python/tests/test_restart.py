"""A coordinator that is killed and comes back on its folder picks its jobs up."""

import threading

import jobs
import pytest
from millrace import Client, ConflictError, JobState


def test_a_running_job_outlives_the_coordinator(own_cluster, tmp_path):
    out = tmp_path / "out"
    with Client(own_cluster.address) as client:
        job_id = client.submit(jobs.ENDLESS, {"path": str(out)}, request_id="before-the-crash")
        before = client.wait(job_id, timeout=30, until=lambda job: job.last_epoch >= 2)

        # A client that waits does not notice.
        ended = []
        watches = threading.Event()
        waiting = threading.Thread(target=lambda: ended.append(
            client.wait(job_id, timeout=120, until=lambda job: watches.set())))
        waiting.start()
        assert watches.wait(30)
        own_cluster.kill_coordinator()
        own_cluster.start_coordinator()

        job = client.wait(job_id, timeout=30,
                          until=lambda job: job.state == JobState.JOB_STATE_RUNNING
                          and job.last_epoch > before.last_epoch)
        assert job.state == JobState.JOB_STATE_RUNNING, job.last_error
        assert client.submit(jobs.ENDLESS, {"path": str(out)},
                             request_id="before-the-crash") == job_id
        client.stop(job_id)
        waiting.join(60)
        assert [last.state for last in ended] == [JobState.JOB_STATE_STOPPED]
    rows = jobs.rows(out)
    assert sorted(rows) == list(range(len(rows))), "every row once"


def test_ended_jobs_are_remembered(own_cluster):
    with Client(own_cluster.address) as client:
        job_id = client.submit(jobs.BOUNDED)
        client.wait(job_id, timeout=30)
        own_cluster.kill_coordinator()
        own_cluster.start_coordinator()
    with Client(own_cluster.address) as client:
        assert client.get(job_id).state == JobState.JOB_STATE_FINISHED
        assert client.wait(job_id, timeout=10).state == JobState.JOB_STATE_FINISHED


def test_a_job_that_waits_for_workers_can_be_stopped(tmp_path):
    from cluster import Cluster
    with Cluster(tmp_path / "cluster", workers=0) as empty, Client(empty.address) as client:
        first, second = client.submit(jobs.BOUNDED), client.submit(jobs.BOUNDED)
        assert client.get(first).state == JobState.JOB_STATE_CREATED
        assert "no worker" in client.get(first).last_error
        assert client.stop(first) == ""
        assert client.wait(first, timeout=10).state == JobState.JOB_STATE_STOPPED
        with pytest.raises(ConflictError, match="never ran"):
            client.stop(second, savepoint=str(tmp_path / "savepoint"))
        assert client.get(second).state == JobState.JOB_STATE_STOPPED
