"""TLS on every connection, callers and their roles: from Python, the command, and worker to worker."""

import hashlib
import json
import ssl
import time

import grpc
import millrace
import pytest
from certificates import Ca
from cluster import Cluster
from grpc_health.v1 import health_pb2, health_pb2_grpc

# Two chains with an exchange by key, so that rows go from worker to worker.
JOB = """
name: ${name}
settings: {checkpoint_interval: 200ms}
nodes:
  - uid: numbers
    source:
      connector: datagen
      options: {number-of-rows: 20000, fields.n.kind: sequence, fields.n.start: 1, splits: 2}
    schema: [n BIGINT]
  - {uid: halves, inputs: [numbers], project: {columns: [n % 10 AS k, n]}}
  - {uid: last, inputs: [halves], normalize: {key: [n]}}
  - uid: sums
    inputs: [last]
    group_aggregate: {keys: [k], aggregates: [sum(n) AS total]}
  - {uid: out, inputs: [sums], sink: {connector: file, format: json, options: {path: "${output}"}}}
"""
ROLES = ("viewer", "operator", "submitter", "admin")


class Secured:
    """A cluster with TLS everywhere; a token `TOKEN-of-ROLE` per role, in a file named after it."""

    def __init__(self, folder):
        self.folder = folder
        self.ca = Ca(folder / "ca")
        coordinator = self.ca.make("coordinator", "coordinator")
        worker = self.ca.make("worker", "millrace-worker")
        self.access = folder / "access"
        self.write_access(ROLES)
        for role in ROLES:
            (folder / role).write_text(f"token-of-{role}\n")
        self.worker_flags = ["--tls-ca", self.ca.file, "--tls-cert", worker[0], "--tls-key",
                             worker[1]]
        self.cluster = Cluster(
            folder / "cluster", workers=2, memory_mb=128,
            coordinator_flags=["--tls-cert", coordinator[0], "--tls-key", coordinator[1],
                               "--tls-client-ca", self.ca.file, "--access-file", str(self.access)],
            worker_flags=self.worker_flags, client_flags=self.flags("admin"))

    def write_access(self, roles):
        lines = [f"{role} the-{role} sha256:{hashlib.sha256(f'token-of-{role}'.encode()).hexdigest()}"
                 for role in roles]
        self.access.write_text("\n".join([*lines, "worker workers cert:millrace-worker", ""]))

    def flags(self, role):
        return ["--tls-ca", self.ca.file, "--token-file", str(self.folder / role)]

    def client(self, role, **changes):
        return millrace.Client(self.cluster.address, security=millrace.Security(
            **{"ca_file": self.ca.file, "token_file": str(self.folder / role), **changes}))


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    secured = Secured(tmp_path_factory.mktemp("secured"))
    with secured.cluster:
        yield secured


def submit(secured, role, name, output):
    with secured.client(role) as client:
        return client.submit(JOB, {"name": name, "output": str(output)}, parallelism=2)


def test_a_job_runs_across_encrypted_workers(secured, tmp_path):
    job = submit(secured, "submitter", "sums", tmp_path / "out")
    with secured.client("viewer") as client:
        client.wait(job, timeout=60)
    totals = {}
    for part in sorted((tmp_path / "out").glob("part-*")):
        for line in part.read_text().splitlines():
            row = json.loads(line)
            if row["op"] in ("+I", "+U"):
                totals[row["k"]] = row["total"]
    assert totals == {k: sum(n for n in range(1, 20001) if n % 10 == k) for k in range(10)}


def test_each_role_may_do_what_it_says(secured, tmp_path):
    with secured.client("viewer") as client:
        assert len(client.workers()) == 2
        with pytest.raises(millrace.AccessDeniedError, match="the-viewer.* needs submitter"):
            client.submit(JOB, {"name": "no", "output": str(tmp_path / "no")})
        with pytest.raises(millrace.AccessDeniedError, match="needs operator"):
            client.cancel("anything")
    with secured.client("operator") as client:
        with pytest.raises(millrace.AccessDeniedError, match="the-operator.* needs submitter"):
            client.submit(JOB, {"name": "no", "output": str(tmp_path / "no")})
        with pytest.raises(millrace.NotFoundError):
            client.cancel("anything")


def test_strangers_may_only_ask_for_health(secured):
    address, ca = secured.cluster.address, secured.ca.file
    nobody = millrace.Client(address, security=millrace.Security(ca_file=ca))
    with nobody, pytest.raises(millrace.AccessDeniedError, match="wants to know who calls"):
        nobody.list()
    with secured.client("viewer", token="guess", token_file=None) as guess, \
            pytest.raises(millrace.AccessDeniedError, match="not known"):
        guess.list()
    with open(ca, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    with grpc.secure_channel(address, credentials) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(),
                                                           timeout=20)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(ValueError, match="only sent over TLS"):
        millrace.Client(address, security=millrace.Security(token="secret"))


def test_the_command_says_what_is_missing(secured):
    run = secured.cluster.command_as
    assert run(secured.flags("viewer"), "get", "workers", "-o", "name").stdout.count("\n") == 2
    denied = run(secured.flags("viewer"), "cancel", "anything")
    assert denied.returncode != 0 and "needs operator" in denied.stderr
    nobody = run(["--tls-ca", secured.ca.file], "get", "jobs")
    assert nobody.returncode != 0 and "--token-file" in nobody.stderr
    open_token = run(["--token-file", str(secured.folder / "viewer")], "get", "jobs")
    assert open_token.returncode != 0 and "only sent over TLS" in open_token.stderr
    plain = run([], "get", "jobs")
    assert plain.returncode != 0 and "cannot reach the coordinator" in plain.stderr
    other = Ca(secured.folder / "other-ca")
    stranger = run(["--tls-ca", other.file], "get", "jobs")
    assert stranger.returncode != 0 and "cannot reach the coordinator" in stranger.stderr
    missing = run(["--tls-ca", "/nowhere"], "get", "jobs")
    assert missing.returncode != 0 and "cannot use the TLS CA /nowhere" in missing.stderr


def test_a_worker_of_another_name_is_refused(secured):
    cluster = secured.cluster
    certificate, key = secured.ca.make("stranger", "stranger")
    stranger = cluster._start("stranger", [
        *cluster.workers[0].args[:1], "--coordinator", cluster.address, "--data-dir",
        str(secured.folder / "stranger"), "--tls-ca", secured.ca.file, "--tls-cert", certificate,
        "--tls-key", key, "--name", "stranger"])
    try:
        log = cluster.folder / "stranger.log"
        wait_until(lambda: "wants to know who calls" in log.read_text())
        assert len(cluster.command("get", "workers", "-o", "name").stdout.split()) == 2
    finally:
        stranger.kill()
        stranger.wait()


def may_list(secured, role):
    with secured.client(role) as client:
        try:
            client.list()
            return True
        except millrace.AccessDeniedError:
            return False


def test_callers_and_certificates_are_read_again(secured):
    secured.write_access([role for role in ROLES if role != "operator"])
    try:
        wait_until(lambda: not may_list(secured, "operator"))
    finally:
        secured.write_access(ROLES)
    wait_until(lambda: may_list(secured, "operator"))
    renewed = open(secured.ca.make("coordinator", "coordinator")[0]).read().strip()
    host, port = secured.cluster.address.split(":")
    wait_until(lambda: ssl.get_server_certificate((host, int(port))).strip() == renewed)
    with secured.client("viewer") as client:
        assert len(client.workers()) == 2


def wait_until(reached, patience=30):
    deadline = time.monotonic() + patience
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)
