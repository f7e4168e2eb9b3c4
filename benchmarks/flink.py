"""A Flink cluster of real processes on loopback: a JobManager, a TaskManager, and the SQL gateway
that takes statements. Standard library only; `dev/setup --flink` installs it.

Every process is started here and ended here, by its id.
"""

import json
import os
import pathlib
import subprocess
import time
import urllib.error
import urllib.request

from cluster import ROOT, cpu_seconds, end_processes, free_port, peak_rss_mb

LIBS = ROOT / ".dev/flink/libs"
# As in the configuration that Flink's distribution comes with, for Java 17.
OPENS = [f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in (
    "java.lang", "java.lang.reflect", "java.net", "java.io", "java.nio", "java.text", "java.time",
    "java.util", "java.util.concurrent", "java.util.concurrent.atomic",
    "java.util.concurrent.locks", "sun.nio.ch")]
# What a job of any kind is run with; the rest is Flink's default.
SETTINGS = {
    "pipeline.object-reuse": "true",
    "table.exec.mini-batch.enabled": "true",
    "table.exec.mini-batch.allow-latency": "2 s",
    "table.exec.mini-batch.size": "50000",
    "table.optimizer.distinct-agg.split.enabled": "true",
    "execution.checkpointing.interval": "10 s",
}
BACKENDS = {"heap": {"state.backend.type": "hashmap"},
            "rocksdb": {"state.backend.type": "rocksdb",
                        "execution.checkpointing.incremental": "true"}}


def version():
    return next(LIBS.glob("flink-dist-*.jar")).stem.removeprefix("flink-dist-")


