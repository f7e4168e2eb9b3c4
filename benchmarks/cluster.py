"""A Millrace cluster of real processes on loopback, for benchmarks and fault runs.

Standard library only. Every process is started here and ended here, by its id.
"""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("MILLRACE_BUILD", ROOT / "build"))
TICKS = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def cpu_seconds(pid):
    """User and system time of a live process."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def peak_rss_mb(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) / 1024


def end_processes(processes):
    """Asks all of them to end, in this order; one that has not after 20 s is killed."""
    processes = list(processes)
    for process in processes:
        process.send_signal(signal.SIGCONT)  # In case that a test has stopped it.
        process.terminate()
    for process in processes:
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Service:
    """A server of dev/services: the one that MILLRACE_TEST_<KIND> names, or one of its own. A
    private one is never that of others, and leaves no data behind."""

    def __init__(self, kind, name, private=False):
        self.kind, self.variable = kind, f"MILLRACE_TEST_{kind.upper()}"
        self.private = private
        self.address = None if private else os.environ.get(self.variable)
        self.own = self.address is None
        self.name = name if self.own else os.environ.get("MILLRACE_TEST_SERVICES")

    def command(self, verb, *flags):
        done = subprocess.run([str(ROOT / "dev" / "services"), verb, self.kind, "--name",
                               self.name, *flags], check=True, stdout=subprocess.PIPE, text=True)
        return done.stdout

    def __enter__(self):
        if self.own:
            self.command("up")
            self.address = re.search(rf"{self.variable}=(\S+)", self.command("env")).group(1)
        return self

    def __exit__(self, *unused):
        if self.own:
            self.command("down", *(["--wipe"] if self.private else []))


class Kafka(Service):
    """A broker; `address` is host and port."""

    def __init__(self, name, private=False):
        super().__init__("kafka", name, private)

    def create_topic(self, topic, partitions):
        """One that is there must have as many partitions. Records of any age stay."""
        subprocess.run([str(BUILD / "cli/millrace"), "generate", "nexmark", "--events", "0", "--to",
                        f"kafka:{self.address}/{topic}", "--partitions", str(partitions)],
                       check=True)

    def delete_topic(self, topic):
        """And waits until it is gone."""
        subprocess.run(["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp",
                        str(ROOT / ".dev/kafka/libs/*"), "org.apache.kafka.tools.TopicCommand",
                        "--bootstrap-server", self.address, "--delete", "--topic", topic],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while topic in self.topics():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{topic} is still there")
            time.sleep(0.1)

    def topics(self):
        listed = subprocess.run(["kcat", "-b", self.address, "-L", "-J"], check=True,
                                capture_output=True, text=True).stdout
        return [one["topic"] for one in json.loads(listed)["topics"]]

    def record_count(self, topic, partitions):
        """Offsets at the end, summed; 0 when there is no such topic."""
        total = 0
        for partition in range(partitions):
            done = subprocess.run(["kcat", "-b", self.address, "-Q", "-t",
                                   f"{topic}:{partition}:-1"], capture_output=True, text=True)
            match = re.search(r"offset (\d+)", done.stdout)
            total += int(match.group(1)) if match else 0
        return total

    def ends(self, topic, isolation="read_committed"):
        """By partition, the end as a reader of that isolation sees it."""
        listed = json.loads(subprocess.run(["kcat", "-b", self.address, "-L", "-J", "-t", topic],
                                           check=True, capture_output=True, text=True).stdout)
        partitions = [one["partition"] for one in listed["topics"][0]["partitions"]]
        done = subprocess.run(
            ["kcat", "-b", self.address, "-Q", "-X", f"isolation.level={isolation}",
             *(flag for partition in partitions for flag in ("-t", f"{topic}:{partition}:-1"))],
            check=True, capture_output=True, text=True)
        return {int(partition): int(offset) for partition, offset
                in re.findall(r"\[(\d+)\] offset (\d+)", done.stdout)}

    def read_committed(self, topic, form="%s"):
        """All records that are committed by now, as lines. (`kcat -e` may wait for ever for the end
        of a topic that grows.)"""
        missing = {partition: end for partition, end in self.ends(topic).items() if end > 0}
        if not missing:
            return []
        with tempfile.TemporaryFile("w+") as records:
            reader = subprocess.Popen(
                ["kcat", "-b", self.address, "-C", "-t", topic, "-o", "beginning", "-X",
                 "isolation.level=read_committed", "-f", form + "\n"],
                stdout=records, stderr=subprocess.PIPE, text=True)
            try:
                for line in reader.stderr:  # It tells whenever it is at the end of a partition.
                    reached = re.search(r"end of topic \S+ \[(\d+)\] at offset (\d+)", line)
                    if reached and int(reached[2]) >= missing.get(int(reached[1]), 0):
                        missing.pop(int(reached[1]), None)
                    if not missing:
                        break
            finally:
                reader.terminate()  # It writes what it has.
                reader.stderr.close()
                reader.wait()
            if missing:
                raise RuntimeError(f"{topic} was not read to its end: {missing}")
            records.seek(0)
            return records.read().splitlines()


class StoreProxy:
    """In front of a store that speaks HTTP: notes what is asked for. Use as a context manager."""

    def __init__(self, address):
        self.requests = []  # (method, the last part of the path)
        self.server = urllib.parse.urlsplit(address)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *unused):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def names(self, method):
        """The state segments that were written (PUT) or read (GET)."""
        return {name for verb, name in list(self.requests)
                if verb == method and re.search(r"\.(delta|base)\.e", name)}

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection((self.server.hostname, self.server.port))
            threading.Thread(target=self._pump, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()

    def _pump(self, source, target, requests):
        try:
            while data := source.recv(1 << 16):
                line = re.match(rb"([A-Z]+) (\S+) HTTP/1.1\r\n", data) if requests else None
                if line:
                    method, path = line[1].decode(), line[2].decode().split("?")[0]
                    self.requests.append((method, urllib.parse.unquote(path.rsplit("/", 1)[1])))
                target.sendall(data)
        except OSError:
            pass  # The other direction has ended.
        finally:
            for end in (source, target):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
            source.close()


class Cluster:
    """Coordinators (several need flags that name their metadata store) and workers. Use as a
    context manager."""

    def __init__(self, folder, workers=1, cores=1, memory_mb=1024, environment=None,
                 coordinator_flags=(), worker_flags=(), client_flags=(), coordinators=1):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.count, self.cores, self.memory_mb = workers, cores, memory_mb
        self.environment = {**os.environ, **(environment or {})}
        self.coordinator_flags, self.worker_flags = coordinator_flags, worker_flags
        self.client_flags = client_flags
        self.grpc_ports = [free_port() for _ in range(coordinators)]
        self.http_ports = [free_port() for _ in range(coordinators)]
        self.worker_http_ports = [free_port() for _ in range(workers)]
        self.coordinators = [None] * coordinators
        self.workers = [None] * workers

    def __enter__(self):
        for index in range(len(self.coordinators)):
            self.start_coordinator(index)
        for index in range(self.count):
            self.start_worker(index)
        self.wait_for_workers(self.count)
        return self

    def __exit__(self, *unused):
        end_processes(process for process in [*self.workers, *self.coordinators]
                      if process is not None)

    def _start(self, name, arguments, failpoints=None):
        environment = {**self.environment, **({"MILLRACE_FAILPOINTS": failpoints} if failpoints
                                              else {})}
        with open(self.folder / f"{name}.log", "ab") as log:
            return subprocess.Popen(arguments, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                    env=environment)

    def start_coordinator(self, index=0, failpoints=None):
        """With failpoints it may never listen: nobody waits for it."""
        self.coordinators[index] = self._start(f"coordinator{index}", [
            str(BUILD / "coordinator/millrace-coordinator"), "--data-dir",
            str(self.folder / f"coordinator{index}"), "--grpc-port", str(self.grpc_ports[index]),
            "--http-port", str(self.http_ports[index]), *self.coordinator_flags], failpoints)
        if failpoints:
            return
        # Of several, only the leader listens.
        alone = len(self.coordinators) == 1
        self.wait_for_port((self.grpc_ports if alone else self.http_ports)[index])

    def start_worker(self, index, failpoints=None):
        self.workers[index] = self._start(f"worker{index}", [
            str(BUILD / "worker/millrace-worker"), "--coordinator", self.address, "--data-dir",
            str(self.folder / f"worker{index}"), "--http-port",
            str(self.worker_http_ports[index]), "--cores", str(self.cores), "--memory-mb",
            str(self.memory_mb), *self.worker_flags], failpoints)

    def wait_for_workers(self, count, patience=30):
        """Until so many are registered: a job is placed on the workers that are there."""
        deadline = time.monotonic() + patience
        while len(self.command("get", "workers", "-o", "name").stdout.split()) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not {count} workers after {patience} s")
            time.sleep(0.05)

    def kill_worker(self, index):
        self.workers[index].send_signal(signal.SIGKILL)
        self.workers[index].wait()

    def end_worker(self, index, patience=60):
        """SIGTERM: it hands its tasks over and exits with 0."""
        self.workers[index].send_signal(signal.SIGTERM)
        code = self.workers[index].wait(patience)
        if code != 0:
            raise RuntimeError(f"worker {index} ended with {code} after SIGTERM")

    def kill_coordinator(self, index=0):
        self.coordinators[index].send_signal(signal.SIGKILL)
        self.coordinators[index].wait()

    @property
    def address(self):
        return ",".join(f"127.0.0.1:{port}" for port in self.grpc_ports)

    @staticmethod
    def wait_for_port(port, patience=30):
        deadline = time.monotonic() + patience
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def command(self, *arguments, check=True):
        return self.command_as(self.client_flags, *arguments, check=check)

    def command_as(self, flags, *arguments, check=False):
        """`millrace` with the flags of another client."""
        return subprocess.run([str(BUILD / "cli/millrace"), "--coordinator", self.address, *flags,
                               *arguments], check=check, capture_output=True, text=True)

    def submit(self, job_file, settings, *arguments):
        flags = [flag for name, value in settings.items() for flag in ("--set", f"{name}={value}")]
        done = self.command("submit", str(job_file), *flags, *arguments, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"submit failed:\n{done.stderr}")
        return done.stdout.strip()

    def cpu_seconds(self):
        return sum(cpu_seconds(p.pid) for p in [*self.coordinators, *self.workers]
                   if p is not None and p.poll() is None)