class Flink:
    """Use as a context manager. `memory_mb` is the TaskManager's heap and managed memory: all heap
    for state on the heap, half of it managed for RocksDB."""

    def __init__(self, folder, backend, parallelism, memory_mb):
        self.folder = pathlib.Path(folder)
        self.backend, self.parallelism = backend, parallelism
        managed = memory_mb // 2 if backend == "rocksdb" else 64
        self.heap = memory_mb - managed
        self.rest, self.gateway = free_port(), free_port()
        self.configuration = {
            "jobmanager.rpc.address": "127.0.0.1",
            "jobmanager.rpc.port": free_port(),
            "jobmanager.bind-host": "127.0.0.1",
            "rest.address": "127.0.0.1",
            "rest.bind-address": "127.0.0.1",
            "rest.port": self.rest,
            "sql-gateway.endpoint.rest.address": "127.0.0.1",
            "sql-gateway.endpoint.rest.port": self.gateway,
            "taskmanager.host": "127.0.0.1",
            "taskmanager.bind-host": "127.0.0.1",
            "taskmanager.numberOfTaskSlots": parallelism,
            "taskmanager.cpu.cores": parallelism,
            "taskmanager.memory.framework.heap.size": "128m",
            "taskmanager.memory.framework.off-heap.size": "128m",
            "taskmanager.memory.task.heap.size": f"{self.heap - 128}m",
            "taskmanager.memory.task.off-heap.size": "0m",
            "taskmanager.memory.network.min": "128m",
            "taskmanager.memory.network.max": "128m",
            "taskmanager.memory.managed.size": f"{managed}m",
            "taskmanager.memory.jvm-metaspace.size": "512m",
            "taskmanager.memory.jvm-overhead.min": "256m",
            "taskmanager.memory.jvm-overhead.max": "256m",
            "io.tmp.dirs": str(self.folder / "tmp"),
            "execution.checkpointing.dir": f"file://{self.folder}/checkpoints",
            "state.backend.rocksdb.localdir": str(self.folder / "rocksdb"),
        }
        self.processes = {}
        self.session = None

    def __enter__(self):
        for name in ("tmp", "checkpoints", "rocksdb", "conf"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "conf/config.yaml").write_text(
            "".join(f"{name}: {value}\n" for name, value in self.configuration.items()))
        try:
            self._start("jobmanager", "runtime.entrypoint.StandaloneSessionClusterEntrypoint", 768)
            self._start("taskmanager", "runtime.taskexecutor.TaskManagerRunner", self.heap,
                        "-XX:MaxDirectMemorySize=512m", f"-Xms{self.heap}m")
            self._start("gateway", "table.gateway.SqlGateway", 512)
            self._wait("TaskManager", lambda: self._jobmanager("overview")["taskmanagers"] == 1)
            self._wait("gateway", lambda: self._gateway("info"))
            self.session = self._gateway("sessions", {})["sessionHandle"]
        except BaseException:
            self.__exit__()
            raise
        for name, value in {**SETTINGS, **BACKENDS[self.backend],
                            "parallelism.default": self.parallelism}.items():
            self.execute(f"SET '{name}' = '{value}'")
        return self

    def __exit__(self, *unused):
        end_processes(self.processes.values())

    def _start(self, name, main, heap_mb, *flags):
        command = ["java", f"-Xmx{heap_mb}m", "-XX:+UseG1GC", *flags, *OPENS, "-cp", f"{LIBS}/*",
                   f"org.apache.flink.{main}"]
        if main != "table.gateway.SqlGateway":
            command += ["--configDir", str(self.folder / "conf")]
        with open(self.folder / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                env={**os.environ, "FLINK_CONF_DIR": str(self.folder / "conf")})

    def _call(self, port, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/{path}", data,
                                         {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"Flink: {error.read().decode()[:4000]}") from None

    def _jobmanager(self, path):
        return self._call(self.rest, path)

    def _gateway(self, path, body=None):
        return self._call(self.gateway, path, body)

    def _wait(self, what, ready, patience=90):
        deadline = time.monotonic() + patience
        while True:
            try:
                if ready():
                    return
            except (OSError, RuntimeError):
                pass
            for name, process in self.processes.items():
                if process.poll() is not None:
                    raise RuntimeError(f"Flink's {name} ended: {self._log(name)}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {what} after {patience} s")
            time.sleep(0.1)

    def _log(self, name):
        return (self.folder / f"{name}.log").read_text()[-2000:]

    def execute(self, statement):
        """Runs a statement and waits for its answer (of INSERT: that the job is submitted)."""
        base = f"sessions/{self.session}"
        operation = self._gateway(f"{base}/statements", {"statement": statement})
        path = f"{base}/operations/{operation['operationHandle']}/result/0?rowFormat=JSON"
        deadline = time.monotonic() + 120
        while (answer := self._gateway(path))["resultType"] == "NOT_READY":
            if time.monotonic() > deadline:
                raise TimeoutError(statement)
            time.sleep(0.02)
        return answer

    def run(self, script, patience):
        """The statements of a script, of which one is an INSERT. When its job has finished: wall
        and CPU seconds from its submission on; those of the TaskManager alone count as Flink's."""
        statements = [s.strip() for s in script.split(";\n") if s.strip()]
        tables = [s for s in statements if "INSERT INTO" not in s]
        (insert,) = [s for s in statements if "INSERT INTO" in s]
        for statement in tables:
            self.execute(statement)
        begin, before = time.monotonic(), self._cpu()
        job = self.execute(insert)["jobID"]
        while (state := self._jobmanager(f"jobs/{job}")["state"]) != "FINISHED":
            if state in ("FAILED", "CANCELED", "SUSPENDED"):
                cause = self._jobmanager(f"jobs/{job}/exceptions")
                raise RuntimeError(f"Flink's job {state}: {json.dumps(cause)[:3000]}")
            if time.monotonic() - begin > patience:
                self._cancel(job)
                return None
            time.sleep(0.05)
        wall, after = time.monotonic() - begin, self._cpu()
        return {"wall": wall, "cpu": after["taskmanager"] - before["taskmanager"],
                "coordinator_cpu": after["jobmanager"] - before["jobmanager"],
                "peak_rss_mb": peak_rss_mb(self.processes["taskmanager"].pid)}

    def _cancel(self, job):
        request = urllib.request.Request(f"http://127.0.0.1:{self.rest}/v1/jobs/{job}",
                                         method="PATCH")
        urllib.request.urlopen(request, timeout=60).close()
        self._wait("end of the job", lambda: self._jobmanager(f"jobs/{job}")["state"] in (
            "CANCELED", "FAILED", "FINISHED"))

    def _cpu(self):
        return {name: cpu_seconds(self.processes[name].pid)
                for name in ("jobmanager", "taskmanager")}

    def drop_tables(self, script):
        for line in reversed(script.splitlines()):
            words = line.split()
            if words[:1] == ["CREATE"] and words[1] in ("TABLE", "VIEW"):
                self.execute(f"DROP {words[1]} {words[2]}")
